//! A server or proxy repeats a credential, in every form and in every part of a response that is shown. No part of the
//! credential is printed.
//!
//! A StackState API token has no shape by which it could be recognized, and Nginx, Envoy and many application servers
//! repeat request headers in their error pages.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Key;
use super::scrub::{BASE64, CHARACTERS, FORMS, Form, LISTED};
use crate::support::job::Folder;
use crate::support::{Ended, http, read_head, run, serve, token};

/// A token without a shape.
const API_TOKEN: &str = "Zq3-vU8_xT5.kR0mN7pL2wJ9yH4";
const PASSWORD: &str = "proxy-Pa55/wörd:of mine";

/// Makes a response from the repeated text.
type Answer = fn(&str) -> String;

/// The parts of a response that may repeat text.
const PLACES: [(&str, Answer); 6] = [
    ("a body", |echo| http("404 Not Found", "", &format!("<pre>no such page, {echo}</pre>"))),
    ("a JSON error", |echo| {
        let body = serde_json::json!({"_type": "X", "message": echo, "detail": [{"msg": echo, "type": echo}], "error": {"title": echo, "type": "x", "detail": echo}});
        http("403 Forbidden", "", &body.to_string())
    }),
    ("an answer of another kind", |echo| http("200 OK", "", echo)),
    ("a location", |echo| {
        http("302 Found", &format!("Location: http://other.example/{}\r\n", in_header(echo)), "")
    }),
    ("a location's host", |echo| {
        http("302 Found", &format!("Location: http://{}/\r\n", in_header(echo)), "")
    }),
    ("an encoding", |echo| http("200 OK", &format!("Content-Encoding: {}\r\n", in_header(echo)), "x")),
];

fn in_header(echo: &str) -> String {
    echo.replace(['\r', '\n', '\0', '\u{1b}'], " ")
}

fn echoing(secret: String, form: Form, place: Answer) -> SocketAddr {
    serve(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(place(&form.1(&secret)).as_bytes());
    })
}

/// Asserts that the output has no part of the secret, and no comparable part of this form of it.
#[track_caller]
fn shows_nothing(ended: &Ended, secret: &str, form: Form, about: &str) {
    let written = form.1(secret);
    for text in [&ended.stdout, &ended.stderr] {
        let lower = text.to_lowercase();
        let secret: Vec<char> = secret.to_lowercase().chars().collect();
        for piece in secret.windows(12) {
            let piece: String = piece.iter().collect();
            assert!(!lower.contains(&piece), "{about}, {}: {piece} in {text}", form.0);
        }
        let written: Vec<char> = written.chars().collect();
        let part = form.1("Zq3-vU8_xT5.").chars().count() + 12;
        for piece in written.windows(part) {
            let piece: String = piece.iter().collect();
            assert!(!text.contains(&piece), "{about}, {}: {piece} in {text}", form.0);
        }
    }
}

fn stackstate(address: SocketAddr, args: &[&str]) -> Command {
    let mut command = token();
    command.args(args).env("STS_CLI_URL", format!("http://{address}")).env("STS_CLI_API_TOKEN", API_TOKEN);
    command
}

#[test]
fn an_api_token_without_a_shape_is_not_repeated() {
    let forms: Vec<&Form> = FORMS.iter().chain(BASE64).chain(LISTED).chain(CHARACTERS).collect();
    for (number, form) in forms.iter().enumerate() {
        // Each form in one place with each command; over all forms, each in each.
        let (place, answer) = PLACES[number % PLACES.len()];
        let address = echoing(API_TOKEN.to_owned(), **form, answer);
        let ways: [&[&str]; 4] = [
            &["stackstate", "list", "-retries=0"],
            &[
                "stackstate",
                "exec",
                "--roles=r",
                "-retries=0",
                "-log-format=json",
                "-logx.debug",
                "--",
                "true",
            ],
            &["check", "stackstate", "exec", "--roles=r", "-retries=0"],
            &["check", "--json", "stackstate", "exec", "--roles=r", "-retries=0"],
        ];
        for args in [ways[0], ways[1 + number % 3]] {
            let ended = run(&mut stackstate(address, args));
            assert_eq!(ended.status, 125, "{place}: {ended:?}");
            shows_nothing(&ended, API_TOKEN, **form, place);
        }
    }
}

#[test]
fn an_api_token_is_not_repeated_in_any_place() {
    for form in [FORMS[0], FORMS[3], BASE64[0]] {
        for (place, answer) in PLACES {
            let address = echoing(API_TOKEN.to_owned(), form, answer);
            for args in [&["stackstate", "list"][..], &["stackstate", "delete", "--id=7"]] {
                let ended = run(stackstate(address, args).arg("-retries=0"));
                assert_eq!(ended.status, 125, "{place}: {ended:?}");
                shows_nothing(&ended, API_TOKEN, form, place);
            }
        }
    }
}

#[test]
fn a_list_that_repeats_the_credential_does_not_show_it() {
    for (text, json) in [("text", false), ("json", true)] {
        let body = serde_json::json!([{"id": 1, "name": format!("n {API_TOKEN}"), "expiration": null, "roles": [API_TOKEN]}]);
        let address = crate::support::serve_bytes(http("200 OK", "", &body.to_string()));
        let ended = run(stackstate(address, &["stackstate", "list"]).args(["-o", text]));
        assert_eq!(ended.status, 0, "{ended:?}");
        assert!(ended.stdout.contains("REDACTED") && ended.stdout.contains('{') == json, "{ended:?}");
        shows_nothing(&ended, API_TOKEN, FORMS[0], text);
    }
}

/// The main command sends a JWT. A server repeats it in each form.
#[test]
fn a_signature_alone_is_not_repeated() {
    let key = Key::make("EdDSA");
    for (number, form) in FORMS.iter().chain(BASE64).chain(LISTED).chain(CHARACTERS).enumerate() {
        let (place, answer) = PLACES[number % PLACES.len()];
        let (tell, told) = std::sync::mpsc::channel();
        let address = serve(move |mut stream| {
            let head = read_head(&mut stream);
            let token = head.split("access_token=").nth(1).unwrap_or_default();
            let signature =
                token.split([' ', '&']).next().unwrap_or_default().rsplit('.').next().unwrap_or_default();
            // And its second half.
            let _ = tell.send(signature.to_owned());
            let _ = stream.write_all(answer(&form.1(signature)).as_bytes());
        });
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", &key.path).env("LOCATE_URL", format!("http://{address}/"));
        let flags = [&["-logx.debug=true"][..], &["-log-format=json"], &[]][number % 3];
        let ended = run(command.args(flags).args(["-retries=0", "-output=discard", "--", "true"]));
        assert_eq!(ended.status, 125, "{place}: {ended:?}");
        for signature in told.try_iter() {
            shows_nothing(&ended, &signature, *form, place);
        }
    }
}

/// The value of a request's header.
fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head.lines().find(|line| line.to_lowercase().starts_with(name)).unwrap_or_default();
    line.split_once(": ").map_or("", |(_, value)| value)
}

#[test]
fn a_proxy_that_repeats_its_password_is_not_repeated() {
    let key = Key::make("EdDSA");
    let userinfo = "proxyuser:proxy-Pa55%2Fw%C3%B6rd%3Aof%20mine";
    for (number, form) in FORMS.iter().chain(BASE64).chain(LISTED).chain(CHARACTERS).enumerate() {
        let address = serve(move |mut stream| {
            let head = read_head(&mut stream);
            let basic = header(&head, "proxy-authorization").trim_start_matches("Basic ").to_owned();
            let body = format!("<p>{basic}</p> {}", form.1(PASSWORD));
            let _ = stream.write_all(http("407 Proxy Authentication Required", "", &body).as_bytes());
        });
        let mut command = token();
        command
            .env("MONITORING_SIGNER_KEY", &key.path)
            .env("LOCATE_URL", "http://locate.example/")
            .env("HTTP_PROXY", format!("http://{userinfo}@{address}/"));
        let flags = [&["-logx.debug=true"][..], &["-log-format=json"], &[]][number % 3];
        let ended = run(command.args(flags).args(["-retries=0", "-output=discard", "--", "true"]));
        assert_eq!(ended.status, 125, "{ended:?}");
        assert!(ended.stderr.contains("407"), "{ended:?}");
        let basic = STANDARD.encode(format!("proxyuser:{PASSWORD}"));
        assert!(!ended.stderr.contains(&basic[..16]) && !ended.stderr.contains("proxyuser"), "{ended:?}");
        if form.0 != "full width" {
            let ascii = "proxy-Pa55/w";
            assert!(
                !ended.stderr.contains(ascii) && !ended.stderr.contains("of mine"),
                "{}: {ended:?}",
                form.0
            );
        }
    }
}

#[test]
fn a_parameter_of_the_locate_url_is_not_shown() {
    const VALUE: &str = "AIzaSyD-0123456789abcdef";
    let key = Key::make("EdDSA");
    let address = serve(|mut stream| {
        let head = read_head(&mut stream);
        let _ =
            stream.write_all(http("404 Not Found", "", head.lines().next().unwrap_or_default()).as_bytes());
    });
    for flags in [&["-logx.debug=true"][..], &["-logx.debug=true", "-log-format=json"], &[]] {
        let mut command = token();
        let url = format!("http://{address}/x/?early_exit=250&key={VALUE}&other={VALUE}&monitoring=true");
        command.env("MONITORING_SIGNER_KEY", &key.path).env("LOCATE_URL", url);
        let ended = run(command.args(flags).args(["-retries=0", "-output=discard", "--", "true"]));
        assert_eq!(ended.status, 125, "{ended:?}");
        assert!(!ended.stderr.contains(&VALUE[4..16]), "{ended:?}");
        assert!(flags.is_empty() || ended.stderr.contains("early_exit=250"), "{ended:?}");
    }
}

#[test]
fn the_output_of_a_command_that_fails_is_scrubbed_in_every_form() {
    let sandbox = crate::support::Sandbox::start(&[]);
    for (name, script) in [
        ("raw", r#"echo "$SERVICE_TOKEN""#),
        ("base64", r#"printf %s "$SERVICE_TOKEN" | base64"#),
        ("wrapped", r#"printf %s "$SERVICE_TOKEN" | fold -w 9"#),
        ("upper case", r#"echo "$SERVICE_TOKEN" | tr a-z A-Z"#),
        ("hex", r#"printf %s "$SERVICE_TOKEN" | od -An -tx1 | tr -d ' \n'"#),
        ("percent", r#"printf %s "$SERVICE_TOKEN" | od -An -tx1 -v | tr -d '\n' | tr ' ' %"#),
    ] {
        let folder = Folder::new();
        let kept = folder.path("token");
        let script = format!("printf %s \"$SERVICE_TOKEN\" > {}; {script}; exit 1", kept.display());
        let mut command = sandbox.token();
        command.args([
            "gafaelfawr",
            "exec",
            "--username=bot-x",
            "--scopes=read:all",
            "-output=on-failure",
            "--",
            "sh",
            "-c",
        ]);
        let ended = run(command.arg(script));
        assert_eq!(ended.status, 1, "{name}: {ended:?}");
        let token = std::fs::read_to_string(kept).unwrap();
        let secret = token.split_once('.').unwrap().1;
        for form in [FORMS[0], FORMS[1], FORMS[2], FORMS[3], FORMS[4], BASE64[0]] {
            shows_nothing(&ended, secret, form, name);
        }
        assert!(ended.stderr.contains("REDACTED"), "{name}: {ended:?}");
    }
}
