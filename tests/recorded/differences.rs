//! The documented differences (`docs/compatibility.md`), each as a change to the results of the original's run. They
//! apply in this order.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::case::{Asked, Case, Jwt, Mode, Ran, Saw};
use super::replay::{Names, fill, number_of};
use crate::support::testdata;

/// A recorded run that is repeated.
pub struct Run<'a> {
    pub case: &'a Case,
    pub mode: Mode,
    /// The values of the recording's placeholders.
    pub names: Names,
}

/// A documented difference.
pub struct Difference {
    /// The name in the documentation's table.
    pub name: &'static str,
    /// Changes the results of the original into those promised here.
    pub apply: fn(&Run<'_>, &mut Saw),
}

/// The first column of the table in the documentation.
pub fn documented() -> Vec<&'static str> {
    let page = include_str!("../../docs/compatibility.md");
    let table = page.split("\n## What differs\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let rows = table.expect("the table").lines().filter(|line| line.starts_with("| "));
    rows.skip(1).map(|row| row.trim_start_matches("| ").split(" | ").next().unwrap()).collect()
}

impl Run<'_> {
    fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.case.name.as_str())
    }

    fn begins(&self, prefix: &str) -> bool {
        self.case.name.starts_with(prefix)
    }

    /// True if the original passes the service URL to the command.
    fn wants_service_url(&self) -> bool {
        let is_true = |value: &str| ["1", "t", "T", "TRUE", "true", "True"].contains(&value);
        let mut wants = self.case.env.get("SERVICE_URL").and_then(Option::as_deref).is_some_and(is_true);
        for arg in self.case.args.iter().take_while(|arg| *arg != "--" && *arg != "{CHILD}") {
            match arg.trim_start_matches('-').split_once('=') {
                Some(("service-url", value)) => wants = is_true(value),
                None if arg.starts_with('-') && arg.trim_start_matches('-') == "service-url" => wants = true,
                _ => {}
            }
        }
        wants
    }

    fn env_name(&self) -> String {
        self.case.value("env-name", "ENV_NAME").unwrap_or("MONITORING_URL").to_owned()
    }

    /// The statuses of the server's responses, one for each request.
    fn statuses(&self) -> Vec<u64> {
        let one = |answer: &Value| answer["status"].as_u64().unwrap_or(200);
        match &self.case.server {
            Value::Array(many) => many.iter().map(one).collect(),
            answer => vec![one(answer)],
        }
    }
}

/// The command does not run, and no request is made.
fn refuse(saw: &mut Saw, status: i32) {
    *saw = Saw { requests: Vec::new(), command: None, status };
}

/// The command does not run after the request.
fn fail(saw: &mut Saw, status: i32) {
    saw.command = None;
    saw.status = status;
}

/// The JWT of a run with the usual key.
fn usual_jwt(run: &Run<'_>) -> Jwt {
    let (alg, kid) = match run.case.key.as_str() {
        "bare" => ("EdDSA", None),
        "es256-noalg" => ("ES256", Some("test-es256")),
        "rsa-noalg" => ("RS256", Some("test-rsa")),
        _ => ("EdDSA", Some("test1")),
    };
    let header = kid.map_or(json!({"alg": alg}), |kid| json!({"alg": alg, "kid": kid}));
    let mut claims = json!({"aud": ["locate"], "iss": "monitoring", "exp_minus_now": 60});
    if let Some(machine) = run.case.value("machine", "MACHINE") {
        claims["sub"] = machine.into();
    }
    Jwt { header, claims }
}

const USUAL_URL: &str = "{LOCATE}ndt/ndt5?access_token={JWT}";

/// The run works, like any other run without a machine.
fn succeed(run: &Run<'_>, saw: &mut Saw) {
    let words = &run.case.args;
    let at = words.iter().position(|word| word == "{CHILD}").unwrap_or(words.len());
    let argv = words[at..].iter().map(|word| fill(word, &run.names)).collect();
    let debug = words[..at].iter().any(|arg| arg.contains("logx.debug") || arg.contains("inherit"));
    let output = if debug { "inherited" } else { "devnull" };
    let (mut requests, mut jwt) = (Vec::new(), Some(usual_jwt(run)));
    let prefix = run.case.value("locate-url", "LOCATE_URL").unwrap_or("{LOCATE}");
    let mut url = fill(&format!("{prefix}ndt/ndt5?access_token={{JWT}}"), &run.names);
    if run.wants_service_url() {
        requests.push(request_of(&url, usual_jwt(run)));
        (url, jwt) = (default_service_url().0, None);
    }
    let command = Ran {
        argv,
        env: [(run.env_name(), url)].into(),
        removed: std::collections::BTreeSet::new(),
        to: ["devnull", output, output].map(str::to_owned),
        jwt,
    };
    *saw = Saw { requests, command: Some(command), status: 0 };
}

/// The URL under the original's default key, and its host.
fn default_service_url() -> (String, String) {
    let file = std::fs::read_to_string(testdata("original/answer-full.json")).unwrap();
    let answer: Value = serde_json::from_str(&file).unwrap();
    let url = answer["target"]["urls"]["wss://:3010/ndt_protocol"].as_str().unwrap();
    let host = url.strip_prefix("wss://").and_then(|rest| rest.split(':').next()).unwrap();
    (url.to_owned(), host.to_owned())
}

/// The request that this URL is.
fn request_of(url: &str, jwt: Jwt) -> Asked {
    let (_, rest) = url.split('#').next().unwrap().split_once("://").expect("a whole URL");
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let user = authority.rsplit_once('@').map(|(user, _)| user).filter(|user| *user != ":");
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let authorization = user.map(|user| {
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        format!("Basic {}", STANDARD.encode(format!("{}:{}", decoded(name), decoded(password))))
    });
    Asked {
        at: "locate",
        method: "GET".to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        authorization,
        jwt: Some(jwt),
    }
}

/// True if the replay has a server for this URL: on its port, or as a proxy for http.
fn is_reachable(url: &str) -> bool {
    let elsewhere = ["https://", "http://localhost:8080/", "http://[::1]:8080/", "http://127.1/"];
    !elsewhere.iter().any(|begin| url.starts_with(begin))
}

/// The original asks Locate only with `-service-url`.
fn exchange(run: &Run<'_>, saw: &mut Saw) {
    let ran = run.case.class == "error: Failed to run" && saw.status == run.case.saw.status;
    let started = saw.status == 0 || ran || run.case.send.is_some();
    let first = run.case.args.first().map_or("", String::as_str);
    let elsewhere = run.begins("help-") && saw.command.is_none()
        || run.begins("unknown-flag-version")
        || run.is(&["unknown-flag-exchange"])
        || ["check", "help"].contains(&first);
    if run.mode == Mode::Plain || run.wants_service_url() || !started || elsewhere {
        return;
    }
    let found = saw.command.as_ref();
    let url = found.and_then(|ran| ran.env.get(&run.env_name())).filter(|url| url.contains("://"));
    let url = url.cloned().unwrap_or_else(|| fill(USUAL_URL, &run.names));
    if !is_reachable(&url) {
        return refuse(saw, 125);
    }
    let jwt = found.and_then(|ran| ran.jwt.clone()).unwrap_or_else(|| usual_jwt(run));
    saw.requests.push(request_of(&url, jwt));
    if run.is(&["key-name-without-service-url"]) {
        fail(saw, 125);
    }
}

/// The command also gets the service URL and its host.
fn further_variables(run: &Run<'_>, saw: &mut Saw) {
    if run.mode == Mode::Plain || run.wants_service_url() || saw.requests.is_empty() {
        return;
    }
    let Some(ran) = &mut saw.command else { return };
    let (url, host) = default_service_url();
    for (name, value) in [("SERVICE_URL", url), ("SERVICE_HOSTNAME", host)] {
        if run.env_name() != name {
            ran.env.insert(name.to_owned(), value);
        }
    }
}

fn exit_status(run: &Run<'_>, saw: &mut Saw) {
    let Case { name, class, line, .. } = run.case;
    if saw.status != run.case.saw.status || saw.status == 0 {
        return;
    }
    let begins = |start: &str| line.starts_with(start);
    let key_file = line.contains("monitoring-signer-key") || line.contains("MONITORING_SIGNER_KEY");
    saw.status = if let Some(status) = name.strip_prefix("exit-") {
        status.split('-').next().unwrap().parse().unwrap()
    } else if let Some(signal) = name.strip_prefix("signal-") {
        128 + number_of(signal)
    } else if let Some((signal, _)) = &run.case.send {
        128 + number_of(signal)
    } else if line.contains("deadline exceeded") || begins("Failed to run") && name.starts_with("timeout") {
        124
    } else if class == "usage" || begins("Failed to read args") {
        if key_file && !name.contains("no-value") && name != "key-inline-flag" { 125 } else { 2 }
    } else if begins("ERROR: no command given") || begins("failed to parse given query") {
        2
    } else if class == "error: Failed to run" || class == "debug" && name.starts_with("foreign") {
        let cannot = ["executable", "file-as-folder", "relative-entry"];
        if cannot.iter().any(|part| name.contains(part)) { 126 } else { 127 }
    } else {
        125
    };
}

fn retries(run: &Run<'_>, saw: &mut Saw) {
    const AGAIN: [&str; 5] = [
        "answer-200-truncated-body",
        "answer-chunked-cut",
        "answer-close",
        "answer-half-head",
        "answer-reset",
    ];
    let statuses = run.statuses();
    let again = |status: u64| [408, 429, 502, 503, 504].contains(&status);
    if saw.requests.len() != 1 || run.is(&["answer-503-retry-after"]) {
        return;
    }
    let tries = if run.is(&AGAIN) {
        3
    } else {
        statuses.iter().position(|status| !again(*status)).map_or(3, |first| first + 1)
    };
    saw.requests = vec![saw.requests[0].clone(); tries];
    if tries > 1 && statuses.len() > 1 && statuses.last() == Some(&200) {
        let requests = std::mem::take(&mut saw.requests);
        succeed(run, saw);
        saw.requests = requests;
    }
}

fn redirects(run: &Run<'_>, saw: &mut Saw) {
    if saw.requests.is_empty() {
        return;
    }
    match run.case.name.as_str() {
        "answer-302-nine" => {
            saw.requests.truncate(4);
            fail(saw, 125);
        }
        "answer-302-other-host" => {
            saw.requests.retain(|asked| asked.at == "locate");
            fail(saw, 125);
        }
        "answer-302-empty-location" => saw.requests = vec![saw.requests[0].clone(); 4],
        "answer-302-no-location-full" => fail(saw, 125),
        _ => {}
    }
}

/// Paths are requested without dot segments, as by every client except Go's.
fn dot_segments(_: &Run<'_>, saw: &mut Saw) {
    for asked in &mut saw.requests {
        let mut kept: Vec<&str> = Vec::new();
        for element in asked.path.split('/') {
            match element {
                "." => {}
                ".." => drop(kept.pop()),
                element => kept.push(element),
            }
        }
        asked.path = kept.join("/");
    }
}

fn service_url_key(run: &Run<'_>, saw: &mut Saw) {
    let url = match run.case.name.as_str() {
        "service-ndt7-default-key-name-ndt7-only" => {
            "wss://ndt-mlab1-lga0t.mlab-sandbox.measurement-lab.org/ndt/v7/download?access_token=AT&early_exit=250"
        }
        "service-wehe-only-one" => "wss://wehe-x.example:4443/v0/envelope/access?access_token=AT",
        _ => return,
    };
    if let Some(ran) = &mut saw.command {
        ran.env.insert(run.env_name(), url.to_owned());
    }
}

fn empty_variables(run: &Run<'_>, saw: &mut Saw) {
    let default = "http://localhost:8080/v2/platform/monitoring/ndt/ndt5?access_token={JWT}";
    match run.case.name.as_str() {
        "env-logx.debug-empty" | "env-service-url-empty" | "env-timeout-empty" | "env-env-name-empty" => {
            succeed(run, saw);
        }
        "env-locate-url-empty" | "env-service-empty" => {
            let url = if run.is(&["env-service-empty"]) { &*fill(USUAL_URL, &run.names) } else { default };
            if let Some(ran) = &mut saw.command {
                ran.env.insert("MONITORING_URL".to_owned(), url.to_owned());
            }
        }
        "key-name-empty-env" | "env-service-url-key-name-empty" => {
            if let Some(ran) = &mut saw.command {
                ran.env.insert("MONITORING_URL".to_owned(), default_service_url().0);
            }
        }
        _ => {}
    }
}

/// The runs that a difference is about, and the status with which they are refused before any request.
macro_rules! refused {
    ($status:literal, [$($name:literal),+ $(,)?]) => {
        |run, saw| {
            if run.is(&[$($name),+]) {
                refuse(saw, $status);
            }
        }
    };
}

/// As [`refused`], for runs that fail after the request.
macro_rules! failing {
    ([$($name:literal),+ $(,)?]) => {
        |run, saw| {
            if run.mode == Mode::Exchange && run.is(&[$($name),+]) {
                fail(saw, 125);
            }
        }
    };
}

/// As [`refused`], for runs that work here.
macro_rules! working {
    ([$($name:literal),+ $(,)?]) => {
        |run, saw| {
            if run.is(&[$($name),+]) {
                succeed(run, saw);
            }
        }
    };
}

fn diff(name: &'static str, apply: fn(&Run<'_>, &mut Saw)) -> Difference {
    Difference { name, apply }
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn differences() -> Vec<Difference> {
    vec![
        // Accepted here, but not by the original.
        diff("an empty variable", empty_variables),
        diff("`SERVICE_URL` that is not a boolean", |run, saw| {
            let refused =
                run.case.line.contains("argument service-url") && !run.begins("env-service-url-empty");
            // A boolean with a stray blank is one.
            if refused && !run.is(&["bool-SERVICE_URL-_true", "bool-SERVICE_URL-true_"]) {
                succeed(run, saw);
            }
        }),
        diff("`-logx.debug` without a value", |run, saw| {
            if run.begins("logx-debug-alone") {
                succeed(run, saw);
            }
            if run.is(&["flag-logx.debug-empty-sp"]) {
                // The empty argument is the command.
                saw.status = 127;
                if run.mode == Mode::Exchange {
                    saw.requests.push(request_of(&fill(USUAL_URL, &run.names), usual_jwt(run)));
                }
            }
        }),
        diff("flags of this program", |run, saw| match run.case.name.as_str() {
            "unknown-flag-exchange" | "unknown-flag-output" | "unknown-flag-retries" => succeed(run, saw),
            "unknown-flag-version" | "unknown-flag-version2" => saw.status = 0,
            _ => {}
        }),
        diff("a flag given twice", working!(["twice-locate-url-bad-good"])),
        diff("the key in `MONITORING_SIGNER_KEY` itself", working!(["key-inline-variable"])),
        diff(
            "a key without `alg`",
            working!(["key-noalg", "key-bare", "key-es256-noalg", "key-rsa-noalg", "key-exchange-noalg"]),
        ),
        diff("a byte order mark, or padded base64, in a key", working!(["key-bom", "key-paddedd"])),
        diff("`x5c` and `x5t` in a key", working!(["key-x5c", "key-x5t"])),
        // Refused here, but not by the original.
        diff("the URL of Locate", |run, saw| {
            let is_url = |url: &str| {
                let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
                rest.is_some_and(|rest| {
                    !rest.is_empty()
                        && !rest.starts_with('/')
                        && (!rest.starts_with(':') || rest.contains('@'))
                })
            };
            let value = run.case.value("locate-url", "LOCATE_URL").unwrap_or("http://localhost/");
            let value = fill(value, &run.names);
            let begin: String = value.split("://").next().unwrap_or_default().to_ascii_lowercase();
            let value = value.find("://").map_or(value.clone(), |at| begin + &value[at..]);
            let asks = run.case.class == "error: Failed to get response";
            if (saw.status == 0 || asks) && (!is_url(&value) || value.contains(":99999")) {
                refuse(saw, 2);
            }
        }),
        diff(
            "spaces, quotation marks and control characters",
            refused!(
                2,
                [
                    "key-name-space",
                    "locate-url-trailing-space",
                    "machine-control",
                    "machine-del",
                    "machine-leading-space",
                    "machine-tab",
                    "service-del",
                    "service-dquote",
                    "service-squote",
                    "service-newline",
                    "service-space",
                    "service-tab",
                    "service-exchange-newline",
                    "service-exchange-space",
                ]
            ),
        ),
        diff(
            "an invalid name in `ENV_NAME`",
            refused!(
                2,
                [
                    "env-env-name-wrong",
                    "env-name-digit",
                    "env-name-dollar",
                    "env-name-equals",
                    "env-name-equals-last",
                    "env-name-exchange-equals",
                    "env-name-exchange-space",
                    "env-name-newline",
                    "env-name-percent",
                    "env-name-space",
                    "flag-env-name-empty-eq",
                    "flag-env-name-empty-sp",
                    "flag-env-name-wrong",
                ]
            ),
        ),
        diff("`MACHINE` that is not UTF-8", refused!(2, ["machine-not-utf8-env"])),
        diff("a key of more than 64 KiB", refused!(125, ["key-big"])),
        diff("a key for another use", refused!(125, ["key-keyops-verify", "key-exchange-useenc"])),
        diff("a key whose parts do not match", refused!(125, ["key-dempty"])),
        diff("RSA keys of less than 2048 bits", refused!(125, ["key-rsa1024"])),
        diff("ES512", refused!(125, ["key-es512"])),
        diff("a timeout of zero or less", |run, saw| {
            let value = run.case.value("timeout", "TIMEOUT").unwrap_or("1s");
            let is_none = value.starts_with('-') || value.starts_with('0') && !value.contains(['.', '3']);
            if is_none && run.case.class != "usage" && !run.case.line.starts_with("Failed to read") {
                refuse(saw, 2);
            }
        }),
        diff("a missing command", |run, saw| {
            if run.begins("no-command") || run.is(&["flag-service-url-no-value-at-end", "dashes-only"]) {
                refuse(saw, 2);
            }
        }),
        diff("`SCRIPT_DEADLINE`", refused!(124, ["environment-script-deadline"])),
        // Different behavior.
        diff("a missing slash", |run, saw| {
            let no_slash = run.begins("locate-url-no-slash") || run.is(&["locate-exchange-no-slash"]);
            if let Some(ran) = saw.command.as_mut().filter(|_| no_slash) {
                ran.env.values_mut().for_each(|url| *url = url.replace("/pndt/", "/p/ndt/"));
            }
            if no_slash {
                saw.requests
                    .iter_mut()
                    .for_each(|asked| asked.path = asked.path.replace("/pndt/", "/p/ndt/"));
            }
        }),
        diff("an IPv4 address in short form", working!(["locate-exchange-ipv4-odd"])),
        diff("`-service-url` with `-exchange=false`", |run, saw| {
            let is_usage = run.case.class == "usage" || saw.status == 2;
            if run.mode == Mode::Plain && run.wants_service_url() && !is_usage {
                refuse(saw, 2);
            }
        }),
        diff("a boolean after a boolean flag", |run, saw| {
            let booleans = ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
            let is_one = |pair: &[String]| {
                pair[0].trim_start_matches('-') == "service-url" && booleans.contains(&pair[1].as_str())
            };
            if run.case.args.windows(2).any(is_one) && run.case.class != "usage" {
                refuse(saw, 2);
            }
        }),
        diff("the first word `check`, `explain`, `key`, `gafaelfawr`, `stackstate` or `help`", |run, saw| {
            let word = run.case.args.first().map_or("", String::as_str);
            if run.mode == Mode::Exchange && word == "help" {
                refuse(saw, 2);
            }
            if run.mode == Mode::Exchange && ["key", "gafaelfawr", "stackstate"].contains(&word) {
                refuse(saw, 2);
            }
            if run.mode == Mode::Exchange && word == "check" {
                saw.requests.push(request_of(&fill(USUAL_URL, &run.names), usual_jwt(run)));
                fail(saw, 0);
            }
        }),
        diff("the exchange", exchange),
        diff("variables other than `$ENV_NAME`", further_variables),
        diff("the default URL key", service_url_key),
        diff("a missing URL key", |run, saw| {
            let empty = |ran: &Ran| ran.env.get(&run.env_name()).is_some_and(String::is_empty);
            if run.mode == Mode::Exchange && saw.command.as_ref().is_some_and(empty) {
                fail(saw, 125);
                // An empty flag is refused before anything is asked.
                if run.is(&[
                    "flag-service-url-key-name-empty-eq",
                    "flag-service-url-key-name-empty-sp",
                    "key-name-empty",
                ]) {
                    refuse(saw, 2);
                }
            }
        }),
        diff("a service URL that cannot be used", |run, saw| {
            if run.begins("answer-200-url-") || run.is(&["answer-200-null-url"]) {
                let good = ["http", "unicode", "upper", "userinfo", "no-token"];
                if !good.iter().any(|end| run.case.name.ends_with(end))
                    && saw.status == 0
                    && run.mode == Mode::Exchange
                {
                    fail(saw, 125);
                }
            }
        }),
        diff("the status of the answer", |run, saw| {
            let failed = run.statuses().last().is_some_and(|status| !(200..400).contains(status));
            if run.mode == Mode::Exchange && saw.command.is_some() && failed && !run.case.server.is_null() {
                fail(saw, 125);
            }
        }),
        diff("compressed answers", failing!(["answer-200-gzip-always"])),
        diff("the size of the answer", failing!(["answer-200-size-600k", "answer-200-size-3m"])),
        diff("the number of headers", |run, saw| {
            if run.is(&["answer-header-2000-of-them"]) && saw.requests.len() == 1 {
                saw.requests = vec![saw.requests[0].clone(); 2];
            }
        }),
        diff("a response that is not HTTP", |run, saw| {
            if run.is(&["answer-garbage", "answer-http2-version", "answer-ssh"]) && saw.requests.len() == 1 {
                let first = &saw.requests[0];
                let second = Asked { path: "/".to_owned(), query: String::new(), jwt: None, ..first.clone() };
                saw.requests.push(second);
            }
        }),
        diff("the host `localhost.`", |run, saw| {
            if run.mode == Mode::Exchange && run.is(&["locate-exchange-host-trailing-dot"]) {
                succeed(run, saw);
            }
        }),
        diff("a request that fails", retries),
        diff("redirects", redirects),
        diff("dot segments in the request", dot_segments),
        diff("the key's variable", |run, saw| {
            let given = run.case.env.get("MONITORING_SIGNER_KEY").is_some_and(Option::is_some);
            if let Some(ran) = saw.command.as_mut().filter(|_| given) {
                ran.removed.insert("MONITORING_SIGNER_KEY".to_owned());
            }
        }),
        diff("`SERVICE_URL` that is a boolean", |run, saw| {
            let value = run.case.env.get("SERVICE_URL").and_then(Option::as_deref);
            let wants = run.wants_service_url();
            let is_ours = value.is_some_and(|value| {
                wants
                    || ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"]
                        .contains(&value)
            });
            if let Some(ran) =
                saw.command.as_mut().filter(|ran| is_ours && !ran.env.contains_key("SERVICE_URL"))
            {
                ran.removed.insert("SERVICE_URL".to_owned());
            }
        }),
        diff("signals", |run, saw| {
            if run.is(&["sent-USR1"]) {
                saw.status = 128 + libc::SIGUSR1;
            }
        }),
        diff("the exit status", exit_status),
    ]
}
