//! `check` shows the run's own request step by step. It fails where the run fails, with the same status and message,
//! and runs nothing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::support::job::Folder;
use crate::support::{
    Ended, MACHINE, PATIENCE, Sandbox, eventually, finish, full_pipe, http, kill, read_head, run, serve,
    serve_bytes, start, testdata, token,
};

const STEPS: [&str; 14] = [
    "timeout", "command", "key", "key_id", "signing", "roots", "proxy", "dns", "tcp", "tls", "clock",
    "exchange", "url_keys", "target",
];

/// No additional variable.
const NONE: (&str, &str) = ("UNUSED", "");

/// The failing step, a variable, flags, and words of the message.
type Case<'a> = (&'a str, (&'a str, &'a str), &'a [&'a str], &'a str);

/// Locate's response.
fn granted() -> String {
    let url = "wss://target.example/ndt/v7/download?access_token=s3cret";
    json!({"target": {"machine": MACHINE, "urls": {"wss:///ndt/v7/download": url}}}).to_string()
}

/// A check's JSON, with its rows by name.
struct Told {
    ended: Ended,
    json: Value,
}

impl Told {
    /// Runs `check --json`.
    #[track_caller]
    fn by(command: &mut Command) -> Told {
        let ended = run(command);
        let json: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("JSON: {ended:?}"));
        let names: Vec<&str> = rows(&json).map(|row| row["step"].as_str().unwrap()).collect();
        assert_eq!(names, STEPS);
        assert_eq!(json["exit_status"], ended.status);
        assert_eq!(json["ok"], ended.status == 0);
        Told { ended, json }
    }

    #[track_caller]
    fn row(&self, step: &str) -> &Value {
        rows(&self.json).find(|row| row["step"] == step).expect(step)
    }

    #[track_caller]
    fn detail(&self, step: &str) -> &str {
        self.row(step)["detail"].as_str().unwrap()
    }

    /// Asserts that this step failed with the message on stderr, and that all later steps are skipped.
    #[track_caller]
    fn failed_at(&self, step: &str, status: i32) -> &Told {
        self.ended.failed_with(status, &[]);
        let failed: Vec<&Value> = rows(&self.json).filter(|row| row["outcome"] == "failed").collect();
        assert_eq!(failed.len(), 1, "{:#}", self.json);
        assert_eq!(failed[0]["step"], step, "{:#}", self.json);
        let line = format!("monitoring-token: {}\n", failed[0]["detail"].as_str().unwrap());
        assert_eq!(self.ended.stderr, line);
        assert_eq!(self.json["error"], failed[0]["detail"]);
        let after = STEPS.iter().skip_while(|&&name| name != step).skip(1);
        for later in after {
            assert_eq!(self.row(later)["outcome"], "skipped", "{later}: {:#}", self.json);
        }
        self
    }
}

fn rows(json: &Value) -> impl Iterator<Item = &Value> {
    json["steps"].as_array().unwrap().iter()
}

#[test]
fn every_step_of_a_line_that_works_is_ok_and_its_command_is_not_run() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let (touched, metrics) = (folder.path("touched"), folder.path("m.prom"));
    let line = ["-service=ndt/ndt7", "-service-url", "--", "touch", touched.to_str().unwrap()];
    let mut check = sandbox.token();
    check.arg("check").env("MONITORING_TOKEN_METRICS_TEXTFILE", &metrics);
    check.env("MONITORING_TOKEN_CACHE_TTL", "1h").env("MONITORING_TOKEN_CACHE_DIR", folder.path("c"));
    let ended = run(check.args(line));
    ended.succeeded();
    let rows: Vec<Vec<&str>> = ended.stdout.lines().map(|row| row.split("  ").collect()).collect();
    assert_eq!(rows.len(), STEPS.len(), "{}", ended.stdout);
    for (row, step) in rows.iter().zip(STEPS) {
        assert_eq!(row[0], step.replace('_', " "));
        let outcome = if step == "tls" { "skipped" } else { "ok" };
        assert!(row[1..].iter().any(|cell| cell.trim() == outcome), "{row:?}");
    }
    assert!(
        ended.stdout.contains("wss:///ndt/v7/download (on 127.0.0.1); also available: "),
        "{}",
        ended.stdout
    );
    assert_eq!(fs::read_dir(folder.root()).unwrap().count(), 0, "no command, no metrics, no cache");
    // The line itself works, and leaves all of these.
    run(sandbox.token().args(line)).succeeded();
    assert!(touched.exists());
}

#[test]
fn scripts_get_the_figures() {
    let sandbox = Sandbox::start(&[]);
    let told = Told::by(sandbox.token().args(["check", "--json", "-service=ndt/ndt5"]));
    told.ended.succeeded();
    assert_eq!(told.row("key")["data"]["algorithm"], "EdDSA");
    assert_eq!(told.row("key_id")["data"]["key_id"], "sandbox");
    assert_eq!(told.row("url_keys")["data"]["taken"], "wss://:3010/ndt_protocol");
    let on_offer = json!(["ws://:3001/ndt_protocol", "wss://:3010/ndt_protocol"]);
    assert_eq!(told.row("url_keys")["data"]["on_offer"], on_offer);
    let offset = told.row("clock")["data"]["offset_seconds"].as_i64().unwrap();
    assert!((-1..=2).contains(&offset), "{offset}");
    assert!(told.detail("exchange").contains(sandbox.var("SANDBOX_URL")), "{:#}", told.json);
}

#[test]
fn check_fails_where_the_run_fails_with_its_status_and_its_words() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let file = |name: &str, text: &str| {
        let path = folder.path(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let key = fs::read_to_string(sandbox.var("MONITORING_SIGNER_KEY")).unwrap();
    let mut mixed: Value = serde_json::from_str(&key).unwrap();
    mixed["x"] = URL_SAFE_NO_PAD.encode([7; 32]).into();
    let mut stranger: Value = serde_json::from_str(&key).unwrap();
    stranger["kid"] = "stranger".into();
    let redirect = serve_bytes(http("302 Found", "Location: http://127.0.0.2/\r\n", ""));
    let html = serve_bytes(http("200 OK", "", "<html>nope</html>"));
    let not_tls = sandbox.var("SANDBOX_URL").replace("http://", "-locate-url=https://");
    // Longer than a name may be, so no server is asked.
    let no_name = format!("-locate-url=http://{}.invalid/", "a".repeat(64));
    let (bad_proxy, nowhere) = (("HTTP_PROXY", "gopher://a b"), "-locate-url=http://locate.invalid/");
    let cases: [Case<'_>; 16] = [
        ("timeout", ("SCRIPT_DEADLINE", "1"), &[], "SCRIPT_DEADLINE"),
        ("key", NONE, &["-monitoring-signer-key=/proc/nonexistent/key"], "/proc/nonexistent/key"),
        ("key", NONE, &["-monitoring-signer-key="], "MONITORING_SIGNER_KEY"),
        ("key", NONE, &["-monitoring-signer-key", &file("text", "no JSON")], "not valid JSON"),
        ("signing", NONE, &["-monitoring-signer-key", &file("mixed", &mixed.to_string())], "do not match"),
        ("roots", NONE, &["-ca-file=/proc/nonexistent/ca"], "/proc/nonexistent/ca"),
        ("roots", bad_proxy, &["-ca-file=/proc/nonexistent/ca", nowhere], "/proc/nonexistent/ca"),
        ("proxy", bad_proxy, &[nowhere], "HTTP_PROXY"),
        ("dns", NONE, &["-retries=0", &no_name], "cannot resolve"),
        ("tcp", NONE, &["-retries=0", "-locate-url=http://127.0.0.1:1/"], "connection refused"),
        ("tls", NONE, &["-retries=0", &not_tls], "does not speak TLS"),
        ("exchange", NONE, &["-monitoring-signer-key", &file("stranger", &stranger.to_string())], "stranger"),
        ("exchange", NONE, &["-machine=nowhere"], "machine name"),
        ("exchange", NONE, &[&format!("-locate-url=http://{redirect}/")], "redirects"),
        ("exchange", NONE, &[&format!("-locate-url=http://{html}/")], "HTML page \"nope\""),
        ("url_keys", NONE, &["-service-url-key-name=nope"], "nope"),
    ];
    for (step, variable, flags, words) in cases {
        let line = |first: &[&str]| {
            let mut line = sandbox.token();
            line.args(first).args(flags).env(variable.0, variable.1);
            line
        };
        let told = Told::by(&mut line(&["check", "--json"]));
        let status = if step == "timeout" { 124 } else { 125 };
        told.failed_at(step, status).ended.failed_with(status, &[words]);
        let ran = run(line(&[]).arg("true"));
        assert_eq!((ran.status, &ran.stderr), (status, &told.ended.stderr), "the run itself");
    }
}

#[test]
fn the_time_limit_of_the_run_holds() {
    let (silent, sandbox) = (
        serve(|mut stream| drop(stream.read(&mut [0; 4096]).map(|_| std::thread::sleep(PATIENCE)))),
        Sandbox::start(&[]),
    );
    let locate = format!("-locate-url=http://{silent}/");
    let told = Told::by(sandbox.token().args(["check", "--json", &locate, "-timeout=400ms"]));
    told.failed_at("exchange", 124).ended.failed_with(124, &["timed out", "http://127.0.0.1:"]);
    assert_eq!(told.row("tcp")["outcome"], "ok");
}

#[test]
fn a_signal_ends_a_check() {
    let (reached, wait) = std::sync::mpsc::channel();
    let silent = serve(move |mut stream| {
        if !read_head(&mut stream).is_empty() {
            let _ = reached.send(());
            std::thread::sleep(PATIENCE);
        }
    });
    let sandbox = Sandbox::start(&[]);
    let child = start(sandbox.token().args(["check", &format!("-locate-url=http://{silent}/")]));
    wait.recv_timeout(PATIENCE).expect("the request arrives");
    kill(child.id(), libc::SIGTERM);
    finish(child).failed_with(143, &["SIGTERM"]);
}

#[test]
fn a_signal_ends_a_check_that_nobody_reads() {
    let (_reader, writer) = full_pipe();
    let mut command = token();
    command.args(["check", "-exchange=false"]).env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"));
    let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    // The first may end the check itself.
    eventually("the end", || {
        kill(child.id(), libc::SIGTERM);
        child.try_wait().unwrap()
    });
}

#[test]
fn wrong_flags_are_usage_errors_and_check_is_a_word_only_in_the_first_place() {
    for flags in [&["check", "-nope"][..], &["check", "-timeout=0"], &["check", "--json=perhaps"]] {
        let ended = run(token().args(flags));
        assert_eq!((ended.status, ended.stdout.as_str()), (2, ""), "{flags:?}");
    }
    let help = run(token().args(["check", "-help"]));
    assert!(help.status == 0 && help.stdout.contains("--json"), "{help:?}");
    // A program of that name.
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let program = folder.path("check");
    fs::write(&program, "#!/bin/sh\nexit 33\n").unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.root().display(), std::env::var("PATH").unwrap());
    assert_eq!(run(sandbox.token().env("PATH", path).args(["--", "check"])).status, 33);
}

#[test]
fn a_key_that_locate_does_not_accept_is_reported() {
    // The private scalar follows the version in the ECPrivateKey (RFC 5915, section 3).
    const BEFORE: [u8; 5] = [2, 1, 1, 4, 48];
    let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let (der, point) = (pair.serialize_der(), pair.public_key_raw().to_vec());
    let at = der.windows(BEFORE.len()).position(|window| window == BEFORE).unwrap() + BEFORE.len();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({
        "kty": "EC", "crv": "P-384", "alg": "ES384", "use": "sig", "kid": "p384",
        "x": encode(&point[1..49]), "y": encode(&point[49..]), "d": encode(&der[at..at + 48]),
    });
    let sandbox = Sandbox::start(&[]);
    let mut line = sandbox.token();
    line.env("MONITORING_SIGNER_KEY", jwk.to_string()).args(["check", "--json"]);
    let told = Told::by(&mut line);
    assert_eq!(told.row("signing")["outcome"], "ok");
    assert!(told.detail("signing").contains("ES384, for the machine"), "{:#}", told.json);
    assert!(told.detail("signing").contains("Locate v0.19.2 rejects ES384"), "{:#}", told.json);
    told.failed_at("exchange", 125).ended.failed_with(125, &["Locate v0.19.2 rejects ES384"]);
    // Without an exchange, the run works, and so does its check.
    let told = Told::by(line.arg("-exchange=false"));
    told.ended.succeeded();
    assert_eq!(told.row("exchange")["outcome"], "skipped");
    assert!(told.detail("exchange").contains("-exchange=false"));
}

#[test]
fn a_slow_clock_is_distinguished_from_an_unknown_key() {
    let sandbox = Sandbox::start(&[]);
    // How far the server's clock is ahead.
    for offset in [300_i64, -300, 5] {
        let (now, by) = (SystemTime::now(), Duration::from_secs(offset.unsigned_abs()));
        let server_time = if offset < 0 { now - by } else { now + by };
        let date = httpdate::fmt_http_date(server_time);
        sandbox.misbehave(&format!(r#"{{"status":401,"header":["Date","{date}"]}}"#));
        let told = Told::by(sandbox.token().args(["check", "--json"]));
        told.ended.failed_with(125, &["401", if offset < 0 { "ahead" } else { "behind" }]);
        assert_eq!(told.row("exchange")["outcome"], "failed");
        // Only with a clock that is behind have tokens expired when they arrive.
        let outcome = match offset {
            300 => "failed",
            -300 => "warning",
            _ => "ok",
        };
        assert_eq!(told.row("clock")["outcome"], outcome);
        assert!(told.detail("clock").contains(if offset < 0 { "ahead" } else { "behind" }));
        let reason = if offset == 300 { json!("clock-skew") } else { Value::Null };
        assert_eq!(told.row("clock")["reason"], reason);
    }
}

/// The lines of `exec`, and for each the last request of its check, with a response.
const EXECS: [(&[&str], &str, &str); 2] = [
    (
        &["gafaelfawr", "exec", "--username=bot-x", "--scopes=write:sasquatch"],
        "GET /auth/api/v1/token-info",
        r#"{"token":"AAAAAAAAAAAAAAAAAAAAAA","username":"admin","token_type":"user","scopes":["admin:token"]}"#,
    ),
    (&["stackstate", "exec", "--roles=r"], "GET /api/server/info", "{}"),
];

#[test]
fn a_slow_clock_fails_only_if_the_run_fails() {
    let sandbox = Sandbox::start(&[]);
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(300));
    let answer_with = |only: &str, body: &str| {
        sandbox.misbehave(&json!({"only": only, "body": body, "header": ["Date", date]}).to_string());
    };
    // Their requests do not include a local time.
    for (line, last, body) in EXECS {
        answer_with(last, body);
        let (ended, json, step) = token_check(sandbox.token().arg("check").args(line).arg("--json"));
        assert_eq!((ended.status, step), (0, None), "{json:#}");
        let clock = rows(&json).find(|row| row["step"] == "clock").unwrap();
        assert_eq!(clock["outcome"], "warning");
        assert!(clock["detail"].as_str().unwrap().contains("behind the server; set the clock"), "{json:#}");
        assert!(clock["data"]["offset_seconds"].as_i64().unwrap() < -200, "{json:#}");
    }
    // A Locate that accepts the token anyway.
    answer_with("GET /v2/", &granted());
    let told = Told::by(sandbox.token().args(["check", "--json", "-service=ndt/ndt7"]));
    told.ended.succeeded();
    assert_eq!(told.row("clock")["outcome"], "warning");
    assert!(told.detail("clock").contains("behind the server; set the clock"), "{:#}", told.json);
    assert!(told.row("clock")["data"]["offset_seconds"].as_i64().unwrap() < -200, "{:#}", told.json);
}

#[test]
fn a_token_check_fails_at_the_step_and_with_the_words_of_the_run() {
    let sandbox = Sandbox::start(&[]);
    let bad_proxy = ("HTTP_PROXY", "gopher://a b");
    let nowhere = "--url=http://issuer.invalid";
    for (line, _, _) in EXECS {
        for (step, variable, flags) in [
            ("roots", NONE, &["-ca-file=/proc/nonexistent/ca"][..]),
            ("roots", bad_proxy, &["-ca-file=/proc/nonexistent/ca", nowhere]),
            ("proxy", bad_proxy, &[nowhere]),
            ("dns", NONE, &["-retries=0", nowhere]),
        ] {
            let line = |first: &[&str]| {
                let mut command = sandbox.token();
                command.args(first).args(line).args(flags).env(variable.0, variable.1);
                command
            };
            let (ended, json, failed) = token_check(line(&["check"]).arg("--json"));
            assert_eq!((ended.status, failed.as_deref()), (125, Some(step)), "{json:#}");
            let ran = run(line(&[]).args(["--", "true"]));
            assert_eq!((ran.status, &ran.stderr), (125, &ended.stderr), "the run itself");
        }
    }
}

#[test]
fn a_token_check_that_runs_out_of_time_says_at_which_step() {
    let sandbox = Sandbox::start(&[]);
    for (line, _, _) in EXECS {
        sandbox.misbehave(&json!({"delay_ms": 60_000, "only": "GET /"}).to_string());
        let words = format!(
            "while checking the admin token, waiting for {} to respond: ",
            sandbox.var("SANDBOX_URL")
        );
        let in_time = |command: &mut Command| {
            let command = command.args(line).arg("-timeout=400ms");
            run(command.args(["--", "true"]))
        };
        for ended in [in_time(sandbox.token().arg("check")), in_time(&mut sandbox.token())] {
            ended.failed_with(124, &["timed out after", &words]);
        }
    }
}

#[test]
fn a_proxy_is_shown_without_its_user_and_password() {
    let proxy = serve_bytes(http("200 OK", "", &granted()));
    let sandbox = Sandbox::start(&[]);
    let mut line = sandbox.token();
    line.env("HTTP_PROXY", format!("http://jenkins:hunter2@{proxy}"));
    line.args(["check", "--json", "-service=ndt/ndt7", "-locate-url=http://locate.invalid/"]);
    let told = Told::by(&mut line);
    told.ended.succeeded();
    assert!(told.detail("proxy").contains(&proxy.to_string()), "{:#}", told.json);
    assert!(
        !told.ended.stdout.contains("hunter2") && !told.ended.stdout.contains("jenkins"),
        "{:#}",
        told.json
    );
    assert!(told.detail("tcp").contains(&format!("connected to the proxy {proxy}")), "{:#}", told.json);
    assert!(told.detail("exchange").contains("plain HTTP"), "{:#}", told.json);
}

/// A CA, and a server on loopback with a certificate from it that is valid for `days` from now on.
fn tls_server(folder: &Path, days: i64) -> (String, SocketAddr) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "The Test CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let ca_file = folder.join("ca.pem");
    fs::write(&ca_file, authority.pem()).unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let now = SystemTime::now();
    // One more hour, so that a whole number of days is left.
    let end = if days < 0 {
        now - Duration::from_secs(days.unsigned_abs() * 24 * 3600)
    } else {
        now + Duration::from_secs(days.unsigned_abs() * 24 * 3600 + 3600)
    };
    params.not_after = end.into();
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap().der().clone();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let config = Arc::new(config);
    let address = serve(move |stream| {
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
            head.push(byte[0]);
        }
        let _ = stream.write_all(http("200 OK", "", &granted()).as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    (ca_file.display().to_string(), address)
}

#[test]
fn the_certificate_is_reported_with_its_issuer_and_days_left() {
    let folder = Folder::new();
    let (ca, server) = tls_server(folder.root(), 30);
    let sandbox = Sandbox::start(&[]);
    let check = |flags: &[&str]| {
        let locate = format!("-locate-url=https://localhost:{}/", server.port());
        Told::by(sandbox.token().args(["check", "--json", "-service=ndt/ndt7", &locate]).args(flags))
    };
    let told = check(&["-ca-file", &ca]);
    told.ended.succeeded();
    assert_eq!(told.row("tls")["outcome"], "ok", "{:#}", told.json);
    assert_eq!(told.row("tls")["data"]["days_left"], 30, "{:#}", told.json);
    assert!(
        told.detail("tls").contains("The Test CA") && told.detail("tls").contains("30 days"),
        "{:#}",
        told.json
    );
    assert!(told.detail("roots").contains(&ca), "{:#}", told.json);
    assert!(told.detail("dns").contains("localhost is ") && told.detail("dns").contains("127.0.0.1"));
    let untrusted = check(&[]);
    untrusted.failed_at("tls", 125).ended.failed_with(125, &["not trusted", "The Test CA", "-ca-file"]);
    assert_eq!(untrusted.row("tcp")["outcome"], "ok");
}

/// A container with nothing but the static binary: the server was blamed for its issuer.
#[test]
fn a_machine_without_ca_certificates_is_told_so() {
    let folder = Folder::new();
    let (_, server) = tls_server(folder.root(), 30);
    let sandbox = Sandbox::start(&[]);
    let check = |url: &str| {
        let mut command = sandbox.token();
        command.env("SSL_CERT_FILE", "/proc/nonexistent").env("SSL_CERT_DIR", "/proc/nonexistent");
        Told::by(command.args(["check", "--json", "-service=ndt/ndt7", &format!("-locate-url={url}")]))
    };
    let told = check(&format!("https://localhost:{}/", server.port()));
    let why = "no CA certificates found in /proc/nonexistent (which cannot be read), /proc/nonexistent (which cannot be read); install ca-certificates, or use -ca-file";
    told.failed_at("tls", 125)
        .ended
        .failed_with(125, &["certificate signed by unknown authority \"The Test CA\", and ", why]);
    assert_eq!((&told.row("roots")["outcome"], told.detail("roots")), (&json!("warning"), why));
    // Over plain HTTP, there is no need for them.
    assert_eq!(check("http://localhost:1/").row("roots")["outcome"], "ok");
}

#[test]
fn an_expired_certificate_is_reported() {
    let folder = Folder::new();
    let (ca, server) = tls_server(folder.root(), -2);
    let sandbox = Sandbox::start(&[]);
    let locate = format!("-locate-url=https://localhost:{}/", server.port());
    let told = Told::by(sandbox.token().args(["check", "--json", "-ca-file", &ca, &locate]));
    told.failed_at("tls", 125).ended.failed_with(125, &["expired on"]);
}

#[test]
fn no_secret_is_shown() {
    let sandbox = Sandbox::start(&[]);
    let jwk: Value =
        serde_json::from_slice(&fs::read(sandbox.var("MONITORING_SIGNER_KEY")).unwrap()).unwrap();
    let private = jwk["d"].as_str().unwrap();
    for flags in [&["check", "-logx.debug"][..], &["check", "--json", "-logx.debug"]] {
        let ended = run(sandbox.token().args(flags).arg("-service=ndt/ndt7"));
        assert_eq!(ended.status, 0, "{ended:?}");
        let shown = ended.stdout + &ended.stderr;
        assert!(!shown.contains(private));
        // A JWT has two dots and a signature after the second; a shortened one ends there.
        for word in shown.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))) {
            let signature = word.split('.').nth(2).filter(|_| word.starts_with("eyJ"));
            assert!(signature.is_none_or(|signature| signature == "REDACTED"), "{word}");
        }
    }
}

#[test]
fn a_line_that_cannot_be_run_is_told_in_json_too() {
    let metrics = Folder::new();
    let metrics = metrics.path("no.prom");
    let exec = ["gafaelfawr", "exec", "--url=http://127.0.0.1:1", "--username=bot-a", "--scopes=a"];
    let sts = ["stackstate", "exec", "--url=http://127.0.0.1:1", "--roles=a", "-c=zz"];
    for (flags, step, status, reason) in [
        (&exec[..], "credential", 125, "credential-missing"),
        (&sts, "credential", 125, "sts-config-invalid"),
        (&["-monitoring-signer-key=file:///k.json"], "key", 125, "key-unreadable"),
        (&["-timeout=never"], "flags", 2, "usage"),
        (&["-locate-url=no"], "flags", 2, "usage"),
        (&[&exec[..], &["-nope"]].concat(), "flags", 2, "usage"),
    ] {
        let at = usize::from(!flags[0].starts_with('-')) * 2;
        let line = |as_json: &[&str]| {
            let mut command = token();
            command.arg("check").args(&flags[..at]).args(as_json).args(&flags[at..]);
            run(command.env("MONITORING_TOKEN_METRICS_TEXTFILE", &metrics))
        };
        let ended = line(&["--json"]);
        ended.failed_with(status, &[]);
        let json: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("JSON: {ended:?}"));
        assert_eq!((&json["exit_status"], &json["reason"]), (&json!(status), &json!(reason)), "{json:#}");
        let failed: Vec<&Value> = rows(&json).filter(|row| row["outcome"] == "failed").collect();
        assert_eq!(failed.len(), 1, "{json:#}");
        assert_eq!((&failed[0]["step"], &failed[0]["reason"]), (&json!(step), &json!(reason)), "{json:#}");
        assert!(rows(&json).count() >= 11, "{json:#}");
        let ended = line(&[]);
        assert_eq!(ended.stdout.contains("  failed  "), status == 125, "{ended:?}");
    }
    assert!(!metrics.exists(), "a check writes none");
}

/// The rows of a check in front of `exec`.
const TOKEN_STEPS: [&str; 11] =
    ["timeout", "command", "credential", "roots", "proxy", "dns", "tcp", "tls", "clock", "token", "server"];

/// Runs such a check; returns its result, its JSON, and the failing step.
#[track_caller]
fn token_check(command: &mut Command) -> (Ended, Value, Option<String>) {
    let ended = run(command);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("JSON: {ended:?}"));
    let names: Vec<&str> = rows(&json).map(|row| row["step"].as_str().unwrap()).collect();
    assert_eq!(names, TOKEN_STEPS);
    let failed = rows(&json).filter(|row| row["outcome"] == "failed");
    let mut failed: Vec<String> = failed.map(|row| row["step"].as_str().unwrap().to_owned()).collect();
    assert!(failed.len() <= 1 && json["exit_status"] == ended.status, "{json:#}");
    let step = failed.pop();
    (ended, json, step)
}

#[test]
fn service_tokens_are_checked_without_creating_one() {
    let sandbox = Sandbox::start(&[]);
    let cases: [(&[&str], &str, &str); 2] = [
        (
            &["gafaelfawr", "exec", "--username=bot-x", "--scopes=write:sasquatch"],
            "admin:token",
            "gafaelfawr",
        ),
        (&["stackstate", "exec", "--roles=stackstate-k8s-troubleshooter"], "list service tokens", "6.0.0"),
    ];
    for (line, credential, server) in cases {
        let check = |more: &[&str]| {
            let mut command = sandbox.token();
            command.args(["check"]).args(line).args(["--json"]).args(more);
            command
        };
        let (ended, json, step) = token_check(&mut check(&["--", "false"]));
        assert_eq!((ended.status, step), (0, None), "{json:#}");
        let detail = |step: &str| rows(&json).find(|row| row["step"] == step).unwrap()["detail"].clone();
        assert!(detail("token").as_str().unwrap().contains(credential), "{json:#}");
        assert!(detail("server").as_str().unwrap().contains(server), "{json:#}");
        let posts = sandbox.requests().into_iter().filter(|request| request.starts_with("POST")).count();
        assert_eq!(posts, 0, "none is made");

        let unknown = "gt-AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAA";
        let mut refused = check(&[]);
        refused.env("GAFAELFAWR_ADMIN_TOKEN", unknown).env("STS_CLI_API_TOKEN", unknown);
        let (ended, json, step) = token_check(&mut refused);
        assert_eq!(step.as_deref(), Some("token"), "{json:#}");
        ended.failed_with(125, &[sandbox.var("SANDBOX_URL")]);
        assert!(!(ended.stdout + &ended.stderr).contains(unknown));

        let mut away = check(&["--retries=0"]);
        away.env("GAFAELFAWR_URL", "http://127.0.0.1:1").env("STS_CLI_URL", "http://127.0.0.1:1");
        let (ended, _, step) = token_check(&mut away);
        assert_eq!(step.as_deref(), Some("tcp"));
        ended.failed_with(125, &["connection refused"]);
    }
    let other_verb = run(sandbox.token().args(["check", "gafaelfawr", "list"]));
    assert_eq!((other_verb.status, other_verb.stdout.as_str()), (2, ""));
}
