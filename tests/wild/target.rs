//! `check` if the request works but the command would fail.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::job::Folder;
use crate::support::{MACHINE, http, run, serve_bytes, testdata, token};

/// A check of a line whose service URL has this host; returns the row of this step.
#[track_caller]
fn row(host: &str, step: &str, words: &[&str]) -> (i32, Value) {
    let url = format!("ws://{host}/ndt/v7/download?access_token=s3cret-access-token");
    let answer = json!({"target": {"machine": MACHINE, "urls": {"wss:///ndt/v7/download": url}}}).to_string();
    let locate = serve_bytes(http("200 OK", "", &answer));
    let mut command = token();
    command
        .env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"))
        .env("LOCATE_URL", format!("http://{locate}/"));
    let ended = run(command.args(["check", "--json", "-service=ndt/ndt7", "-timeout=20s"]).args(words));
    assert!(!ended.stdout.contains("s3cret") && ended.stderr.is_empty(), "{ended:?}");
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    let steps = json["steps"].as_array().unwrap();
    let row = steps.iter().find(|row| row["step"] == step).unwrap_or_else(|| panic!("{json:#}"));
    (ended.status, row.clone())
}

/// Tried as a new user would: with a plausible typo in the machine's name, `check` succeeds because Locate accepts it,
/// and the client then fails silently.
#[test]
fn a_target_that_cannot_be_reached_is_a_warning() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap();
    let (status, target) = row(&open.to_string(), "target", &[]);
    assert_eq!((status, &target["outcome"]), (0, &json!("ok")), "{target}");
    for (host, why) in [
        ("127.0.0.1:1".to_owned(), "connection refused"),
        ("mlab1-lga0t.invalid:80".to_owned(), "cannot resolve mlab1-lga0t.invalid: "),
        ("[::1]:1".to_owned(), "cannot connect to ::1 port 1"),
    ] {
        let (status, target) = row(&host, "target", &[]);
        assert_eq!((status, &target["outcome"]), (0, &json!("warning")), "{target}");
        let detail = target["detail"].as_str().unwrap().to_lowercase();
        assert!(detail.contains(why) && detail.ends_with("the command will probably fail"), "{target}");
    }
}

/// A command that the run would not find, or could not run, does not fail the check, but it is reported.
#[test]
fn a_command_that_would_not_run_is_a_warning() {
    let folder = Folder::new();
    let empty = folder.path("empty");
    super::write_executable(&empty, b"");
    for (words, outcome, why) in [
        (&["--", "true"][..], "ok", "/true"),
        (&[], "skipped", "no command was given"),
        (&["--", "no-such-probe"], "warning", "cannot run no-such-probe: not found"),
        (&["--", "/etc/passwd"], "warning", "cannot run /etc/passwd: Permission denied"),
        (&["--", "/etc"], "warning", "it is a directory"),
        (&["--", empty.to_str().unwrap()], "warning", "not an executable for this machine"),
        (&["--", "/proc/nonexistent/probe"], "warning", "not found"),
    ] {
        let (status, command) = row("127.0.0.1:1", "command", words);
        assert_eq!((status, command["outcome"].as_str().unwrap()), (0, outcome), "{words:?}: {command}");
        assert!(command["detail"].as_str().unwrap().contains(why), "{words:?}: {command}");
    }
}
