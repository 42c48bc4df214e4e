//! Variables as configuration files and other systems leave them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use monitoring_token::dispatch;

use super::offline;
use crate::support::{Sandbox, run, token};

const NOT_UTF8: &[u8] = b"x\xffy";

/// uutils/coreutils#9701 and cachix/secretspec#140: a variable that cannot be decoded was taken for one that is
/// not set. A proxy was bypassed without a word, and an admin token was "missing".
#[test]
fn a_variable_that_is_not_utf8_is_never_taken_for_one_that_is_not_set() {
    let sandbox = Sandbox::start(&[]);
    for variable in
        ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SCRIPT_DEADLINE"]
    {
        let mut command = sandbox.token();
        command.env(variable, OsStr::from_bytes(NOT_UTF8)).args(["--", "true"]);
        run(&mut command).failed_with(2, &[&format!("{variable}: not valid UTF-8")]);
    }
    for (line, variable) in [
        (&["gafaelfawr", "list", "--username=u"][..], "GAFAELFAWR_ADMIN_TOKEN"),
        (&["stackstate", "list"], "STS_CLI_API_TOKEN"),
        (&["stackstate", "list"], "STS_CLI_SERVICE_TOKEN"),
        (&["gafaelfawr", "exec", "--username=bot-x", "--scopes=a", "--", "true"], "GAFAELFAWR_ADMIN_TOKEN"),
    ] {
        let mut command = sandbox.token();
        command.env_remove("STS_CLI_API_TOKEN").env(variable, OsStr::from_bytes(NOT_UTF8)).args(line);
        run(&mut command).failed_with(2, &[&format!("{variable}: not valid UTF-8")]);
    }
}

/// The same for each flag's variable, including future ones. A path may hold any bytes, and `SERVICE_URL` may be the
/// client's.
#[test]
fn no_variable_of_a_flag_is_dropped_because_it_cannot_be_decoded() {
    let main = dispatch::full_command();
    for arg in main.get_arguments() {
        let Some(variable) = arg.get_env().and_then(OsStr::to_str) else { continue };
        let is_path = matches!(arg.get_value_hint(), clap::ValueHint::FilePath | clap::ValueHint::DirPath);
        if is_path || variable == "SERVICE_URL" {
            continue;
        }
        let mut command = offline(&["-cache-ttl=0"]);
        if variable == "MONITORING_TOKEN_EXCHANGE" {
            command = token();
        }
        command.env(variable, OsStr::from_bytes(NOT_UTF8)).args(["-retries=0", "--", "true"]);
        if variable == "MONITORING_TOKEN_RETRIES" {
            command = token();
            command.env(variable, OsStr::from_bytes(NOT_UTF8)).args(["--", "true"]);
        }
        if variable == "MONITORING_TOKEN_CACHE_TTL" {
            continue;
        }
        run(&mut command).failed_with(2, &[&format!("{variable}: ")]);
    }
}

/// warden#380: an environment file that was edited on Windows leaves a `\r` at the end of each value, which no
/// terminal shows: "has no URL key X; it has X".
#[test]
fn a_carriage_return_or_a_stray_blank_is_refused_and_shown() {
    for (variable, value, words) in [
        (
            "SERVICE_URL_KEY_NAME",
            "wss:///ndt/v7/download\r",
            "\"wss:///ndt/v7/download\\r\" for SERVICE_URL_KEY_NAME: contains a control character",
        ),
        ("MACHINE", "mlab1\r", "\"mlab1\\r\" for MACHINE: contains a control character"),
        ("MACHINE", " mlab1", "\" mlab1\" for MACHINE: begins or ends with whitespace"),
        ("MACHINE", "mlab1\u{a0}", "begins or ends with whitespace"),
        ("SERVICE", "ndt/ndt7\r", "\"ndt/ndt7\\r\" for SERVICE: "),
        ("SERVICE", "\"ndt/ndt7\"", "for SERVICE: contains a space, quotation mark or control character"),
        ("ENV_NAME", "FOO\r", "\"FOO\\r\" for ENV_NAME: not a valid environment variable name"),
        ("ENV_NAME", "FOO BAR", "not a valid environment variable name"),
        ("ENV_NAME", "1FOO", "not a valid environment variable name"),
        ("LOCATE_URL", "http://h/\r", "LOCATE_URL: invalid URL"),
        ("LOCATE_URL", "http://h/a\tb/", "LOCATE_URL: invalid URL"),
        ("LOCATE_URL", " http://h/", "LOCATE_URL: invalid URL"),
        ("HTTP_PROXY", "http://proxy:3128\r", "HTTP_PROXY: contains a control character"),
        ("HTTPS_PROXY", "http://proxy:3128 ", "HTTPS_PROXY: begins or ends with whitespace"),
        ("TIMEOUT", "5s\r", "\"5s\\r\" for TIMEOUT: "),
        ("LOGX_DEBUG", "true\r", "\"true\\r\" for LOGX_DEBUG: "),
        ("MONITORING_TOKEN_OUTPUT", "inherit\r", "\"inherit\\r\" for MONITORING_TOKEN_OUTPUT: "),
        ("SSL_CERT_FILE", "/etc/ssl/ca.pem\r", "SSL_CERT_FILE: contains a control character"),
        ("SSL_CERT_FILE", "/etc/ssl/ca.pem ", "SSL_CERT_FILE: begins or ends with whitespace"),
        ("SSL_CERT_DIR", "/etc/ssl/certs\r", "SSL_CERT_DIR: contains a control character"),
        ("SSL_CERT_DIR", " /etc/ssl/certs", "SSL_CERT_DIR: begins or ends with whitespace"),
        ("SERVICE_URL", "true\r", "\"true\\r\" for SERVICE_URL: expected true or false"),
        ("SERVICE_URL", " true", "\" true\" for SERVICE_URL: expected true or false"),
        ("SERVICE_URL", "0\n", "\"0\\n\" for SERVICE_URL: expected true or false"),
        ("SERVICE_URL", "\"true\"", "\"\"true\"\" for SERVICE_URL: expected true or false"),
        ("SERVICE_URL", "\u{feff}false", "\"\\u{feff}false\" for SERVICE_URL: expected true or false"),
        (
            "MONITORING_TOKEN_METRICS_TEXTFILE",
            "/tmp/x.prom\r",
            "\"/tmp/x.prom\\r\" for MONITORING_TOKEN_METRICS_TEXTFILE: contains a control character",
        ),
        (
            "MONITORING_TOKEN_METRICS_TEXTFILE",
            "/tmp/x.prom ",
            "\"/tmp/x.prom \" for MONITORING_TOKEN_METRICS_TEXTFILE: begins or ends with whitespace",
        ),
        (
            "MONITORING_TOKEN_CACHE_DIR",
            "/tmp/x\u{a0}",
            "MONITORING_TOKEN_CACHE_DIR: begins or ends with whitespace",
        ),
        (
            "MONITORING_TOKEN_CA_FILE",
            " /tmp/ca.pem",
            "MONITORING_TOKEN_CA_FILE: begins or ends with whitespace",
        ),
    ] {
        run(offline(&["--", "true"]).env(variable, value)).failed_with(2, &[words]);
    }
    // The path of the key may hold anything, and is shown.
    for (path, words) in [
        ("/keys/k.json\r", "cannot read key file /keys/k.json\\r: No such file"),
        ("/keys/k.json ", "correct the path in MONITORING_SIGNER_KEY, which begins or ends with whitespace"),
    ] {
        run(token().env("MONITORING_SIGNER_KEY", path).args(["--", "true"])).failed_with(125, &[words]);
    }
    for name in ["URL", "_url", "ndt.url", "ndt-url", "URL2"] {
        run(offline(&["--", "true"]).env("ENV_NAME", name)).succeeded();
    }
}

/// The same: a boolean that cannot be decoded is a boolean, and no client's URL. Nothing else that a client may find
/// there is touched.
#[test]
fn a_damaged_boolean_in_the_variable_of_another_program_is_refused() {
    for (value, shown) in
        [(&b"tr\xffue"[..], "tr\u{fffd}ue"), (b"\xfe1", "\u{fffd}1"), (b"fal\xc3se\t", "fal\u{fffd}se\\t")]
    {
        let value = OsStr::from_bytes(value);
        let words = format!("\"{shown}\" for SERVICE_URL: expected true or false");
        run(offline(&["--", "true"]).env("SERVICE_URL", value)).failed_with(2, &[&words]);
        let mut list = token();
        list.env("STS_CLI_API_TOKEN", "x")
            .env("STS_CLI_URL", "http://127.0.0.1:1")
            .env("STS_SKIP_SSL", value);
        let words = format!("\"{shown}\" for STS_SKIP_SSL: expected true or false");
        run(list.args(["stackstate", "list"])).failed_with(2, &[&words]);
        // Not passed on to the client, either.
        let mut shows = offline(&["-service-url=false", "-output=inherit", "--", "sh", "-c"]);
        let ended = run(shows.arg("echo \"<$SERVICE_URL>\"").env("SERVICE_URL", value));
        assert_eq!((ended.status, ended.stdout.as_str()), (0, "<>\n"), "{ended:?}");
    }
    for value in [
        "wss://ndt.example/ndt/v7/download?access_token=1",
        " wss://ndt.example/true",
        "wss://ndt.example/\r",
        "maybe",
        "2",
        "true false",
    ] {
        let mut shows = offline(&["-output=inherit", "--", "sh", "-c", "printf '<%s>' \"$SERVICE_URL\""]);
        let ended = run(shows.env("SERVICE_URL", value));
        assert_eq!((ended.status, ended.stdout), (0, format!("<{value}>")));
    }
}

/// systemd/systemd#2123: `Environment=` does not expand variables, so the host is `locate-dot-${PROJECT}.…`; the lookup
/// then fails, or a proxy answers something. A shell expands a variable that is not set to nothing; a resolver that
/// ignores the empty part finds another host, which gets the token.
#[test]
fn a_host_with_an_unexpanded_or_empty_variable_is_invalid() {
    for (url, hint) in [
        (
            "https://locate-dot-${PROJECT}.appspot.com/v2/platform/monitoring/",
            "; a variable in it was not expanded",
        ),
        ("https://$HOST/v2/", "; a variable in it was not expanded"),
        ("https://{{ .Host }}/v2/", ""),
        ("https://{{host}}/v2/", "; a variable in it was not expanded"),
        ("https://locate,example/v2/", "invalid host locate,example"),
        ("https://locate;example/v2/", "invalid host locate;example"),
        ("https://*.example/v2/", "invalid host *.example"),
        ("http://$(hostname)/v2/", "; a variable in it was not expanded"),
        ("http://locate-dot..appspot.com/v2/", "invalid host locate-dot..appspot.com; a part of it is empty"),
        ("http://.locate.example/v2/", "invalid host .locate.example; a part of it is empty"),
        ("http://locate.example../v2/", "invalid host locate.example..; a part of it is empty"),
        ("http://127.0.0.1../v2/", "invalid host 127.0.0.1..; a part of it is empty"),
        ("http://./v2/", "invalid host .; a part of it is empty"),
    ] {
        run(offline(&["--", "true"]).env("LOCATE_URL", url)).failed_with(2, &["LOCATE_URL: ", hint]);
    }
    for (line, variable) in [
        (&["gafaelfawr", "list", "--username=u"][..], "GAFAELFAWR_URL"),
        (&["stackstate", "list"], "STS_CLI_URL"),
    ] {
        for (host, why) in [
            ("${HOST}.example", "invalid host ${host}.example; a variable in it was not expanded"),
            ("token..example", "invalid host token..example; a part of it is empty"),
        ] {
            let mut command = token();
            command
                .env(variable, format!("http://{host}"))
                .env("GAFAELFAWR_ADMIN_TOKEN", "gt-a.b")
                .env("STS_CLI_API_TOKEN", "x");
            run(command.args(line)).failed_with(2, &[variable, why]);
        }
    }
    for url in [
        "http://localhost/",
        "https://a_b.example/",
        "https://a-b.example_c.org./p",
        "http://münchen.example/",
        "http://[::1]/",
        "http://127.0.0.1:8080/p?x=${y}",
    ] {
        run(offline(&["--", "true"]).env("LOCATE_URL", url)).succeeded();
    }
}
