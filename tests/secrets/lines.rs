//! A message stays one readable line, and nothing delays the run, whatever a server sends.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Key;
use crate::support::{Ended, PATIENCE, finish, http, kill, read_head, run, serve, serve_bytes, start, token};

const MAX_LINE_BYTES: usize = 4096;

fn locate(key: &Key, address: SocketAddr) -> Command {
    let mut command = token();
    command.env("MONITORING_SIGNER_KEY", &key.path).env("LOCATE_URL", format!("http://{address}/"));
    command
}

#[track_caller]
fn lines_are_readable(ended: &Ended) {
    for line in ended.stderr.lines().chain(ended.stdout.lines()) {
        assert!(line.len() < MAX_LINE_BYTES, "{} bytes: {line:.200}", line.len());
        let odd = |c: &char| {
            c.is_control()
                || (c.is_whitespace() && *c != ' ')
                || "\u{ad}\u{200b}\u{200e}\u{202e}\u{2066}\u{feff}\u{e0041}".contains(*c)
        };
        assert_eq!(line.chars().find(odd), None, "{line:?}");
    }
}

/// Whitespace, directions, terminal sequences and tags, which can change how a line reads.
const ODD: &str = "a\u{a0}b\u{2003}c\u{ad}d\u{200b}e\u{200e}f\u{202e}g\u{2066}h\u{feff}i\u{e0041}j\u{1b}[31mk\u{85}l\u{2028}m\u{2029}n\u{7f}o\r\np\"q\\r";

#[test]
fn server_text_stays_on_one_line() {
    let key = Key::make("EdDSA");
    let long = format!("{}{}", ODD, "x".repeat(400_000));
    let in_header = "h".repeat(60_000);
    let error = |title: &str| {
        serde_json::json!({"error": {"type": title, "title": title, "status": 400, "detail": title}, "message": title}).to_string()
    };
    for answer in [
        http("400 Bad Request", "", &error(&long)),
        http("400 Bad Request", "", &error(ODD)),
        http("401 Unauthorized", "", &serde_json::json!({"code": 401, "message": long}).to_string()),
        http("404 Not Found", "", &long),
        http("200 OK", "", &long),
        http("200 OK", "", &serde_json::json!({"target": long}).to_string()),
        http(
            "200 OK",
            "",
            &serde_json::json!({"target": {"urls": {"a": "wss://h/", &long: "wss://h/"}}}).to_string(),
        ),
        http(
            "200 OK",
            "",
            &serde_json::json!({"target": {"urls": {"a": format!("{long}://h/")}}}).to_string(),
        ),
        http("200 OK", &format!("Content-Encoding: {in_header}\r\n"), "x"),
        http("302 Found", &format!("Location: http://{}/\r\n", "a.".repeat(30_000)), ""),
        http("302 Found", &format!("Location: {in_header}\r\n"), ""),
        format!("HTTP/1.1 500 {in_header}\r\nContent-Length: 0\r\n\r\n"),
        format!("{ODD}\r\n\r\n"),
    ] {
        let address = serve_bytes(answer);
        for flags in
            [&[][..], &["-log-format=json"], &["-logx.debug=true"], &["-logx.debug=true", "-log-format=json"]]
        {
            let ended =
                run(locate(&key, address).args(flags).args(["-retries=0", "-output=discard", "--", "true"]));
            assert_eq!(ended.status, 125, "{ended:?}");
            lines_are_readable(&ended);
            if flags.contains(&"-log-format=json") {
                for line in ended.stderr.lines() {
                    serde_json::from_str::<serde_json::Value>(line)
                        .unwrap_or_else(|error| panic!("{error}: {line}"));
                }
            } else if flags.is_empty() {
                assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
            }
        }
        for flags in [&[][..], &["--json"]] {
            let ended = run(locate(&key, address).arg("check").args(flags).arg("-retries=0"));
            assert_eq!(ended.status, 125, "{ended:?}");
            lines_are_readable(&ended);
        }
    }
}

/// JSON lines were once redacted after encoding, which cut off the end of the value.
#[test]
fn json_lines_parse_whatever_is_replaced_in_them() {
    let key = Key::make("EdDSA");
    for title in [
        r#"access_token=abc"def"#,
        "access_token=",
        r"access_token=\",
        r#"x" access_token: "abc\" "#,
        r"eyJh.eyJp.\",
        r#"gt-a.b"\"#,
    ] {
        let body =
            serde_json::json!({"error": {"type": "x", "title": title, "status": 400, "detail": title}});
        let address = serve_bytes(http("400 Bad Request", "", &body.to_string()));
        for debug in ["-logx.debug=true", "-logx.debug=false"] {
            let mut command = locate(&key, address);
            let ended = run(command.args([
                "-log-format=json",
                debug,
                "-retries=0",
                "-output=discard",
                "--",
                "true",
                title,
            ]));
            assert_eq!(ended.status, 125);
            for line in ended.stderr.lines() {
                serde_json::from_str::<serde_json::Value>(line)
                    .unwrap_or_else(|error| panic!("{error}: {line}"));
            }
        }
    }
}

/// Texts that an attacker repeats to use up time.
const ALPHABETS: [&str; 14] = [
    "gt- ",
    "access_token",
    "access_token ",
    "eyJ.",
    "eyJa.eyJ.",
    "svctok-",
    "%",
    "%25",
    "&#",
    "&amp;",
    "\\u",
    "\\u{",
    "\u{200b}",
    "…",
];
const BODY_BYTES: usize = 512 * 1024 - 1024;

fn adversarial(alphabet: &str, as_json: bool) -> String {
    let text = alphabet.repeat(BODY_BYTES / alphabet.len() / if as_json { 2 } else { 1 });
    let body = if as_json {
        serde_json::json!({"error": {"type": "x", "title": text, "status": 503}}).to_string()
    } else {
        text
    };
    http("503 Service Unavailable", "", &body)
}

/// Half a megabyte of `gt- ` once made `-timeout=2s` take 13 s, and delayed SIGTERM as long.
#[test]
fn no_body_holds_up_the_timeout() {
    let key = Key::make("EdDSA");
    for (number, alphabet) in ALPHABETS.iter().enumerate() {
        let address = serve_bytes(adversarial(alphabet, number % 2 == 0));
        let began = Instant::now();
        let ended = run(locate(&key, address).args([
            "-timeout=2s",
            "-retries=1000",
            "-logx.debug",
            "-output=discard",
            "--",
            "true",
        ]));
        // The time that a busy machine takes to start and stop programs does not matter.
        assert!(began.elapsed() < Duration::from_secs(6), "{alphabet}: {:?}", began.elapsed());
        assert!([124, 125].contains(&ended.status), "{alphabet}: {}", ended.status);
    }
}

#[test]
fn no_body_holds_up_a_signal_or_the_deadline() {
    let key = Key::make("EdDSA");
    for (number, alphabet) in ALPHABETS.iter().enumerate().step_by(3) {
        let (tell, told) = std::sync::mpsc::channel();
        let answer = adversarial(alphabet, number % 2 == 0);
        let address = serve(move |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(answer.as_bytes());
            let _ = tell.send(());
        });
        let child = start(locate(&key, address).args([
            "-timeout=60s",
            "-retries=1000",
            "-output=discard",
            "--",
            "true",
        ]));
        told.recv().unwrap();
        let began = Instant::now();
        kill(child.id(), libc::SIGTERM);
        assert_eq!(finish(child).status, 143, "{alphabet}");
        assert!(began.elapsed() < Duration::from_secs(3), "{alphabet}: {:?}", began.elapsed());

        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(2);
        let mut command = locate(&key, address);
        command.env("SCRIPT_DEADLINE", format!("{}", deadline.as_secs_f64()));
        run(command.args(["-retries=1000", "-output=discard", "--", "true"]));
        let late = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().saturating_sub(deadline);
        assert!(late < Duration::from_secs(2), "{alphabet}: {late:?} late");
    }
}

/// Interim responses without end (RFC 9110, 15.2) do not count as a response.
#[test]
fn a_flood_of_interim_answers_does_not_overrun_the_timeout() {
    let key = Key::make("EdDSA");
    let address = serve(|mut stream| {
        read_head(&mut stream);
        let flood = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n".repeat(1000);
        while stream.write_all(flood.as_bytes()).is_ok() {}
    });
    let began = Instant::now();
    let ended = run(locate(&key, address).args(["-timeout=2s", "-retries=0", "--", "true"]));
    assert!([124, 125].contains(&ended.status), "{ended:?}");
    // Sender and receiver share a busy machine; without a limit, it would never end.
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
}
