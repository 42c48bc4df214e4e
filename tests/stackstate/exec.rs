//! `stackstate exec`: its token, and how it is found in the list; `tokens.rs` has the tests for all issuers.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{CONTROL, stackstate, token_of};
use crate::support::api::{environment, relay, shell};
use crate::support::issuer::{STACKSTATE, UNKNOWN_TOKEN};
use crate::support::job::Job;
use crate::support::{Sandbox, http, run};

const CREATE: &str = STACKSTATE.create;
const DELETE: &str = STACKSTATE.delete;

fn exec(sandbox: &Sandbox) -> Command {
    STACKSTATE.exec(sandbox)
}

#[test]
fn the_command_finds_what_sts_needs() {
    let sandbox = Sandbox::start(&[]);
    let seen = environment(&mut exec(&sandbox));
    let value = |name: &str| seen.get(name).map(String::as_str);
    let token = value("SERVICE_TOKEN").unwrap();
    assert!(token.starts_with("svctok-"), "{seen:?}");
    assert_eq!(value("SERVICE_AUTHORIZATION"), Some(format!("ApiKey {token}").as_str()));
    assert_eq!(value("STS_CLI_SERVICE_TOKEN"), Some(token));
    assert_eq!(value("STS_CLI_URL"), Some(sandbox.var("STS_CLI_URL")));
    assert_eq!(value("STS_CLI_API_TOKEN"), None);
    // Variables of other issuers stay set, so that calls can be nested.
    assert_eq!(value("GAFAELFAWR_ADMIN_TOKEN"), Some(sandbox.var("GAFAELFAWR_ADMIN_TOKEN")));
    STACKSTATE.made_and_deleted(&sandbox);
}

/// `sts` would take another path from its context.
#[test]
fn the_command_gets_the_path_of_the_api_that_was_used() {
    let sandbox = Sandbox::start(&[]);
    for other in [None, Some("/other")] {
        let mut command = exec(&sandbox);
        command.arg("--api-path=/api");
        other.map(|path| command.env("STS_CLI_API_PATH", path));
        let seen = environment(&mut command);
        assert_eq!(seen.get("STS_CLI_API_PATH").map(String::as_str), Some("/api"));
    }
}

#[test]
fn the_program_itself_works_with_the_token_that_it_hands_over() {
    let sandbox = Sandbox::start(&[]);
    let nested = [env!("CARGO_BIN_EXE_monitoring-token"), "stackstate", "list"];
    let mut outer = sandbox.token();
    outer.args(["stackstate", "exec", "-n=nested", "--roles=stackstate-admin", "-output=inherit", "--"]);
    let ended = run(outer.args(nested));
    assert!(ended.succeeded().stdout.contains(" | nested-"), "{ended:?}");
    STACKSTATE.made_and_deleted(&sandbox);
}

#[test]
fn the_token_has_a_name_of_its_own_and_expires_soon_after_the_timeout() {
    let sandbox = Sandbox::start(&[]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    for timeout in ["-timeout=60s", "-timeout=1h"] {
        run(shell(exec(&sandbox).args(["--name=probe", timeout]), "exit 0")).succeeded();
    }
    let requests = sandbox.shows("/sandbox/requests");
    let made: Vec<&Value> =
        requests.as_array().unwrap().iter().filter(|request| request["method"] == "POST").collect();
    let name = |at: usize| made[at]["body"]["name"].as_str().unwrap();
    assert!(name(0).starts_with("probe-") && name(0) != name(1), "{made:?}");
    let lifetime = |at: usize| u128::from(made[at]["body"]["expiryDate"].as_u64().unwrap()) - now;
    assert!((300_000..600_000).contains(&lifetime(0)), "{made:?}");
    assert!((3_600_000..4_000_000).contains(&lifetime(1)), "{made:?}");
}

#[test]
fn a_lost_answer_leaves_no_orphan_and_other_tokens_alone() {
    let sandbox = Sandbox::start(&[]);
    token_of(&stackstate(&sandbox, &["create", "-n=x", "--roles=stackstate-power-user"]));
    sandbox.misbehave(&format!(r#"{{"status":502,"body":"","only":"{CREATE}","after":true}}"#));
    run(exec(&sandbox).args(["--", "true"])).failed_with(125, &["502"]);
    let left = sandbox.made_tokens(CONTROL);
    assert_eq!((left.len(), &left[0]["name"]), (1, &Value::from("x")));
}

#[test]
fn a_credential_without_permission_creates_no_token() {
    let sandbox = Sandbox::start(&[]);
    let weak = token_of(&stackstate(&sandbox, &["create", "-n=weak", "--roles=stackstate-power-user"]));
    let mut command = exec(&sandbox);
    command.env_remove("STS_CLI_API_TOKEN").env("STS_CLI_SERVICE_TOKEN", weak).args(["--", "true"]);
    run(&mut command).failed_with(125, &["does not allow this credential to list the tokens"]);
    assert_eq!(STACKSTATE.creations(&sandbox), 1);
}

#[test]
fn a_token_that_is_not_listed_is_not_taken_for_deleted() {
    let sandbox = Sandbox::start(&[]);
    sandbox.misbehave(r#"{"status":200,"body":"[]","only":"GET /api/security/tokens"}"#);
    // The end of the scrape leaves the revocation less than its five seconds.
    let deadline = (SystemTime::now() + Duration::from_secs(4)).duration_since(UNIX_EPOCH).unwrap();
    let ended =
        run(exec(&sandbox).env("SCRIPT_DEADLINE", deadline.as_secs_f64().to_string()).args(["--", "true"]));
    ended.said(0, &["could not delete the token", "not listed", "stackstate delete --name"]);
    assert_eq!(sandbox.made_tokens(CONTROL).len(), 1);
}

#[test]
fn a_token_that_no_server_would_take_is_refused_and_deleted() {
    for (token, is_usable) in [
        ("t".repeat(8 * 1024), true),
        ("t".repeat(8 * 1024 + 1), false),
        ("t".repeat(300_000), false),
        (String::new(), false),
        ("two words".to_owned(), false),
        ("svctok-\u{e4}".to_owned(), false),
    ] {
        let sandbox = Sandbox::start(&[]);
        let url = relay(sandbox.var("STS_CLI_URL"), move |request, pass_on| {
            let answer = pass_on(request);
            if !request.starts_with("POST") {
                return answer;
            }
            let mut body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
            body["token"] = token.clone().into();
            http("200 OK", "", &body.to_string())
        });
        let ended = run(STACKSTATE.exec(&sandbox).env("STS_CLI_URL", &url).args(["--", "true"]));
        assert_eq!(ended.status, if is_usable { 0 } else { 125 }, "{ended:?}");
        STACKSTATE.nothing_is_left(&sandbox);
    }
}

#[test]
fn a_token_that_is_listed_late_is_deleted() {
    let sandbox = Sandbox::start(&[]);
    let list = "GET /api/security/tokens";
    let fault = r#"{"status":200,"body":"[]","times":3,"only":"GET /api/security/tokens"}"#;
    sandbox.misbehave(fault);
    run(exec(&sandbox).args(["--", "true"])).succeeded();
    assert_eq!(sandbox.requests().iter().filter(|line| *line == list).count(), 4);
    STACKSTATE.made_and_deleted(&sandbox);
}

#[test]
fn only_204_says_that_the_token_is_deleted() {
    let sandbox = Sandbox::start(&[]);
    sandbox.misbehave(&format!(r#"{{"status":200,"body":"<html>login</html>","only":"{DELETE}"}}"#));
    let ended = run(exec(&sandbox).args(["--", "true"]));
    ended.said(0, &["could not delete the token", "a response that is not StackState JSON"]);
    let id = sandbox.made_tokens(CONTROL)[0]["id"].to_string();
    stackstate(&sandbox, &["delete", &id]).failed_with(125, &["a response that is not StackState JSON"]);
}

#[test]
fn an_answer_of_a_proxy_that_lost_the_creation_leaves_no_orphan() {
    for status in [408, 520, 499, 303] {
        let sandbox = Sandbox::start(&[]);
        sandbox
            .misbehave(&format!(r#"{{"status":{status},"body":"<html>","only":"{CREATE}","after":true}}"#));
        run(exec(&sandbox).args(["--", "true"])).failed_with(125, &[]);
        STACKSTATE.made_and_deleted(&sandbox);
    }
}

#[test]
fn the_command_line_that_deletes_a_token_can_be_pasted() {
    let sandbox = Sandbox::start(&[]);
    sandbox.misbehave(&format!(r#"{{"status":403,"body":"","only":"{DELETE}"}}"#));
    for (name, quoted) in [("nightly job", "'nightly job-"), ("ci;id", "'ci;id-"), ("it's", r"'it'\''s-")] {
        let ended = run(exec(&sandbox).args(["--name", name, "--", "true"]));
        ended.said(0, &[&format!("; to delete it now: monitoring-token stackstate delete --name {quoted}")]);
    }
}

/// The first of two runs that ended deleted the subject of the other.
#[test]
fn each_run_has_a_dedicated_subject_of_its_own() {
    let sandbox = Sandbox::start(&[]);
    for _ in 0..2 {
        run(exec(&sandbox).args(["--dedicated-subject=metrics", "--", "true"])).succeeded();
    }
    let requests = sandbox.shows("/sandbox/requests");
    let subjects =
        requests.as_array().unwrap().iter().filter_map(|it| it["body"]["dedicatedSubject"].as_str());
    let subjects: Vec<&str> = subjects.collect();
    assert_eq!(subjects.len(), 2, "{subjects:?}");
    assert!(subjects.iter().all(|subject| subject.starts_with("metrics-")), "{subjects:?}");
    assert_ne!(subjects[0], subjects[1]);
}

/// The run looked for it for five seconds, and then said that it was left.
#[test]
fn a_token_that_somebody_else_has_deleted_is_not_missed() {
    let sandbox = Sandbox::start(&[]);
    let mut job = Job::prepare(
        exec(&sandbox),
        // A new token may only be unknown to a replica that is behind.
        &["sh", "-c", "sleep 4; echo >$D/ready; until [ -e $D/go ]; do sleep 0.05; done"],
        |_| {},
    );
    job.note("ready");
    let id = sandbox.made_tokens(CONTROL)[0]["id"].to_string();
    stackstate(&sandbox, &["delete", &id]).succeeded();
    let before = sandbox.requests().len();
    job.leave("go");
    let ended = job.finish();
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
    let asked = &sandbox.requests()[before..];
    assert_eq!(asked, ["GET /api/security/tokens", "GET /api/server/info"]);
}

/// The story: the token of a short command was taken for deleted by somebody else, because the replica that serves reads
/// did not know it yet, and stayed valid.
#[test]
fn a_new_token_that_a_replica_does_not_know_yet_is_deleted() {
    let sandbox = Sandbox::start(&[]);
    let mut hidden = 0;
    let url = relay(sandbox.var("STS_CLI_URL"), move |request, pass_on| {
        let answer = pass_on(request);
        if request.starts_with(CREATE) {
            hidden = 4;
        } else if hidden > 0 && request.starts_with("GET /api/security/tokens ") {
            hidden -= 1;
            return http("200 OK", "", "[]");
        } else if hidden > 0 && request.to_lowercase().contains("x-api-key: ") {
            return http("401 Unauthorized", "", UNKNOWN_TOKEN);
        }
        answer
    });
    run(exec(&sandbox).env("STS_CLI_URL", url).args(["--", "true"])).succeeded();
    STACKSTATE.made_and_deleted(&sandbox);
}

/// The list was behind, and the run denied that there is a token.
#[test]
fn a_token_that_is_listed_late_after_an_error_or_an_unusable_answer_is_deleted() {
    for (status, body, is_listed) in [
        ("500 x", "oops", true),
        ("200 OK", r#"{"name":"x","token":"*** removed ***"}"#, true),
        ("201 Created", "{}", true),
        // A gateway does not pass on responses with a token in them.
        ("403 Forbidden", "<h1>Blocked</h1>", true),
        ("406 Not Acceptable", "<h1>Blocked</h1>", true),
        ("200 OK", "{}", false),
    ] {
        let sandbox = Sandbox::start(&[]);
        let mut looks = None;
        let url = relay(sandbox.var("STS_CLI_URL"), move |request, pass_on| {
            let answer = pass_on(request);
            if request.starts_with(CREATE) {
                looks = Some(0);
                return http(status, "", body);
            }
            let is_behind = looks.as_mut().is_some_and(|looks| {
                *looks += 1;
                !is_listed || *looks <= 3
            });
            let is_list = request.starts_with("GET /api/security/tokens ");
            if is_behind && is_list { http("200 OK", "", "[]") } else { answer }
        });
        let ended = run(exec(&sandbox).env("STS_CLI_URL", url).args(["--", "true"]));
        if is_listed {
            ended.failed_with(125, &["; no token is left"]);
            STACKSTATE.made_and_deleted(&sandbox);
        } else {
            ended.failed_with(
                125,
                &["its creation was not confirmed, and it is not listed", "delete --name x-"],
            );
        }
    }
}
