//! Diagnoses the recorded responses of Locate v0.17.6 and v0.19.2: each is served to a run, which must explain it.

use std::collections::BTreeSet;
use std::io::Write as _;

use serde_json::Value;

use crate::support::{http, read_head, run, serve, testdata, token};

/// A response, identified by its status and body, and the result of the run.
struct Diagnosis {
    status: u64,
    /// The `type` of an error, or the beginning of the body.
    body: &'static str,
    exit: i32,
    words: &'static [&'static str],
}

const DIAGNOSES: [Diagnosis; 9] = [
    Diagnosis { status: 200, body: "{", exit: 0, words: &[] },
    // An answer to HEAD, which has no body.
    Diagnosis { status: 200, body: "", exit: 125, words: &["HTTP 200"] },
    // On the same server: followed.
    Diagnosis { status: 301, body: "<a href=", exit: 0, words: &[] },
    Diagnosis { status: 307, body: "<a href=", exit: 0, words: &[] },
    Diagnosis {
        status: 400,
        body: "claim",
        exit: 125,
        words: &["does not enforce tokens for the service", "HTTP 400", "Must provide access_token"],
    },
    Diagnosis {
        status: 400,
        body: "config",
        exit: 125,
        words: &["does not know the service", "HTTP 400", "Unknown service: "],
    },
    Diagnosis {
        status: 400,
        body: "subject",
        exit: 125,
        words: &["cannot parse the machine name \"m\"", "HTTP 400", "Subject must be specified", "-machine"],
    },
    Diagnosis { status: 401, body: "", exit: 125, words: &["rejected the token (HTTP 401)", "test_eddsa"] },
    Diagnosis {
        status: 404,
        body: "404 page",
        exit: 125,
        words: &["HTTP 404", "404 page not found", "-locate-url"],
    },
];

/// A recorded response: its path and content.
fn responses() -> Vec<(String, String, Value)> {
    let text = std::fs::read_to_string(testdata("locate/cases.jsonl")).unwrap();
    let mut found = Vec::new();
    for case in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        for version in ["v0.17.6", "v0.19.2"] {
            let response = if case[version] == "same" { &case["v0.17.6"] } else { &case[version] };
            let path = case["request"]["path"].as_str().unwrap().to_owned();
            let name = format!("{} {version}", case["case"].as_str().unwrap());
            found.push((name, path, response.clone()));
        }
    }
    assert_eq!(found.len(), 2 * 165);
    found
}

fn body_of(response: &Value) -> String {
    let text = match &response["body"] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        object => {
            let mut object = object.clone();
            if object["access_token"].is_object() {
                object["access_token"] = "AT".into();
            }
            if object["results"] == "[target]" {
                object["results"] = Value::Array(vec![object["target"].clone()]);
            }
            object.to_string()
        }
    };
    text.replace("{ACCESS_TOKEN}", "AT").replace("{JWT}", "a.b.c")
}

fn diagnosis_of(response: &Value) -> Option<&'static Diagnosis> {
    let (status, body) = (response["status"].as_u64()?, body_of(response));
    let kind = response["body"]["error"]["type"].as_str();
    DIAGNOSES.iter().find(|diagnosis| {
        let begins =
            if diagnosis.body.is_empty() { body.is_empty() } else { body.starts_with(diagnosis.body) };
        diagnosis.status == status && kind.map_or(begins, |kind| kind == diagnosis.body)
    })
}

#[test]
fn each_recorded_response_is_diagnosed() {
    let (mut tried, mut wrong) = (BTreeSet::new(), Vec::new());
    for (name, path, response) in responses() {
        let Some(diagnosis) = diagnosis_of(&response) else { panic!("no diagnosis for {name}: {response}") };
        let mut headers = String::new();
        for (header, value) in response["headers"].as_object().into_iter().flatten() {
            if header != "content-length" {
                let value = value.as_str().unwrap_or_default().replace("{JWT}", "a.b.c");
                headers += &format!("{header}: {value}\r\n");
            }
        }
        let answer = http(&format!("{} Recorded", response["status"]), &headers, &body_of(&response));
        if !tried.insert((path.clone(), answer.clone())) {
            continue;
        }
        let full = std::fs::read_to_string(testdata("original/answer-ndt7.json")).unwrap();
        let mut answers = vec![http("200 OK", "", &full), answer];
        let at = serve(move |mut stream| {
            read_head(&mut stream);
            let answer = if answers.len() > 1 { answers.pop().unwrap() } else { answers[0].clone() };
            let _ = stream.write_all(answer.as_bytes());
        });
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"));
        command.env("LOCATE_URL", format!("http://{at}{path}")).args(["-service=", "-machine=m"]);
        // The redirect leads to ndt7.
        if response["status"].as_u64().is_some_and(|status| (300..400).contains(&status)) {
            command.arg("-service-url-key-name=wss:///ndt/v7/download");
        }
        let ended = run(command.args(["--", "true"]));
        let says = diagnosis.words.iter().all(|word| ended.stderr.contains(word));
        if ended.status != diagnosis.exit || !says || (diagnosis.exit == 0) != ended.stderr.is_empty() {
            wrong.push(format!("{name}: {ended:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), tried.len(), wrong.join("\n"));
}

/// v0.17.6 tolerates a minute either way, so a clock that is behind does not fail a run; `check` reports it anyway.
#[test]
fn a_slow_clock_is_accepted_where_locate_tolerates_it() {
    let full = std::fs::read_to_string(testdata("original/answer-ndt7.json")).unwrap();
    let at = serve(move |mut stream| {
        read_head(&mut stream);
        let date = std::time::SystemTime::now() + std::time::Duration::from_secs(75);
        let date = format!("Date: {}\r\n", httpdate::fmt_http_date(date));
        let _ = stream.write_all(http("200 OK", &date, &full).as_bytes());
    });
    let command = |words: &[&str]| {
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"));
        command.env("LOCATE_URL", format!("http://{at}/v2/platform/monitoring/"));
        run(command.args(words).args(["-service=ndt/ndt7", "--", "true"]))
    };
    command(&[]).succeeded();
    let checked = command(&["check"]);
    assert_eq!(checked.status, 0, "{checked:?}");
    let clock = checked.stdout.lines().find(|line| line.starts_with("clock")).unwrap();
    assert!(clock.contains("behind the server"), "{clock}");
}
