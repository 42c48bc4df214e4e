//! The reason of a failure: a stable name, the same in the JSON error line, in the metrics, in `check --json` and in
//! `explain`.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use monitoring_token::reason::Reason;
use serde_json::Value;

use crate::deploy::files;
use crate::support::job::Folder;
use crate::support::{
    Sandbox, file_line, finish, http, kill, messages, run, serve, serve_bytes, start, testdata, token,
};

/// Alerts, dashboards and scripts rely on these names: removing or renaming one is a breaking change.
const NAMES: &[&str] = &[
    "usage",
    "key-missing",
    "key-unreadable",
    "key-invalid",
    "credential-missing",
    "credential-unreadable",
    "credential-invalid",
    "credential-rejected",
    "credential-forbidden",
    "credential-expiring",
    "sts-config-invalid",
    "ca-file-invalid",
    "proxy-invalid",
    "dns",
    "connection-refused",
    "connection-failed",
    "connection-broken",
    "not-http",
    "proxy-failed",
    "proxy-authentication",
    "tls-untrusted",
    "tls-expired",
    "tls-name",
    "tls-certificate",
    "tls-failed",
    "token-rejected",
    "clock-skew",
    "unknown-machine",
    "unknown-service",
    "service-not-enforced",
    "no-target",
    "unknown-url-key",
    "ambiguous-url-key",
    "unusable-service-url",
    "forbidden",
    "not-found",
    "rate-limited",
    "request-refused",
    "server-error",
    "redirect-refused",
    "unexpected-response",
    "token-exists",
    "token-not-found",
    "invalid-expiry",
    "unknown-scope",
    "token-not-deleted",
    "token-file-refused",
    "timeout-file",
    "timeout-exchange",
    "timeout-command",
    "timeout-cache",
    "timeout-lock",
    "deadline-passed",
    "interrupted",
    "parent-died",
    "command-not-found",
    "command-not-executable",
    "command-failed",
    "command-killed",
    "command-stuck",
    "output-failed",
    "system",
    "internal-error",
];

#[test]
fn the_names_are_stable() {
    let names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(names, NAMES);
}

#[test]
fn explain_lists_all_reasons_and_explains_each_without_a_network() {
    let listed = run(token().arg("explain")).succeeded().stdout.clone();
    let words: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(words, NAMES);
    for name in NAMES {
        let text = run(token().args(["explain", name])).succeeded().stdout.clone();
        assert!(text.starts_with(&format!("{name}: ")), "{text}");
        assert!(text.contains("\nLikely causes:\n  - ") && text.contains("\nWhat to check:\n  - "), "{text}");
    }
    for args in [&["explain", "-help"][..], &["explain", "dns", "--help"]] {
        let help = run(token().args(args)).succeeded().stdout.clone();
        assert!(help.contains("monitoring-token explain [REASON]"), "{help}");
    }
}

#[test]
fn explain_refuses_what_is_not_a_reason() {
    for (args, why) in [
        (
            &["explain", "no-such-reason"][..],
            "unknown reason \"no-such-reason\"; monitoring-token explain lists",
        ),
        (&["explain", "DNS"], "unknown reason \"DNS\""),
        (&["explain", "clock-scew"], "did you mean clock-skew?"),
        (&["explain", ""], "unknown reason \"\""),
        (&["explain", "dns", "usage"], "explain expects one reason"),
        (&["explain", "-nope"], "unknown flag -nope"),
    ] {
        let ended = run(token().args(args));
        ended.failed_with(2, &[why]);
        assert_eq!(ended.stdout, "");
    }
}

/// The only line on stderr, which is a JSON object.
#[track_caller]
fn json_line(stderr: &str) -> Value {
    let line: Value = serde_json::from_str(stderr).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    for field in ["reason", "message", "advice", "stage"] {
        assert!(line[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {line}");
    }
    line
}

#[test]
fn the_json_error_line_has_reason_stage_exit_status_message_and_advice() {
    let key = testdata("keys/eddsa.json");
    let offline = ["-exchange=false", "-log-format=json"];
    for (args, reason, stage, status) in [
        (&["-nope"][..], "usage", Some("prepare"), 2),
        (&["--", "/proc/nonexistent/command"], "command-not-found", Some("command"), 127),
        (&["--", "/etc"], "command-not-executable", Some("command"), 126),
        (&["-timeout=200ms", "--", "sleep", "60"], "timeout-command", Some("command"), 124),
        (&["-monitoring-signer-key=/proc/nonexistent", "x"], "key-unreadable", Some("sign"), 125),
        (&["-monitoring-signer-key=/dev/null", "x"], "key-invalid", Some("sign"), 125),
    ] {
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", &key).args(offline).args(args);
        let ended = run(&mut command);
        assert_eq!(ended.status, status, "{ended:?}");
        let line = json_line(&ended.stderr);
        assert_eq!(line["reason"], reason, "{line}");
        assert_eq!(line["stage"].as_str(), stage, "{line}");
        assert_eq!(line["exit_status"], status, "{line}");
    }
}

/// The labels of `monitoring_token_failure_info` in a metrics file: stage and reason.
fn failure_info(file: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(file).expect("the metrics are written");
    let lines = text.lines().filter_map(|line| line.strip_prefix("monitoring_token_failure_info{"));
    let label = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\"")).expect("the label");
        rest.split('"').next().unwrap_or_default().to_owned()
    };
    lines
        .map(|line| {
            assert!(line.ends_with(" 1") || line.ends_with(" 1.0"), "{line}");
            (label(line, "stage"), label(line, "reason"))
        })
        .collect()
}

#[test]
fn the_metrics_have_the_reason_of_a_failure_and_none_after_a_success() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let file = folder.path("probe.prom");
    let textfile = format!("-metrics-textfile={}", file.display());
    for (args, reason) in [
        (&["sh", "-c", "exit 3"][..], Some(("command", "command-failed"))),
        (&["sh", "-c", "kill -KILL $$"], Some(("command", "command-killed"))),
        (&["/proc/nonexistent/command"], Some(("command", "command-not-found"))),
        (&["-service-url-key-name=nope", "true"], Some(("exchange", "unknown-url-key"))),
        (&["-monitoring-signer-key=/proc/nonexistent", "true"], Some(("sign", "key-unreadable"))),
        (&["true"], None),
    ] {
        run(sandbox.token().arg(&textfile).args(args));
        let expected: Vec<_> =
            reason.map(|(stage, reason)| (stage.to_owned(), reason.to_owned())).into_iter().collect();
        assert_eq!(failure_info(&file), expected, "{args:?}");
    }
    // Stopped by an operator, so not a failure of the target.
    let ready = folder.path("ready");
    let script = format!("echo > {}; exec sleep 60", ready.display());
    let child = start(sandbox.token().args([&textfile, "--", "sh", "-c", &script]));
    file_line(&ready);
    kill(child.id(), libc::SIGTERM);
    assert_eq!(finish(child).status, 143);
    assert_eq!(failure_info(&file), [("command".to_owned(), "interrupted".to_owned())]);
}

/// A run that was told to end did not succeed, even if the command exits with 0.
#[test]
fn a_signal_in_time_is_an_interruption_and_one_that_was_survived_is_not() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let file = folder.path("probe.prom");
    let textfile = format!("-metrics-textfile={}", file.display());
    let interrupted = [("command".to_owned(), "interrupted".to_owned())];
    let killed = [("command".to_owned(), "command-killed".to_owned())];
    let timed_out = [("command".to_owned(), "timeout-command".to_owned())];
    for (signal, script, status, info, failed) in [
        (libc::SIGTERM, "trap 'exit 0' TERM; echo >$D/ready; sleep 60 & wait", 0, &interrupted, false),
        (libc::SIGINT, "trap 'exit 0' INT; echo >$D/ready; sleep 60 & wait", 0, &interrupted, false),
        (
            libc::SIGHUP,
            "trap : HUP; echo >$D/ready; sleep 60 & wait; sleep 1.6; kill -9 $$",
            137,
            &killed,
            true,
        ),
        (libc::SIGHUP, "trap : HUP; echo >$D/ready; sleep 60 & wait; sleep 60 & wait", 124, &timed_out, true),
    ] {
        let flags =
            [&textfile, "-exchange=false", "-timeout=4s", "-kill-after=500ms", "--", "sh", "-c", script];
        let _ = fs::remove_file(folder.path("ready"));
        let child = start(sandbox.token().env("D", folder.root()).args(flags));
        file_line(&folder.path("ready"));
        kill(child.id(), signal);
        let ended = finish(child);
        assert_eq!(ended.status, status, "{script}: {ended:?}");
        assert_eq!(failure_info(&file), info, "{script}");
        let text = fs::read_to_string(&file).unwrap();
        let has = |name: &str, value: bool| {
            let value = if value { " 1" } else { " 0" };
            text.lines().any(|line| {
                line.starts_with(name)
                    && line.trim_end_matches(".0").ends_with(value)
                    && (!name.ends_with("stage") || line.contains("stage=\"command\""))
            })
        };
        assert!(has("monitoring_token_run_success", false), "{script}: {text}");
        assert!(has("monitoring_token_failed_stage", failed), "{script}: {text}");
    }
}

/// The metrics named an operator.
#[test]
fn a_full_disk_is_the_cause_if_the_command_dies_of_it() {
    let folder = Folder::new();
    let file = folder.path("probe.prom");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let sandbox = Sandbox::start(&[]);
    let mut command = sandbox.token();
    command.arg(format!("-metrics-textfile={}", file.display()));
    let child = command.args(["-output=masked", "--", "seq", "1000000"]).stdout(full).stderr(Stdio::piped());
    finish(child.spawn().unwrap()).failed_with(141, &["cannot write the output of seq: No space left"]);
    assert_eq!(failure_info(&file), [("output".to_owned(), "output-failed".to_owned())]);
}

/// An alert can tell from the reason who has to act.
#[test]
fn each_failure_of_the_exchange_has_its_own_reason() {
    let plain = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let date = "Date: Fri, 01 Jan 2100 00:00:00 GMT\r\n";
    let responds = |status: &str, headers: &str, body: &str| {
        format!("http://{}", serve_bytes(http(status, headers, body)))
    };
    for (url, reason) in [
        ("http://monitoring-token.invalid".to_owned(), "dns"),
        ("http://127.0.0.1:1".to_owned(), "connection-refused"),
        (format!("http://{}", serve_bytes("")), "connection-broken"),
        (format!("http://{}", serve_bytes("SSH-2.0-x\r\n")), "not-http"),
        (format!("https://{plain}"), "tls-failed"),
        (responds("200 OK", "", ""), "unexpected-response"),
        (responds("200 OK", "", "<html>"), "unexpected-response"),
        (responds("200 OK", "", "{}"), "no-target"),
        (responds("302 Found", "Location: http://other.example/\r\n", ""), "redirect-refused"),
        (responds("401 Unauthorized", "", ""), "token-rejected"),
        (responds("401 Unauthorized", date, ""), "clock-skew"),
        (responds("403 Forbidden", "", ""), "forbidden"),
        (responds("404 Not Found", "", ""), "not-found"),
        (responds("407 Proxy Authentication Required", "", ""), "proxy-authentication"),
        (responds("408 Request Timeout", "", ""), "connection-broken"),
        (responds("418 I'm a teapot", "", ""), "request-refused"),
        (responds("429 Too Many Requests", "", ""), "rate-limited"),
        (responds("503 Service Unavailable", "", ""), "server-error"),
        (responds("511 Network Authentication Required", "", ""), "unexpected-response"),
        (responds("400 Bad Request", "", r#"{"error":{"type":"subject"}}"#), "unknown-machine"),
        (responds("400 Bad Request", "", r#"{"error":{"type":"config"}}"#), "unknown-service"),
        (responds("400 Bad Request", "", r#"{"error":{"type":"claim"}}"#), "service-not-enforced"),
        (responds("500 Internal Server Error", "", r#"{"error":{"type":"new"}}"#), "server-error"),
    ] {
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"));
        command.args(["-log-format=json", "-retries=0", "-service=ndt/ndt7", "-locate-url"]).arg(&url);
        let ended = run(command.args(["--", "true"]));
        assert_eq!(ended.status, 125, "{ended:?}");
        let line = json_line(&ended.stderr);
        assert_eq!((&line["reason"], &line["stage"]), (&reason.into(), &"exchange".into()), "{line}");
    }
}

#[test]
fn each_refusal_of_an_issuer_has_its_own_reason() {
    let gafaelfawr = |kind: &str| format!(r#"{{"detail":[{{"type":"{kind}","msg":"x"}}]}}"#);
    let stackstate = |kind: &str| format!(r#"{{"_type":"{kind}","message":"x"}}"#);
    for (issuer, status, body, reason) in [
        ("gafaelfawr", "401 Unauthorized", gafaelfawr("invalid_token"), "credential-rejected"),
        ("gafaelfawr", "403 Forbidden", gafaelfawr("permission_denied"), "credential-forbidden"),
        ("gafaelfawr", "422 Unprocessable Content", gafaelfawr("invalid_expires"), "invalid-expiry"),
        ("gafaelfawr", "422 Unprocessable Content", gafaelfawr("invalid_scopes"), "unknown-scope"),
        ("gafaelfawr", "404 Not Found", gafaelfawr("not_found"), "token-not-found"),
        ("gafaelfawr", "404 Not Found", String::new(), "not-found"),
        ("gafaelfawr", "200 OK", "<html>".to_owned(), "unexpected-response"),
        ("stackstate", "401 Unauthorized", stackstate("x"), "credential-rejected"),
        ("stackstate", "403 Forbidden", stackstate("x"), "credential-forbidden"),
        ("stackstate", "400 Bad Request", stackstate("ServiceTokenInvalidExpiryError"), "invalid-expiry"),
        ("stackstate", "429 Too Many Requests", String::new(), "rate-limited"),
        ("stackstate", "502 Bad Gateway", String::new(), "server-error"),
        ("stackstate", "301 Moved Permanently", String::new(), "redirect-refused"),
    ] {
        let url = format!("http://{}", serve_bytes(http(status, "", &body)));
        let user: &[&str] = if issuer == "gafaelfawr" { &["--username=bot-x"] } else { &[] };
        let mut command = token();
        command.env("GAFAELFAWR_ADMIN_TOKEN", "gt-x.y").env("STS_CLI_API_TOKEN", "x");
        command.args([issuer, "list", "--log-format=json", "--retries=0", "--url", &url]).args(user);
        let ended = run(&mut command);
        assert_eq!(ended.status, 125, "{ended:?}");
        assert_eq!(json_line(&ended.stderr)["reason"], reason, "{issuer} {status}: {}", ended.stderr);
    }
}

/// `explain` must not document a reason that no failure has.
#[test]
fn every_reason_is_given_to_a_failure() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let texts: String = files(&source)
        .iter()
        .filter(|path| !path.ends_with("reason.rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    // A bug is not a Failure: the panic handler prints its line.
    for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::InternalError) {
        assert!(texts.contains(&format!("Reason::{reason:?}")), "{reason:?}");
    }
}

#[test]
fn check_names_the_reason_of_the_step_that_failed() {
    let sandbox = Sandbox::start(&[]);
    let ended = run(sandbox.token().args(["check", "--json", "-service-url-key-name=nope"]));
    assert_eq!(ended.status, 125, "{ended:?}");
    let checked: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(checked["reason"], "unknown-url-key", "{checked}");
    assert_eq!(checked["stage"], "exchange", "{checked}");
    assert!(checked["advice"].as_str().is_some_and(|text| !text.is_empty()), "{checked}");
    let steps = checked["steps"].as_array().unwrap();
    let failed: Vec<_> = steps.iter().filter(|step| step["outcome"] == "failed").collect();
    assert!(!failed.is_empty() && failed.iter().all(|step| step["reason"] == "unknown-url-key"), "{checked}");
    assert!(
        steps.iter().all(|step| step["outcome"] == "failed" || step.get("reason").is_none()),
        "{checked}"
    );

    let ended = run(sandbox.token().args(["check", "--json"]));
    let checked: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&checked["reason"], &checked["advice"]), (&Value::Null, &Value::Null), "{checked}");
}

/// JSON lines once had `"end":"Exited(4)"` and `"after":"1.2ms"`, which programs cannot read.
#[test]
fn json_logs_hold_numbers_and_words_and_no_debug_text() {
    let sandbox = Sandbox::start(&[]);
    let script = "trap '' TERM; sleep 0.2; exit 4";
    let debug = ["-logx.debug=true", "-log-format=json", "-output=discard"];
    let lines = |args: &[&str]| -> Vec<Value> {
        let ended = run(sandbox.token().args(debug).args(args));
        let lines: Vec<Value> =
            ended.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        for line in &lines {
            for (name, value) in line.as_object().unwrap() {
                let text = value.as_str().unwrap_or_default();
                let is_debug = ["Some(", "None", "Exited(", "Died(", "[\"", "Duration", " { "];
                assert!(!is_debug.iter().any(|debug| text.contains(debug)), "{name}: {line}");
            }
        }
        lines
    };
    let find = |lines: &[Value], message: &str| {
        let line = lines.iter().find(|line| line["message"] == message).cloned();
        line.unwrap_or_else(|| panic!("no {message:?} in {lines:?}"))
    };
    let run = lines(&["--", "sh", "-c", script]);
    let ended = find(&run, "the command has ended");
    assert_eq!(ended["exit_status"], 4, "{ended}");
    assert_eq!(ended["timed_out"], false, "{ended}");
    assert!(ended["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.2), "{ended}");
    assert_eq!(find(&run, "running")["command"], r"sh -c 'trap '\'''\'' TERM; sleep 0.2; exit 4'");
    let run = lines(&["-timeout=300ms", "-kill-after=1s", "--", "sleep", "60"]);
    assert_eq!(find(&run, "the command has ended")["signal"], "SIGTERM");
    let stopping = run.iter().find(|line| line.get("kill_after_seconds").is_some());
    assert_eq!(stopping.expect("the grace period is logged")["kill_after_seconds"], 1);
    let failure = run.last().unwrap();
    assert_eq!(failure["reason"], "timeout-command", "{failure}");
}

/// The heading of a page as an anchor.
fn anchor(heading: &str) -> String {
    heading.to_lowercase().replace(' ', "-").replace('\'', "")
}

/// The part of docs/troubleshooting.md that has a section for each reason.
fn documented_reasons() -> String {
    let mut text = String::new();
    for reason in Reason::ALL {
        let explanation = reason.explanation();
        text += &format!("\n### {}\n\n{}.\n", reason.name(), explanation.meaning);
        for (heading, clauses) in
            [("Likely causes", explanation.causes), ("What to check", explanation.checks)]
        {
            text += &format!("\n{heading}:\n\n");
            text.extend(clauses.iter().map(|clause| format!("- {clause}\n")));
        }
        let mut tables = Vec::new();
        for message in
            messages::all().iter().filter(|message| message.reasons().any(|one| one == reason.name()))
        {
            let link = format!("[{}](#{})", message.section, anchor(message.section));
            if !tables.contains(&link) {
                tables.push(link);
            }
        }
        if !tables.is_empty() {
            text += &format!("\nMessages: {}\n", tables.join(", "));
        }
    }
    text + "\n"
}

#[test]
fn the_page_on_troubleshooting_explains_each_reason_as_explain_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshooting.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) =
        page.split_once("promises reasons:: -->\n").expect("the line that says how it is written");
    let (written, after) = rest.split_once("<!-- end -->\n").expect("the end of the reasons");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let reasons = documented_reasons();
        let page = format!("{before}promises reasons:: -->\n{reasons}<!-- end -->\n{after}");
        std::fs::write(&path, page).unwrap();
    } else {
        assert_eq!(written, documented_reasons(), "run UPDATE_DOCS=1 cargo test --test promises reasons::");
    }
}
