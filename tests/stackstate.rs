//! StackState's service tokens: the output of `sts`, the requests of the vendor's specification, and nothing left
//! behind.

mod bootstrap;
mod exec;
mod spec;
mod sts;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::api::relay;
use crate::support::{Ended, Sandbox, finish, http, into_no_reader, run, serve_bytes, token};

const CONTROL: &str = "/sandbox/stackstate";

fn stackstate(sandbox: &Sandbox, args: &[&str]) -> Ended {
    run(sandbox.token().arg("stackstate").args(args))
}

fn token_of(created: &Ended) -> String {
    let line = created.succeeded().stdout.strip_suffix('\n').unwrap();
    line.strip_prefix("✅ Service token created: ").unwrap().to_owned()
}

#[test]
fn the_walk_through_of_the_documentation_works() {
    let sandbox = Sandbox::start(&[]);
    let created =
        stackstate(&sandbox, &["create", "--name", "my-service-token", "--roles", "stackstate-power-user"]);
    let token = token_of(&created);
    assert!(token.starts_with("svctok-"), "{token}");
    for header in [("X-API-Key", token.clone()), ("Authorization", format!("ApiKey {token}"))] {
        let header = [(header.0.to_owned(), header.1)];
        let info = crate::support::api::ask(&sandbox, "GET", "/api/server/info", &header, None);
        assert_eq!(info.status, 200, "{info:?}");
    }
    let listed = stackstate(&sandbox, &["list"]);
    let id = listed.succeeded().stdout.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let deleted = stackstate(&sandbox, &["delete", &id]);
    assert_eq!(deleted.succeeded().stdout, format!("✅ Service token deleted: {id}\n"));
    assert_eq!(stackstate(&sandbox, &["list"]).succeeded().stdout, "No service tokens found.\n");
}

#[test]
fn the_list_is_that_of_sts() {
    let sandbox = Sandbox::start(&[]);
    stackstate(
        &sandbox,
        &["create", "-n", "zebra", "--roles=a,b", "-roles", "c", "--expiration", "2030-01-31"],
    )
    .succeeded();
    stackstate(&sandbox, &["create", "-n=ant", "--roles=stackstate-k8s-troubleshooter"]).succeeded();
    assert_eq!(
        stackstate(&sandbox, &["list"]).succeeded().stdout,
        "ID               | NAME  | EXPIRATION | ROLES                           | DEDICATED_SUBJECT\n\
         9007199254740994 | ant   |            | [stackstate-k8s-troubleshooter] | -                \n\
         9007199254740993 | zebra | 2030-01-31 | [a b c]                         | -                \n"
    );
    let mut listed: Value =
        serde_json::from_str(&stackstate(&sandbox, &["list", "-o", "json"]).stdout).unwrap();
    for token in listed["service-tokens"].as_array_mut().unwrap() {
        let updated = token.as_object_mut().unwrap().remove("lastUpdateTimestamp");
        assert!(updated.is_some_and(|millis| millis.as_i64() > Some(1_700_000_000_000)));
    }
    let tokens = json!([
        {"id": 9_007_199_254_740_994_i64, "name": "ant", "roles": ["stackstate-k8s-troubleshooter"]},
        {"id": 9_007_199_254_740_993_i64, "name": "zebra", "roles": ["a", "b", "c"], "expiration": 1_896_048_000_000_i64},
    ]);
    assert_eq!(listed, json!({"service-tokens": tokens}));
}

#[test]
fn json_is_that_of_sts() {
    let sandbox = Sandbox::start(&[]);
    let create = ["create", "--name=x", "--roles=a", "--expiration=2030-01-01", "--dedicated-subject=s"];
    let created = stackstate(&sandbox, &[&create[..], &["--output=json"]].concat());
    let created: Value = serde_json::from_str(&created.succeeded().stdout).unwrap();
    let token = &created["service-token"];
    assert_eq!(
        (&token["name"], &token["expiration"]),
        (&json!("x"), &json!(1_893_456_000_000_i64)),
        "{created}"
    );
    assert!(token["token"].as_str().unwrap().starts_with("svctok-"));
    assert_eq!(sandbox.made_tokens(CONTROL)[0]["dedicatedSubject"], "s");
    let deleted = stackstate(&sandbox, &["delete", "--id", "9007199254740993", "-o", "json"]);
    assert_eq!(deleted.succeeded().stdout, "{\n  \"deleted-service-token\": 9007199254740993\n}\n");
    let nothing = stackstate(&sandbox, &["list", "-o=json"]);
    assert_eq!(nothing.succeeded().stdout, "{\n  \"service-tokens\": []\n}\n");
}

#[test]
fn exactly_one_credential_may_be_set() {
    let sandbox = Sandbox::start(&[]);
    let admin = token_of(&stackstate(&sandbox, &["create", "-n=admin", "--roles=stackstate-admin"]));
    let list = ["stackstate", "list"];
    run(sandbox.token().env("STS_CLI_SERVICE_TOKEN", &admin).args(list))
        .failed_with(2, &["STS_CLI_API_TOKEN, STS_CLI_SERVICE_TOKEN; set one"]);
    run(sandbox.token().env_remove("STS_CLI_API_TOKEN").env("STS_CLI_SERVICE_TOKEN", &admin).args(list))
        .succeeded();
    run(sandbox.token().env_remove("STS_CLI_API_TOKEN").args(list)).failed_with(
        125,
        &["STS_CLI_API_TOKEN, STS_CLI_SERVICE_TOKEN or STS_CLI_K8S_SA_TOKEN", "--admin-token-file"],
    );
    // The token in a file shows its kind.
    for credential in [admin.as_str(), sandbox.var("STS_CLI_API_TOKEN")] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), credential).unwrap();
        let list = ["stackstate", "list", "--admin-token-file"];
        run(sandbox.token().env_remove("STS_CLI_API_TOKEN").args(list).arg(file.path())).succeeded();
    }
}

#[test]
fn usage_errors_do_not_show_tokens() {
    for (args, words) in [
        (&["list", "--service-token", "svctok-secret"][..], "STS_CLI_SERVICE_TOKEN"),
        (&["list", "--api-token=svctok-secret"], "--admin-token-file"),
        (&["delete", "svctok-secret"], "decimal number"),
        (&["list", "svctok-secret"], "takes only flags"),
        (&["create", "--roles=a"], "missing --name"),
        (&["create", "-n=a"], "missing --roles"),
        (&["create", "-n=a", "--roles=a", "--expiration=2030-02-30"], "not a valid date"),
        (&["delete"], "expected one ID"),
        (&["delete", "--id=1", "2"], "expected one ID"),
        (&["delete", "--id=1", "--name=x"], "expected one ID"),
        (&["delete", "-i010"], "decimal number"),
        (&["delete", "-i0x10"], "decimal number"),
        (&["create", "-n=a", "--roles=a", "--expiration", ""], "empty value for --expiration"),
        (&["create", "-n", "", "--roles=a"], "empty value for --name"),
        (&["list", "--url="], "URL"),
        (&["delete", "1.5"], "decimal number"),
        (&["delete", "9223372036854775808"], "decimal number"),
        (&["list", "-o=yaml"], "expected text or json"),
        (&["frobnicate"], "create, list, delete, bootstrap, exec or rotate"),
        (&["exec", "--roles=a"], "monitoring-token stackstate exec [flags] -- COMMAND"),
        (
            &["list", "--url=http://u:secret@127.0.0.1"],
            "invalid value \"http://REDACTED@127.0.0.1\" for --url: the URL must not contain a user or a password",
        ),
        (
            &["list", "--url=http://127.0.0.1/?a=secret"],
            "invalid value \"http://127.0.0.1/?a=REDACTED\" for --url: the URL must not contain a query",
        ),
        (&["list", "--url=secret8UaK74tb"], "--url: expected an http:// or https:// URL"),
    ] {
        let ended = run(token()
            .arg("stackstate")
            .args(args)
            .env("STS_CLI_API_TOKEN", "x")
            .env("STS_CLI_URL", "http://127.0.0.1:1"));
        ended.failed_with(2, &[words]);
        assert!(!ended.stderr.contains("secret"), "{ended:?}");
    }
}

#[test]
fn every_error_says_what_to_do() {
    let errors_response = r#"{"_type":"ErrorsResponse","trackingKey":"k-1","serverTimestamp":1,"errors":[{"_type":"InternalError","message":"it broke","errorCode":500}]}"#;
    // By the vendor's specification, it need not have a type.
    let untyped = errors_response.replace(r#""_type":"ErrorsResponse","#, "");
    let expiry = r#"{"_type":"ServiceTokenInvalidExpiryError","message":"The expiry is in the past"}"#;
    for (verb, status, body, words) in [
        ("create", "400 x", expiry, &["rejected the expiry", "in the past"][..]),
        ("create", "500 x", errors_response, &["server error", "it broke", "k-1"]),
        ("list", "401 x", "", &["rejected the credential"]),
        ("list", "403 x", "", &["does not allow this credential to list the tokens"]),
        ("list", "401 x", errors_response, &["rejected the credential", "it broke"]),
        (
            "list",
            "403 x",
            errors_response,
            &["does not allow this credential to list the tokens", "it broke"],
        ),
        // A gateway in front of StackState.
        ("list", "403 x", "<html>no</html>", &["refused to list", "HTML page \"no\"", "no proxy answers"]),
        ("list", "401 x", "<html>log in</html>", &["refused to list", "log in", "no proxy answers"]),
        ("list", "404 x", "<html>nginx</html>", &["no token API", "--api-path"]),
        ("list", "502 x", "", &["server error", "502"]),
        ("list", "200 x", "<html>login</html>", &["a response that is not StackState JSON"]),
        ("list", "200 x", r#"[{"id":"1"}]"#, &["a response that is not StackState JSON"]),
        ("delete", "404 x", errors_response, &["no service token has the ID 7"]),
        ("list", "401 x", &untyped, &["rejected the credential", "it broke"]),
        ("delete", "404 x", &untyped, &["no service token has the ID 7"]),
        ("delete", "500 x", errors_response, &["when asked to delete the token"]),
    ] {
        let args = match verb {
            "create" => &["create", "-n=x", "--roles=a"][..],
            "delete" => &["delete", "7"],
            _ => &["list"],
        };
        let address = serve_bytes(http(status, "", body));
        let ended = run(token()
            .args(["stackstate"])
            .args(args)
            .args(["-retries=0", "--url", &format!("http://{address}")])
            .env("STS_CLI_API_TOKEN", "x"));
        ended.failed_with(125, words);
    }
}

/// The response to a creation has no ID, and another token has the same name.
#[test]
fn a_token_that_does_not_get_to_stdout_is_an_error_that_names_it() {
    let sandbox = Sandbox::start(&[]);
    let create = ["create", "-n=x", "--roles=a"];
    stackstate(&sandbox, &create).succeeded();
    let ended = finish(into_no_reader(sandbox.token().arg("stackstate").args(create)));
    ended.failed_with(125, &["cannot write to stdout", "the token x is lost", "stackstate list"]);
    assert!(!ended.stderr.contains("svctok-"), "{ended:?}");
    assert_eq!(sandbox.made_tokens(CONTROL).len(), 2);
}

/// The only token of the name that is listed may be an older one, of somebody else.
#[test]
fn a_token_that_is_not_listed_yet_costs_no_older_one_of_the_same_name() {
    let sandbox = Sandbox::start(&[]);
    for roles in ["--roles=b", "--roles=a"] {
        stackstate(&sandbox, &["create", "-n=x", roles]).succeeded();
        let older = sandbox.made_tokens(CONTROL)[0].clone();
        let mut aged = older.clone();
        aged["lastUpdateTimestamp"] = 1_000_000_000_000_i64.into();
        let url = relay(sandbox.var("STS_CLI_URL"), move |request, pass_on| {
            let answer = pass_on(request);
            if !request.starts_with("GET /api/security/tokens ") {
                return answer;
            }
            http("200 OK", "", &format!("[{aged}]"))
        });
        creating_x_keeps(&sandbox, url, &older);
    }
}

/// Creates a second token named x, which cannot be printed, and sees that the older one is left.
#[track_caller]
fn creating_x_keeps(sandbox: &Sandbox, url: String, older: &Value) {
    let mut create = sandbox.token();
    create.env("STS_CLI_URL", url).args(["stackstate", "create", "-n=x", "--roles=a"]);
    finish(into_no_reader(&mut create)).failed_with(125, &["cannot write to stdout", "the token x is lost"]);
    assert_eq!(sandbox.made_tokens(CONTROL).first(), Some(older));
}

/// With a local clock that is far behind, any older token looked new.
#[test]
fn without_a_usable_clock_of_the_server_no_older_token_is_taken_for_the_new_one() {
    let sandbox = Sandbox::start(&[]);
    stackstate(&sandbox, &["create", "-n=x", "--roles=a"]).succeeded();
    let older = sandbox.made_tokens(CONTROL)[0].clone();
    let in_days = |days: u64| SystemTime::now() + Duration::from_secs(days * 24 * 3600);
    let mut ahead = older.clone();
    let two_days = in_days(2).duration_since(UNIX_EPOCH).unwrap().as_secs();
    ahead["lastUpdateTimestamp"] = (two_days * 1000).into();
    for date in [String::new(), format!("date: {}\r\n", httpdate::fmt_http_date(in_days(3)))] {
        let ahead = ahead.clone();
        let url = relay(sandbox.var("STS_CLI_URL"), move |request, pass_on| {
            let answer = pass_on(request);
            if request.starts_with("GET /api/security/tokens ") {
                return http("200 OK", &date, &format!("[{ahead}]"));
            }
            let is_date = |line: &str| line.to_lowercase().starts_with("date: ");
            let line = answer.split_inclusive("\r\n").find(|line| is_date(line)).expect("a date");
            answer.replace(line, &date)
        });
        creating_x_keeps(&sandbox, url, &older);
    }
}

/// A name that looked like a token was shown without its end, and control characters were escaped twice.
#[test]
fn names_and_roles_are_listed_as_they_are() {
    let listed = json!([{"id": 7, "name": "svctok-jenkins", "roles": ["a\tb", "c\u{9b}1m\u{e0041}"]}]);
    let address = serve_bytes(http("200 OK", "", &listed.to_string()));
    let list = |flags: &[&str]| {
        let mut command = token();
        command.args(["stackstate", "list", "--url", &format!("http://{address}")]).args(flags);
        run(command.env("STS_CLI_API_TOKEN", "x"))
    };
    let shown = list(&["-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&shown.succeeded().stdout).unwrap()["service-tokens"], listed);
    assert!(shown.stdout.contains(r"c\u009b1m\udb40\udc41"), "{shown:?}");
    let shown = list(&[]);
    assert!(shown.succeeded().stdout.contains("| svctok-jenkins |"), "{shown:?}");
    assert!(shown.stdout.contains(r"[a\tb c\u{9b}1m\u{e0041}]"), "{shown:?}");
}
