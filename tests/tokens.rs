//! Service tokens of any issuer: gone after the run, however and whenever it ends; and one line for each failure.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::api::{Gate, proxy, relay, shell};
use crate::support::issuer::ISSUERS;
use crate::support::job::Folder;
use crate::support::network::isolate;
use crate::support::tls::Authority;
use crate::support::{
    Sandbox, eventually, file_line, finish, full_queue, http, into_no_reader, kill, run, serve_bytes, start,
    token,
};

/// A server that shifts the `Date` of every response by `offset_seconds`.
fn with_date(upstream: &str, offset_seconds: i64) -> String {
    relay(upstream, move |request, pass_on| {
        let date = SystemTime::now() + Duration::from_secs(offset_seconds.max(0).unsigned_abs());
        let date = date - Duration::from_secs(offset_seconds.min(0).unsigned_abs());
        let answer = pass_on(request);
        let line = answer.lines().find(|line| line.to_lowercase().starts_with("date: ")).unwrap();
        answer.replace(line, &format!("date: {}", httpdate::fmt_http_date(date)))
    })
}

/// A dead address took an equal part of the time of each request: half an hour for the first one, and all of the deletion's
/// five seconds.
#[test]
fn a_dead_address_of_the_issuer_leaves_no_token() {
    let _etc = isolate(&[("hosts", "127.0.0.2 issuer.localhost\n127.0.0.1 issuer.localhost\n")]);
    for issuer in ISSUERS {
        let sandbox = Sandbox::start(&[]);
        let url = sandbox.var(issuer.url).replace("127.0.0.1", "issuer.localhost");
        let port = url.rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap();
        full_queue("127.0.0.2", port);
        let ended = run(issuer.exec(&sandbox).env(issuer.url, &url).args(["--timeout=2m", "--", "true"]));
        ended.succeeded();
        issuer.made_and_deleted(&sandbox);
    }
}

#[test]
fn a_date_that_is_more_than_a_day_off_does_not_set_the_expiry() {
    const HOUR: i64 = 3600;
    for issuer in ISSUERS {
        for (offset, counts) in [
            (23 * HOUR, true),
            (25 * HOUR, false),
            (-25 * HOUR, false),
            (365 * 24 * HOUR, false),
            (-3650 * 24 * HOUR, false),
        ] {
            let sandbox = Sandbox::start(&[]);
            let url = with_date(sandbox.var(issuer.url), offset);
            let folder = Folder::new();
            let ready = folder.path("ready");
            let child = start(shell(
                issuer.exec(&sandbox).env(issuer.url, &url).arg("-timeout=1m"),
                &format!("echo > {}; exec sleep 60", ready.display()),
            ));
            file_line(&ready);
            let made = sandbox.made_tokens(issuer.control);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            kill(child.id(), libc::SIGTERM);
            finish(child);
            let expires =
                made[0]["expires"].as_i64().or_else(|| Some(made[0]["expiration"].as_i64()? / 1000));
            let lifetime = expires.unwrap_or_else(|| panic!("{made:?}")) - now.cast_signed();
            let expected = if counts { offset } else { 0 };
            assert!((expected..expected + 5 * HOUR).contains(&lifetime), "{offset}: {lifetime}, {made:?}");
        }
    }
}

/// The story: a local clock that was ahead of the server's made tokens that were valid for as long, without a word.
#[test]
fn a_clock_that_makes_a_token_last_for_days_is_a_warning() {
    for issuer in ISSUERS {
        let (sandbox, folder) = (Sandbox::start(&[]), Folder::new());
        let url = with_date(sandbox.var(issuer.url), -25 * 3600 - 30);
        let words =
            ["warning: the local clock is 25h0m", "ahead of the server; if the local clock is wrong, set it"];
        run(issuer.exec(&sandbox).env(issuer.url, &url).args(["--", "true"])).said(0, &words);
        let mut rotate = issuer.command(&sandbox, &[&["rotate"], issuer.new].concat());
        rotate.env(issuer.url, &url).arg("--token-file").arg(folder.path("token"));
        run(&mut rotate).said(0, &words);
        run(&mut rotate).succeeded();
    }
}

#[test]
fn the_token_is_deleted_however_the_command_ends() {
    for issuer in ISSUERS {
        for (args, script, status, words) in [
            (&[][..], "exit 0", 0, ""),
            (&[], "exit 7", 7, ""),
            (&[], "kill -KILL $$", 137, "was killed by SIGKILL"),
            (&["-timeout=1s", "-kill-after=0"], "sleep 60", 124, "timed out"),
        ] {
            let sandbox = Sandbox::start(&[]);
            let ended = run(shell(issuer.exec(&sandbox).args(args), script));
            assert_eq!(ended.status, status, "{script}: {ended:?}");
            assert!(ended.stderr.contains(words), "{script}: {ended:?}");
            issuer.made_and_deleted(&sandbox);
        }
        for (program, status) in [("/no/such/program", 127), ("/etc/passwd", 126)] {
            let sandbox = Sandbox::start(&[]);
            run(issuer.exec(&sandbox).args(["--", program])).failed_with(status, &[program]);
            issuer.made_and_deleted(&sandbox);
        }
    }
}

#[test]
fn the_token_is_deleted_after_every_forwarded_signal() {
    let folder = Folder::new();
    for issuer in ISSUERS {
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2]
        {
            let sandbox = Sandbox::start(&[]);
            let ready = folder.path(format!("{}-{signal}", issuer.name));
            let script = format!("echo > {}; exec sleep 60", ready.display());
            let child = start(shell(&mut issuer.exec(&sandbox), &script));
            file_line(&ready);
            kill(child.id(), signal);
            assert_eq!(finish(child).status, 128 + signal);
            issuer.made_and_deleted(&sandbox);
        }
    }
}

#[test]
fn a_signal_in_the_middle_of_the_creation_waits_for_the_token_and_deletes_it() {
    for issuer in ISSUERS {
        for after in [true, false] {
            let sandbox = Sandbox::start(&[]);
            let gate = Gate::start(sandbox.var(issuer.url), issuer.create, after);
            let child = start(issuer.exec(&sandbox).env(issuer.url, &gate.url).args(["--", "true"]));
            gate.holds();
            send(child.id(), libc::SIGINT);
            gate.let_go();
            finish(child).failed_with(130, &["SIGINT"]);
            issuer.made_and_deleted(&sandbox);
        }
    }
}

#[test]
fn a_signal_during_the_deletion_does_not_cut_it_short_nor_hide_how_the_command_failed() {
    let folder = Folder::new();
    let file = folder.path("run.prom");
    for issuer in ISSUERS {
        for (script, signal, status, words) in [
            ("exit 7", libc::SIGTERM, 7, ""),
            ("exit 0", libc::SIGUSR1, 0, ""),
            ("exit 0", libc::SIGTERM, 143, "interrupted by SIGTERM while the token was deleted"),
        ] {
            let sandbox = Sandbox::start(&[]);
            let gate = Gate::start(sandbox.var(issuer.url), issuer.delete, false);
            let metrics = format!("-metrics-textfile={}", file.display());
            let mut exec = issuer.exec(&sandbox);
            let child = start(shell(exec.env(issuer.url, &gate.url).arg(metrics), script));
            gate.holds();
            kill(child.id(), signal);
            gate.let_go();
            let ended = finish(child);
            assert_eq!((ended.status, ended.stderr.is_empty()), (status, words.is_empty()), "{ended:?}");
            assert!(ended.stderr.contains(words), "{ended:?}");
            let written = std::fs::read_to_string(&file).unwrap();
            let revoke =
                written.lines().find(|line| line.contains("failed_stage") && line.contains("revoke"));
            assert!(revoke.is_some_and(|line| line.ends_with(" 0.0")), "{written}");
            issuer.made_and_deleted(&sandbox);
        }
    }
}

#[test]
fn a_failed_deletion_is_one_warning_or_a_clause_of_the_failure() {
    for issuer in ISSUERS {
        let by_hand = format!("monitoring-token {} ", issuer.name);
        let what = ["could not delete the token: ", "expires at", &by_hand];
        for (args, command, status, words) in [
            (&[][..], &["sh", "-c", "exit 0"][..], 0, "monitoring-token: warning: could not delete"),
            (&[], &["sh", "-c", "exit 3"], 3, "monitoring-token: warning: could not delete"),
            (
                &[],
                &["sh", "-c", "kill -KILL $$"],
                137,
                "sh was killed by SIGKILL, which monitoring-token did not send; check whether the host or container ran out of memory; and could not delete",
            ),
            (&["-timeout=1s", "-kill-after=0"], &["sleep", "60"], 124, "(SIGKILL); and could not delete"),
            (&[], &["/no/such/program"], 127, "; and could not delete"),
        ] {
            let sandbox = Sandbox::start(&[]);
            sandbox.misbehave(&format!(r#"{{"status":403,"body":"","only":"{}"}}"#, issuer.delete));
            let ended = run(issuer.exec(&sandbox).args(args).arg("--").args(command));
            ended.said(status, &what).said(status, &[words]);
            assert!(!ended.stderr.contains(issuer.prefix), "{ended:?}");
            assert_eq!(sandbox.made_tokens(issuer.control).len(), 1);
        }
        // The response to the creation is lost; the token that is found is deleted, unless that is forbidden.
        let sandbox = Sandbox::start(&[]);
        let address = proxy(sandbox.var(issuer.url), |head| {
            head.starts_with("POST").then(|| http("502 Bad Gateway", "", ""))
        });
        let mut exec = issuer.exec(&sandbox);
        let ended = run(exec.env(issuer.url, format!("http://{address}")).args(["--", "true"]));
        ended.failed_with(
            125,
            &["when asked to create a token (HTTP 502 Bad Gateway)", "; no token is left\n"],
        );
        assert_eq!(sandbox.made_tokens(issuer.control).len(), 0);
        let sandbox = Sandbox::start(&[]);
        let address = proxy(sandbox.var(issuer.url), |head| match head.split(' ').next() {
            Some("POST") => Some(http("502 Bad Gateway", "", "")),
            Some("DELETE") => Some(http("403 Forbidden", "", "")),
            _ => None,
        });
        let mut exec = issuer.exec(&sandbox);
        run(exec.env(issuer.url, format!("http://{address}")).args(["--", "true"])).failed_with(
            125,
            &[
                "a server error when asked to create a token (HTTP 502 Bad Gateway)",
                "; and could not delete the token: ",
            ],
        );
    }
}

#[test]
fn a_rate_limit_is_named_with_the_time_that_it_asks_for() {
    for issuer in ISSUERS {
        let exec = [&["exec"], issuer.new, &["true"]].concat();
        let create = [&["create"], issuer.new].concat();
        let [list, delete] = issuer.verbs;
        for args in [&create[..], list, delete, &exec] {
            for (headers, words) in [
                ("Retry-After: 3600\r\n", "asks to wait 1h"),
                ("", "try again later"),
                ("Retry-After: soon\r\n", "try again later"),
            ] {
                let address = serve_bytes(http("429 Too Many Requests", headers, ""));
                let mut command = token();
                command.env("GAFAELFAWR_ADMIN_TOKEN", "x").env("STS_CLI_API_TOKEN", "x");
                command.arg(issuer.name).arg(args[0]).arg("-retries=0").args(&args[1..]);
                let ended = run(command.env(issuer.url, format!("http://{address}")));
                let server =
                    format!("{} at http://{address} is rate limiting requests (HTTP 429)", issuer.name);
                ended.failed_with(125, &[&server, words]);
                let may_have = ended.stderr.contains("may have been created");
                assert_eq!(may_have, args[0] == "create", "{ended:?}");
            }
        }
    }
}

/// A rate limiter has created nothing, so the creation is retried; if it did pass the request on, the token is found in
/// the list.
#[test]
fn a_rate_limited_creation_is_tried_again_and_leaves_nothing() {
    for issuer in ISSUERS {
        let sandbox = Sandbox::start(&[]);
        sandbox.misbehave(&format!(r#"{{"status":429,"body":"","times":1,"only":"{}"}}"#, issuer.create));
        run(issuer.exec(&sandbox).args(["--", "true"])).succeeded();
        assert_eq!(issuer.creations(&sandbox), 2);
        issuer.nothing_is_left(&sandbox);
        for after in [false, true] {
            let sandbox = Sandbox::start(&[]);
            sandbox.misbehave(&format!(
                r#"{{"status":429,"body":"","header":["Retry-After","300"],"only":"{}","after":{after}}}"#,
                issuer.create
            ));
            let ended = run(issuer.exec(&sandbox).args(["-timeout=60s", "--", "true"]));
            ended.failed_with(125, &["is rate limiting requests", "asks to wait 5m"]);
            assert!(!ended.stderr.contains("could not delete"), "{ended:?}");
            issuer.nothing_is_left(&sandbox);
        }
    }
}

/// The story: the second creation, which nobody waited for, left a token.
#[test]
fn a_signal_during_the_pause_after_429_ends_the_run_without_another_creation() {
    for issuer in ISSUERS {
        let sandbox = Sandbox::start(&[]);
        sandbox.misbehave(&format!(
            r#"{{"status":429,"body":"","header":["Retry-After","1"],"times":1,"only":"{}"}}"#,
            issuer.create
        ));
        let child = start(issuer.exec(&sandbox).args(["--", "true"]));
        sandbox.awaits(issuer.create);
        kill(child.id(), libc::SIGTERM);
        finish(child).failed_with(143, &["interrupted by SIGTERM while"]);
        assert_eq!(issuer.creations(&sandbox), 1);
    }
}

/// The story: `delete` said that it had deleted a token that did not exist, because the first try had failed.
#[test]
fn a_try_that_had_no_effect_does_not_explain_a_missing_token() {
    for issuer in ISSUERS {
        for status in [429, 500] {
            let sandbox = Sandbox::start(&[]);
            sandbox.misbehave(&format!(
                r#"{{"status":{status},"body":"","times":1,"only":"{}"}}"#,
                issuer.delete
            ));
            let [_, delete] = issuer.verbs;
            run(&mut issuer.command(&sandbox, delete)).failed_with(125, &[" no "]);
        }
    }
}

/// Only `exec` and `check` said so.
#[test]
fn every_verb_warns_of_plain_http() {
    for issuer in ISSUERS {
        let (sandbox, folder) = (Sandbox::start(&[]), Folder::new());
        // The sandbox refuses the names of other hosts.
        let proxy = relay(sandbox.var(issuer.url), |request, pass_on| {
            pass_on(&request.replace("example.test", "127.0.0.1"))
        });
        let file = folder.path("token");
        let create = [&["create"], issuer.new].concat();
        let rotate = [&["rotate"], issuer.new, &["--token-file", file.to_str().unwrap()]].concat();
        let [list, delete] = issuer.verbs;
        for args in [&create[..], &rotate, &rotate, list, delete] {
            let mut command = issuer.command(&sandbox, args);
            let ended = run(command.env(issuer.url, "http://example.test").env("http_proxy", &proxy));
            if args == delete {
                ended.failed_with(125, &["note that tokens are sent to example.test over plain HTTP"]);
            } else {
                let warning =
                    "monitoring-token: warning: token sent to example.test over plain HTTP; use https\n";
                assert_eq!((ended.status, ended.stderr.as_str()), (0, warning), "{args:?}");
            }
        }
    }
}

/// The story: Kubernetes had replaced the token of the service account, and `exec` could not delete its token with the
/// one that it had read an hour earlier.
#[test]
fn the_token_is_deleted_with_the_admin_token_that_the_file_then_holds() {
    for issuer in ISSUERS {
        let (sandbox, folder) = (Sandbox::start(&[]), Folder::new());
        let variable =
            if issuer.name == "gafaelfawr" { "GAFAELFAWR_ADMIN_TOKEN" } else { "STS_CLI_API_TOKEN" };
        let (admin, mut is_created) = (sandbox.var(variable).to_owned(), false);
        let url = relay(sandbox.var(issuer.url), move |request, pass_on| {
            let valid = if is_created { "admin-new" } else { "admin-old" };
            is_created |= request.starts_with(issuer.create);
            if request.contains(valid) {
                pass_on(&request.replace(valid, &admin))
            } else {
                http("401 Unauthorized", "", "")
            }
        });
        let file = folder.write("admin", "admin-old");
        let mut exec = issuer.exec(&sandbox);
        exec.env(issuer.url, url).arg("--admin-token-file").arg(&file);
        run(shell(&mut exec, &format!("echo admin-new >{}", file.display()))).succeeded();
        issuer.made_and_deleted(&sandbox);
        // The one that was read at the start still works.
        let sandbox = Sandbox::start(&[]);
        let file = folder.write("still-valid", sandbox.var(variable));
        let mut exec = issuer.exec(&sandbox);
        exec.arg("--admin-token-file").arg(&file);
        run(shell(&mut exec, &format!("echo not-active-yet >{}", file.display()))).succeeded();
        issuer.made_and_deleted(&sandbox);
    }
}

#[test]
fn out_is_private_never_overwritten_and_tried_before_a_token_is_made() {
    for issuer in ISSUERS {
        let sandbox = Sandbox::start(&[]);
        let folder = Folder::new();
        let path = folder.path("token");
        let out = format!("--out={}", path.display());
        let first = run(issuer.create(&sandbox).arg(&out));
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written.starts_with(issuer.prefix) && written.ends_with('\n'), "{}", issuer.name);
        assert!(!first.succeeded().stdout.contains(issuer.prefix), "{first:?}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        run(issuer.create(&sandbox).arg(&out))
            .failed_with(125, &["exists", "choose another file with --out"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
        assert_eq!(sandbox.made_tokens(issuer.control).len(), 1);
        // A failed creation leaves no empty file.
        sandbox.misbehave(&format!(r#"{{"status":400,"body":"","only":"{}"}}"#, issuer.create));
        let other = folder.path("other");
        run(issuer.create(&sandbox).arg("--out").arg(&other))
            .failed_with(125, &["refused to create a token"]);
        assert!(!other.exists());
    }
}

#[test]
fn a_closed_stdout_makes_no_token() {
    for issuer in ISSUERS {
        let sandbox = Sandbox::start(&[]);
        let create = issuer.create(&sandbox);
        let mut closed = Command::new("sh");
        closed.args(["-c", "exec \"$0\" \"$@\" >&-"]).arg(create.get_program()).args(create.get_args());
        closed.env_clear().envs(create.get_envs().filter_map(|(name, value)| Some((name, value?))));
        run(&mut closed).failed_with(125, &["stdout is closed", "--out"]);
        assert_eq!(sandbox.requests(), [""; 0]);
        // With a file it is not needed.
        let folder = Folder::new();
        closed.arg("--out").arg(folder.path("token"));
        assert_eq!(run(&mut closed).status, 0);
        assert_eq!(sandbox.made_tokens(issuer.control).len(), 1);
    }
}

#[test]
fn a_create_that_is_ended_leaves_no_file_and_says_what_may_be_left() {
    for issuer in ISSUERS {
        let sandbox = Sandbox::start(&[]);
        sandbox.misbehave(&format!(r#"{{"delay_ms":20000,"only":"{}","after":true}}"#, issuer.create));
        let folder = Folder::new();
        let out = folder.path("token");
        let child = start(issuer.create(&sandbox).arg("--out").arg(&out));
        sandbox.awaits(issuer.create);
        kill(child.id(), libc::SIGTERM);
        let see = format!("may have been created; see: monitoring-token {} list", issuer.name);
        finish(child).failed_with(143, &["interrupted by SIGTERM while waiting for http:", &see]);
        assert!(!out.exists());
        run(issuer.create(&sandbox).arg("-timeout=1s").arg("--out").arg(&out))
            .failed_with(124, &["timed out after 1s while"]);
        assert!(!out.exists());
    }
}

#[test]
fn a_list_or_delete_that_is_ended_says_so_in_one_line() {
    for issuer in ISSUERS {
        for (args, words) in issuer.verbs.into_iter().zip([&[][..], &["may be deleted", "list"]]) {
            let sandbox = Sandbox::start(&[]);
            sandbox.misbehave(r#"{"delay_ms":20000}"#);
            for (signal, name) in [(libc::SIGTERM, "SIGTERM"), (libc::SIGINT, "SIGINT")] {
                let before = sandbox.requests().len();
                let child = start(&mut issuer.command(&sandbox, args));
                eventually("a request", || (sandbox.requests().len() > before).then_some(()));
                kill(child.id(), signal);
                let line = format!("interrupted by {name} while waiting for http:");
                finish(child).failed_with(128 + signal, &[&line]).failed_with(128 + signal, words);
            }
            run(issuer.command(&sandbox, args).arg("-timeout=300ms"))
                .failed_with(124, &["timed out after 300ms while"]);
        }
    }
}

#[test]
fn a_signal_ends_a_list_that_is_not_read() {
    let listed = r#"{"id":1,"name":"a token with a name of some length","roles":["a","b"]}"#;
    let address = serve_bytes(http("200 OK", "", &format!("[{}]", vec![listed; 4000].join(","))));
    let mut command = token();
    command.args(["stackstate", "list", "--url", &format!("http://{address}")]);
    let child = start(command.env("STS_CLI_API_TOKEN", "x"));
    let stdout = child.stdout.as_ref().unwrap();
    // A pipe holds 64 KiB.
    eventually("a full pipe", || (rustix::io::ioctl_fionread(stdout).unwrap() >= 64 * 1024).then_some(()));
    kill(child.id(), libc::SIGTERM);
    assert_eq!(finish(child).status, -1);
}

#[test]
fn a_credential_that_does_not_come_is_not_waited_for_beyond_a_signal_or_the_timeout() {
    for issuer in ISSUERS {
        let sandbox = Sandbox::start(&[]);
        let [list, _] = issuer.verbs;
        let mut command = issuer.command(&sandbox, list);
        command.args(["--admin-token-file=-"]).stdin(Stdio::piped());
        let child = start(&mut command);
        catches_signals(child.id());
        kill(child.id(), libc::SIGHUP);
        finish(child)
            .failed_with(129, &["interrupted by SIGHUP while reading the admin token from standard input"]);
        let mut child = start(command.arg("-timeout=300ms"));
        let open = child.stdin.take();
        finish(child).failed_with(124, &["while reading the admin token from standard input"]);
        drop(open);
        assert_eq!(sandbox.requests(), [""; 0]);
    }
}

#[test]
fn a_signal_ends_a_bootstrap_that_waits_for_its_token() {
    let mut command = token();
    command.args(["stackstate", "bootstrap", "--roles=a", "--token-file=/dev/stdin"]).stdin(Stdio::piped());
    let child = start(&mut command);
    catches_signals(child.id());
    kill(child.id(), libc::SIGTERM);
    finish(child).failed_with(143, &["interrupted by SIGTERM while reading the token from /dev/stdin"]);
    let folder = Folder::new();
    let file = format!("--token-file={}", folder.root().display());
    run(token().args(["stackstate", "bootstrap", "--roles=a", &file]))
        .failed_with(125, &["cannot read the token from", "check --token-file"]);
}

/// Waits until the process has blocked SIGTERM, which it then reads from a descriptor.
#[track_caller]
fn catches_signals(pid: u32) {
    eventually("signals are caught", || has_signal(pid, "SigBlk", libc::SIGTERM)?.then_some(()));
}

/// Sends a signal that the program reads from a descriptor, and waits until it was read.
#[track_caller]
fn send(pid: u32, signal: i32) {
    kill(pid, signal);
    eventually("the signal is read", || (!has_signal(pid, "ShdPnd", signal)?).then_some(()));
}

/// True if a set of signals in `/proc/PID/status` has this one.
fn has_signal(pid: u32, set: &str, signal: i32) -> Option<bool> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let found = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(':'))?;
    let found = u64::from_str_radix(found.trim(), 16).ok()?;
    Some(found & (1 << (signal - 1)) != 0)
}

#[test]
fn a_command_that_ignores_sigterm_leaves_no_token_for_a_later_sigkill() {
    let folder = Folder::new();
    for issuer in ISSUERS {
        let sandbox = Sandbox::start(&[]);
        let ready = folder.path(issuer.name);
        let script = format!("trap '' TERM; echo > {}; while :; do sleep 0.1; done", ready.display());
        let child = start(shell(issuer.exec(&sandbox).arg("-kill-after=200ms"), &script));
        file_line(&ready);
        kill(child.id(), libc::SIGTERM);
        assert_eq!(finish(child).status, 128 + libc::SIGKILL);
        issuer.made_and_deleted(&sandbox);
    }
}

#[test]
fn the_time_left_before_the_deadline_is_used_for_the_deletion() {
    for issuer in ISSUERS {
        let sandbox = Sandbox::start(&[]);
        // Of 8 s, the deletion's own share is under 2 s.
        sandbox.misbehave(&format!(r#"{{"delay_ms":2500,"only":"{}"}}"#, issuer.delete));
        let deadline = std::time::SystemTime::now() + std::time::Duration::from_secs(8);
        let deadline = deadline.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let mut exec = issuer.exec(&sandbox);
        run(exec.env("SCRIPT_DEADLINE", deadline.to_string()).args(["--", "true"])).succeeded();
        issuer.made_and_deleted(&sandbox);
    }
}

/// With `--out`, the token stayed valid.
#[test]
fn a_new_token_that_cannot_be_written_is_deleted_again() {
    for issuer in ISSUERS {
        let sandbox = Sandbox::start(&[]);
        let folder = Folder::new();
        let out = folder.path("token");
        for (name, flags) in [("text", &[][..]), ("json", &["-o=json"])] {
            let create = || {
                let mut create = issuer.create(&sandbox);
                create.args(flags);
                create
            };
            let mut limited = Command::new("prlimit");
            limited.arg("--fsize=4").arg(create().get_program()).args(create().get_args());
            limited.env_clear().envs(create().get_envs().filter_map(|(name, value)| Some((name, value?))));
            let to_file = run(limited.arg("--out").arg(&out));
            assert!(!out.exists(), "{name}");
            for (ended, begin) in [
                (to_file, format!("cannot write {}: File too large; check --out; the token ", out.display())),
                (finish(into_no_reader(&mut create())), "cannot write to stdout: Broken pipe".to_owned()),
            ] {
                assert_eq!(ended.status, 125, "{ended:?}");
                assert!(ended.stderr.contains(&begin), "{ended:?}");
                assert!(ended.stderr.contains(" has been deleted"), "{ended:?}");
                assert!(!ended.stderr.contains(issuer.prefix), "{ended:?}");
                issuer.nothing_is_left(&sandbox);
            }
        }
        assert_eq!(issuer.creations(&sandbox), 4);
    }
}

#[test]
fn a_token_in_place_of_its_file_is_not_shown() {
    for issuer in ISSUERS {
        for given in [
            "8UaK74tbRebApWbgi4s0jt7e5uWHAOm8",
            "0b6a0c1e-3a43-4d0b-8d3e-0f6b0a3f1b1a",
            "Zq3-vU8_xT5.kR0mN7pL2wJ9yH4",
        ] {
            let mut command = token();
            command.arg(issuer.name).args(issuer.verbs[0]).args([
                "--url=http://127.0.0.1:1",
                "--admin-token-file",
                given,
            ]);
            let ended = run(&mut command);
            ended.failed_with(2, &["--admin-token-file: expected a file, not the token"]);
            assert!(!ended.stderr.contains(&given[..4]), "{ended:?}");
        }
        let folder = Folder::new();
        // The name of a file that exists, and of one that may be missing.
        std::fs::write(folder.path("8UaK74tbRebApWbgi4s0jt7e5uWHAOm8"), "x y").unwrap();
        for (file, words) in [
            ("8UaK74tbRebApWbgi4s0jt7e5uWHAOm8", "8UaK74tbRebApWbgi4s0jt7e5uWHAOm8: not a token"),
            (
                "stackstate-admin-token-2024.txt",
                "cannot read the admin token from stackstate-admin-token-2024.txt",
            ),
        ] {
            let mut command = token();
            command.current_dir(folder.root()).arg(issuer.name).args(issuer.verbs[0]);
            run(command.args(["--url=http://127.0.0.1:1", "--admin-token-file", file]))
                .failed_with(125, &[words]);
        }
    }
}

/// A token of one issuer was sent to the other if the wrong variable or file was named.
#[test]
fn a_token_of_the_other_issuer_is_not_sent() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    for (issuer, variable, other, name) in [
        (ISSUERS[0], "GAFAELFAWR_ADMIN_TOKEN", "svctok-secretsecretsecret", "StackState"),
        (ISSUERS[1], "STS_CLI_API_TOKEN", "gt-secretsecret.secretsecret", "Gafaelfawr"),
    ] {
        let file = folder.write("admin", other);
        let rotate = [&["rotate", "--token-file=t"], issuer.new].concat();
        for args in [issuer.verbs[0], &rotate, &[&["exec"], issuer.new, &["true"]].concat()] {
            let command = || {
                let mut command = issuer.command(&sandbox, &args[..1]);
                command.current_dir(folder.root());
                command
            };
            let words = format!(
                "the admin token looks like a token of {name}, so it was not sent to {}",
                issuer.name
            );
            let given = [
                run(command().args(&args[1..]).env(variable, other)),
                run(command().env_remove(variable).arg("--admin-token-file").arg(&file).args(&args[1..])),
            ];
            for ended in given {
                ended.failed_with(125, &[&words]);
                assert!(!ended.stderr.contains("secret"), "{ended:?}");
            }
        }
    }
    assert_eq!(sandbox.requests().len(), 0);
}

/// A gateway gives up while the server still creates the token: an empty list does not say that there is none.
#[test]
fn a_token_that_is_listed_late_after_a_gateway_error_is_deleted() {
    for issuer in ISSUERS {
        for status in [502, 504] {
            let sandbox = Sandbox::start(&[]);
            let (mut created, mut looks) = (false, 0);
            let url = relay(sandbox.var(issuer.url), move |request, pass_on| {
                let answer = pass_on(request);
                if request.starts_with(issuer.create) {
                    created = true;
                    return http(&format!("{status} x"), "", "");
                }
                let is_list = request.starts_with("GET ") && request.contains("/tokens ");
                looks += u32::from(created && is_list);
                if created && is_list && looks <= 3 { http("200 OK", "", "[]") } else { answer }
            });
            let ended = run(issuer.exec(&sandbox).env(issuer.url, url).args(["--", "true"]));
            ended.failed_with(125, &[&format!("HTTP {status}"), "; no token is left"]);
            issuer.made_and_deleted(&sandbox);
        }
    }
}

/// A part of a token, or a whole one and no end, kept the program waiting beyond the timeout and any signal.
#[test]
fn standard_input_that_stays_open_is_not_waited_for_beyond_a_signal_or_the_timeout() {
    let sandbox = Sandbox::start(&[]);
    for issuer in ISSUERS {
        let [list, _] = issuer.verbs;
        for args in [list.to_vec(), [&["exec"], issuer.new, &["true"]].concat()] {
            let command = |timeout| {
                let mut command = issuer.command(&sandbox, &args[..1]);
                command.args(["--admin-token-file=-", timeout]).args(&args[1..]).stdin(Stdio::piped());
                command
            };
            let begin = |command: &mut Command| {
                let mut child = start(command);
                let mut writer = child.stdin.take().unwrap();
                writer.write_all(b"gt-AAAA").unwrap();
                (child, writer)
            };
            let (child, writer) = begin(&mut command("--timeout=500ms"));
            finish(child).failed_with(
                124,
                &["timed out after 500ms while reading the admin token from standard input"],
            );
            let (child, other_writer) = begin(&mut command("--timeout=60s"));
            catches_signals(child.id());
            kill(child.id(), libc::SIGTERM);
            finish(child).failed_with(
                143,
                &["interrupted by SIGTERM while reading the admin token from standard input"],
            );
            drop((writer, other_writer));
        }
    }
    let mut bootstrap = token();
    bootstrap.args(["stackstate", "bootstrap", "--roles=a", "--token-file=-"]).stdin(Stdio::piped());
    let mut child = start(&mut bootstrap);
    let mut writer = child.stdin.take().unwrap();
    writer.write_all(b"svctok-").unwrap();
    catches_signals(child.id());
    kill(child.id(), libc::SIGTERM);
    finish(child).failed_with(143, &["interrupted by SIGTERM while reading the token from standard input"]);
    assert_eq!(sandbox.requests().len(), 0);
}

/// The command could read the admin token from a file that is its standard input, if the token's path names that.
#[test]
fn the_command_does_not_get_the_standard_input_that_held_the_credential() {
    let folder = Folder::new();
    for issuer in ISSUERS {
        let sandbox = Sandbox::start(&[]);
        let variable =
            if issuer.name == "gafaelfawr" { "GAFAELFAWR_ADMIN_TOKEN" } else { "STS_CLI_API_TOKEN" };
        let file = folder.write("admin", sandbox.var(variable));
        let exec = [&["exec"], issuer.new].concat();
        let link = folder.path(issuer.name);
        std::os::unix::fs::symlink("/dev/stdin", &link).unwrap();
        let spelled = ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"].map(Path::new);
        let others = [Path::new("/proc/self/fd/../fd/0"), Path::new("/dev/../dev/stdin"), &link, &file];
        for path in spelled.into_iter().chain(others) {
            let mut command = issuer.command(&sandbox, &exec);
            command.env_remove(variable).arg("--admin-token-file").arg(path);
            command.args(["-output=inherit", "--", "cat"]).stdin(std::fs::File::open(&file).unwrap());
            assert_eq!(run(&mut command).succeeded().stdout, "", "{}", path.display());
        }
    }
    let sandbox = Sandbox::start(&[]);
    let (url, admin) = (sandbox.var("STS_CLI_URL"), sandbox.var("STS_CLI_API_TOKEN"));
    let config = folder.write("config", format!("url: {url}\napi-token: {admin}\n"));
    let mut command = token();
    command.args(["stackstate", "exec", "--roles=a", "--config=/dev/stdin", "-output=inherit", "--", "cat"]);
    assert_eq!(run(command.stdin(std::fs::File::open(config).unwrap())).succeeded().stdout, "");
}

/// It became the name of a file, and was shown.
#[test]
fn a_token_in_place_of_a_file_is_refused_and_not_shown() {
    const GAFAELFAWR: &str = "gt-2RcMlN_Erei2Id-9JVFeog.ITy0XwwjFqwVhjqWXJJETw";
    const STACKSTATE: &str = "svctok-TiehfOUDpmyL6BJQVOywEdWgyMlcMzD6";
    const JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZ-DusAxyuf2A"}"#;
    let folder = Folder::new();
    let bot = ["--username=bot-a", "--scopes=read:all"];
    for (verb, flag) in [
        (&["gafaelfawr", "create", bot[0], bot[1]][..], "--out"),
        (&["gafaelfawr", "rotate", bot[0], bot[1]], "--token-file"),
        (&["stackstate", "create", "--name=a", "--roles=r"], "--out"),
        (&["stackstate", "rotate", "--name=a", "--roles=r"], "--token-file"),
        (&["stackstate", "bootstrap", "--roles=r"], "--token-file"),
        (&["key", "generate"], "-out"),
        (&["check"], "-metrics-textfile"),
    ] {
        for value in [GAFAELFAWR, STACKSTATE, JWK, &format!("./{STACKSTATE}")] {
            let ended = run(token().current_dir(folder.root()).args(verb).args([flag, value]));
            ended.failed_with(2, &[&format!("{flag}: expected a path, not a token or key")]);
            for secret in [&GAFAELFAWR[30..], &STACKSTATE[10..], &JWK[40..]] {
                assert!(!ended.stderr.contains(secret) && !ended.stdout.contains(secret), "{ended:?}");
            }
        }
    }
    assert_eq!(folder.root().read_dir().unwrap().count(), 0);
    for name in ["gt-prod.token", "svctok-jenkins"] {
        run(token().current_dir(folder.root()).args(["key", "generate", "-out", name])).succeeded();
    }
}

/// A URL of a secret store in place of a path was shown, with its password.
#[test]
fn a_url_in_place_of_a_file_is_refused_and_not_shown() {
    const URL: &str = "https://user:hunter2@h.example/x?token=hunter2";
    let list = ["stackstate", "list", "--url=http://127.0.0.1:1"];
    let rotate = ["stackstate", "rotate", "--name=a", "--roles=r"];
    for (verb, flag) in [
        (&["-locate-url=http://127.0.0.1:1", "-machine=m"][..], "-ca-file"),
        (&[], "-metrics-textfile"),
        (&[], "-cache-dir"),
        (&["check"], "-ca-file"),
        (&list, "--admin-token-file"),
        (&list, "--config"),
        (&list, "--ca-cert-path"),
        (&rotate, "--token-file"),
        (&["stackstate", "bootstrap", "--roles=r"], "--token-file"),
        (&["stackstate", "create", "--name=a", "--roles=r"], "--out"),
        (&["key", "generate"], "-out"),
    ] {
        let mut command = token();
        command.env("STS_CLI_API_TOKEN", "x").env("STS_CLI_URL", "http://127.0.0.1:1").args(verb);
        let ended = run(command.args([flag, URL]).args((!verb.contains(&"stackstate")).then_some("true")));
        assert_eq!(ended.status, 2, "{ended:?}");
        assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
        let words = format!("{flag}: expected a path, not a URL; it is not shown");
        assert!(ended.stderr.contains(&words), "{ended:?}");
    }
    for variable in ["MONITORING_TOKEN_CA_FILE", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        let words = format!("{variable}: expected a path, not a URL");
        run(token().env(variable, URL).arg("true")).failed_with(2, &[&words]);
    }
}

/// Pasted, it asked the server in the variable, which had no such token, or had no admin token, or did not trust the CA.
#[test]
fn the_command_line_that_deletes_a_token_has_the_flags_that_reach_the_server() {
    let folder = Folder::new();
    let ca = folder.write("ca.pem", Authority::new("a CA").pem());
    for (issuer, credential) in ISSUERS.into_iter().zip(["GAFAELFAWR_ADMIN_TOKEN", "STS_CLI_API_TOKEN"]) {
        let sandbox = Sandbox::start(&[]);
        sandbox.misbehave(&format!(r#"{{"status":403,"body":"","times":1,"only":"{}"}}"#, issuer.delete));
        let url = sandbox.var(issuer.url);
        let elsewhere = |args: &[&str]| {
            let mut command = sandbox.token();
            run(command.env(issuer.url, "http://127.0.0.1:1").env_remove(credential).args(args))
        };
        let file = folder.write(issuer.name, sandbox.var(credential));
        let files = ["--admin-token-file", file.to_str().unwrap(), "-ca-file", ca.to_str().unwrap()];
        let exec = [&[issuer.name, "exec", "--url", url], &files[..], issuer.new, &["--", "true"]].concat();
        let ended = elsewhere(&exec);
        let (_, hint) = ended.stderr.trim_end().split_once("now: monitoring-token ").expect("a command line");
        assert!(
            hint.starts_with(&format!("{} delete --url {url} {} --", issuer.name, files.join(" "))),
            "{ended:?}"
        );
        elsewhere(&hint.split(' ').collect::<Vec<_>>()).succeeded();
        issuer.nothing_is_left(&sandbox);
    }
}
