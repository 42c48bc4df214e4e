//! A creation whose response was lost: which tokens are deleted, and which are left alone.
//!
//! Twenty runs whose request was lost and twenty good ones of the same user, against a real Gafaelfawr: one or two of
//! the good ones lost their token in every round, because a lost run had drawn the same expiry and took the good one's
//! token for its own.

use super::CONTROL;
use super::exec::exec;
use crate::rotate::later;
use crate::support::api::{proxy, relay};
use crate::support::issuer::GAFAELFAWR;
use crate::support::job::Folder;
use crate::support::{Sandbox, eventually, finish, http, run, start};

const CREATE: &str = GAFAELFAWR.create;
const DELETE: &str = GAFAELFAWR.delete;
const LEFT: &str = "see: monitoring-token gafaelfawr list --username bot-x";

fn deletions(sandbox: &Sandbox) -> usize {
    sandbox.requests().iter().filter(|line| line.starts_with(DELETE)).count()
}

/// Asserts that one token is left, and that it expires.
#[track_caller]
fn one_is_left(sandbox: &Sandbox) {
    let made = sandbox.made_tokens(CONTROL);
    assert_eq!((made.len(), deletions(sandbox)), (1, 0), "{made:?}");
    let lifetime = made[0]["expires"].as_u64().unwrap() - made[0]["created"].as_u64().unwrap();
    assert!(lifetime < 5 * 3600, "{made:?}");
}

#[test]
fn a_token_that_must_be_this_runs_is_deleted() {
    for status in [200, 201, 303, 408, 429, 500, 502, 504, 520] {
        let sandbox = Sandbox::start(&[]);
        sandbox
            .misbehave(&format!(r#"{{"status":{status},"body":"<html>","only":"{CREATE}","after":true}}"#));
        let ended = run(exec(&sandbox).args(["-retries=0", "--", "true"]));
        ended.failed_with(125, &[]);
        assert!(!ended.stderr.contains("could not delete"), "{status}: {ended:?}");
        GAFAELFAWR.nothing_is_left(&sandbox);
    }
}

/// Another new token of the user makes it impossible to prove anything, but the header names the right one.
#[test]
fn the_location_of_an_answer_that_broke_off_names_the_token() {
    let sandbox = Sandbox::start(&[]);
    let url = relay(sandbox.var("GAFAELFAWR_URL"), |request, pass_on| {
        let answer = pass_on(request);
        if !request.starts_with(CREATE) {
            return answer;
        }
        pass_on(request);
        let location = answer.lines().find(|line| line.to_lowercase().starts_with("location: ")).unwrap();
        http("201 Created", &format!("{location}\r\n"), "{\"token\":")
    });
    let ended = run(exec(&sandbox).env("GAFAELFAWR_URL", url).args(["--", "true"]));
    ended.failed_with(125, &["a response that is not Gafaelfawr JSON"]);
    assert!(!ended.stderr.contains("could not delete"), "{ended:?}");
    assert_eq!((sandbox.made_tokens(CONTROL).len(), deletions(&sandbox)), (1, 1));
}

#[test]
fn without_any_answer_nothing_is_deleted_and_the_warning_names_the_candidate() {
    let sandbox = Sandbox::start(&[]);
    let address = proxy(sandbox.var("GAFAELFAWR_URL"), |head| head.starts_with(CREATE).then(String::new));
    let ended = run(exec(&sandbox).env("GAFAELFAWR_URL", format!("http://{address}")).args(["--", "true"]));
    let key = sandbox.made_tokens(CONTROL)[0]["token"].as_str().unwrap().to_owned();
    ended.failed_with(125, &["could not delete the token", &key, "may belong to another run", LEFT]);
    one_is_left(&sandbox);
    // Nor is one left after the timeout, or if the request never arrived.
    let sandbox = Sandbox::start(&[]);
    sandbox.misbehave(&format!(r#"{{"delay_ms":20000,"only":"{CREATE}","after":true}}"#));
    let child = start(exec(&sandbox).args(["-timeout=500ms", "--", "true"]));
    eventually("the token", || (sandbox.made_tokens(CONTROL).len() == 1).then_some(()));
    finish(child).failed_with(124, &["timed out after", "may belong to another run", LEFT]);
    one_is_left(&sandbox);
    let sandbox = Sandbox::start(&[]);
    let url = relay(sandbox.var("GAFAELFAWR_URL"), |request, pass_on| {
        if request.starts_with(CREATE) { String::new() } else { pass_on(request) }
    });
    let ended = run(exec(&sandbox).env("GAFAELFAWR_URL", url).args(["--", "true"]));
    ended.failed_with(125, &["its creation was not confirmed, and it is not listed", LEFT]);
}

/// The story: the token was said not to be left, if the gateway's clock, which wrote the `Date`, was ahead of Gafaelfawr's.
#[test]
fn a_token_that_seems_to_be_older_than_the_run_is_named() {
    for answer in [http("500 Internal Server Error", "", ""), http("201 Created", "", "{}")] {
        let sandbox = Sandbox::start(&[]);
        let url = relay(sandbox.var("GAFAELFAWR_URL"), move |request, pass_on| {
            let passed_on = pass_on(request);
            if request.starts_with(CREATE) { answer.clone() } else { later(&passed_on, 60) }
        });
        let ended = run(exec(&sandbox).env("GAFAELFAWR_URL", url).args(["--", "true"]));
        let key = sandbox.made_tokens(CONTROL)[0]["token"].as_str().unwrap().to_owned();
        ended.failed_with(125, &["could not delete the token", &key, "may belong to another run", LEFT]);
        one_is_left(&sandbox);
    }
}

/// The other run's token has the same user, scopes and expiry, and was created in the same second.
#[test]
fn a_lost_request_never_costs_another_runs_token() {
    for more in [0, 1] {
        for lost in ["", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"] {
            if more == 0 && !lost.is_empty() {
                // A gateway's error counts as a response; the expiry distinguishes the runs.
                continue;
            }
            let sandbox = Sandbox::start(&[]);
            let url = relay(sandbox.var("GAFAELFAWR_URL"), move |request, pass_on| {
                if !request.starts_with(CREATE) {
                    return pass_on(request);
                }
                for _ in 0..=more {
                    pass_on(request);
                }
                lost.to_owned()
            });
            let ended = run(exec(&sandbox).env("GAFAELFAWR_URL", url).args(["--", "true"]));
            ended.failed_with(125, &["may belong to another run", LEFT]);
            assert_eq!((sandbox.made_tokens(CONTROL).len(), deletions(&sandbox)), (more + 1, 0));
        }
    }
}

/// Of twenty good and twenty lost runs at once, the good ones keep their token to the end.
#[test]
fn good_runs_keep_their_token_beside_lost_ones() {
    let sandbox = Sandbox::start(&[]);
    let url = relay(sandbox.var("GAFAELFAWR_URL"), |request, pass_on| {
        if request.starts_with(CREATE) { String::new() } else { pass_on(request) }
    });
    let folder = Folder::new();
    let go = folder.path("go");
    let script = format!("while ! [ -e {} ]; do sleep 0.05; done", go.display());
    let good: Vec<_> = (0..10)
        .map(|_| start(crate::support::api::shell(exec(&sandbox).arg("-timeout=25s"), &script)))
        .collect();
    let lost: Vec<_> =
        (0..10).map(|_| start(exec(&sandbox).env("GAFAELFAWR_URL", &url).args(["--", "true"]))).collect();
    for child in lost {
        finish(child).failed_with(125, &["its creation was not confirmed"]);
    }
    eventually("ten tokens", || (sandbox.made_tokens(CONTROL).len() == 10).then_some(()));
    assert_eq!(deletions(&sandbox), 0);
    std::fs::write(&go, "").unwrap();
    for child in good {
        finish(child).succeeded();
    }
    GAFAELFAWR.nothing_is_left(&sandbox);
}
