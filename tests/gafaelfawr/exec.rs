//! `gafaelfawr exec`: its token, and how it is found again; `tokens.rs` has the tests for all issuers.

use std::process::Command;

use super::CONTROL;
use crate::support::api::{ask, environment, shell};
use crate::support::issuer::GAFAELFAWR;
use crate::support::job::Folder;
use crate::support::{Sandbox, file_line, finish, kill, run, start};

const CREATE: &str = GAFAELFAWR.create;
const DELETE: &str = GAFAELFAWR.delete;

pub fn exec(sandbox: &Sandbox) -> Command {
    GAFAELFAWR.exec(sandbox)
}

#[test]
fn the_command_finds_the_token_and_not_the_administrators() {
    let sandbox = Sandbox::start(&[]);
    let seen = environment(exec(&sandbox).arg("--env-name=MY_TOKEN").env("STS_CLI_API_TOKEN", "other"));
    let value = |name: &str| seen.get(name).map(String::as_str);
    let token = value("MY_TOKEN").unwrap();
    assert!(token.starts_with("gt-"), "{seen:?}");
    assert_eq!(value("SERVICE_AUTHORIZATION"), Some(format!("bearer {token}").as_str()));
    assert_eq!(value("GAFAELFAWR_URL"), Some(sandbox.var("GAFAELFAWR_URL")));
    assert_eq!(value("STS_CLI_API_TOKEN"), Some("other"));
    assert_eq!((value("GAFAELFAWR_ADMIN_TOKEN"), value("SERVICE_TOKEN")), (None, None), "{seen:?}");
    assert!(!format!("{seen:?}").contains(sandbox.var("GAFAELFAWR_ADMIN_TOKEN")), "{seen:?}");
    GAFAELFAWR.made_and_deleted(&sandbox);
}

#[test]
fn the_token_works_during_the_run_and_expires_soon_after_it() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let ready = folder.path("ready");
    let script = format!("echo \"$SERVICE_AUTHORIZATION\" > {}; exec sleep 60", ready.display());
    let child = start(shell(exec(&sandbox).arg("-timeout=50s"), &script));
    let authorization = file_line(&ready).trim().to_owned();
    let path = "/sasquatch-rest-proxy/topics/x";
    let header = [("Authorization".to_owned(), authorization)];
    assert_eq!(ask(&sandbox, "POST", path, &header, Some("{}")).status, 200);
    let made = &sandbox.made_tokens(CONTROL)[0];
    let lifetime = made["expires"].as_u64().unwrap() - made["created"].as_u64().unwrap();
    assert!((300..5 * 3600).contains(&lifetime), "{made}");
    kill(child.id(), libc::SIGTERM);
    assert_eq!(finish(child).status, 143);
    GAFAELFAWR.nothing_is_left(&sandbox);
    assert_eq!(ask(&sandbox, "POST", path, &header, Some("{}")).status, 401);
}

#[test]
fn a_signal_before_the_request_creates_no_token() {
    let sandbox = Sandbox::start(&[]);
    sandbox.misbehave(r#"{"delay_ms":20000,"only":"GET /auth/api/v1/token-info"}"#);
    let child = start(exec(&sandbox).args(["--", "true"]));
    sandbox.awaits("GET /auth/api/v1/token-info");
    kill(child.id(), libc::SIGTERM);
    finish(child).failed_with(143, &["SIGTERM", "not run"]);
    assert!(!sandbox.requests().iter().any(|line| line == CREATE));
    GAFAELFAWR.nothing_is_left(&sandbox);
}

#[test]
fn a_creation_that_failed_is_not_tried_again() {
    let sandbox = Sandbox::start(&[]);
    sandbox.misbehave(&format!(r#"{{"status":500,"body":"Internal Server Error","only":"{CREATE}"}}"#));
    run(exec(&sandbox).args(["--", "true"])).failed_with(125, &["server error"]);
    assert_eq!(GAFAELFAWR.creations(&sandbox), 1);
    GAFAELFAWR.nothing_is_left(&sandbox);
}

#[test]
fn a_failed_revocation_is_a_warning_that_says_what_to_do() {
    let sandbox = Sandbox::start(&[]);
    sandbox.misbehave(r#"{"status":500,"body":"Internal Server Error","only":"DELETE /auth/"}"#);
    let ended = run(shell(exec(&sandbox).arg("-retries=1"), "exit 3"));
    ended.failed_with(3, &["warning: could not delete the token", "expires at"]);
    let made = &sandbox.made_tokens(CONTROL)[0];
    let key = made["token"].as_str().unwrap();
    assert!(ended.stderr.contains("gafaelfawr delete --username bot-x") && ended.stderr.contains(key));
    assert!(!ended.stderr.contains("gt-"), "{ended:?}");
    // -retries does not apply here: all of the five seconds are used.
    assert!(sandbox.requests().iter().filter(|line| line.starts_with(DELETE)).count() > 3);
}

#[test]
fn a_hanging_revocation_is_abandoned() {
    let sandbox = Sandbox::start(&[]);
    sandbox.misbehave(r#"{"delay_ms":60000,"only":"DELETE /auth/"}"#);
    // The end of the scrape leaves the revocation less than its five seconds.
    let deadline = std::time::SystemTime::now() + std::time::Duration::from_secs(4);
    let deadline = deadline.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let ended = run(exec(&sandbox).env("SCRIPT_DEADLINE", deadline.to_string()).args(["--", "true"]));
    ended.said(0, &["warning: could not delete the token: gave up after", "gafaelfawr delete"]);
}

#[test]
fn sigkill_leaves_only_a_token_that_expires_within_hours() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let ready = folder.path("ready");
    let child = start(shell(
        exec(&sandbox).arg("-timeout=5s"),
        &format!("echo > {}; exec sleep 60", ready.display()),
    ));
    file_line(&ready);
    kill(child.id(), libc::SIGKILL);
    assert_eq!(finish(child).status, -1);
    let made = sandbox.made_tokens(CONTROL);
    assert_eq!(made.len(), 1);
    let lifetime = made[0]["expires"].as_u64().unwrap() - made[0]["created"].as_u64().unwrap();
    assert!(lifetime < 5 * 3600, "{made:?}");
}

#[test]
fn a_credential_that_could_not_delete_makes_nothing() {
    let sandbox = Sandbox::start(&[]);
    let state = sandbox.shows(CONTROL);
    let bootstrap = state["bootstrap_token"].as_str().unwrap();
    run(exec(&sandbox).env("GAFAELFAWR_ADMIN_TOKEN", bootstrap).args(["--", "true"]))
        .failed_with(125, &["or it is the bootstrap token"]);
    let weak = ["gafaelfawr", "create", "--username=bot-weak", "--scopes=read:all"];
    let weak = run(sandbox.token().args(weak)).succeeded().stdout.trim().to_owned();
    run(exec(&sandbox).env("GAFAELFAWR_ADMIN_TOKEN", weak).args(["--", "true"]))
        .failed_with(125, &["bot-weak", "lacks the scope admin:token"]);
    assert_eq!(GAFAELFAWR.creations(&sandbox), 1);
}

#[test]
fn a_failed_revocation_is_in_the_metrics() {
    let folder = Folder::new();
    let file = folder.path("run.prom");
    let metrics = format!("-metrics-textfile={}", file.display());
    for (fault, failed) in [("{}", 0), (r#"{"status":403,"body":"","only":"DELETE /auth/"}"#, 1)] {
        let sandbox = Sandbox::start(&[]);
        sandbox.misbehave(fault);
        assert_eq!(run(exec(&sandbox).arg(&metrics).args(["--", "true"])).status, 0);
        let written = std::fs::read_to_string(&file).unwrap();
        let value = |line: &str| line.rsplit(' ').next().map(str::to_owned);
        let stage = |name: &str| {
            let found =
                written.lines().find(|line| line.starts_with(name) && line.contains("stage=\"revoke\""));
            found.and_then(value)
        };
        assert_eq!(stage("monitoring_token_failed_stage"), Some(format!("{failed}.0")), "{written}");
        assert!(stage("monitoring_token_stage_duration_seconds").is_some(), "{written}");
        assert!(written.contains("service=\"gafaelfawr\""), "{written}");
    }
}
