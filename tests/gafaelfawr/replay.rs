//! Every recorded exchange that concerns tokens, replayed against the sandbox.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{cases, number};
use crate::support::Sandbox;
use crate::support::api::{Reply, ask};

/// When the recording was made; its times are moved to the present.
const RECORDED_AT: u64 = 1_795_309_001;
const BOOTSTRAP: &str = "gt--ILcvegmBCW73byPdV-uMg.E3fHDP5_OQkXphqpRkiZtw";

/// Not replayed, each for its reason.
const LEFT_OUT: [(u32, &str); 3] = [
    (107, "the history of changes is not part of creating, reading and deleting tokens"),
    (109, "the list of administrators is none either"),
    (360, "the HTTP library removes blanks at the end of a header, which the recorded server does not"),
];

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The values of the recording, and those of this sandbox.
struct Words(BTreeMap<String, String>);

impl Words {
    fn learn_token(&mut self, recorded: &str, ours: &str) {
        let key = |token: &str| token.strip_prefix("gt-").unwrap().split('.').next().unwrap().to_owned();
        self.0.insert(recorded.to_owned(), ours.to_owned());
        self.0.insert(key(recorded), key(ours));
    }

    /// Complete tokens first, so that their keys do not break them; times are moved to the present.
    fn translate(&self, text: &str) -> String {
        let mut words: Vec<_> = self.0.iter().collect();
        words.sort_by_key(|(recorded, _)| std::cmp::Reverse(recorded.len()));
        let text = words.iter().fold(text.to_owned(), |text, (recorded, ours)| text.replace(*recorded, ours));
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find("17953") {
            out.push_str(&rest[..at]);
            let (number, after) = rest[at..].split_at(10);
            // In a name it is a word like any other.
            let is_time = out.trim_end().ends_with(':');
            let moved = number.parse::<u64>().unwrap() + now() - RECORDED_AT;
            out.push_str(&if is_time { moved.to_string() } else { number.to_owned() });
            rest = after;
        }
        out + rest
    }

    fn header(&self, value: &str) -> String {
        match value.strip_prefix("Basic ") {
            Some(encoded) => {
                let decoded = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
                format!("Basic {}", STANDARD.encode(self.translate(&decoded)))
            }
            None => self.translate(value),
        }
    }
}

fn send(sandbox: &Sandbox, words: &Words, request: &Value) -> Reply {
    let headers: Vec<(String, String)> = request["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), words.header(value.as_str().unwrap())))
        .collect();
    let path = words.translate(request["path"].as_str().unwrap());
    let body = request["body"].as_str().map(|body| words.translate(body));
    ask(sandbox, request["method"].as_str().unwrap(), &path, &headers, body.as_deref())
}

/// Equal, except for times that are a few seconds apart.
fn same(ours: &Value, recorded: &Value) -> bool {
    match (ours, recorded) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|b| same(value, b)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Number(a), Value::Number(b)) if a.as_u64() > Some(RECORDED_AT / 2) => {
            a.as_u64().unwrap().abs_diff(b.as_u64().unwrap()) <= 30
        }
        (a, b) => a == b,
    }
}

fn check_body(case: &str, ours: &Reply, recorded: &str, words: &Words) {
    let translated = words.translate(recorded);
    let Ok(mut expected) = serde_json::from_str::<Value>(&translated) else {
        assert_eq!(ours.body, translated, "{case}");
        return;
    };
    let mut ours = ours.json();
    if ours["detail"][0]["type"] == "json_invalid" {
        // Another JSON parser has other words; the position must be the same.
        assert!(ours["detail"][0]["ctx"]["error"].is_string(), "{case}: {ours}");
        ours["detail"][0]["ctx"] = expected["detail"][0]["ctx"].take();
        expected["detail"][0]["ctx"] = ours["detail"][0]["ctx"].clone();
    }
    match (&ours, &expected) {
        // A list of tokens may also hold those of cases that were recorded at other times.
        (Value::Array(ours), Value::Array(expected)) => {
            let known = |token: &&Value| words.0.values().any(|word| token["token"] == **word);
            for token in expected.iter().filter(known) {
                assert!(ours.iter().any(|ours| same(ours, token)), "{case}: no {token} in {ours:?}");
            }
            assert_eq!(ours.is_empty(), expected.is_empty(), "{case}");
            let created: Vec<u64> = ours.iter().map(|token| token["created"].as_u64().unwrap()).collect();
            assert!(created.is_sorted_by(|a, b| a >= b), "{case}: newest first");
        }
        (ours, expected) => assert!(same(ours, expected), "{case}: {ours} is not {expected}"),
    }
}

fn check_headers(case: &str, ours: &Reply, recorded: &Value, words: &Words, host: &str) {
    for (name, value) in recorded.as_object().unwrap().iter().filter(|(name, _)| *name != "content-length") {
        let value = words.translate(value.as_str().unwrap()).replace("HOST", host);
        assert_eq!(ours.header(name), Some(value.as_str()), "{case}: {name}");
    }
    assert_eq!(ours.header("set-cookie"), None, "{case}");
}

/// Puts the sandbox into the state in which this case was recorded.
fn prepare(sandbox: &Sandbox, words: &mut Words, number: u32) {
    match number {
        602 => sandbox.change_gafaelfawr(r#"{"clock_ahead_seconds":400}"#),
        613 => sandbox.change_gafaelfawr(r#"{"maintenance":true}"#),
        701 => sandbox.change_gafaelfawr(r#"{"down":"redis","down_after_ms":20}"#),
        731 => sandbox.change_gafaelfawr(r#"{"down":"postgres"}"#),
        752 => {
            // Its token was created in a case that is not in the recording.
            sandbox.change_gafaelfawr("{}");
            let admin =
                ("Authorization".to_owned(), format!("bearer {}", sandbox.var("GAFAELFAWR_ADMIN_TOKEN")));
            let json = ("Content-Type".to_owned(), "application/json".to_owned());
            let body = r#"{"username":"bot-halfway","token_type":"service","scopes":["write:sasquatch"]}"#;
            let made = ask(sandbox, "POST", "/auth/api/v1/tokens", &[admin, json], Some(body));
            let made = made.json()["token"].as_str().unwrap().to_owned();
            words.learn_token("gt-aAwx_IBMUFZJLlCyCMIRmA.OZrg6HlEuA46KCJ1cWUkTg", &made);
            sandbox.change_gafaelfawr(r#"{"down":"postgres"}"#);
        }
        756 => sandbox.change_gafaelfawr("{}"),
        _ => {}
    }
}

#[test]
fn the_sandbox_answers_every_recorded_case_as_the_server_did() {
    let sandbox = Sandbox::start(&[]);
    let host = sandbox.var("SANDBOX_URL").strip_prefix("http://").unwrap().to_owned();
    let mut words = Words(BTreeMap::new());
    let state = sandbox.shows(super::CONTROL);
    words.learn_token(BOOTSTRAP, state["bootstrap_token"].as_str().unwrap());
    let mut replayed = 0;
    for case in cases() {
        let (name, number) = (case["case"].as_str().unwrap(), number(&case));
        if LEFT_OUT.iter().any(|(left_out, _)| *left_out == number) {
            continue;
        }
        prepare(&sandbox, &mut words, number);
        let (request, response) = (&case["request"], &case["response"]);
        if let Some(cookie) = request["headers"]["Cookie"].as_str() {
            let session = cookie.strip_prefix("gafaelfawr=").unwrap();
            words.0.insert(session.to_owned(), state["session_cookie"].as_str().unwrap().to_owned());
        }
        let mut reply = send(&sandbox, &words, request);
        if number == 221 {
            // Exactly five minutes: only within the second of sending.
            for _ in 0..5 {
                if reply.status == 201 {
                    break;
                }
                reply = send(&sandbox, &words, request);
            }
        }
        assert_eq!(u64::from(reply.status), response["status"].as_u64().unwrap(), "{name}: {reply:?}");
        let recorded = response["body"].as_str().unwrap();
        if reply.status == 201 {
            let recorded: Value = serde_json::from_str(recorded).unwrap();
            let ours = reply.json();
            let token = ours["token"].as_str().unwrap();
            assert_eq!((token.len(), ours.as_object().unwrap().len()), (48, 1), "{name}: {ours}");
            words.learn_token(recorded["token"].as_str().unwrap(), token);
        } else {
            check_body(name, &reply, recorded, &words);
        }
        check_headers(name, &reply, &response["headers"], &words, &host);
        replayed += 1;
    }
    assert_eq!(replayed, 122 - LEFT_OUT.len());
}
