//! `stackstate exec`: the token is gone afterwards, whatever ends the run and whenever.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{CONTROL, sts, token_of};
use crate::support::api::shell;
use crate::support::{Sandbox, file_line, finish, kill, run, start};

const CREATE: &str = "POST /api/security/tokens";
const DELETE: &str = "DELETE /api/security/tokens/";

fn exec(sandbox: &Sandbox) -> Command {
    let mut command = sandbox.token();
    command.args(["stackstate", "exec", "--roles=stackstate-power-user"]);
    command
}

#[track_caller]
fn made_and_deleted(sandbox: &Sandbox) {
    assert_eq!(sandbox.made_tokens(CONTROL), Vec::<Value>::new());
    let requests = sandbox.requests();
    assert_eq!(requests.iter().filter(|line| *line == CREATE).count(), 1, "{requests:?}");
    assert!(requests.last().unwrap().starts_with(DELETE), "{requests:?}");
}

#[test]
fn the_command_finds_what_sts_needs() {
    let sandbox = Sandbox::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("environment");
    let script = format!("env > {}", seen.display());
    run(shell(&mut exec(&sandbox), &script)).succeeded();
    let seen = std::fs::read_to_string(seen).unwrap();
    let value = |name: &str| seen.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    let token = value("SERVICE_TOKEN").unwrap();
    assert!(token.starts_with("svctok-"), "{seen}");
    assert_eq!(value("SERVICE_AUTHORIZATION"), Some(format!("ApiKey {token}").as_str()));
    assert_eq!(value("STS_CLI_SERVICE_TOKEN"), Some(token));
    assert_eq!(value("STS_CLI_URL"), Some(sandbox.var("STS_CLI_URL")));
    assert_eq!(value("STS_CLI_API_TOKEN"), None);
    // Another mode's stay, so that calls can be nested.
    assert_eq!(value("GAFAELFAWR_ADMIN_TOKEN"), Some(sandbox.var("GAFAELFAWR_ADMIN_TOKEN")));
    made_and_deleted(&sandbox);
}

#[test]
fn the_program_itself_works_with_the_token_that_it_hands_over() {
    let sandbox = Sandbox::start(&[]);
    let nested = [env!("CARGO_BIN_EXE_monitoring-token"), "stackstate", "list"];
    let mut outer = sandbox.token();
    outer.args(["stackstate", "exec", "-n=nested", "--roles=stackstate-admin", "-output=inherit", "--"]);
    let ended = run(outer.args(nested));
    assert!(ended.succeeded().stdout.contains(" | nested-"), "{ended:?}");
    made_and_deleted(&sandbox);
}

#[test]
fn the_token_has_a_name_of_its_own_and_expires_in_minutes() {
    let sandbox = Sandbox::start(&[]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    for _ in 0..2 {
        run(shell(exec(&sandbox).arg("--name=probe"), "exit 0")).succeeded();
    }
    let requests = sandbox.shows("/sandbox/requests");
    let made: Vec<&Value> =
        requests.as_array().unwrap().iter().filter(|request| request["method"] == "POST").collect();
    let name = |at: usize| made[at]["body"]["name"].as_str().unwrap();
    assert!(name(0).starts_with("probe-") && name(0) != name(1), "{made:?}");
    let lifetime = u128::from(made[0]["body"]["expiryDate"].as_u64().unwrap()) - now;
    assert!((300_000..600_000).contains(&lifetime), "{made:?}");
}

#[test]
fn the_token_is_deleted_however_the_command_ends() {
    for (args, script, status) in
        [(&[][..], "exit 0", 0), (&[], "exit 7", 7), (&["-timeout=1s", "-kill-after=0"], "sleep 60", 124)]
    {
        let sandbox = Sandbox::start(&[]);
        assert_eq!(run(shell(exec(&sandbox).args(args), script)).status, status, "{script}");
        made_and_deleted(&sandbox);
    }
    let sandbox = Sandbox::start(&[]);
    run(exec(&sandbox).args(["--", "/no/such/program"])).failed_with(127, &["/no/such/program"]);
    made_and_deleted(&sandbox);
}

#[test]
fn the_token_is_deleted_after_every_forwarded_signal() {
    let folder = tempfile::tempdir().unwrap();
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2] {
        let sandbox = Sandbox::start(&[]);
        let ready = folder.path().join(signal.to_string());
        let child = start(shell(&mut exec(&sandbox), &format!("echo > {}; exec sleep 60", ready.display())));
        file_line(&ready);
        kill(child.id(), signal);
        assert_eq!(finish(child).status, 128 + signal);
        made_and_deleted(&sandbox);
    }
}

#[test]
fn a_signal_in_the_middle_of_the_creation_leaves_nothing() {
    for after in [true, false] {
        let sandbox = Sandbox::start(&[]);
        sandbox.misbehave(&format!(r#"{{"delay_ms":700,"only":"{CREATE}","after":{after}}}"#));
        let child = start(exec(&sandbox).args(["--", "true"]));
        sandbox.awaits(CREATE);
        kill(child.id(), libc::SIGTERM);
        finish(child).failed_with(143, &["SIGTERM"]);
        made_and_deleted(&sandbox);
    }
}

#[test]
fn a_lost_answer_leaves_no_orphan_and_other_tokens_alone() {
    let sandbox = Sandbox::start(&[]);
    token_of(&sts(&sandbox, &["create", "-n=monitoring-token", "--roles=stackstate-power-user"]));
    sandbox.misbehave(&format!(r#"{{"status":502,"body":"","only":"{CREATE}","after":true}}"#));
    run(exec(&sandbox).args(["--", "true"])).failed_with(125, &["502"]);
    let left = sandbox.made_tokens(CONTROL);
    assert_eq!((left.len(), &left[0]["name"]), (1, &Value::from("monitoring-token")));
}

#[test]
fn a_signal_during_the_revocation_is_remembered_and_does_not_cut_it_short() {
    let sandbox = Sandbox::start(&[]);
    sandbox.misbehave(&format!(r#"{{"delay_ms":700,"only":"{DELETE}"}}"#));
    let child = start(exec(&sandbox).args(["--", "true"]));
    sandbox.awaits(DELETE);
    kill(child.id(), libc::SIGTERM);
    finish(child).failed_with(143, &["while the token was deleted"]);
    made_and_deleted(&sandbox);
}

#[test]
fn a_failed_revocation_is_a_warning_that_says_what_to_do() {
    let sandbox = Sandbox::start(&[]);
    sandbox.misbehave(&format!(r#"{{"status":500,"body":"","only":"{DELETE}"}}"#));
    let ended = run(shell(exec(&sandbox).arg("-retries=0"), "exit 3"));
    ended.failed_with(3, &["warning: could not delete the token", "expires at", "stackstate list"]);
    assert!(!ended.stderr.contains("svctok-"), "{ended:?}");
}

#[test]
fn a_credential_that_may_not_manage_tokens_makes_none() {
    let sandbox = Sandbox::start(&[]);
    let weak = token_of(&sts(&sandbox, &["create", "-n=weak", "--roles=stackstate-power-user"]));
    let mut command = exec(&sandbox);
    command.env_remove("STS_CLI_API_TOKEN").env("STS_CLI_SERVICE_TOKEN", weak).args(["--", "true"]);
    run(&mut command).failed_with(125, &["forbids to list the tokens"]);
    assert_eq!(sandbox.requests().iter().filter(|line| *line == CREATE).count(), 1);
}

#[test]
fn a_token_that_is_not_listed_is_not_taken_for_deleted() {
    let sandbox = Sandbox::start(&[]);
    sandbox.misbehave(r#"{"status":200,"body":"[]","only":"GET /api/security/tokens"}"#);
    // The end of the scrape leaves the revocation less than its five seconds.
    let deadline = (SystemTime::now() + Duration::from_secs(4)).duration_since(UNIX_EPOCH).unwrap();
    let ended =
        run(exec(&sandbox).env("SCRIPT_DEADLINE", deadline.as_secs_f64().to_string()).args(["--", "true"]));
    ended.failed_with(0, &["could not delete the token", "not in the list", "stackstate list"]);
    assert_eq!(sandbox.made_tokens(CONTROL).len(), 1);
}

#[test]
fn a_token_that_is_listed_late_is_deleted() {
    let sandbox = Sandbox::start(&[]);
    let list = "GET /api/security/tokens";
    let fault = r#"{"status":200,"body":"[]","times":3,"only":"GET /api/security/tokens"}"#;
    sandbox.misbehave(fault);
    run(exec(&sandbox).args(["--", "true"])).succeeded();
    assert_eq!(sandbox.requests().iter().filter(|line| *line == list).count(), 4);
    made_and_deleted(&sandbox);
}

#[test]
fn only_204_says_that_the_token_is_deleted() {
    let sandbox = Sandbox::start(&[]);
    sandbox.misbehave(&format!(r#"{{"status":200,"body":"<html>login</html>","only":"{DELETE}"}}"#));
    let ended = run(exec(&sandbox).args(["--", "true"]));
    ended.failed_with(0, &["could not delete the token", "something else than StackState's JSON"]);
    let id = sandbox.made_tokens(CONTROL)[0]["id"].to_string();
    sts(&sandbox, &["delete", &id]).failed_with(125, &["something else than StackState's JSON"]);
}

#[test]
fn an_answer_of_a_proxy_that_lost_the_creation_leaves_no_orphan() {
    for status in [408, 520, 499, 303] {
        let sandbox = Sandbox::start(&[]);
        sandbox
            .misbehave(&format!(r#"{{"status":{status},"body":"<html>","only":"{CREATE}","after":true}}"#));
        run(exec(&sandbox).args(["--", "true"])).failed_with(125, &[]);
        made_and_deleted(&sandbox);
    }
}

#[test]
fn a_signal_during_the_revocation_does_not_hide_how_the_command_failed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.prom");
    for (script, signal, status) in
        [("exit 7", libc::SIGTERM, 7), ("exit 0", libc::SIGUSR1, 0), ("exit 0", libc::SIGTERM, 143)]
    {
        let sandbox = Sandbox::start(&[]);
        sandbox.misbehave(&format!(r#"{{"delay_ms":700,"only":"{DELETE}"}}"#));
        let metrics = format!("-metrics-textfile={}", file.display());
        let child = start(shell(exec(&sandbox).arg(metrics), script));
        sandbox.awaits(DELETE);
        kill(child.id(), signal);
        assert_eq!(finish(child).status, status, "{script}");
        let written = std::fs::read_to_string(&file).unwrap();
        let revoke = written.lines().find(|line| line.contains("failed_stage") && line.contains("revoke"));
        assert!(revoke.is_some_and(|line| line.ends_with(" 0.0")), "{written}");
        made_and_deleted(&sandbox);
    }
}
