//! `gafaelfawr create|list|delete`, and the messages for each recorded response.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::{CONTROL, cases};
use crate::support::issuer::operand;
use crate::support::{
    Ended, Sandbox, eventually, finish, full_pipe, http, into_no_reader, kill, read_head, run, serve,
    serve_bytes, start, token,
};

const TOKEN: &str = "gt-dreXTB7K2UQEmidM_VoNkw.vrtUTq89RBGNCbBHdOLwyA";
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// Words of the message for an error of this type and status.
fn words(kind: &str, status: u64) -> &'static str {
    match (kind, status) {
        ("invalid_token", _) => "the admin token",
        ("no_authorization", _) => "received no token",
        ("invalid_request", _) => "cannot read the Authorization header",
        ("permission_denied", _) => "does not allow this credential to",
        ("invalid_expires", _) => "rejected the expiry",
        ("invalid_scopes", _) => "does not know one of the scopes",
        ("not_found", _) => "has no",
        (_, 307) => "redirects to",
        ("", 404 | 405) => "has no token API",
        (_, 500) => "returned a server error",
        _ => "refused to",
    }
}

/// The program's request that corresponds to a recorded one.
fn verb(method: &str, path: &str) -> Option<Vec<&'static str>> {
    let collection = path.split('?').next().unwrap().trim_end_matches('/').ends_with("/tokens");
    let username = ["--username", "bot-sasquatch"];
    let new = ["--username", "bot-sasquatch", "--scopes", "write:sasquatch"];
    Some(match (method, path.starts_with("/auth/api/v1/"), collection) {
        ("POST", true, _) => [&["create", "--no-expiry"][..], &new].concat(),
        ("GET", true, true) => [&["list"][..], &username].concat(),
        ("GET", true, _) if path.ends_with("/token-info") => [&["exec"][..], &new, &["true"]].concat(),
        ("DELETE", true, _) => [&["delete"][..], &username, &[KEY]].concat(),
        _ => return None,
    })
}

#[test]
fn every_recorded_error_is_one_line_and_creates_are_not_retried() {
    let mut tried = 0;
    for case in cases() {
        let (request, response) = (&case["request"], &case["response"]);
        let status = response["status"].as_u64().unwrap();
        let verb = verb(request["method"].as_str().unwrap(), request["path"].as_str().unwrap());
        let Some(mut verb) = verb.filter(|_| status >= 300) else { continue };
        let body = response["body"].as_str().unwrap();
        let mut headers = String::new();
        for (name, value) in response["headers"].as_object().unwrap() {
            if name != "content-length" {
                headers.extend([name, ": ", value.as_str().unwrap(), "\r\n"]);
            }
        }
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let answer = http(&format!("{status} Recorded"), &headers, body);
        let address = serve(move |mut stream| {
            read_head(&mut stream);
            count.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(answer.as_bytes());
        });
        verb.insert(1, "-retries=0");
        let ended = run(token()
            .args(["gafaelfawr"])
            .args(&verb)
            .env("GAFAELFAWR_URL", format!("http://{address}"))
            .env("GAFAELFAWR_ADMIN_TOKEN", TOKEN));
        let name = case["case"].as_str().unwrap();
        let json: Value = serde_json::from_str(body).unwrap_or_default();
        let detail = &json["detail"];
        let kind = detail[0]["type"].as_str().or(detail["type"].as_str()).unwrap_or_default();
        let expected = words(kind, status);
        // The program's own words for a missing token.
        let message = detail[0]["msg"].as_str().filter(|_| kind != "not_found").unwrap_or_default();
        let message: String = message.chars().take(40).collect();
        ended.failed_with(125, &[expected, &message]);
        assert!(!ended.stderr.contains("vrtUTq89RBGNCbBHdOLwyA"), "{name}: {ended:?}");
        assert_eq!((ended.stdout.as_str(), asked.load(Ordering::SeqCst)), ("", 1), "{name}");
        tried += 1;
    }
    assert!(tried > 50, "{tried}");
}

fn create<'a>(sandbox: &Sandbox, more: impl IntoIterator<Item = &'a str>) -> Ended {
    let new = ["gafaelfawr", "create", "--username=bot-x", "--scopes", "read:all,write:sasquatch"];
    run(sandbox.token().args(new).args(more))
}

#[test]
fn create_prints_the_token_alone_and_it_opens_sasquatch() {
    let sandbox = Sandbox::start(&[]);
    let created = create(&sandbox, ["--name", "A probe"]);
    created.succeeded();
    let token = created.stdout.strip_suffix('\n').unwrap();
    assert_eq!((token.len(), token.lines().count()), (48, 1), "{token}");
    let header = [("Authorization".to_owned(), format!("bearer {token}"))];
    let path = "/sasquatch-rest-proxy/topics/lsst.example";
    assert_eq!(crate::support::api::ask(&sandbox, "POST", path, &header, Some("{}")).status, 200);
    let made = &sandbox.made_tokens(CONTROL)[0];
    let lifetime = made["expires"].as_u64().unwrap() - made["created"].as_u64().unwrap();
    assert!(lifetime.abs_diff(24 * 3600) < 30, "{made}");
    let requests = sandbox.shows("/sandbox/requests");
    let request = requests.as_array().unwrap().iter().find(|request| request["method"] == "POST").unwrap();
    assert_eq!(request["content_type"], "application/json");
    assert_eq!(request["body"]["name"], "A probe");
    assert!(!request["headers"].as_array().unwrap().contains(&"cookie".into()), "{request}");
}

#[test]
fn lifetimes_are_five_minutes_or_more_or_without_end() {
    let sandbox = Sandbox::start(&[]);
    create(&sandbox, ["--lifetime=4m59s"]).failed_with(2, &["\"4m59s\" for --lifetime", "at least 5m"]);
    for lifetime in
        ["soon", "d", "1.5d", "-1d", "1d-1h", "0", "0d", "7", "7days", "106752d", "99999999999999999999d"]
    {
        create(&sandbox, ["--lifetime", lifetime]).failed_with(2, &["not a valid lifetime"]);
    }
    create(&sandbox, ["--lifetime="]).failed_with(2, &["empty value for --lifetime"]);
    create(&sandbox, ["--lifetime=1h", "--no-expiry"]).failed_with(2, &["--no-expiry"]);
    assert_eq!(sandbox.requests(), [""; 0]);
    create(&sandbox, ["--lifetime=5m"]).succeeded();
    create(&sandbox, ["--no-expiry"]).succeeded();
    create(&sandbox, ["--lifetime=5d"]).succeeded();
    let made = sandbox.made_tokens(CONTROL);
    assert!(made[0]["expires"].is_u64() && made[1]["expires"].is_null(), "{made:?}");
    let lifetime = made[2]["expires"].as_u64().unwrap() - made[2]["created"].as_u64().unwrap();
    assert!(lifetime.abs_diff(5 * 24 * 3600) < 30, "{made:?}");
}

#[test]
fn list_marks_what_has_expired_and_says_when_there_is_nothing() {
    let list = r#"[{"username":"bot-x","token_type":"service","scopes":["a","b"],"created":1000000000,"expires":1000086400,"token":"dpQnfzjH7xskNDRuBvNKuw"},{"username":"bot-x","token_type":"service","scopes":[],"created":1,"token":"-pQnfzjH7xskNDRuBvNKuw"},{"username":"bot-x","token_type":"service","scopes":[],"created":2,"expires":4102444800,"token":"epQnfzjH7xskNDRuBvNKuw"}]"#;
    let row =
        "dpQnfzjH7xskNDRuBvNKuw  service  a,b     2001-09-09 01:46:40Z  2001-09-10 01:46:40Z (expired)\n";
    for (body, args, expected) in [
        (list, &[][..], row),
        (list, &["-o", "json"], "\"expires\": 1000086400"),
        (list, &[], "1970-01-01 00:00:01Z  never\n"),
        (list, &[], "1970-01-01 00:00:02Z  2100-01-01 00:00:00Z\n"),
        ("[]", &[], "no tokens of bot-x"),
        ("[]", &["--output=json"], "[]"),
    ] {
        let address = serve_bytes(http("200 OK", "content-type: application/json\r\n", body));
        let ended = run(token()
            .args(["gafaelfawr", "list", "--username=bot-x", "--url", &format!("http://{address}")])
            .args(args)
            .env("GAFAELFAWR_ADMIN_TOKEN", TOKEN));
        ended.succeeded();
        assert!(ended.stdout.contains(expected), "{expected}: {ended:?}");
    }
}

#[test]
fn an_expired_token_is_marked_in_the_list() {
    let body = r#"[{"username":"bot-x","token_type":"service","scopes":[],"created":1,"expires":400,"token":"dpQnfzjH7xskNDRuBvNKuw"}]"#;
    let address = serve_bytes(http("200 OK", "", body));
    let list = ["gafaelfawr", "list", "--username=bot-x", "--url", &format!("http://{address}")];
    let ended = run(token().args(list).env("GAFAELFAWR_ADMIN_TOKEN", TOKEN));
    assert!(ended.succeeded().stdout.contains("1970-01-01 00:06:40Z (expired)"), "{ended:?}");
}

#[test]
fn delete_takes_a_key_with_a_dash_and_never_a_whole_token() {
    let sandbox = Sandbox::start(&[]);
    let ended = create(&sandbox, []);
    let made = ended.succeeded().stdout.trim();
    let key = made[3..].split('.').next().unwrap();
    let delete = ["gafaelfawr", "delete", "--username=bot-x"];
    let refused = run(sandbox.token().args(delete).arg(made));
    refused.failed_with(2, &["KEY", "22 characters"]);
    assert!(!refused.stderr.contains(&made[26..]), "{refused:?}");
    let dashed = "-ILcvegmBCW73byPdV-uMg";
    run(sandbox.token().args(delete).arg(dashed)).failed_with(125, &["has no token", dashed]);
    assert!(sandbox.requests().contains(&format!("DELETE /auth/api/v1/users/bot-x/tokens/{dashed}")));
    run(sandbox.token().args(delete).args([key, "-o=json"])).succeeded();
    assert_eq!(sandbox.made_tokens(CONTROL), Vec::<Value>::new());
    run(sandbox.token().args(delete).arg(key)).failed_with(125, &["has no token"]);
}

#[test]
fn a_token_on_the_command_line_is_refused_and_not_shown() {
    for args in [
        &["list", "--username=bot-x", "--admin-token", TOKEN][..],
        &["list", "--username=bot-x", &format!("-token={TOKEN}")],
        &["list", "--username=bot-x", "--admin-token-file", TOKEN],
        &["list", "--username=bot-x", TOKEN],
        &["exec", "--username=bot-x", "--scopes=a", &format!("--api-token={TOKEN}"), "--", "true"],
        &[TOKEN],
    ] {
        let ended = run(token().arg("gafaelfawr").args(args).env("GAFAELFAWR_URL", "http://127.0.0.1:1"));
        ended.failed_with(2, &[]);
        assert!(!ended.stderr.contains("vrtUTq89RBGNCbBHdOLwyA"), "{ended:?}");
        if args.iter().any(|arg| arg.contains("token")) {
            assert!(ended.stderr.contains("GAFAELFAWR_ADMIN_TOKEN"), "{ended:?}");
            assert!(ended.stderr.contains("--admin-token-file"), "{ended:?}");
        }
    }
}

#[test]
fn the_admin_token_comes_from_a_file_or_from_standard_input() {
    let sandbox = Sandbox::start(&[]);
    let admin = sandbox.var("GAFAELFAWR_ADMIN_TOKEN").to_owned();
    let file = tempfile::NamedTempFile::new().unwrap();
    writeln!(&file, "{admin}").unwrap();
    let list = ["gafaelfawr", "list", "--username=bot-x", "--admin-token-file"];
    run(sandbox.token().env_remove("GAFAELFAWR_ADMIN_TOKEN").args(list).arg(file.path())).succeeded();
    let mut child =
        start(sandbox.token().env_remove("GAFAELFAWR_ADMIN_TOKEN").args(list).arg("-").stdin(Stdio::piped()));
    writeln!(child.stdin.take().unwrap(), "{admin}").unwrap();
    finish(child).succeeded();
    run(sandbox.token().env("GAFAELFAWR_ADMIN_TOKEN", "two words").args(&list[..3]))
        .failed_with(125, &["GAFAELFAWR_ADMIN_TOKEN", "not a token"]);
    run(sandbox.token().env_remove("GAFAELFAWR_ADMIN_TOKEN").args(&list[..3]))
        .failed_with(125, &["no admin token", "--admin-token-file"]);
}

#[test]
fn names_and_the_form_of_scopes_are_checked_before_anything_is_asked() {
    let sandbox = Sandbox::start(&[]);
    for (args, words) in [
        (&["--username=sasquatch", "--scopes=a"][..], "must begin with bot-"),
        (&["--scopes=a"], "missing --username"),
        (&["--username=bot-a"], "missing --scopes"),
        (&["--username=bot-a", "--scopes=a b"], "not a list of scopes"),
    ] {
        run(sandbox.token().args(["gafaelfawr", "create"]).args(args)).failed_with(2, &[words]);
    }
    let long = format!("bot-{}", "a".repeat(61));
    for name in ["bot-", "bot--a", "-bot", "bot_a", "bot-A", "bot-é", "12", "a/b", &long] {
        let list = ["gafaelfawr", "list", "--username", name];
        run(sandbox.token().args(list)).failed_with(2, &["not a valid username"]);
    }
    run(sandbox.token().args(["gafaelfawr", "list", "--username="])).failed_with(2, &["empty value for"]);
    assert_eq!(sandbox.requests(), [""; 0]);
    for name in ["bot-sasquatch", "bot-a", "bot-1", "bot-a-b", "someuser", &long[1..]] {
        run(sandbox.token().args(["gafaelfawr", "list", "--username", name])).succeeded();
    }
    let unknown = ["gafaelfawr", "create", "--username=bot-x", "--scopes=no:such"];
    run(sandbox.token().args(unknown)).failed_with(125, &["body.scopes: Unknown scopes", "--scopes"]);
}

#[test]
fn the_bootstrap_token_creates_but_cannot_list_tokens() {
    let sandbox = Sandbox::start(&[]);
    let state = sandbox.shows(CONTROL);
    let bootstrap = state["bootstrap_token"].as_str().unwrap();
    let with = |args: &[&str]| {
        run(sandbox.token().env("GAFAELFAWR_ADMIN_TOKEN", bootstrap).arg("gafaelfawr").args(args))
    };
    with(&["create", "--username=bot-x", "--scopes=read:all"]).succeeded();
    with(&["list", "--username=bot-x"]).failed_with(125, &["bootstrap token", "Token is not valid"]);
}

const CREATE: [&str; 4] = ["gafaelfawr", "create", "--username=bot-x", "--scopes=read:all"];

fn has_socket(process: u32) -> bool {
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let mut targets = descriptors.filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok());
    targets.any(|target| target.to_string_lossy().starts_with("socket:"))
}

#[test]
fn a_token_that_does_not_get_to_stdout_is_deleted_again() {
    let sandbox = Sandbox::start(&[]);
    let into_full = |command: &mut Command| {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        command.stdout(full).stderr(Stdio::piped()).spawn().unwrap()
    };
    let starts: [fn(&mut Command) -> Child; 2] = [into_no_reader, into_full];
    for start in starts {
        // One after the other, because each list is checked.
        let ended = finish(start(sandbox.token().args(CREATE)));
        ended.failed_with(125, &["cannot write to stdout", "has been deleted", "--out"]);
        assert!(!ended.stderr.contains("gt-"), "{ended:?}");
        assert_eq!(sandbox.made_tokens(CONTROL), Vec::<Value>::new());
    }
    for signal in [None, Some(libc::SIGTERM)] {
        let (_reader, writer) = full_pipe();
        let mut create = sandbox.token();
        create.args(CREATE).arg(if signal.is_none() { "--timeout=1s" } else { "--timeout=60s" });
        let child = create.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        if let Some(signal) = signal {
            eventually("the token", || (!sandbox.made_tokens(CONTROL).is_empty()).then_some(()));
            eventually("the end of the connection", || (!has_socket(child.id())).then_some(()));
            kill(child.id(), signal);
        }
        let why =
            if signal.is_none() { "its reader did not take it in time" } else { "interrupted by SIGTERM" };
        finish(child).failed_with(125, &["cannot write to stdout: ", why, "has been deleted; check --out"]);
        assert_eq!(sandbox.made_tokens(CONTROL), Vec::<Value>::new());
    }
    sandbox.misbehave(r#"{"status":403,"body":"","only":"DELETE /auth/"}"#);
    let ended = finish(into_no_reader(sandbox.token().args(CREATE)));
    let key = sandbox.made_tokens(CONTROL)[0]["token"].as_str().unwrap().to_owned();
    ended.failed_with(125, &["the token is lost", &format!("delete --username bot-x {}", operand(&key))]);
}

#[test]
fn create_says_that_a_token_may_have_been_made() {
    for status in [200, 201, 303, 408, 429, 500, 502, 520] {
        let sandbox = Sandbox::start(&[]);
        sandbox.misbehave(&format!(
            r#"{{"status":{status},"body":"<html>","only":"POST /auth/","after":true}}"#
        ));
        let ended = run(sandbox.token().args(CREATE).arg("-retries=0"));
        ended.failed_with(125, &["may have been created", "gafaelfawr list --username bot-x"]);
        assert!(!ended.stderr.contains("did not make"), "{ended:?}");
    }
}

#[test]
fn a_password_in_the_url_is_refused_and_not_shown() {
    for url in ["http://u:hunter2@127.0.0.1:1", "http://hunter2@127.0.0.1:1", "http://127.0.0.1:1/?k=hunter2"]
    {
        let list = ["gafaelfawr", "list", "--username=bot-x", "-logx.debug"];
        let ended = run(token().args(list).env("GAFAELFAWR_URL", url).env("GAFAELFAWR_ADMIN_TOKEN", TOKEN));
        ended.failed_with(2, &["GAFAELFAWR_URL: the URL must not contain a"]);
        assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
    }
}
