//! Failures during `rotate`: lost responses, full disks, signals.

use std::fs;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use serde_json::Value;

use super::{DUE, Outcome as _, Rotated, Timed, expiry, later, now};
use crate::support::api::{proxy, read_request, relay};
use crate::support::issuer::{GAFAELFAWR, ISSUERS, Issuer, STACKSTATE, UNKNOWN_TOKEN, operand};
use crate::support::job::Folder;
use crate::support::{
    Ended, PATIENCE, Sandbox, eventually, exchange, finish, http, kill, namespace, run, serve, start,
};

/// A FILE whose issuer is always reached through a proxy.
fn through(issuer: Issuer, instead: impl Fn(&str) -> Option<String> + Send + 'static) -> (Rotated, String) {
    let rotated = Rotated::missing(issuer);
    let url = format!("http://{}", proxy(rotated.sandbox.var(rotated.issuer.url), instead));
    (rotated, url)
}

fn rotate(rotated: &Rotated, url: &str, args: &[&str]) -> Ended {
    run(rotated.command(args).env(rotated.issuer.url, url))
}

#[test]
fn a_lost_answer_to_the_creation_changes_nothing_and_its_token_is_deleted() {
    for issuer in ISSUERS {
        let broken = Arc::new(AtomicBool::new(false));
        let is_broken = broken.clone();
        let (rotated, url) = through(issuer, move |head| {
            let lost = head.starts_with("POST") && is_broken.load(Ordering::Relaxed);
            lost.then(|| http("502 Bad Gateway", "", ""))
        });
        rotate(&rotated, &url, &[]).rotated();
        let first = rotated.token();
        broken.store(true, Ordering::Relaxed);
        rotate(&rotated, &url, &[DUE])
            .failed_with(125, &["a server error when asked to create a token (HTTP 502"]);
        assert_eq!(rotated.token(), first);
        rotated.is_settled();
        broken.store(false, Ordering::Relaxed);
        rotate(&rotated, &url, &[DUE]).rotated();
        rotated.is_settled();
    }
}

/// A server that closes the connection in place of a response after the token was created.
fn cut_off(upstream: &str) -> String {
    let upstream = upstream.strip_prefix("http://").unwrap().to_owned();
    let address = serve(move |mut stream| {
        let request = read_request(&mut stream);
        if request.is_empty() {
            return;
        }
        let answer = exchange(&upstream, request.as_bytes());
        if !request.starts_with("POST") {
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}")
}

#[test]
fn a_connection_that_breaks_after_the_creation_leaves_no_token() {
    for issuer in ISSUERS {
        let rotated = Rotated::missing(issuer);
        let url = cut_off(rotated.sandbox.var(rotated.issuer.url));
        let ended = rotate(&rotated, &url, &[]);
        assert_eq!((ended.status, ended.stderr.lines().count()), (125, 1), "{ended:?}");
        assert!(!rotated.file().exists());
        rotated.issuer.nothing_is_left(&rotated.sandbox);
    }
}

/// The story: with each failed run the next one was less able to tell which tokens were its own, and left them all.
#[test]
fn tokens_of_several_lost_creations_are_told_apart_and_deleted() {
    let timed = Timed::new();
    let rotated = &timed.rotated;
    timed.rotate_at(0, &[]).rotated();
    let first = rotated.token();
    timed.loses_creations(true);
    // FILE has no working token, so each run after the pause tries to create one.
    rotated.delete_at_issuer();
    rotated.sandbox.misbehave(&format!(r#"{{"status":403,"body":"","only":"{}"}}"#, GAFAELFAWR.delete));
    for minutes in [0, 1, 3] {
        let ended = timed.rotate_at(minutes * 60, &["--retries=0"]);
        assert_eq!(ended.status, 125, "{ended:?}");
        assert_eq!(ended.stderr.matches("could not delete").count(), 1, "{ended:?}");
        assert_eq!(rotated.token(), first);
    }
    assert_eq!(rotated.tokens().len(), 3);
    timed.loses_creations(false);
    rotated.sandbox.misbehave("{}");
    timed.rotate_at(180, &[]).rotated();
    rotated.is_settled();
}

/// There may be warnings before the failure.
#[track_caller]
fn fails(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.status, 125, "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "no {word:?} in {ended:?}");
    }
    crate::support::messages::all_explained(&ended.stderr);
}

#[track_caller]
fn is_replaced(ended: &Ended) {
    assert!(ended.status == 0 && ended.stdout.contains("holds the new token"), "{ended:?}");
    crate::support::messages::all_explained(&ended.stderr);
}

/// The story: two hosts rotated two files of one user in the same second. A gateway refused the creation of one, which
/// took the token of the other for its own and deleted it.
#[test]
fn a_response_of_a_gateway_does_not_show_whose_a_token_with_a_short_lifetime_is() {
    let rotated = Rotated::missing(GAFAELFAWR);
    let other = rotated.folder.path("other");
    let file = other.clone();
    let url = relay(rotated.sandbox.var(GAFAELFAWR.url), move |request, pass_on| {
        let answer = pass_on(request);
        if !request.starts_with("POST") {
            return answer;
        }
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let token: Value = serde_json::from_str(body).unwrap();
        fs::write(&file, token["token"].as_str().unwrap()).unwrap();
        http("502 Bad Gateway", "", "")
    });
    for lifetime in ["--lifetime=5m", "--lifetime=6h"] {
        let ended = rotate(&rotated, &url, &[lifetime]);
        fails(&ended, &["(HTTP 502", "rotate may have created the token ", "to delete it now: "]);
        rotated.accepts(&fs::read_to_string(&other).unwrap());
        fs::remove_file(rotated.folder.path("token.state")).unwrap();
    }
    assert_eq!(rotated.issuer.creations(&rotated.sandbox), 2);
}

/// The story: while FILE had no working token, each run whose response was lost left one more.
#[test]
fn without_a_working_token_lost_creations_are_repeated_after_ever_longer_pauses() {
    const ARGS: &[&str] = &["--lifetime=5h"];
    const HOURS_5: u64 = 5 * 3600;
    let timed = Timed::new();
    timed.loses_creations(true);
    for (minutes, tokens) in [(0, 1), (1, 2), (3, 3)] {
        let ended = timed.rotate_at(minutes * 60, ARGS);
        fails(&ended, &["(HTTP 502", "rotate may have created the token"]);
        assert_eq!(timed.rotated.tokens().len(), tokens);
        let ended = timed.rotate_at(minutes * 60, ARGS);
        fails(&ended, &["did not rotate ", "rotate creates no new one before ", "holds no working token"]);
        let tokens = timed.rotated.tokens();
        for token in &tokens {
            let line = format!("delete --username bot-x {}", operand(token["token"].as_str().unwrap()));
            assert!(ended.stderr.contains(&line), "{ended:?}");
        }
        assert_eq!(timed.rotated.issuer.creations(&timed.rotated.sandbox), tokens.len());
    }
    timed.loses_creations(false);
    is_replaced(&timed.rotate_at(7 * 60, ARGS));
    timed.rotated.works();
    assert_eq!(timed.rotated.tokens().len(), 4);
    // Gafaelfawr still lists tokens that have expired, but they do not count.
    timed.rotated.delete_at_issuer();
    timed.rotate_at(HOURS_5 + 4 * 60, ARGS).rotated();
    timed.rotate_at(HOURS_5 + 4 * 60, ARGS).did_nothing();
}

/// The story: after a lost response, `rotate` waited until the extra token had expired, and so had the one in FILE.
#[test]
fn a_token_is_replaced_before_it_expires_although_an_extra_one_may_be_left() {
    const ARGS: &[&str] = &["--lifetime=6h"];
    let timed = Timed::new();
    timed.rotate_at(0, ARGS).rotated();
    let expires = expiry(&timed.rotated.tokens()[0]).unwrap();
    let rotate_before =
        |seconds: i64| timed.rotate_at(u64::try_from(expires - seconds - now()).unwrap(), ARGS);
    let is_held_before = |seconds: i64| {
        let ended = rotate_before(seconds);
        fails(&ended, &["did not rotate ", "rotate creates no new one before ", "is valid until "]);
        timed.rotated.works();
    };
    // The token is due two hours before it expires.
    timed.loses_creations(true);
    fails(&rotate_before(7000), &["(HTTP 502", "rotate may have created the token "]);
    is_held_before(6900);
    is_held_before(3700);
    fails(&rotate_before(3500), &["(HTTP 502", "rotate may have created the tokens "]);
    is_held_before(2000);
    timed.loses_creations(false);
    is_replaced(&rotate_before(1700));
    timed.rotated.works();
    assert_eq!(timed.rotated.tokens().len(), 3);
}

/// The story: a deletion that got no response took all the time of each run.
#[test]
fn a_deletion_without_a_response_leaves_time_for_the_creation() {
    for issuer in ISSUERS {
        let rotated = Rotated::fresh(issuer);
        rotated
            .sandbox
            .misbehave(&format!(r#"{{"status":403,"body":"","only":"{}"}}"#, rotated.issuer.delete));
        rotated.rotate(&[DUE]).said(0, &["could not delete the token "]);
        rotated.sandbox.misbehave("{}");
        rotated.delete_at_issuer();
        rotated.sandbox.misbehave(&format!(r#"{{"delay_ms":60000,"only":"{}"}}"#, rotated.issuer.delete));
        let ended = rotated.rotate(&["--timeout=8s"]);
        is_replaced(&ended);
        assert!(ended.stderr.contains("could not delete the token"), "{ended:?}");
        rotated.works();
    }
}

/// The story: each run whose answer was lost left one more token.
#[test]
fn while_an_extra_token_cannot_be_deleted_and_the_file_works_no_other_is_created() {
    for issuer in ISSUERS {
        let rotated = Rotated::fresh(issuer);
        let metrics = Folder::new();
        let textfile = metrics.path("rotate.prom");
        let no_deletion = format!(r#"{{"status":403,"body":"","only":"{}"}}"#, rotated.issuer.delete);
        rotated.sandbox.misbehave(&no_deletion);
        rotated.rotate(&[DUE]).said(0, &["could not delete the token "]);
        let second = rotated.token();
        for _ in 0..2 {
            let flag = format!("-metrics-textfile={}", textfile.display());
            let ended = rotated.rotate(&[DUE, "--log-format=json", &flag]);
            assert_eq!(ended.status, 125, "{ended:?}");
            let line: Value = serde_json::from_str(&ended.stderr).unwrap();
            let message = line["message"].as_str().unwrap();
            assert!(message.starts_with("did not rotate "), "{message}");
            assert_eq!((&line["reason"], &line["stage"]), (&"token-not-deleted".into(), &"revoke".into()));
            assert_eq!(ended.stderr.matches("could not delete").count(), 1, "{ended:?}");
            assert_eq!((rotated.tokens().len(), rotated.token()), (2, second.clone()));
            let written = fs::read_to_string(&textfile).unwrap();
            let infos = written.lines().filter(|line| line.contains("failure_info{")).count();
            assert!(
                infos == 1 && written.contains(r#"stage="revoke",reason="token-not-deleted"} 1"#),
                "{written}"
            );
        }
        rotated.rotate(&[]).said(0, &["could not delete the token "]);
        rotated.sandbox.misbehave("{}");
        rotated.rotate(&[DUE]).rotated();
        rotated.is_settled();
    }
}

#[test]
fn a_deletion_that_fails_is_a_warning_and_the_next_rotate_deletes() {
    for issuer in ISSUERS {
        let rotated = Rotated::fresh(issuer);
        rotated
            .sandbox
            .misbehave(&format!(r#"{{"status":403,"body":"","only":"{}"}}"#, rotated.issuer.delete));
        let ended = rotated.rotate(&[DUE]);
        ended.said(0, &["warning: could not delete the token ", "the next rotate tries again", "expires at"]);
        rotated.works();
        assert_eq!(rotated.tokens().len(), 2);
        // Each run tries again, and warns again.
        rotated.rotate(&[]).said(0, &["could not delete the token "]);
        rotated.sandbox.misbehave("{}");
        rotated.rotate(&[]).did_nothing();
        rotated.is_settled();
        // The deletion happens, and its answer is lost.
        let fault = r#"{"status":503,"body":"","times":1,"after":true,"only":"#;
        rotated.sandbox.misbehave(&format!("{fault}\"{}\"}}", rotated.issuer.delete));
        rotated.rotate(&[DUE]).rotated();
        rotated.is_settled();
    }
}

#[test]
fn a_refused_creation_changes_nothing() {
    for issuer in ISSUERS {
        let rotated = Rotated::fresh(issuer);
        let first = rotated.token();
        for status in [400, 401, 403, 429, 500] {
            rotated.sandbox.misbehave(&format!(
                r#"{{"status":{status},"body":"","header":["Retry-After","900"],"only":"{}"}}"#,
                rotated.issuer.create
            ));
            let ended = rotated.rotate(&[DUE]);
            assert_eq!((ended.status, ended.stderr.lines().count()), (125, 1), "{ended:?}");
            assert_eq!(rotated.token(), first);
            rotated.is_settled();
        }
        rotated.sandbox.misbehave("{}");
        rotated.rotate(&[DUE]).rotated();
        rotated.is_settled();
    }
}

#[test]
fn a_token_is_not_replaced_if_the_server_cannot_identify_it() {
    for issuer in ISSUERS {
        let rotated = Rotated::fresh(issuer);
        let first = rotated.token();
        for fault in [
            r#"{"status":503,"body":""}"#,
            r#"{"status":401,"body":"<html>login</html>"}"#,
            r#"{"body":"<html>"}"#,
        ] {
            rotated.sandbox.misbehave(fault);
            let ended = rotated.rotate(&["-retries=0"]);
            assert_eq!((ended.status, ended.stderr.lines().count()), (125, 1), "{fault}: {ended:?}");
            if rotated.issuer.name == "gafaelfawr" && fault.contains("401") {
                let refused = format!("did not accept the token in {} (HTTP 401", rotated.file().display());
                ended.failed_with(125, &[&refused, "no proxy answers in its place"]);
            }
            rotated.sandbox.misbehave("{}");
            assert_eq!(rotated.token(), first);
            assert_eq!(rotated.tokens().len(), 1);
        }
    }
}

/// The story: the message said "while connecting", because it spoke of another connection.
#[test]
fn a_server_that_does_not_answer_about_the_token_in_the_file_is_named_with_that_step() {
    for issuer in ISSUERS {
        let rotated = Rotated::fresh(issuer);
        rotated.sandbox.misbehave(r#"{"delay_ms":20000,"only":"GET /a"}"#);
        rotated.rotate(&["--timeout=1s"]).failed_with(
            124,
            &["timed out after 1s while waiting for http:", "the server accepts connections"],
        );
        let before = rotated.sandbox.requests().len();
        let child = start(&mut rotated.command(&[]));
        eventually("a request", || (rotated.sandbox.requests().len() > before).then_some(()));
        kill(child.id(), libc::SIGTERM);
        finish(child).failed_with(143, &["interrupted by SIGTERM while waiting for http:"]);
        rotated.sandbox.misbehave("{}");
        rotated.is_settled();
    }
}

#[test]
fn a_file_in_the_way_is_named() {
    for name in ["token.monitoring-token.new", "token.state.monitoring-token.new"] {
        let rotated = Rotated::missing(GAFAELFAWR);
        let path = rotated.folder.path(name);
        fs::create_dir(&path).unwrap();
        let named = format!("cannot write {}: Is a directory", path.display());
        rotated.rotate(&[]).failed_with(125, &[&named]);
    }
}

#[test]
fn a_signal_during_the_creation_leaves_the_old_token_and_the_next_rotate_cleans_up() {
    for issuer in ISSUERS {
        let rotated = Rotated::fresh(issuer);
        let first = rotated.token();
        let fault =
            format!(r#"{{"delay_ms":20000,"times":1,"after":true,"only":"{}"}}"#, rotated.issuer.create);
        rotated.sandbox.misbehave(&fault);
        let before = rotated.issuer.creations(&rotated.sandbox);
        let child = start(&mut rotated.command(&[DUE]));
        eventually("a creation", || (rotated.issuer.creations(&rotated.sandbox) > before).then_some(()));
        kill(child.id(), libc::SIGTERM);
        finish(child).failed_with(143, &["interrupted by SIGTERM while", "which the next rotate looks for"]);
        assert_eq!(rotated.token(), first);
        rotated.works();
        rotated.sandbox.misbehave("{}");
        rotated.rotate(&[]).did_nothing();
        rotated.is_settled();
    }
}

#[test]
fn a_signal_between_two_deletions_forgets_neither_token() {
    for issuer in ISSUERS {
        let rotated = Rotated::missing(issuer);
        let seen = Arc::new(AtomicUsize::new(0));
        let deletions = seen.clone();
        let (go_on, wait) = mpsc::channel::<()>();
        let url = relay(rotated.sandbox.var(rotated.issuer.url), move |request, pass_on| {
            if !request.starts_with("DELETE") {
                return pass_on(request);
            }
            match deletions.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => http("403 Forbidden", "", ""),
                2 => {
                    let _ = wait.recv_timeout(PATIENCE);
                    String::new()
                }
                _ => pass_on(request),
            }
        });
        rotate(&rotated, &url, &[]).rotated();
        rotate(&rotated, &url, &[DUE]).said(0, &["could not delete the token"]);
        // There are two old tokens, because the one in FILE does not work either: the first is being deleted, the
        // second waits.
        rotated.delete_at_issuer();
        let child = start(rotated.command(&[DUE]).env(rotated.issuer.url, &url));
        eventually("a deletion that hangs", || (seen.load(Ordering::Relaxed) == 3).then_some(()));
        kill(child.id(), libc::SIGTERM);
        finish(child).failed_with(143, &["interrupted by SIGTERM", "token holds the new token "]);
        go_on.send(()).unwrap();
        assert_eq!(rotated.tokens().len(), 2);
        rotated.works();
        rotate(&rotated, &url, &[]).did_nothing();
        rotated.is_settled();
    }
}

#[test]
fn a_folder_that_cannot_be_written_or_is_full_gets_no_token_created() {
    for issuer in ISSUERS {
        let sandbox = Sandbox::start(&[]);
        let folder = Folder::new();
        let disk = folder.path("disk");
        fs::create_dir(&disk).unwrap();
        // Two pages are full before the state with the new token can be written.
        let script = "mount -t tmpfs -o size=8k tmpfs \"$DISK\" || exit 88
            \"$@\" 2>> errors; echo $? >> statuses
            umount \"$DISK\" || exit 89
            mount -t tmpfs -o size=64k tmpfs \"$DISK\" || exit 90
            \"$@\" || exit 91
            cp \"$DISK/token\" before
            mount -o remount,ro \"$DISK\" || exit 92
            \"$@\" --renew-before=25h 2>> errors; echo $? >> statuses
            mount -o remount,rw \"$DISK\" || exit 93
            cat /dev/zero > \"$DISK/full\" 2>/dev/null
            \"$@\" --renew-before=25h 2>> errors; echo $? >> statuses
            cmp before \"$DISK/token\" || exit 94
            rm \"$DISK/full\"
            \"$@\" --renew-before=25h || exit 95";
        let rotate = issuer.command(&sandbox, &[&["rotate"], issuer.new].concat());
        let mut shell = namespace(&["--mount"]);
        shell.args(["sh", "-c", script, "sh"]).arg(rotate.get_program()).args(rotate.get_args());
        shell.arg("--token-file").arg(disk.join("token")).current_dir(folder.root());
        shell.env_clear().envs(rotate.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ended = run(shell.env("DISK", &disk));
        assert_eq!(ended.status, 0, "{ended:?}");
        let read = |name: &str| fs::read_to_string(folder.path(name)).unwrap();
        assert_eq!(read("statuses"), "125\n125\n125\n");
        let errors = read("errors");
        let [small, read_only, full] = errors.lines().collect::<Vec<_>>()[..] else { panic!("{errors}") };
        assert!(
            read_only.contains("cannot lock ") && read_only.contains("Read-only file system"),
            "{errors}"
        );
        for line in [small, full] {
            assert!(line.contains("cannot write ") && line.contains("No space left on device;"), "{errors}");
        }
        crate::support::messages::all_explained(&errors);
        assert_eq!(issuer.creations(&sandbox), 2);
        assert_eq!(sandbox.made_tokens(issuer.control).len(), 1);
    }
}

/// Each deletion had five seconds of its own, whatever the timeout.
#[test]
fn all_deletions_together_take_little_longer_than_the_timeout() {
    let (rotated, url) = through(GAFAELFAWR, |head| {
        if head.starts_with("DELETE") {
            std::thread::sleep(std::time::Duration::from_secs(30));
        }
        None
    });
    rotate(&rotated, &url, &[]).rotated();
    let path = rotated.folder.path("token.state");
    let mut state: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for index in 0..4 {
        let mut token = state["tokens"][0].clone();
        token["id"] = format!("{index:022}").into();
        token["fingerprint"] = format!("{index:064}").into();
        token["installed"] = false.into();
        state["tokens"].as_array_mut().unwrap().push(token);
    }
    fs::write(&path, state.to_string()).unwrap();
    let began = std::time::Instant::now();
    let ended = rotate(&rotated, &url, &["-timeout=2s", "-retries=0"]);
    ended.said(0, &["could not delete the tokens", "timed out after 4s while "]);
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
}

/// A gateway that does not accept the header of a service token says nothing about the token.
#[test]
fn a_token_of_another_program_that_only_a_gateway_refuses_stays() {
    let (rotated, url) = through(STACKSTATE, |head| {
        let is_gateway = head.to_lowercase().contains("x-api-key: ");
        is_gateway.then(|| http("401 Unauthorized", "", "<html>401 Authorization Required</html>"))
    });
    fs::write(rotated.file(), "svctok-another\n").unwrap();
    rotate(&rotated, &url, &[])
        .failed_with(125, &["did not accept the token in ", "without saying that it is invalid"]);
    assert_eq!(fs::read_to_string(rotated.file()).unwrap(), "svctok-another\n");
    assert_eq!(rotated.tokens().len(), 0);
}

/// The story: once the token in FILE had expired, no `rotate` replaced it, because the ingress said no more than 401.
#[test]
fn a_token_that_has_expired_by_its_record_is_replaced_without_a_question() {
    let (rotated, url) = through(STACKSTATE, |head| {
        let is_gateway = head.to_lowercase().contains("x-api-key: ");
        is_gateway.then(|| http("401 Unauthorized", "", "The supplied authentication is invalid"))
    });
    rotate(&rotated, &url, &[]).rotated();
    let path = rotated.folder.path("token.state");
    let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    state["tokens"][0]["expires"] = (now() - 60).into();
    fs::write(&path, state.to_string()).unwrap();
    rotated.sandbox.misbehave(r#"{"status":200,"body":"[]","times":1,"only":"GET /api/security/tokens"}"#);
    rotate(&rotated, &url, &[]).rotated();
}

/// A new token that was not listed yet was taken for gone, and replaced.
#[test]
fn a_token_that_is_not_listed_yet_is_not_taken_for_gone() {
    let hides = Arc::new(AtomicBool::new(false));
    let hidden = hides.clone();
    let (rotated, url) = through(STACKSTATE, move |head| {
        let is_list = head.starts_with("GET /api/security/tokens ") && hidden.load(Ordering::Relaxed);
        is_list.then(|| http("200 OK", "", "[]"))
    });
    rotate(&rotated, &url, &[]).rotated();
    let first = rotated.token();
    hides.store(true, Ordering::Relaxed);
    rotate(&rotated, &url, &[]).succeeded();
    assert_eq!(rotated.token(), first);
    hides.store(false, Ordering::Relaxed);
    rotate(&rotated, &url, &[]).succeeded();
    rotated.is_settled();
}

/// The story: the second of two hosts that rotated at the same time replaced the token of the first and forgot it,
/// because the replica that serves reads did not know it yet.
#[test]
fn a_new_token_that_a_replica_does_not_know_yet_is_not_replaced() {
    let hidden = Arc::new(AtomicUsize::new(0));
    let left = hidden.clone();
    let (rotated, url) = through(STACKSTATE, move |head| {
        if left.load(Ordering::Relaxed) == 0 {
            None
        } else if head.starts_with("GET /api/security/tokens ") {
            left.fetch_sub(1, Ordering::Relaxed);
            Some(http("200 OK", "", "[]"))
        } else {
            let with_it = head.to_lowercase().contains("x-api-key: ");
            with_it.then(|| http("401 Unauthorized", "", UNKNOWN_TOKEN))
        }
    });
    rotate(&rotated, &url, &[]).rotated();
    hidden.store(4, Ordering::Relaxed);
    rotate(&rotated, &url, &[]).did_nothing();
    rotated.is_settled();
}

/// The story: a token that was not listed yet, although it was valid, was forgotten as soon as it was replaced.
#[test]
fn a_replaced_token_that_is_not_listed_yet_is_deleted_later() {
    let hides = Arc::new(AtomicBool::new(true));
    let hidden = hides.clone();
    let (rotated, url) = through(STACKSTATE, move |head| {
        let is_list = head.starts_with("GET /api/security/tokens ") && hidden.load(Ordering::Relaxed);
        is_list.then(|| http("200 OK", "", "[]"))
    });
    rotate(&rotated, &url, &[]).rotated();
    rotate(&rotated, &url, &[DUE]).rotated();
    // As after SIGKILL between the replacement of FILE and the deletion.
    let path = rotated.folder.path("token.state");
    let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for token in state["tokens"].as_array_mut().unwrap() {
        token["installed"] = true.into();
    }
    fs::write(path, state.to_string()).unwrap();
    rotate(&rotated, &url, &[]).did_nothing();
    assert_eq!(rotated.tokens().len(), 2);
    hides.store(false, Ordering::Relaxed);
    rotate(&rotated, &url, &[]).did_nothing();
    rotated.is_settled();
}

/// The story: one replica listed the token of a lost creation, and the next one, asked for the deletion, did not yet.
#[test]
fn a_lost_token_that_only_one_replica_lists_is_deleted_later() {
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = broken.clone();
    let lists = AtomicUsize::new(0);
    let (rotated, url) = through(STACKSTATE, move |head| {
        if !is_broken.load(Ordering::Relaxed) {
            None
        } else if head.starts_with(STACKSTATE.create) {
            Some(http("502 Bad Gateway", "", ""))
        } else {
            let is_list = head.starts_with("GET /api/security/tokens ");
            let is_hidden = is_list && lists.fetch_add(1, Ordering::Relaxed) % 2 == 1;
            is_hidden.then(|| http("200 OK", "", "[]"))
        }
    });
    rotate(&rotated, &url, &[]).rotated();
    broken.store(true, Ordering::Relaxed);
    rotate(&rotated, &url, &[DUE]).failed_with(125, &["(HTTP 502"]);
    assert_eq!(rotated.tokens().len(), 2);
    broken.store(false, Ordering::Relaxed);
    rotate(&rotated, &url, &[]).did_nothing();
    rotated.is_settled();
}

/// The story: the token of a lost creation was silently forgotten if the gateway's clock, which wrote the `Date`, was
/// some seconds ahead of Gafaelfawr's.
#[test]
fn a_lost_token_is_reported_if_the_clocks_of_gateway_and_issuer_differ() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let broken = is_broken.clone();
    let rotated = Rotated::missing(GAFAELFAWR);
    let url = relay(rotated.sandbox.var(GAFAELFAWR.url), move |request, pass_on| {
        let answer = later(&pass_on(request), 60);
        let is_lost = request.starts_with("POST") && broken.load(Ordering::Relaxed);
        if is_lost { String::new() } else { answer }
    });
    rotate(&rotated, &url, &[]).rotated();
    is_broken.store(true, Ordering::Relaxed);
    let ended = rotate(&rotated, &url, &[DUE]);
    let tokens = rotated.tokens();
    let lost = tokens.iter().find(|token| !rotated.token().contains(token["token"].as_str().unwrap()));
    let lost = lost.unwrap()["token"].as_str().unwrap();
    fails(&ended, &[&format!("rotate may have created the token {lost}, ")]);
    let metrics = Folder::new();
    let path = metrics.path("rotate.prom");
    let flag = format!("-metrics-textfile={}", path.display());
    rotate(&rotated, &url, &[&flag]).said(0, &["rotate may have created the token ", lost]);
    let written = fs::read_to_string(path).unwrap();
    assert!(written.contains(r#"stage="revoke",reason="token-not-deleted"} 1"#), "{written}");
    rotated.works();
}

/// The story: after Gafaelfawr's database had been restored, the admin token was blamed, and the token in FILE was not
/// replaced before it expired.
#[test]
fn a_token_that_the_database_has_lost_is_replaced_if_rotate_created_it() {
    let (rotated, url) = through(GAFAELFAWR, |head| {
        let is_lost = head.contains("/token-info");
        let body = r#"{"detail":[{"type":"invalid_token","msg":"Token found in Redis but not database"}]}"#;
        is_lost.then(|| http("403 Forbidden", "Content-Type: application/json\r\n", body))
    });
    rotate(&rotated, &url, &[]).rotated();
    let first = rotated.token();
    rotate(&rotated, &url, &[]).rotated();
    assert_ne!(rotated.token(), first);
    rotated.is_settled();
    fs::remove_file(rotated.folder.path("token.state")).unwrap();
    let second = rotated.token();
    rotate(&rotated, &url, &[DUE]).failed_with(
        125,
        &[
            "holds a token that gafaelfawr at ",
            " does not accept (HTTP 403, Token found in Redis",
            "move it away",
        ],
    );
    assert_eq!(rotated.token(), second);
}

/// A new token that was not listed yet was forgotten, though it was valid, if FILE could not be replaced.
#[test]
fn a_token_that_does_not_get_into_the_file_and_is_not_listed_yet_is_deleted_later() {
    let rotated = Rotated::missing(STACKSTATE);
    let hides = Arc::new(AtomicBool::new(true));
    let (hidden, file) = (hides.clone(), rotated.file());
    let mut is_blocked = false;
    let url = relay(rotated.sandbox.var(STACKSTATE.url), move |request, pass_on| {
        if request.starts_with("GET /api/security/tokens ") && hidden.load(Ordering::Relaxed) {
            return http("200 OK", "", "[]");
        }
        if request.starts_with(STACKSTATE.create) && !is_blocked {
            is_blocked = true;
            fs::create_dir(&file).unwrap();
        }
        pass_on(request)
    });
    rotate(&rotated, &url, &[]).failed_with(
        125,
        &[
            "cannot write ",
            "could not delete the token ",
            "not listed yet; the next rotate tries again; the token expires",
        ],
    );
    fs::remove_dir(rotated.file()).unwrap();
    assert_eq!(rotated.tokens().len(), 1);
    rotate(&rotated, &url, &["--keep-old"]).rotated();
    assert_eq!(rotated.tokens().len(), 2);
    hides.store(false, Ordering::Relaxed);
    rotate(&rotated, &url, &[]).did_nothing();
    rotated.is_settled();
}
