//! Clocks, expiries, restarts and sizes.

use std::net::TcpListener;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::CONTROL;
use super::exec::exec;
use crate::support::api::{ask, relay, shell};
use crate::support::issuer::GAFAELFAWR;
use crate::support::job::Folder;
use crate::support::{Sandbox, eventually, file_line, finish, http, kill, run, serve_bytes, start, token};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A person's token with the scope admin:token that lives for this long.
fn admin_token(sandbox: &Sandbox, lifetime: u64) -> String {
    let admin = ("Authorization".to_owned(), format!("bearer {}", sandbox.var("GAFAELFAWR_ADMIN_TOKEN")));
    let json = ("Content-Type".to_owned(), "application/json".to_owned());
    let body = format!(
        r#"{{"username":"admin","token_type":"user","token_name":"short","scopes":["admin:token"],"expires":{}}}"#,
        now() + lifetime
    );
    let made = ask(sandbox, "POST", "/auth/api/v1/tokens", &[admin, json], Some(&body));
    made.json()["token"].as_str().unwrap().to_owned()
}

#[test]
fn an_admin_token_that_expires_before_the_run_ends_is_refused_by_exec_and_check() {
    let sandbox = Sandbox::start(&[]);
    let short = admin_token(&sandbox, 400);
    let words = ["the admin token of admin at ", "expires at", "-timeout"];
    let mut long = exec(&sandbox);
    long.env("GAFAELFAWR_ADMIN_TOKEN", &short);
    run(long.args(["-timeout=10m", "--", "true"])).failed_with(125, &words);
    GAFAELFAWR.nothing_is_left(&sandbox);
    let mut check = sandbox.token();
    check.env("GAFAELFAWR_ADMIN_TOKEN", &short).args(["check", "gafaelfawr", "exec"]);
    let checked = run(check.args(GAFAELFAWR.new).args(["-timeout=10m", "true"]));
    checked.failed_with(125, &words);
    assert!(checked.stdout.contains("token       failed"), "{checked:?}");
    let mut brief = exec(&sandbox);
    run(brief.env("GAFAELFAWR_ADMIN_TOKEN", &short).args(["-timeout=1m", "--", "true"])).succeeded();
}

#[test]
fn create_counts_the_lifetime_by_the_servers_clock() {
    let sandbox = Sandbox::start(&[]);
    // The sandbox's own Date is right; one that is a day ahead corresponds to a local clock that is behind.
    let ahead = now() + 86_400;
    let url = relay(sandbox.var("GAFAELFAWR_URL"), move |request, pass_on| {
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(ahead));
        let answer = pass_on(request);
        let line = answer.lines().find(|line| line.to_lowercase().starts_with("date: ")).unwrap().to_owned();
        answer.replace(&line, &format!("date: {date}"))
    });
    let mut create = sandbox.token();
    create.env("GAFAELFAWR_URL", url).args(["gafaelfawr", "create", "--lifetime=1h"]);
    run(create.args(GAFAELFAWR.new)).succeeded();
    let expires = sandbox.made_tokens(CONTROL)[0]["expires"].as_u64().unwrap();
    assert!(expires.abs_diff(ahead + 3600) < 60, "{expires}");
}

/// The server restarts while the command runs, and is back in time for the deletion.
#[test]
fn the_deletion_waits_for_a_server_that_restarts() {
    let sandbox = Sandbox::start(&[]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let upstream = sandbox.var("SANDBOX_URL").strip_prefix("http://").unwrap().to_owned();
    let serve_at = |listener: TcpListener, upstream: String| {
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                use std::io::Write as _;
                let request = crate::support::api::read_request(&mut stream);
                if request.starts_with("STOP") {
                    return;
                }
                let _ = stream.write_all(crate::support::exchange(&upstream, request.as_bytes()).as_bytes());
            }
        })
    };
    let first = serve_at(TcpListener::bind(("127.0.0.1", port)).unwrap(), upstream.clone());
    let folder = Folder::new();
    let ready = folder.path("ready");
    let go = folder.path("go");
    let script = format!("echo > {}; while ! [ -e {} ]; do sleep 0.05; done", ready.display(), go.display());
    let mut command = exec(&sandbox);
    let child = start(shell(command.env("GAFAELFAWR_URL", format!("http://127.0.0.1:{port}")), &script));
    file_line(&ready);
    crate::support::exchange(&format!("127.0.0.1:{port}"), b"STOP\r\n\r\n");
    first.join().unwrap();
    std::fs::write(&go, "").unwrap();
    // With only three tries within a second, the deletion once failed.
    std::thread::sleep(Duration::from_secs(2));
    serve_at(TcpListener::bind(("127.0.0.1", port)).unwrap(), upstream);
    finish(child).succeeded();
    GAFAELFAWR.made_and_deleted(&sandbox);
}

#[test]
fn a_list_of_ten_thousand_tokens_is_read() {
    let entry = |n: usize| {
        format!(
            r#"{{"username":"bot-x","token_type":"service","scopes":["read:all"],"created":{n},"expires":4102444800,"token":"{n:022}"}}"#
        )
    };
    let list = format!("[{}]", (0..10_000).map(entry).collect::<Vec<_>>().join(","));
    let address = serve_bytes(http("200 OK", "content-type: application/json\r\n", &list));
    let args = ["gafaelfawr", "list", "--username=bot-x", "--url", &format!("http://{address}")];
    let ended = run(token().args(args).env("GAFAELFAWR_ADMIN_TOKEN", "x"));
    assert_eq!(ended.succeeded().stdout.lines().count(), 10_001);
}

#[test]
fn a_401_after_a_success_does_not_blame_the_bootstrap_token() {
    let sandbox = Sandbox::start(&[]);
    let refusal = r#"{"detail":[{"msg":"Token is not valid","type":"invalid_token"}]}"#.replace('"', "\\\"");
    sandbox.misbehave(&format!(r#"{{"status":401,"body":"{refusal}","only":"DELETE /auth/"}}"#));
    let ended = run(exec(&sandbox).args(["--", "true"]));
    ended.said(0, &["rejected the admin token", "has expired or was deleted"]);
    assert!(!ended.stderr.contains("bootstrap"), "{ended:?}");
}

#[test]
fn check_takes_its_flags_before_the_name_of_the_issuer() {
    let sandbox = Sandbox::start(&[]);
    for flags in [&["--json"][..], &["-json=true", "-logx.debug=false"]] {
        let mut check = sandbox.token();
        check.arg("check").args(flags).args(["gafaelfawr", "exec"]).args(GAFAELFAWR.new).arg("true");
        let shown: serde_json::Value = serde_json::from_str(&run(&mut check).succeeded().stdout).unwrap();
        assert_eq!(
            (&shown["ok"], &shown["steps"][2]["step"]),
            (&true.into(), &"credential".into()),
            "{shown}"
        );
    }
    // A program of that name.
    let ended = run(sandbox.token().args(["check", "--json", "--", "gafaelfawr", "exec"]));
    assert!(ended.stdout.contains("\"key\""), "{ended:?}");
}

#[test]
fn a_signal_in_the_first_look_still_ends_a_create() {
    let sandbox = Sandbox::start(&[]);
    sandbox.misbehave(r#"{"delay_ms":20000,"only":"GET /auth/api/v1/token-info"}"#);
    let child = start(&mut GAFAELFAWR.create(&sandbox));
    sandbox.awaits("GET /auth/api/v1/token-info");
    kill(child.id(), libc::SIGTERM);
    finish(child).failed_with(143, &["interrupted by SIGTERM while"]);
    eventually("no creation", || (GAFAELFAWR.creations(&sandbox) == 0).then_some(()));
}
