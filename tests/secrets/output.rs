//! Secrets in the command's own output, where it is shown.

use super::{ACCESS_SIGNATURE, ACCESS_TOKEN, Key, Locate};
use crate::support::{Ended, http, run, serve_bytes, token};

/// Runs a script that fails, with its output shown.
fn on_failure(locate: &Locate, script: &str) -> Ended {
    let key = Key::make("EdDSA");
    let mut command = token();
    command.env("MONITORING_SIGNER_KEY", &key.path).env("LOCATE_URL", locate.url());
    run(command.args(["-output=on-failure", "-service=ndt/ndt7", "--", "sh", "-c", script]))
}

#[test]
fn tokens_that_were_issued_are_replaced() {
    let locate = Locate::that_grants();
    let ended = on_failure(&locate, "echo \"to $SERVICE_URL\"; echo \"by $MONITORING_URL.\" >&2; exit 3");
    assert_eq!(ended.status, 3);
    let signatures = locate.signatures();
    assert!(!ended.stderr.contains(&signatures[0]) && !ended.stderr.contains(ACCESS_SIGNATURE), "{ended:?}");
    assert!(ended.stderr.contains("to wss://127.0.0.1/ndt/v7/download?access_token=REDACTED\n"), "{ended:?}");
    assert!(ended.stderr.ends_with("access_token=REDACTED.\n"), "{ended:?}");
}

#[test]
fn a_token_at_the_edge_of_what_is_kept_is_replaced() {
    let locate = Locate::that_grants();
    // The kept 64 KiB begin in the middle of the token: 60,000 + 5,536 bytes are kept.
    let kept_of_token = 20;
    let script = format!(
        "printf %s \"$SERVICE_URL\"; printf '%*s' 60000 ''; printf '%*s' {} end; exit 3",
        64 * 1024 - 60_000 - kept_of_token
    );
    let ended = on_failure(&locate, &script);
    assert_eq!(ended.status, 3);
    assert!(ended.stderr.starts_with("REDACTED "), "{:.100}", ended.stderr);
    assert!(ended.stderr.ends_with("end\n"));
    let end_of_token = &ACCESS_TOKEN[ACCESS_TOKEN.len() - kept_of_token..];
    assert!(!ended.stderr.contains(end_of_token));
}

#[test]
fn a_token_that_the_command_could_not_finish_is_replaced() {
    let locate = Locate::that_grants();
    let ended = on_failure(&locate, "printf %s \"${SERVICE_URL%????}\"; kill -9 $$");
    assert_eq!(ended.status, 137);
    assert!(ended.stderr.contains("access_token=REDACTED\nmonitoring-token: sh was killed by"), "{ended:?}");
}

#[test]
fn output_of_the_command_on_stderr_is_not_changed() {
    let locate = Locate::that_grants();
    let key = Key::make("EdDSA");
    let mut command = token();
    command.env("MONITORING_SIGNER_KEY", &key.path).env("LOCATE_URL", locate.url());
    let ended =
        run(command.args(["-output=inherit", "-service=ndt/ndt7", "--", "sh", "-c", "echo $SERVICE_URL"]));
    assert_eq!((ended.status, ended.stdout.contains(ACCESS_TOKEN)), (0, true));
}

#[test]
fn a_token_with_escapes_is_replaced_as_it_stands_and_as_a_client_reads_it() {
    for (written, shown) in
        [("AA%2BBB%2FCCCC-secret%3D", "AA+BB/CCCC-secret="), ("AA+BB/CCCC-secret==", "AA+BB/CCCC-secret==")]
    {
        let url = format!("wss://h.example/x?a=1&access_token={written}#end");
        let body = format!(r#"{{"target":{{"urls":{{"wss:///ndt/v7/download":"{url}"}}}}}}"#);
        let address = serve_bytes(http("200 OK", "", &body));
        let key = Key::make("EdDSA");
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", &key.path).env("LOCATE_URL", format!("http://{address}/"));
        command.args(["-output=on-failure", "-service=ndt/ndt7", "--", "sh", "-c"]);
        let ended = run(command.arg(format!("echo \"$SERVICE_URL {shown}\"; exit 3")));
        assert_eq!((ended.status, ended.stderr.matches("secret").count()), (3, 0), "{ended:?}");
        assert!(ended.stderr.contains("access_token=REDACTED#end REDACTED"), "{ended:?}");
    }
}
