//! Errors and diagnostics of every kind, searched for each secret.

use std::process::Command;

use super::{ACCESS_SIGNATURE, ACCESS_TOKEN, Key, Locate, granted};
use crate::support::job::Folder;
use crate::support::{Ended, http, run, token};

const PASSWORD: &str = "pass-word-of-a-proxy";

/// All ways to print messages.
const WAYS: [&[&str]; 4] = [
    &[],
    &["-log-format=json"],
    &["-logx.debug=true", "-output=discard"],
    &["-logx.debug=true", "-output=discard", "-log-format=json"],
];

#[track_caller]
fn shows_nothing_of(ended: &Ended, secrets: &[&str]) {
    for text in [&ended.stdout, &ended.stderr] {
        for secret in secrets {
            assert!(!secret.is_empty());
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

/// Runs in all ways, with the debug variables of other programs set.
fn in_all_ways(prepare: impl Fn(&mut Command), look: impl Fn(&Ended)) {
    for flags in WAYS {
        let mut command = token();
        command.args(flags).env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
        prepare(&mut command);
        look(&run(command.args(["-retries=1", "--", "true"])));
    }
}

#[test]
fn a_successful_run_shows_no_secret() {
    let key = Key::make("EdDSA");
    let locate = Locate::that_grants();
    in_all_ways(
        |command| {
            command.env("MONITORING_SIGNER_KEY", &key.jwk).env("LOCATE_URL", locate.url());
            command.arg("-service=ndt/ndt7");
        },
        |ended| {
            assert_eq!(ended.status, 0, "{ended:?}");
            let signatures = locate.signatures();
            assert_eq!(signatures.len(), 1);
            shows_nothing_of(ended, &[key.private()[0], &signatures[0], ACCESS_SIGNATURE]);
        },
    );
}

/// Makes a response from the token.
type Echo = fn(&str) -> String;

/// Responses that repeat the received token, or hold one.
fn echoes() -> Vec<(&'static str, Echo)> {
    fn wrap(body: &str) -> String {
        http("200 OK", "", body)
    }
    vec![
        ("html", |token| http("400 Bad Request", "", &format!("<p>cannot parse {token}</p>"))),
        ("html with a URL", |token| {
            http("403 Forbidden", "", &format!("/ndt/ndt7?access_token={token}&x=1 no"))
        }),
        ("nothing but the token", |token| wrap(token)),
        ("a cut token", |token| wrap(&format!("bad {}", &token[..token.len() - 5]))),
        ("title", |token| {
            let body = serde_json::json!({"error": {"type": "x", "title": token, "status": 400}});
            http("400 Bad Request", "", &body.to_string())
        }),
        ("detail", |token| {
            let body = serde_json::json!({"error": {"type": "claim", "title": "t", "status": 400, "detail": format!("?access_token={token}")}});
            http("400 Bad Request", "", &body.to_string())
        }),
        ("type", |token| {
            let body = serde_json::json!({"error": {"type": token, "title": "t", "status": 400}});
            http("400 Bad Request", "", &body.to_string())
        }),
        ("unauthorized", |token| {
            let body =
                serde_json::json!({"error": {"type": "x", "title": "t", "status": 401, "detail": token}});
            http("401 Unauthorized", "", &body.to_string())
        }),
        ("endpoints", |token| {
            http("401 Unauthorized", "", &serde_json::json!({"code": 401, "message": token}).to_string())
        }),
        ("a wrong type", |token| wrap(&serde_json::json!({"target": token}).to_string())),
        ("urls of a wrong type", |token| {
            wrap(
                &serde_json::json!({"target": {"urls": format!("wss://h/?access_token={token}")}})
                    .to_string(),
            )
        }),
        ("a URL key", |token| {
            wrap(&serde_json::json!({"target": {"urls": {"a": "wss://h/", token: "wss://h/"}}}).to_string())
        }),
        ("an unusable URL", |token| {
            wrap(&serde_json::json!({"target": {"urls": {"a": format!("wss://h:99999/?access_token={token}")}}}).to_string())
        }),
        ("a redirect to elsewhere", |token| {
            http("302 Found", &format!("Location: http://127.0.0.2:1/{token}?access_token={token}\r\n"), "")
        }),
        ("a redirect that leads nowhere", |token| {
            http("302 Found", &format!("Location: http://{token}\r\n"), "")
        }),
        ("a status line", |token| format!("HTTP/1.1 500 {token}\r\nContent-Length: 0\r\n\r\n")),
        ("a header", |token| {
            http(
                "503 Service Unavailable",
                &format!("Retry-After: {token}\r\nContent-Encoding: {token}\r\n"),
                "",
            )
        }),
        ("no HTTP", |token| format!("{token}\r\n\r\n")),
    ]
}

#[test]
fn a_server_that_repeats_the_token_is_not_repeated() {
    let key = Key::make("EdDSA");
    for (name, echo) in echoes() {
        let locate = Locate::start(echo);
        in_all_ways(
            |command| {
                command.env("MONITORING_SIGNER_KEY", &key.path).env("LOCATE_URL", locate.url());
            },
            |ended| {
                assert_eq!(ended.status, 125, "{name}: {ended:?}");
                let signatures = locate.signatures();
                assert!(!signatures.is_empty(), "{name}");
                for signature in &signatures {
                    // A part of it is too much, too.
                    shows_nothing_of(ended, &[&signature[..16], key.private()[0]]);
                }
            },
        );
    }
}

#[test]
fn a_failure_after_the_grant_does_not_show_the_access_token() {
    let key = Key::make("EdDSA");
    for flags in [
        &["-service-url-key-name=nope"][..],
        &["-service=ndt/ndt5", "-service-url-key-name=wss://:3010/ndt_protocol"],
    ] {
        let locate = Locate::that_grants();
        in_all_ways(
            |command| {
                command.env("MONITORING_SIGNER_KEY", &key.path).env("LOCATE_URL", locate.url()).args(flags);
            },
            |ended| {
                assert_eq!(ended.status, 125, "{ended:?}");
                shows_nothing_of(ended, &[ACCESS_TOKEN, ACCESS_SIGNATURE]);
            },
        );
    }
}

#[test]
fn a_command_that_cannot_run_or_times_out_shows_no_token() {
    let key = Key::make("EdDSA");
    for (flags, words, status) in [
        (&["-timeout=60s"][..], &["no-such-command"][..], 127),
        (&["-timeout=60s"], &["/etc/passwd"], 126),
        (&["-timeout=500ms"], &["sleep", "25"], 124),
    ] {
        for way in WAYS {
            let locate = Locate::start(|_| granted());
            let mut command = token();
            command.env("MONITORING_SIGNER_KEY", &key.path).env("LOCATE_URL", locate.url());
            let ended = run(command.args(way).args(flags).arg("--").args(words));
            assert_eq!(ended.status, status, "{ended:?}");
            let signatures = locate.signatures();
            shows_nothing_of(&ended, &[&signatures[0], ACCESS_SIGNATURE, key.private()[0]]);
        }
    }
}

#[test]
fn a_damaged_key_is_not_shown() {
    let key = Key::make("EdDSA");
    let private = key.private()[0];
    let base64 = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(&key.jwk)
    };
    let damaged = [
        key.jwk.replace(private, &format!("{private}!")),
        key.jwk.replace(&format!("\"{private}\""), &format!("[\"{private}\"]")),
        key.jwk.replace(&format!("\"{private}\""), private),
        key.jwk.replace("Ed25519", private),
        key.jwk.replace("EdDSA", private).replace("OKP", private),
        key.jwk.replacen('}', "", 1),
        format!("\"{}\"", key.jwk.replace('"', "\\\"")),
        format!("-----BEGIN PRIVATE KEY-----\n{private}\n-----END PRIVATE KEY-----\n"),
        base64.clone(),
    ];
    let folder = Folder::new();
    let path = folder.path("key");
    for (number, text) in damaged.iter().enumerate() {
        std::fs::write(&path, text).unwrap();
        for inline in [false, true] {
            in_all_ways(
                |command| {
                    let given = if inline { std::ffi::OsStr::new(text) } else { path.as_os_str() };
                    command.env("MONITORING_SIGNER_KEY", given).arg("-exchange=false");
                },
                |ended| {
                    assert_eq!(ended.status, 125, "{number} {inline} {ended:?}");
                    shows_nothing_of(ended, &[&private[1..], &base64[..24]]);
                },
            );
        }
        // In a wrong place.
        let ended = run(token().arg("-monitoring-signer-key").arg(text).args(["--", "true"]));
        assert!([2, 125].contains(&ended.status), "{ended:?}");
        shows_nothing_of(&ended, &[&private[1..], &base64[..24]]);
    }
}

#[test]
fn passwords_in_urls_are_not_shown() {
    let key = Key::make("EdDSA");
    for (name, value) in [
        ("LOCATE_URL", format!("http://user:{PASSWORD}@127.0.0.1:9/")),
        ("LOCATE_URL", format!("ftp://user:{PASSWORD}@127.0.0.1:9/")),
        ("LOCATE_URL", format!("http://user:{PASSWORD}@127.0.0.1:99999/")),
        ("LOCATE_URL", format!("http://127.0.0.1:9/?access_token={PASSWORD}")),
        ("LOCATE_URL", format!("ftp://127.0.0.1:9/?access_token={PASSWORD}")),
        ("LOCATE_URL", format!("user:{PASSWORD}@127.0.0.1:9/v2/")),
        ("LOCATE_URL", format!("user:{PASSWORD}%40127.0.0.1:9/v2/")),
        ("LOCATE_URL", format!("user:1/{PASSWORD}@127.0.0.1:9/v2/")),
        ("LOCATE_URL", format!("htps:/user:{PASSWORD}@127.0.0.1:9/v2/")),
        ("LOCATE_URL", format!("unix:///user:{PASSWORD}@127.0.0.1/")),
        ("LOCATE_URL", format!("http://127.0.0.1:12/{PASSWORD}@127.0.0.1:9/")),
        ("HTTP_PROXY", format!("http://user:{PASSWORD}@127.0.0.1:9/")),
        ("HTTP_PROXY", format!("nonsense://user:{PASSWORD}@127.0.0.1:9/")),
        ("HTTP_PROXY", format!("http://user:{PASSWORD}@127.0.0.1:99999/")),
    ] {
        in_all_ways(
            |command| {
                command.env("MONITORING_SIGNER_KEY", &key.path);
                // Loopback is never proxied. Nothing leaves this machine: the proxy is on it.
                command.env("LOCATE_URL", "http://locate.example/").env(name, &value);
            },
            |ended| {
                assert!([2, 125].contains(&ended.status), "{value}: {ended:?}");
                shows_nothing_of(ended, &[PASSWORD]);
            },
        );
    }
}

#[test]
fn a_url_or_a_private_key_in_place_of_another_value_is_not_shown() {
    let key = Key::make("EdDSA");
    let url = format!("https://user:{PASSWORD}@h.example/v2/?state={PASSWORD}&sig={PASSWORD}");
    let pem =
        format!("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIK{PASSWORD}\n-----END PRIVATE KEY-----");
    let words = [
        "-service-url=",
        "-exchange=",
        "-env-name=",
        "-machine=",
        "-timeout=",
        "-retries=",
        "-kill-after=",
        "-output=",
        "-cache-ttl=",
        "-metrics-label=",
        "-log-format=",
        "-logx.debug=",
        "-",
        "",
        "explain ",
        "key ",
        "key inspect ",
        "help ",
        "gafaelfawr ",
        "gafaelfawr delete --username=bot-a ",
        "gafaelfawr list --username=",
        "gafaelfawr create --scopes=",
        "stackstate list --output=",
        "stackstate create --expiration=",
        "stackstate delete ",
    ];
    for (start, value) in words.iter().flat_map(|start| [(start, &url), (start, &pem)]) {
        let words = format!("{start}{}", value.replace(' ', "\0"));
        let args = words.split(' ').map(|word| word.replace('\0', " "));
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", &key.path).env("LOCATE_URL", "http://127.0.0.1:9/");
        command.env("STS_CLI_URL", "http://127.0.0.1:9/").env("GAFAELFAWR_URL", "http://127.0.0.1:9/");
        shows_nothing_of(&run(command.env("MONITORING_TOKEN_RETRIES", "0").args(args)), &[PASSWORD]);
    }
    for variable in
        ["LOGX_DEBUG", "TIMEOUT", "MONITORING_TOKEN_OUTPUT", "MONITORING_TOKEN_EXCHANGE", "ENV_NAME"]
    {
        for value in [&url, &pem] {
            let ended = run(token().env(variable, value).arg("true"));
            shows_nothing_of(&ended, &[PASSWORD]);
        }
    }
}

/// The redirect of a login in front of an issuer was shown with its state, its session and its password.
#[test]
fn a_redirect_is_shown_without_what_is_secret_in_it() {
    const STATE: &str = "St4te-of-a-login";
    let key = Key::make("EdDSA");
    let commands: [&[&str]; 5] = [
        &["gafaelfawr", "list", "--username=bot-x"],
        &["gafaelfawr", "create", "--username=bot-x", "--scopes=read:all"],
        &["gafaelfawr", "exec", "--username=bot-x", "--scopes=read:all", "--", "true"],
        &["stackstate", "delete", "--id=7"],
        &["-service=ndt/ndt7", "--", "true"],
    ];
    for (location, shown) in [
        (format!("https://svc:{PASSWORD}@sso.example/login?state={STATE}"), "sso.example"),
        (format!("//svc:{PASSWORD}@sso.example/login?rd={STATE}&x=y#{STATE}"), "sso.example"),
        (format!("/login?session={STATE}"), "/login"),
        (format!("/login;jsessionid={STATE}?{STATE}"), "/login;jsessionid=REDACTED?REDACTED"),
        (format!("ftp:?session={STATE}"), "ftp:"),
        (format!("http://svc:{PASSWORD}@[sso/x?session={STATE}"), "[sso/x?session=REDACTED"),
        (format!("mailto:x?subject={STATE}"), "mailto:"),
        (format!("svc:{PASSWORD}@sso.example/\u{e9}?{STATE}"), ""),
    ] {
        let body = format!("Found. Redirecting to {location}");
        let address =
            crate::support::serve_bytes(http("302 Found", &format!("Location: {location}\r\n"), &body));
        for args in commands {
            let mut command = token();
            let (issuer, url) = (args[0], format!("http://{address}"));
            command.env("MONITORING_SIGNER_KEY", &key.path).env("LOCATE_URL", &url);
            command.env("GAFAELFAWR_URL", &url).env("GAFAELFAWR_ADMIN_TOKEN", "gt-a.b");
            command.env("STS_CLI_URL", &url).env("STS_CLI_API_TOKEN", "token");
            // The main command follows what it can.
            let is_main = issuer.starts_with('-');
            let first: &[&str] = if is_main { &["-log-format=json"] } else { &[] };
            let ended = run(command.args(first).args(args));
            assert_eq!(ended.status, 125, "{location}: {ended:?}");
            assert!(is_main || ended.stderr.contains(shown), "{location}: {ended:?}");
            assert!(ended.stderr.contains("redirect"), "{location}: {ended:?}");
            shows_nothing_of(&ended, &[PASSWORD, STATE]);
        }
    }
}

#[test]
fn a_token_among_the_words_of_the_command_is_not_logged() {
    let key = Key::make("EdDSA");
    for format in ["text", "json"] {
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", &key.path).args([
            "-exchange=false",
            "-logx.debug",
            "-log-format",
            format,
        ]);
        let ended = run(command.args(["--", "true", ACCESS_TOKEN, "access_token=opaque-token"]));
        assert_eq!(ended.status, 0);
        assert!(ended.stderr.contains("running"), "{ended:?}");
        shows_nothing_of(&ended, &[ACCESS_SIGNATURE, "opaque-token"]);
    }
}

/// A password may be a word of our own. It took every line apart: `REDACTED://proxy.example`.
#[test]
fn a_password_that_is_a_word_of_ours_leaves_our_sentences_alone() {
    for password in ["http", "check", "token", "that", "proxy", "through", "allowed", "request", "monitoring"]
    {
        let address = crate::support::serve_bytes(http("403 Forbidden", "", &format!("no {password} here")));
        let origin = "http://far.invalid";
        let command = |first: &[&str]| {
            let mut command = token();
            command.args(first).args(["-service=ndt/ndt7", "-retries=0"]).env("LOCATE_URL", origin);
            command.env("HTTP_PROXY", format!("http://{password}:{password}@{address}"));
            command.env("MONITORING_SIGNER_KEY", crate::support::testdata("keys/eddsa.json"));
            command
        };
        let line = format!(
            "{origin} through the proxy http://REDACTED@{address} does not allow this request \
             (HTTP 403, \"no REDACTED here\"); check the URL, and that this address is allowed there"
        );
        let line = line.replace(&format!("@{address} "), &format!("@{address}/ "));
        run(command(&[]).args(["--", "true"])).failed_with(125, &[&line]);
        let ended = run(command(&["-log-format=json"]).args(["--", "true"]));
        let told: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
        assert!(told["message"].as_str().unwrap().starts_with(&line), "{ended:?}");
        let ended = run(command(&["check"]).arg("--json"));
        let told: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert!(told["error"].as_str().unwrap().starts_with(&line), "{ended:?}");
        assert!(ended.stdout.contains("http://REDACTED@127.0.0.1"), "{ended:?}");
    }
    for credential in ["http", "token", "rejected", "stackstate"] {
        let address = crate::support::serve_bytes(http("401 Unauthorized", "", &format!("no {credential}")));
        let mut list = token();
        list.args(["stackstate", "list", "--url"]).arg(format!("http://{address}"));
        run(list.env("STS_CLI_API_TOKEN", credential)).failed_with(
            125,
            &[&format!(
                "stackstate at http://{address} refused to list the tokens (HTTP 401, \"no REDACTED\")"
            )],
        );
    }
}
