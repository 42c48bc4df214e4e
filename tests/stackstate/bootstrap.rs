//! `stackstate bootstrap`: the values as the Helm chart and the server's configuration read them.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::{Value, json};

use super::spec::{yaml, yamls};
use crate::support::job::Folder;
use crate::support::{Ended, finish, run, start, token};

fn bootstrap(args: &[&str]) -> Ended {
    run(token().args(["stackstate", "bootstrap"]).args(args))
}

/// The block of the values that the chart reads. Charts read `serviceToken`; they ignore an older spelling in the
/// vendor's pages.
#[track_caller]
fn block(ended: &Ended) -> Value {
    let values = yaml(&ended.succeeded().stdout);
    let block = values["stackstate"]["authentication"]["serviceToken"]["bootstrap"].clone();
    assert!(block.is_object(), "{values}");
    block
}

#[test]
fn the_values_have_a_fresh_token_under_the_name_that_charts_read() {
    let first = block(&bootstrap(&[
        "--roles",
        "stackstate-power-user,stackstate-admin",
        "--ttl=48h",
        "--dedicated-subject=ci",
    ]));
    assert_eq!(first["roles"], json!(["stackstate-power-user", "stackstate-admin"]));
    assert_eq!((&first["ttl"], &first["dedicatedSubject"]), (&json!("48h"), &json!("ci")));
    let token = first["token"].as_str().unwrap();
    assert!(token.starts_with("svctok-") && token.len() == 39, "{token}");
    let second = block(&bootstrap(&["--roles=a"]));
    assert_eq!((&second["ttl"], &second["dedicatedSubject"]), (&json!("24h"), &Value::Null));
    assert_ne!(second["token"], first["token"]);
}

/// HOCON reads a ttl of one number and one unit, and roles that the chart writes without quotation marks.
#[test]
fn ttl_and_roles_are_what_the_server_reads_as_meant() {
    for (given, printed) in [
        ("1h30m", "90m"),
        ("7d", "7d"),
        ("1d12h", "36h"),
        ("0d1h", "1h"),
        ("1.5h", "1.5h"),
        ("90s", "90s"),
        ("90m", "90m"),
        ("48h0m0s", "48h"),
        ("1m30.5s", "90500ms"),
        (".5h", "30m"),
        ("+5h", "5h"),
        ("1µs", "1us"),
    ] {
        assert_eq!(block(&bootstrap(&["--roles=a", "--ttl", given]))["ttl"], printed);
    }
    for plain in ["stackstate-power-user", "a_b.c", "Admin2"] {
        assert_eq!(block(&bootstrap(&["--roles", plain]))["roles"], json!([plain]));
    }
    let odd = ["team:admin", "null", "true", "a//b", "2nd", "-x", "${x}", "é", "a,b", "x y", "say \"hi\""];
    let list = odd.map(|role| format!("\"{}\"", role.replace('"', "\"\""))).join(",");
    let quoted = odd.map(|role| Value::from(role).to_string());
    assert_eq!(block(&bootstrap(&["--roles", &list]))["roles"], json!(quoted));
}

#[test]
fn an_external_secret_comes_with_the_values_that_refer_to_it() {
    let folder = Folder::new();
    let file = folder.path("token");
    let kept = ["--roles=a", "--ttl=7d", "--token-file", file.to_str().unwrap()];
    let external = [&kept[..], &["--external-secret=sts-auth"]].concat();
    let inline = block(&bootstrap(&kept));
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(inline["token"], written.trim());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let both = bootstrap(&external);
    let [secret, values] = yamls(&both.succeeded().stdout).try_into().unwrap();
    assert_eq!((&secret["kind"], &secret["metadata"]["name"]), (&json!("Secret"), &json!("sts-auth")));
    assert_eq!(secret["stringData"]["bootstrap_token"], written.trim());
    // It replaces the chart's Secret.
    assert!(both.stdout.contains("default_password") && both.stdout.contains("oidc_secret"), "{both:?}");
    let authentication = &values["stackstate"]["authentication"];
    assert_eq!(authentication["fromExternalSecret"], "sts-auth");
    let block = &authentication["serviceToken"]["bootstrap"];
    assert_eq!((&block["roles"], &block["ttl"]), (&json!(["a"]), &json!("7d")));
    let placeholder = block["token"].as_str().unwrap();
    assert!(!placeholder.is_empty() && !placeholder.starts_with("svctok-"), "{placeholder}");
    // Each part alone is a document for its own reader.
    let alone = |what| yamls(&bootstrap(&[&external[..], &["--print", what]].concat()).succeeded().stdout);
    assert_eq!((alone("secret"), alone("values")), (vec![secret], vec![values]));
}

#[test]
fn a_token_comes_from_standard_input_and_no_file_is_called_dash() {
    let folder = Folder::new();
    let mut command = token();
    command.args(["stackstate", "bootstrap", "--roles=a", "--token-file", "-"]);
    let mut child = start(command.current_dir(folder.root()).stdin(Stdio::piped()));
    child.stdin.take().unwrap().write_all(b"svctok-given\n").unwrap();
    assert_eq!(block(&finish(child))["token"], "svctok-given");
    assert_eq!(folder.root().read_dir().unwrap().count(), 0);
}

#[test]
fn values_that_no_chart_can_use_are_refused() {
    for (args, words) in [
        (&["--roles="][..], "empty value for --roles"),
        (&[], "missing --roles"),
        (&["--roles=a", "--ttl=soon"], "\"soon\" for --ttl"),
        (&["--roles=a", "--ttl=0s"], "--ttl"),
        (&["--roles=a", "--ttl=0"], "\"0\" for --ttl"),
        (&["--roles=a", "--ttl=-1h"], "\"-1h\" for --ttl"),
        (&["--roles=a", "--ttl=1.5d"], "\"1.5d\" for --ttl"),
        (&["--roles=a", "--ttl="], "empty value for --ttl"),
        (&["--roles=a\nb"], "control character"),
        (&["--roles=a", "--dedicated-subject=a\tb"], "control character"),
        (&["--roles=\"a"], "quotation mark"),
        (&["--external-secret=sts"], "missing --roles"),
        (&["--roles=a", "--external-secret=No_Name"], "--external-secret"),
        (&["--roles=a", "--print=secret"], "--print needs --external-secret"),
        (&["--roles=a", "--external-secret=x", "--print=all"], "both, secret or values"),
    ] {
        bootstrap(args).failed_with(2, &[words]);
    }
}
