//! StackState's service tokens: what `sts` prints, what the vendor's specification allows, and nothing
//! left behind.

mod exec;
mod spec;

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::{Ended, Sandbox, finish, http, into_no_reader, run, serve_bytes, token};

const CONTROL: &str = "/sandbox/stackstate";

fn sts(sandbox: &Sandbox, args: &[&str]) -> Ended {
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
        sts(&sandbox, &["create", "--name", "my-service-token", "--roles", "stackstate-power-user"]);
    let token = token_of(&created);
    assert!(token.starts_with("svctok-"), "{token}");
    for header in [("X-API-Key", token.clone()), ("Authorization", format!("ApiKey {token}"))] {
        let header = [(header.0.to_owned(), header.1)];
        let info = crate::support::api::ask(&sandbox, "GET", "/api/server/info", &header, None);
        assert_eq!(info.status, 200, "{info:?}");
    }
    let listed = sts(&sandbox, &["list"]);
    let id = listed.succeeded().stdout.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let deleted = sts(&sandbox, &["delete", &id]);
    assert_eq!(deleted.succeeded().stdout, format!("✅ Service token deleted: {id}\n"));
    assert_eq!(sts(&sandbox, &["list"]).succeeded().stdout, "No service tokens found.\n");
}

#[test]
fn the_list_is_that_of_sts() {
    let sandbox = Sandbox::start(&[]);
    sts(&sandbox, &["create", "-n", "zebra", "--roles=a,b", "-roles", "c", "--expiration", "2030-01-31"])
        .succeeded();
    sts(&sandbox, &["create", "-n=ant", "--roles=stackstate-k8s-troubleshooter"]).succeeded();
    assert_eq!(
        sts(&sandbox, &["list"]).succeeded().stdout,
        "ID               | NAME  | EXPIRATION | ROLES\n\
         9007199254740994 | ant   |            | [stackstate-k8s-troubleshooter]\n\
         9007199254740993 | zebra | 2030-01-31 | [a b c]\n"
    );
    let listed: Value = serde_json::from_str(&sts(&sandbox, &["list", "-o", "json"]).stdout).unwrap();
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
    let created = sts(&sandbox, &[&create[..], &["--output=json"]].concat());
    let created: Value = serde_json::from_str(&created.succeeded().stdout).unwrap();
    let token = &created["service-token"];
    assert_eq!(
        (&token["name"], &token["expiration"]),
        (&json!("x"), &json!(1_893_456_000_000_i64)),
        "{created}"
    );
    assert!(token["token"].as_str().unwrap().starts_with("svctok-"));
    assert_eq!(sandbox.made_tokens(CONTROL)[0]["dedicatedSubject"], "s");
    let deleted = sts(&sandbox, &["delete", "--id", "9007199254740993", "-o", "json"]);
    assert_eq!(deleted.succeeded().stdout, "{\n  \"deleted-service-token\": 9007199254740993\n}\n");
    let nothing = sts(&sandbox, &["list", "-o=json"]);
    assert_eq!(nothing.succeeded().stdout, "{\n  \"service-tokens\": []\n}\n");
}

#[test]
fn exactly_one_credential_may_be_set() {
    let sandbox = Sandbox::start(&[]);
    let admin = token_of(&sts(&sandbox, &["create", "-n=admin", "--roles=stackstate-admin"]));
    let list = ["stackstate", "list"];
    run(sandbox.token().env("STS_CLI_SERVICE_TOKEN", &admin).args(list))
        .failed_with(2, &["STS_CLI_API_TOKEN and STS_CLI_SERVICE_TOKEN"]);
    run(sandbox.token().env_remove("STS_CLI_API_TOKEN").env("STS_CLI_SERVICE_TOKEN", &admin).args(list))
        .succeeded();
    run(sandbox.token().env_remove("STS_CLI_API_TOKEN").args(list))
        .failed_with(125, &["STS_CLI_API_TOKEN or STS_CLI_SERVICE_TOKEN", "--admin-token-file"]);
    // A file's kind shows in the token.
    for credential in [admin.as_str(), sandbox.var("STS_CLI_API_TOKEN")] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), credential).unwrap();
        let list = ["stackstate", "list", "--admin-token-file"];
        run(sandbox.token().env_remove("STS_CLI_API_TOKEN").args(list).arg(file.path())).succeeded();
    }
}

#[test]
fn bad_usage_is_refused_and_tokens_are_not_shown() {
    for (args, words) in [
        (&["list", "--service-token", "svctok-secret"][..], "STS_CLI_SERVICE_TOKEN"),
        (&["list", "--api-token=svctok-secret"], "--admin-token-file"),
        (&["delete", "svctok-secret"], "whole number"),
        (&["list", "svctok-secret"], "no arguments"),
        (&["create", "--roles=a"], "no --name"),
        (&["create", "-n=a"], "no --roles"),
        (&["create", "-n=a", "--roles=a", "--expiration=2030-02-30"], "is no day"),
        (&["delete"], "give one ID"),
        (&["delete", "--id=1", "2"], "give one ID"),
        (&["delete", "1.5"], "whole number"),
        (&["delete", "9223372036854775808"], "whole number"),
        (&["list", "-o=yaml"], "neither text nor json"),
        (&["frobnicate"], "create, list, delete, bootstrap, exec"),
        (&["exec", "--roles=a"], "monitoring-token stackstate exec [flags] -- COMMAND"),
        (&["list", "--url=http://u:secret@127.0.0.1"], "-url: has a user or a password"),
        (&["list", "--url=http://127.0.0.1/?a=secret"], "-url: has a query"),
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
    let expiry = r#"{"_type":"ServiceTokenInvalidExpiryError","message":"The expiry is in the past"}"#;
    for (verb, status, body, words) in [
        ("create", "400 x", expiry, &["does not take the expiry", "in the past"][..]),
        ("create", "500 x", errors_response, &["trouble of its own", "it broke", "k-1"]),
        ("list", "401 x", "", &["does not take the credential"]),
        ("list", "403 x", "<html>no</html>", &["forbids to list", "<html>"]),
        ("list", "404 x", "<html>nginx</html>", &["no token API", "--api-path"]),
        ("list", "502 x", "", &["trouble of its own", "502"]),
        ("list", "200 x", "<html>login</html>", &["something else than StackState's JSON"]),
        ("list", "200 x", r#"[{"id":"1"}]"#, &["something else than StackState's JSON"]),
        ("delete", "404 x", errors_response, &["no service token 7"]),
        ("delete", "500 x", errors_response, &["did not delete the token"]),
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

#[test]
fn a_token_that_does_not_get_to_stdout_is_an_error_that_names_it() {
    let sandbox = Sandbox::start(&[]);
    let ended = finish(into_no_reader(sandbox.token().args(["stackstate", "create", "-n=x", "--roles=a"])));
    ended.failed_with(125, &["cannot write to stdout", "the token x is lost", "stackstate list"]);
    assert!(!ended.stderr.contains("svctok-"), "{ended:?}");
}

#[test]
fn bootstrap_prints_the_values_or_the_secret_with_a_fresh_token() {
    let yaml = |args: &[&str]| run(token().args(["stackstate", "bootstrap"]).args(args));
    let first = yaml(&["--roles", "stackstate-power-user,stackstate-admin", "--ttl=48h"]);
    let values = spec::yaml(&first.succeeded().stdout);
    let bootstrap = &values["stackstate"]["authentication"]["servicetoken"]["bootstrap"];
    assert_eq!(bootstrap["roles"], json!(["stackstate-power-user", "stackstate-admin"]));
    assert_eq!(bootstrap["ttl"], "48h");
    let token = bootstrap["token"].as_str().unwrap();
    assert!(token.starts_with("svctok-") && token.len() == 39, "{token}");
    assert!(yaml(&["--roles=a", "--ttl=7d"]).succeeded().stdout.contains("ttl: \"7d\""));
    let second = yaml(&["--roles=a"]);
    assert!(second.succeeded().stdout.contains("ttl: \"24h\"") && !second.stdout.contains(token));
    // The token that is kept is the one of both.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let kept = ["--token-file", file.to_str().unwrap()];
    let values = spec::yaml(&yaml(&[&["--roles=a"][..], &kept].concat()).succeeded().stdout);
    let secret =
        spec::yaml(&yaml(&[&["--external-secret=sts-bootstrap"][..], &kept].concat()).succeeded().stdout);
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(values["stackstate"]["authentication"]["servicetoken"]["bootstrap"]["token"], written.trim());
    assert_eq!(secret["kind"], "Secret");
    assert_eq!(secret["metadata"]["name"], "sts-bootstrap");
    assert_eq!(secret["stringData"]["bootstrap_token"], written.trim());
    for (args, words) in [
        (&["--roles="][..], "no --roles"),
        (&["--roles=a", "--ttl=soon"], "-ttl"),
        (&["--external-secret=No_Name"], "-external-secret"),
    ] {
        yaml(args).failed_with(2, &[words]);
    }
}
