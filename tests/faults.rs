//! Everything that can go wrong before the command: each fault has its exit status, exactly one line on
//! stderr with the words that help, and the command is never run. A new fault is one more line in a
//! table; see [`Row`].

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::support::tls::{Authority, Identity, server_params};
use crate::support::{MACHINE, eventually, http, read_head, read_head_of, run, serve, testdata, token};

/// A fault: its name; who answers under `LOCATE_URL`; flags (`-…`) and variables (`NAME=value`) on top
/// of the usual ones; the exit status; words of the one line.
///
/// In flags and variables `{url}` is the server's origin, `{keys}` the folder of keys, `{dir}` a folder
/// of this run's own, `{host}` the server's host and port, `{soon}` a time in 2.5 s, `{ca}` the certificate of the CA that [`Server::Tls`] have theirs from. The usual:
/// an EdDSA key, `-service=ndt/ndt7`, no retries, and a timeout that is not reached.
type Row = (&'static str, Server, &'static [&'static str], i32, &'static [&'static str]);

/// Who answers.
enum Server {
    /// `LOCATE_URL` is this, and nobody of ours answers.
    At(&'static str),
    /// A raw server on loopback that does this with each connection.
    Does(Box<dyn FnMut(TcpStream) + Send>),
    /// The same, under https, at this host name.
    Tls(&'static str, Box<Identity>, Vec<u8>),
}
use Server::At;

fn does(handle: impl FnMut(TcpStream) + Send + 'static) -> Server {
    Server::Does(Box::new(handle))
}

/// Reads the request, and answers with these bytes.
fn says(answer: impl Into<Vec<u8>>) -> Server {
    let answer = answer.into();
    does(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(&answer);
        // What is still being read must not be cut off by a reset.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

/// Answers with this status line, headers (each with its CRLF) and body.
fn answers(status: &str, headers: &str, body: &str) -> Server {
    says(http(status, headers, body))
}

fn json(status: &str, body: &str) -> Server {
    answers(status, "Content-Type: application/json\r\n", body)
}

/// A good answer with these `target.urls`.
fn urls(urls: &str) -> Server {
    json("200 OK", &format!(r#"{{"access_token":"x","target":{{"machine":"m","urls":{urls}}}}}"#))
}

/// Answers with what `make` makes of the head of the request.
fn replies(make: impl Fn(&str) -> String + Send + 'static) -> Server {
    does(move |mut stream| {
        let head = read_head(&mut stream);
        let _ = stream.write_all(make(&head).as_bytes());
    })
}

/// Reads the request, writes this, and then neither writes nor hangs up.
fn stalls_after(begin: &'static str) -> Server {
    let mut held = Vec::new();
    does(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(begin.as_bytes());
        held.push(stream);
    })
}

/// The next close of the connection is a reset.
fn reset(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = u32::try_from(size_of::<libc::linger>()).unwrap();
    // SAFETY: the pointer and the size are those of a `linger` that lives beyond the call.
    let done = unsafe {
        let option = (&raw const linger).cast();
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, option, size)
    };
    assert_eq!(done, 0);
}

/// Reads the request, writes this, and resets the connection.
fn resets_after(begin: &'static str) -> Server {
    does(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(begin.as_bytes());
        reset(&stream);
    })
}

/// Repeats `chunk` after `head` until nobody listens.
fn endless(head: &'static str, chunk: &'static [u8]) -> Server {
    does(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(head.as_bytes());
        while stream.write_all(chunk).is_ok() {}
    })
}

/// The JWT in the head of a request.
fn jwt_in(head: &str) -> &str {
    let (_, rest) = head.split_once("access_token=").expect("every request has a token");
    rest.split(['&', ' ']).next().unwrap_or_default()
}

/// The HTTP date this many seconds from now.
fn date(offset_seconds: i64) -> String {
    let offset = Duration::from_secs(offset_seconds.unsigned_abs());
    let now = SystemTime::now();
    httpdate::fmt_http_date(if offset_seconds < 0 { now - offset } else { now + offset })
}

fn rejects_with_date(offset_seconds: i64) -> Server {
    replies(move |_| http("401 Unauthorized", &format!("Date: {}\r\n", date(offset_seconds)), ""))
}

impl Server {
    /// Starts it, and gives its origin.
    fn start(self) -> String {
        match self {
            At(url) => url.to_owned(),
            Server::Does(handle) => format!("http://{}", serve(handle)),
            Server::Tls(host, identity, answer) => {
                let address = identity.serve(move |mut stream| {
                    read_head_of(&mut stream);
                    let _ = stream.write_all(&answer);
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                });
                format!("https://{host}:{}", address.port())
            }
        }
    }
}

/// What the faults share.
struct Lab {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Lab {
    fn new() -> Lab {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("Authority of the tests");
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Lab { folder, authority }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Tries one fault; gives what is wrong with what happened.
    fn try_one(&self, at: usize, (name, server, settings, status, words): Row) -> Option<String> {
        let url = server.start();
        let ran = self.path(&format!("ran-{at}"));
        let mut command = token();
        let fill = |text: &str| {
            let soon = SystemTime::now() + Duration::from_millis(2500);
            let soon = soon.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
            text.replace("{url}", &url)
                .replace("{host}", url.rsplit("//").next().unwrap())
                .replace("{soon}", &soon.to_string())
                .replace("{keys}", testdata("keys").to_str().unwrap())
                .replace("{dir}", self.folder.path().to_str().unwrap())
                .replace("{ca}", self.path("ca.pem").to_str().unwrap())
        };
        let prefix = if url.matches('/').count() > 2 || !url.contains("://") {
            url.clone()
        } else {
            format!("{url}/v2/platform/monitoring/")
        };
        command
            .env("LOCATE_URL", prefix)
            .env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"))
            .env("MACHINE", MACHINE)
            .args(["-service=ndt/ndt7", "-retries=0", "-timeout=25s"]);
        for setting in settings {
            match setting.split_once('=') {
                _ if setting.starts_with('-') => {
                    command.arg(fill(setting));
                }
                Some((variable, value)) => {
                    command.env(variable, fill(value));
                }
                None => {
                    command.env_remove(setting);
                }
            }
        }
        let ended = run(command.arg("--").arg("touch").arg(&ran));
        let mut wrong = Vec::new();
        if ended.status != status {
            wrong.push(format!("status {} instead of {status}", ended.status));
        }
        if ended.stderr.lines().count() != 1 || !ended.stderr.starts_with("monitoring-token: ") {
            wrong.push("not one line".to_owned());
        }
        // A person has to read it.
        if ended.stderr.chars().count() > 700 {
            wrong.push(format!("a line of {} characters", ended.stderr.chars().count()));
        }
        if ended.stderr.chars().any(|c| c.is_control() && c != '\n') {
            wrong.push("control characters".to_owned());
        }
        wrong.extend(words.iter().filter(|word| !ended.stderr.contains(**word)).map(|w| format!("no {w:?}")));
        // Of a token that is echoed its last part must be gone: replaced, or cut off with what follows.
        let echoed = ended.stderr.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
        for word in echoed.filter(|word| word.contains("eyJ")) {
            let last = word.rsplit('.').next().unwrap_or_default();
            if !(last.starts_with("eyJ") || "REDACTED".starts_with(last) || last.starts_with("REDACTED")) {
                wrong.push("a token".to_owned());
            }
        }
        if ran.exists() {
            wrong.push("the command was run".to_owned());
        }
        if !ended.stdout.is_empty() {
            wrong.push(format!("stdout {:?}", ended.stdout));
        }
        (!wrong.is_empty()).then(|| format!("{name}: {}\n    {}", wrong.join(", "), ended.stderr.trim_end()))
    }

    /// Tries all, several at a time, and tells of all that went wrong.
    #[track_caller]
    fn try_all(&self, rows: Vec<Row>) {
        let rows = Mutex::new(rows.into_iter().enumerate());
        let wrong = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    loop {
                        let next = rows.lock().unwrap().next();
                        let Some((at, row)) = next else { break };
                        wrong.lock().unwrap().extend(self.try_one(at, row));
                    }
                });
            }
        });
        let wrong = wrong.into_inner().unwrap();
        assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
    }
}

#[test]
#[rustfmt::skip]
fn answers_that_say_no_are_explained() {
    const HTML: &str = "<html>\n<head><title>Error</title></head><body>\x1b[31mno</body></html>";
    let error = |kind: &str, title: &str| format!(r#"{{"error":{{"type":"{kind}","title":"{title}","status":400}}}}"#);
    Lab::new().try_all(vec![
        ("200 without a body", answers("200 OK", "", ""), &[], 125, &["locate at http://127.0.0.1:", "HTTP 200 with nothing", "-locate-url"]),
        ("204", says("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"), &[], 125, &["HTTP 204 with nothing"]),
        ("205", answers("205 Reset Content", "", ""), &[], 125, &["HTTP 205 with nothing"]),
        ("400 with text", answers("400 Bad Request", "", "no"), &[], 125, &["refused the request (HTTP 400, \"no\")"]),
        ("401", answers("401 Unauthorized", "", ""), &[], 125, &["locate rejected the token (HTTP 401)", "key id \"test_eddsa\" may not be registered there", "(http://127.0.0.1:"]),
        ("401, a key without an id", answers("401 Unauthorized", "", ""), &["-monitoring-signer-key={keys}/no-kid.json"], 125, &["the key has no key id (kid)"]),
        ("401, an ES384 key", answers("401 Unauthorized", "", ""), &["-monitoring-signer-key={keys}/es384.json"], 125, &["test_es384", "Locate does not take ES384 keys"]),
        ("401, clock behind", rejects_with_date(192), &[], 125, &["(HTTP 401)", "local clock is 3m1", "behind the server", "set the clock"]),
        ("401, clock a little behind", rejects_with_date(20), &[], 125, &["(HTTP 401)", "behind the server"]),
        ("401, clock ahead", rejects_with_date(-192), &[], 125, &["(HTTP 401)", "local clock is 3m1", "ahead of the server"]),
        ("401 with HTML", answers("401 Unauthorized", "", HTML), &[], 125, &["rejected the token (HTTP 401, \"<html>"]),
        ("401, compressed", answers("401 Unauthorized", "Content-Encoding: gzip\r\n", "\x1f"), &[], 125, &["rejected the token (HTTP 401)"]),
        ("401, cut off", says("HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\nbad tok"), &[], 125, &["rejected the token (HTTP 401, \"bad tok\")"]),
        ("403", answers("403 Forbidden", "", ""), &[], 125, &["forbids the request (HTTP 403)", "-locate-url"]),
        ("404", answers("404 Not Found", "", ""), &[], 125, &["nothing at /v2/platform/monitoring/ndt/ndt7 (HTTP 404)"]),
        ("404 with HTML", answers("404 Not Found", "", HTML), &[], 125, &["\"<html> <head><title>Error", "\\u{1b}[31mno"]),
        ("405", answers("405 Method Not Allowed", "", ""), &[], 125, &["refused the request (HTTP 405)"]),
        ("407 from the server itself", answers("407 Proxy Authentication Required", "", ""), &[], 125, &["the proxy wants authentication (HTTP 407)"]),
        ("429", answers("429 Too Many Requests", "", ""), &[], 125, &["limits our rate (HTTP 429)"]),
        ("429 for an hour", answers("429 Too Many Requests", "Retry-After: 3600\r\n", ""), &["-retries=2"], 125, &["HTTP 429", "asks to wait 1h0m0s, which is beyond the timeout"]),
        ("503 until a date", replies(|_| http("503 Service Unavailable", &format!("Retry-After: {}\r\n", date(7201)), "")), &["-retries=2"], 125, &["HTTP 503", "asks to wait 2h", "beyond the timeout"]),
        ("500", answers("500 Internal Server Error", "", ""), &[], 125, &["has trouble of its own (HTTP 500)"]),
        ("502 with HTML", answers("502 Bad Gateway", "", HTML), &[], 125, &["has trouble of its own (HTTP 502, \"<html>"]),
        ("503, too large", endless("HTTP/1.1 503 Service Unavailable\r\n\r\n", &[b'x'; 4096]), &[], 125, &["trouble of its own (HTTP 503, \"xxx", "…"]),
        ("599", answers("599 What", "", ""), &[], 125, &["HTTP 599"]),
        ("HTML", answers("200 OK", "Content-Type: text/html\r\n", HTML), &[], 125, &["HTTP 200 with \"<html>", "not with Locate's JSON", "proxy in between"]),
        ("Cloud Endpoints: unauthorized", json("401 Unauthorized", r#"{"code":401,"message":"Jwt is expired"}"#), &[], 125, &["rejected the token (HTTP 401, Jwt is expired)"]),
        ("Cloud Endpoints: forbidden", json("403 Forbidden", r#"{"code":403,"message":"API locate is not enabled for the project."}"#), &[], 125, &["forbids", "(HTTP 403, API locate is not enabled for the project.)"]),
        ("Cloud Endpoints: no such method", json("404 Not Found", r#"{"code":5,"message":"Method does not exist.","details":[{"x":1}]}"#), &[], 125, &["nothing at", "Method does not exist."]),
        ("Cloud Endpoints: unavailable", json("503 Service Unavailable", r#"{"code":14,"message":"upstream connect error"}"#), &[], 125, &["HTTP 503, upstream connect error"]),
        ("service not enforced", json("400 Bad Request", &error("claim", "Must provide access_token")), &[], 125, &["does not enforce tokens for the service ndt/ndt7", "(HTTP 400, claim: Must provide access_token)", "-service"]),
        ("machine unknown", json("400 Bad Request", &error("subject", "Subject must be specified")), &[], 125, &["cannot parse the machine name \"mlab1-lga0t", "-machine"]),
        ("no machine", json("400 Bad Request", &error("subject", "Subject must be specified")), &["-machine="], 125, &["cannot parse the machine name \"\""]),
        ("service unknown", json("400 Bad Request", &error("config", "Unknown service: ndt/ndt7")), &[], 125, &["does not know the service ndt/ndt7", "Unknown service"]),
        ("an error of another type", json("500 Internal Server Error", &error("nearest", "Failed to lookup nearest machines")), &[], 125, &["answered with an error (HTTP 500, nearest: Failed to lookup nearest machines)"]),
        ("an error of no type", json("500 Internal Server Error", r#"{"error":{}}"#), &[], 125, &["answered with an error (HTTP 500)"]),
        ("an error with 401", json("401 Unauthorized", &error("token", "bad signature")), &[], 125, &["rejected the token (HTTP 401, token: bad signature)", "test_eddsa"]),
        ("an error with 200", json("200 OK", &error("client", "odd")), &[], 125, &["answered with an error (HTTP 200, client: odd)"]),
        ("an error beside a target", json("200 OK", r#"{"error":{"type":"x","title":"half"},"target":{"urls":{"wss:///ndt/v7/download":"wss://h/"}}}"#), &[], 125, &["x: half"]),
        ("an error with detail", json("400 Bad Request", r#"{"error":{"type":"t","title":"one","detail":"two","instance":"i"}}"#), &[], 125, &["t: one: two"]),
        ("control characters in a title", json("400 Bad Request", &error("t", r"a\u001b[31mb\nc\u0000\u202ed")), &[], 125, &["a\\u{1b}[31mb c\\u{0}\\u{202e}d"]),
        ("a title without end", json("400 Bad Request", &error("t", &"long ".repeat(50_000))), &[], 125, &["long long", "…"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_token_that_is_echoed_is_not_shown() {
    Lab::new().try_all(vec![
        ("in a title", replies(|head| http("400 Bad Request", "", &format!(r#"{{"error":{{"type":"t","title":"bad: {}!"}}}}"#, jwt_in(head)))), &["-machine=m"], 125, &["bad: eyJ", "REDACTED!"]),
        ("in a detail", replies(|head| http("503 Service Unavailable", "", &format!(r#"{{"error":{{"detail":"x.y.z {} z"}}}}"#, jwt_in(head)))), &["-machine=m"], 125, &["x.y.z eyJ", "REDACTED z"]),
        ("in a message of Cloud Endpoints", replies(|head| http("401 Unauthorized", "", &format!(r#"{{"code":401,"message":"{}"}}"#, jwt_in(head)))), &["-machine=m"], 125, &["eyJ", "REDACTED)"]),
        ("in a page", replies(|head| http("502 Bad Gateway", "", &format!("no {}", jwt_in(head)))), &[], 125, &["HTTP 502", "eyJ"]),
        ("its end only", replies(|head| http("500 What", "", &format!(r#"{{"error":{{"title":"…{}"}}}}"#, jwt_in(head).split_once('.').unwrap().1))), &["-machine=m"], 125, &["…eyJ", "REDACTED)"]),
        ("in a value of the wrong type", replies(|head| http("200 OK", "", &format!(r#"{{"target":"{}"}}"#, jwt_in(head)))), &["-machine=m"], 125, &["another form", "eyJ", "REDACTED"]),
        ("under a URL key", replies(|head| http("200 OK", "", &format!(r#"{{"target":{{"urls":{{"a{0}":"","b{0}":""}}}}}}"#, jwt_in(head)))), &["-machine=m"], 125, &["several URL keys", "aeyJ", "REDACTED, beyJ"]),
        ("in a location", replies(|head| http("302 Found", &format!("Location: http://[{}\r\n", jwt_in(head)), "")), &[], 125, &["redirects to \"http://[eyJ"]),
        ("with the URL", replies(|head| http("404 Not Found", "", head.lines().next().unwrap_or_default())), &[], 125, &["access_token=REDACTED"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn answers_of_another_form_are_refused() {
    let good = r#"{"target":{"urls":{"wss:///ndt/v7/download":"wss://h/"}}}"#;
    let nested = "[".repeat(200_000);
    let nested_deep = format!(r#"{{"target":{{"urls":{{}}}},"x":{}}}"#, r#"{"a":"#.repeat(100_000));
    Lab::new().try_all(vec![
        ("an empty object", json("200 OK", "{}"), &[], 125, &["without target.urls"]),
        ("a target of null", json("200 OK", r#"{"target":null}"#), &[], 125, &["without target.urls"]),
        ("a target without urls", json("200 OK", r#"{"target":{"machine":"m"}}"#), &[], 125, &["without target.urls"]),
        ("no urls", urls("{}"), &[], 125, &["without target.urls"]),
        ("urls of null", urls("null"), &[], 125, &["without target.urls"]),
        ("results only", json("200 OK", r#"{"results":[{"urls":{"k":"wss://h/"}}]}"#), &[], 125, &["without target.urls"]),
        ("JSON null", json("200 OK", "null"), &[], 125, &["not with Locate's JSON", "null"]),
        ("a list", json("200 OK", "[1]"), &[], 125, &["not with Locate's JSON"]),
        ("a list in the place of the object", json("200 OK", r#"[null,{"urls":{"k":"wss://h/"}},null]"#), &[], 125, &["not with Locate's JSON"]),
        ("a file for a service URL", urls(r#"{"k":"file://host/x"}"#), &[], 125, &["no usable URL", "its scheme is file"]),
        ("a host of a dash", urls(r#"{"k":"wss://-/x"}"#), &[], 125, &["no usable URL"]),
        ("a string", json("200 OK", r#""wss://h/""#), &[], 125, &["not with Locate's JSON"]),
        ("a number", json("200 OK", "1e999"), &[], 125, &["HTTP 200"]),
        ("a target that is a number", json("200 OK", r#"{"target":5}"#), &[], 125, &["another form than expected", "integer `5`"]),
        ("a target that is a list", json("200 OK", r#"{"target":["a"]}"#), &[], 125, &["another form than expected"]),
        ("urls that are a list", urls(r#"["wss://h/"]"#), &[], 125, &["another form than expected"]),
        ("a URL that is a number", urls(r#"{"wss:///ndt/v7/download":5}"#), &[], 125, &["another form than expected"]),
        ("a URL of null", urls(r#"{"wss:///ndt/v7/download":null}"#), &[], 125, &["another form than expected"]),
        ("an error that is a string", json("200 OK", r#"{"error":"no"}"#), &[], 125, &["another form than expected", "\"no\""]),
        ("an error that is a string, with 403", json("403 Forbidden", r#"{"error":"no"}"#), &[], 125, &["forbids", "{\"error\":\"no\"}"]),
        ("a title that is a number", json("400 Bad Request", r#"{"error":{"title":5}}"#), &[], 125, &["refused the request (HTTP 400"]),
        ("a string without end", json("200 OK", &format!(r#"{{"target":"{}"}}"#, "x".repeat(300_000))), &[], 125, &["another form than expected"]),
        ("deeply nested", json("200 OK", &nested), &[], 125, &["not with Locate's JSON"]),
        ("deeply nested, where nobody looks", json("200 OK", &nested_deep), &[], 125, &["not with Locate's JSON"]),
        ("half of it", json("200 OK", &good[..30]), &[], 125, &["not with Locate's JSON"]),
        ("twice", json("200 OK", &good.repeat(2)), &[], 125, &["not with Locate's JSON"]),
        ("with a byte order mark", json("200 OK", &format!("\u{feff}{good}")), &[], 125, &["not with Locate's JSON"]),
        ("not UTF-8", says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x01".as_slice()), &[], 125, &["HTTP 200 with \"\u{fffd}", "\\u{0}\\u{1}"]),
        ("a URL that is not UTF-8", says(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"target\":{\"urls\":{\"wss:///ndt/v7/download\":\"wss://h/\xff\"}}}".as_slice()), &[], 125, &["not with Locate's JSON"]),
        ("more than 512 KiB", answers("200 OK", "", &" ".repeat(512 * 1024 + 1)), &[], 125, &["HTTP 200 with more than 512 KiB"]),
        ("without end", endless("HTTP/1.1 200 OK\r\n\r\n", &[b'{'; 4096]), &[], 125, &["with more than 512 KiB"]),
        ("chunks without end", endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\n    \r\n"), &[], 125, &["with more than 512 KiB"]),
        ("compressed", answers("200 OK", "Content-Encoding: gzip\r\n", "\x1f\x08"), &[], 125, &["content-encoding \"gzip\", which was not asked for"]),
        ("an odd encoding", answers("200 OK", "Content-Encoding: \x7e\r\n", good), &[], 125, &["content-encoding"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn service_urls_that_cannot_be_used_are_refused() {
    let long = format!(r#"{{"wss:///ndt/v7/download":"wss://h/{}"}}"#, "x".repeat(200_000));
    let many = format!("{{{}}}", (0..1000).map(|n| format!(r#""wss:///{n}":"wss://h/""#)).collect::<Vec<_>>().join(","));
    Lab::new().try_all(vec![
        ("a key that is not there", urls(r#"{"ws:///a":"ws://h/a","wss:///b":"wss://h/b"}"#), &["-service-url-key-name=wss:///c"], 125, &["no URL key \"wss:///c\" for ndt/ndt7", "it has ws:///a, wss:///b"]),
        ("the same with -service-url", urls(r#"{"ws:///a":"ws://h/a"}"#), &["-service-url", "-service-url-key-name=wss:///c"], 125, &["it has ws:///a"]),
        ("an empty key name", urls(r#"{"ws:///a":"ws://h/a"}"#), &["-service-url-key-name="], 125, &["no URL key \"\"", "it has ws:///a"]),
        ("several and none named", urls(r#"{"ws:///a":"ws://h/a","wss:///b":"wss://h/b"}"#), &[], 125, &["several URL keys for ndt/ndt7", "-service-url-key-name", "ws:///a, wss:///b"]),
        ("very many", urls(&many), &[], 125, &["several URL keys", "…"]),
        ("control characters in a key", urls(r#"{"a\u001b[1m":"ws://h/","b\n":"ws://h/"}"#), &[], 125, &["a\\u{1b}[1m, b"]),
        ("an empty URL", urls(r#"{"wss:///ndt/v7/download":""}"#), &[], 125, &["no usable URL under the key wss:///ndt/v7/download for ndt/ndt7: it is empty"]),
        ("a NUL", urls(r#"{"wss:///ndt/v7/download":"wss://h/\u0000"}"#), &[], 125, &["it holds blanks or control characters"]),
        ("a line end", urls(r#"{"wss:///ndt/v7/download":"wss://h/\r\nX: y"}"#), &[], 125, &["it holds blanks or control characters"]),
        ("a blank", urls(r#"{"wss:///ndt/v7/download":" wss://h/"}"#), &[], 125, &["it holds blanks or control characters"]),
        ("nothing but a scheme", urls(r#"{"wss:///ndt/v7/download":"wss://"}"#), &[], 125, &["it names no host"]),
        ("backslashes", urls(r#"{"wss:///ndt/v7/download":"wss:\\\\h"}"#), &[], 125, &["it names no host"]),
        ("no host", urls(r#"{"wss:///ndt/v7/download":"wss:///ndt/v7/download"}"#), &["-service-url"], 125, &["no usable URL under the key wss:///ndt/v7/download", "it names no host"]),
        ("a file", urls(r#"{"wss:///ndt/v7/download":"file:///etc/passwd"}"#), &[], 125, &["it names no host"]),
        ("no URL", urls(r#"{"wss:///ndt/v7/download":"ndt7"}"#), &[], 125, &["it names no host"]),
        ("longer than a variable can be", urls(&long), &[], 125, &["it has 200008 bytes"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn redirects_go_nowhere_else() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let elsewhere = {
        let seen = Arc::clone(&seen);
        serve(move |mut stream| seen.lock().unwrap().push(read_head(&mut stream)))
    };
    let to = |location: &str| answers("302 Found", &format!("Location: {location}\r\n"), "");
    Lab::new().try_all(vec![
        ("without a location", answers("302 Found", "", ""), &[], 125, &["redirects without saying where to (HTTP 302)"]),
        ("to no URL", to("http://["), &[], 125, &["redirects to \"http://[\", which is no URL"]),
        ("not modified", says("HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"), &[], 125, &["HTTP 304"]),
        ("in a loop", to("/v2/platform/monitoring/ndt/ndt7"), &[], 125, &["redirected more than 3 times"]),
        ("to another port", to(&format!("http://{elsewhere}/")), &[], 125, &["redirects to http://127.0.0.1:", "another origin"]),
        ("with the method kept", answers("307 Temporary Redirect", &format!("Location: http://{elsewhere}/\r\n"), ""), &[], 125, &["another origin"]),
        ("to another scheme", replies(|head| http("301 Moved Permanently", &format!("Location: https://{}/\r\n", host_in(head)), "")), &[], 125, &["redirects to https://127.0.0.1:", "another origin"]),
        ("to another name of the host", replies(|head| http("302 Found", &format!("Location: http://localhost:{}/\r\n", host_in(head).rsplit(':').next().unwrap()), "")), &[], 125, &["redirects to http://localhost:"]),
    ]);
    assert_eq!(*seen.lock().unwrap(), Vec::<String>::new(), "the token travelled elsewhere");
}

fn host_in(head: &str) -> &str {
    head.lines().find_map(|line| line.strip_prefix("host: ")).expect("every request names its host")
}

/// A listener whose queue is full: connections to it are neither made nor refused.
fn full_queue() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // SAFETY: a listening socket may be told a new length of its queue.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let mut held = Vec::new();
    eventually("the queue to be full", || {
        match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            Ok(stream) => {
                held.push(stream);
                None
            }
            Err(_) => Some(()),
        }
    });
    // They end with the process.
    std::mem::forget((listener, held));
    At(Box::leak(format!("http://{address}").into_boxed_str()))
}

/// An address where nobody listens.
fn closed_port() -> Server {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    At(Box::leak(format!("http://{address}").into_boxed_str()))
}

#[test]
#[rustfmt::skip]
fn broken_connections_are_explained() {
    Lab::new().try_all(vec![
        ("refused", closed_port(), &[], 125, &["cannot connect to http://127.0.0.1:", "connection refused", "is it running, and is the port right?"]),
        ("refused, with retries", closed_port(), &["-retries=1"], 125, &["connection refused"]),
        ("no such host", At("http://name.invalid"), &[], 125, &["cannot look up name.invalid", "check the host name and this machine's DNS"]),
        ("reset at once", does(|stream| reset(&stream)), &[], 125, &["http://127.0.0.1:", "reset"]),
        ("reset before the answer", resets_after(""), &[], 125, &["the connection to http://127.0.0.1:", "broke before it answered", "connection reset"]),
        ("reset in the middle", resets_after("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), &[], 125, &["http://127.0.0.1:"]),
        ("closed at once", does(drop), &[], 125, &["http://127.0.0.1:", "before it answered"]),
        ("closed before the answer", says(""), &[], 125, &["closed the connection before it answered"]),
        ("closed in the head", says("HTTP/1.1 200 OK\r\nContent-"), &[], 125, &["closed the connection before it answered"]),
        ("closed in the body", says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), &[], 125, &["the connection to http://127.0.0.1:", "broke in the middle of its answer: end of file before message length reached"]),
        ("closed in a chunk", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"), &[], 125, &["in the middle of its answer"]),
        ("chunks of nonsense", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"), &[], 125, &["in the middle of its answer", "chunk size"]),
        ("a negative length", says("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"), &[], 125, &["did not answer in HTTP", "scheme and port"]),
        ("two lengths", says("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"), &[], 125, &["did not answer in HTTP"]),
        ("headers without end", endless("HTTP/1.1 200 OK\r\n", b"X-Y: zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n"), &[], 125, &["did not answer in HTTP"]),
        ("a greeting of ssh", does(|mut stream| { let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n"); read_head(&mut stream); }), &[], 125, &["did not answer in HTTP", "are scheme and port of the URL right?"]),
        ("HTTP/0.9", says("<html></html>\r\n"), &[], 125, &["did not answer in HTTP"]),
        ("HTTP/2", says(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00".as_slice()), &[], 125, &["did not answer in HTTP"]),
        ("a status of four digits", says("HTTP/1.1 2000 OK\r\n\r\n{}"), &[], 125, &["did not answer in HTTP"]),
        ("switching protocols", says("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), &[], 125, &["http://127.0.0.1:"]),
        ("https to an http port", does(|mut stream| { let _ = stream.read(&mut [0; 1024]); let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"); }), &["LOCATE_URL=https://{host}/"], 125, &["does not speak TLS on this port", "is it an http URL?"]),
        ("closed in the TLS handshake", does(|mut stream| { let _ = stream.read(&mut [0; 4096]); }), &["LOCATE_URL=https://{host}/"], 125, &["the TLS handshake with https://127.0.0.1:", "failed"]),
        ("reset in the TLS handshake", does(|mut stream| { let _ = stream.read(&mut [0; 4096]); reset(&stream); }), &["LOCATE_URL=https://{host}/"], 125, &["the TLS handshake with https://127.0.0.1:", "reset"]),
        ("a TLS alert", does(|mut stream| { let _ = stream.read(&mut [0; 4096]); let _ = stream.write_all(b"\x15\x03\x03\x00\x02\x02\x28"); }), &["LOCATE_URL=https://{host}/"], 125, &["refused the TLS handshake: HandshakeFailure"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn silence_ends_at_the_timeout_and_the_step_is_named() {
    let begun = std::time::Instant::now();
    Lab::new().try_all(vec![
        ("while connecting", full_queue(), &["-timeout=700ms"], 124, &["timed out after", "while connecting (http://127.0.0.1:", "firewall"]),
        ("in the TLS handshake", stalls_after_any(), &["-timeout=700ms", "LOCATE_URL=https://{host}/"], 124, &["in the TLS handshake (https://127.0.0.1:"]),
        ("before the answer", stalls_after(""), &["-timeout=700ms"], 124, &["while waiting for the answer (http://127.0.0.1:"]),
        ("in the head", stalls_after("HTTP/1.1 200 OK\r\n"), &["-timeout=700ms"], 124, &["while waiting for the answer"]),
        ("in the body", stalls_after("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"), &["-timeout=700ms"], 124, &["while reading the answer"]),
        ("byte by byte", does(drip), &["-timeout=700ms"], 124, &["while reading the answer"]),
        ("a proxy that is silent", stalls_after(""), &["-timeout=700ms", "HTTP_PROXY={url}", "LOCATE_URL=http://far.invalid/"], 124, &["waiting for the answer (http://far.invalid through the proxy http://127.0.0.1:"]),
        ("a tunnel that is silent", stalls_after(""), &["-timeout=700ms", "HTTPS_PROXY={url}", "LOCATE_URL=https://far.invalid/"], 124, &["while connecting (https://far.invalid through the proxy http://127.0.0.1:"]),
        ("by SCRIPT_DEADLINE", stalls_after(""), &["SCRIPT_DEADLINE={soon}"], 124, &["while waiting for the answer"]),
        ("SCRIPT_DEADLINE passed", stalls_after(""), &["SCRIPT_DEADLINE=1.5"], 124, &["SCRIPT_DEADLINE had passed"]),
    ]);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// Accepts, and does nothing more.
fn stalls_after_any() -> Server {
    let mut held = Vec::new();
    does(move |stream| held.push(stream))
}

/// Answers a byte at a time, without end.
fn drip(mut stream: TcpStream) {
    read_head(&mut stream);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
    while stream.write_all(b" ").is_ok() {
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[rustfmt::skip]
fn certificates_that_do_not_hold_are_refused() {
    let lab = Lab::new();
    let good = http("200 OK", "", r#"{"target":{"urls":{"wss:///ndt/v7/download":"wss://h/"}}}"#).into_bytes();
    let local = || server_params(&["localhost", "127.0.0.1"]);
    let with = |change: fn(&mut rcgen::CertificateParams)| { let mut params = local(); change(&mut params); params };
    let tls = |host, identity| Server::Tls(host, Box::new(identity), good.clone());
    let issue = |params: &rcgen::CertificateParams| lab.authority.issue(params);
    let self_signed = Identity::self_signed(&local());
    let self_signed_ca = Identity::self_signed(&with(|p| p.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)));
    lab.write("self-signed.pem", &self_signed_ca.pem);
    let impostor = Authority::new("Authority of the tests").issue(&local());
    lab.try_all(vec![
        ("unknown CA", tls("127.0.0.1", issue(&local())), &["SSL_CERT_FILE=/nonexistent/ca.pem"], 125, &["certificate of https://127.0.0.1:", "(issuer \"Authority of the tests\") is not trusted", "/nonexistent/ca.pem (which cannot be read)", "-ca-file"]),
        ("unknown to -ca-file and to the system", tls("127.0.0.1", Identity::self_signed(&local())), &["-ca-file={ca}"], 125, &["is not trusted", "ca.pem"]),
        ("self-signed", tls("127.0.0.1", self_signed), &[], 125, &["(issuer \"a test server\") is not trusted"]),
        ("self-signed by openssl req -x509, trusted", tls("127.0.0.1", self_signed_ca), &["-ca-file={dir}/self-signed.pem"], 125, &["is that of a CA", "CA:FALSE"]),
        ("another CA of the same name", tls("127.0.0.1", impostor), &["-ca-file={ca}"], 125, &["certificate of https://127.0.0.1:", "issuer \"Authority of the tests\""]),
        ("for another host", tls("localhost", issue(&server_params(&["other.example", "third.example"]))), &["-ca-file={ca}"], 125, &["is not for the name localhost, but for other.example, third.example"]),
        ("for another address", tls("127.0.0.1", issue(&server_params(&["127.0.0.2"]))), &["-ca-file={ca}"], 125, &["is not for the name 127.0.0.1, but for 127.0.0.2"]),
        ("for nobody", tls("localhost", issue(&server_params(&[]))), &["-ca-file={ca}"], 125, &["is not for the name localhost"]),
        ("expired", tls("127.0.0.1", issue(&with(|p| p.not_after = rcgen::date_time_ymd(2021, 2, 3)))), &["-ca-file={ca}"], 125, &["has expired on Wed, 03 Feb 2021", "or the local clock is ahead"]),
        ("not yet valid", tls("127.0.0.1", issue(&with(|p| p.not_before = rcgen::date_time_ymd(2100, 1, 1)))), &["-ca-file={ca}"], 125, &["not valid before Fri, 01 Jan 2100", "or the local clock is behind"]),
        ("for clients", tls("127.0.0.1", issue(&with(|p| p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth]))), &["-ca-file={ca}"], 125, &["certificate of https://127.0.0.1:", "cannot be used"]),
        ("http to an https port", tls("127.0.0.1", issue(&local())), &["LOCATE_URL=http://{host}/"], 125, &["http://127.0.0.1:"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn wrong_settings_of_the_connection_are_named() {
    let lab = Lab::new();
    lab.write("empty.pem", "");
    lab.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let proxy = |answer: &str| says(answer.to_owned());
    let wants_password = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    lab.try_all(vec![
        ("no such CA file", closed_port(), &["-ca-file=/nonexistent/ca.pem"], 125, &["the CA file /nonexistent/ca.pem cannot be read: No such file"]),
        ("a folder for a CA file", closed_port(), &["-ca-file={dir}"], 125, &["the CA file /", "Is a directory"]),
        ("an empty CA file", closed_port(), &["-ca-file={dir}/empty.pem"], 125, &["holds no PEM certificates"]),
        ("a broken certificate", closed_port(), &["-ca-file={dir}/broken.pem"], 125, &["cannot be parsed (number 1)"]),
        ("an endless CA file", closed_port(), &["-ca-file=/dev/zero"], 125, &["the CA file /dev/zero is larger than 16 MiB"]),
        ("the CA file by variable", closed_port(), &["MONITORING_TOKEN_CA_FILE=/nonexistent/ca.pem"], 125, &["/nonexistent/ca.pem cannot be read"]),
        ("no CA file", closed_port(), &["-ca-file="], 2, &["-ca-file"]),
        ("no proxy URL", At("http://far.invalid/"), &["HTTP_PROXY=http://a b"], 125, &["HTTP_PROXY holds no proxy URL"]),
        ("no proxy URL, with a password", At("http://far.invalid/"), &["http_proxy=ftp://u:pw@h/"], 125, &["HTTP_PROXY holds no proxy URL"]),
        ("a proxy that is down", At("http://far.invalid/"), &["HTTP_PROXY=http://127.0.0.1:1"], 125, &["cannot connect to the proxy http://127.0.0.1:1/ for http://far.invalid", "connection refused", "over plain http"]),
        ("a proxy nobody knows", At("https://far.invalid/"), &["HTTPS_PROXY=http://proxy.invalid:1"], 125, &["cannot look up the proxy proxy.invalid"]),
        ("a proxy that wants a password", proxy(wants_password), &["HTTP_PROXY={url}", "LOCATE_URL=http://far.invalid/"], 125, &["the proxy http://127.0.0.1:", "wants authentication (HTTP 407)"]),
        ("a tunnel that wants a password", proxy(wants_password), &["HTTPS_PROXY={url}", "LOCATE_URL=https://far.invalid/"], 125, &["cannot reach https://far.invalid through the proxy http://127.0.0.1:", "authorization required"]),
        ("a tunnel that is refused", proxy("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), &["HTTPS_PROXY={url}", "LOCATE_URL=https://far.invalid/"], 125, &["cannot reach https://far.invalid through the proxy", "HTTPS_PROXY"]),
        ("a proxy's own error", answers("503 Service Unavailable", "", "squid"), &["HTTP_PROXY={url}", "LOCATE_URL=http://far.invalid/"], 125, &["http://far.invalid through the proxy http://127.0.0.1:", "HTTP 503, \"squid\"", "tokens go to far.invalid over plain http"]),
        ("a proxy's password is not shown", At("http://far.invalid/"), &["HTTP_PROXY=http://u:s3cret@127.0.0.1:1"], 125, &["http://u:REDACTED@127.0.0.1:1"]),
        ("a Locate URL that is none", At("nonsense"), &[], 2, &["LOCATE_URL: is no URL"]),
        ("a Locate URL of another scheme", At("ftp://h/x"), &[], 2, &["LOCATE_URL: ftp://h/x is no http or https URL"]),
        ("a Locate URL without a host", At("x"), &["-locate-url=http://"], 2, &["-locate-url: is no URL: empty host"]),
        ("a variable that can be none", At("http://x"), &["-env-name=A=B"], 2, &["-env-name: A=B is no name for a variable"]),
        ("a service that is none", At("http://x"), &["-service=ndt7"], 2, &["-service: ndt7 is not of the form <experiment>/<datatype>"]),
        ("a service that climbs", At("http://x"), &["-service=../x"], 2, &["-service: ../x"]),
        ("retries that are none", At("http://x"), &["-retries=-1"], 2, &["-retries: -1 is no number"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn keys_that_cannot_sign_are_refused_with_their_reason() {
    let lab = Lab::new();
    lab.write("large.json", " ".repeat(64 * 1024 + 1));
    make_fifo(&lab.path("fifo"));
    let none = || At("http://127.0.0.1:1");
    lab.try_all(vec![
        ("no key", none(), &["MONITORING_SIGNER_KEY"], 125, &["no signing key: set MONITORING_SIGNER_KEY"]),
        ("an empty variable", none(), &["MONITORING_SIGNER_KEY="], 125, &["no signing key"]),
        ("no such file", none(), &["-monitoring-signer-key=/nonexistent/key"], 125, &["cannot read the key /nonexistent/key: No such file", "MONITORING_SIGNER_KEY"]),
        ("a folder", none(), &["-monitoring-signer-key={dir}"], 125, &["cannot read the key /", "Is a directory"]),
        ("too large", none(), &["-monitoring-signer-key={dir}/large.json"], 125, &["larger than 64 KiB"]),
        ("a device", none(), &["-monitoring-signer-key=/dev/zero"], 125, &["larger than 64 KiB"]),
        ("nothing", none(), &["-monitoring-signer-key=/dev/null"], 125, &["it is empty"]),
        ("a pipe nobody writes to", none(), &["-monitoring-signer-key={dir}/fifo", "-timeout=500ms"], 124, &["timed out while reading the key", "fifo"]),
        ("the key on the command line", none(), &["-monitoring-signer-key={\"kty\":\"OKP\"}"], 2, &["command lines are public", "MONITORING_SIGNER_KEY"]),
        ("half a key in the variable", none(), &["MONITORING_SIGNER_KEY={\"kty\":\"OKP\""], 125, &["cannot use the key in MONITORING_SIGNER_KEY: it is no JSON"]),
        ("public", none(), &["-monitoring-signer-key={keys}/public.json"], 125, &["public.json: it is a public key; signing needs the private one"]),
        ("symmetric", none(), &["-monitoring-signer-key={keys}/symmetric.json"], 125, &["it is a symmetric key"]),
        ("a set", none(), &["-monitoring-signer-key={keys}/set.json"], 125, &["it is a JWK set"]),
        ("encrypted, compact", none(), &["-monitoring-signer-key={keys}/encrypted.jwe"], 125, &["it is encrypted (JWE)"]),
        ("encrypted, as JSON", none(), &["-monitoring-signer-key={keys}/encrypted.json"], 125, &["it is encrypted (JWE)"]),
        ("PEM", none(), &["-monitoring-signer-key={keys}/private.pem"], 125, &["it is PEM, not a JWK", "key generate"]),
        ("another alg", none(), &["-monitoring-signer-key={keys}/wrong-alg.json"], 125, &["its alg \"RS256\" does not fit a key of this type; ES256 does"]),
        ("an alg of HMAC", none(), &["-monitoring-signer-key={keys}/hmac-alg.json"], 125, &["its alg \"HS256\" does not fit"]),
        ("another use", none(), &["-monitoring-signer-key={keys}/wrong-use.json"], 125, &["its use is \"enc\", not \"sig\""]),
        ("another public part, EC", none(), &["-monitoring-signer-key={keys}/mismatched-ec.json"], 125, &["its public part does not belong to the private one"]),
        ("another public part, Ed25519", none(), &["-monitoring-signer-key={keys}/mismatched-ed25519.json"], 125, &["its public part does not belong to the private one"]),
        ("another public part, RSA", none(), &["-monitoring-signer-key={keys}/mismatched-rsa.json"], 125, &["its public part does not belong to the private one"]),
        ("another exponent, RSA", none(), &["-monitoring-signer-key={keys}/wrong-dp.json"], 125, &["its parts do not belong together"]),
        ("RSA of 1024 bits", none(), &["-monitoring-signer-key={keys}/rsa-1024.json"], 125, &["RSA key of 1024 bits; at least 2048"]),
        ("RSA without primes", none(), &["-monitoring-signer-key={keys}/rsa-without-primes.json"], 125, &["it has no p; an RSA key needs n, e, d, p, q, dp, dq, qi"]),
        ("P-521", none(), &["-monitoring-signer-key={keys}/p521.json"], 125, &["its curve \"P-521\" is not supported"]),
        ("secp256k1", none(), &["-monitoring-signer-key={keys}/secp256k1.json"], 125, &["its curve \"secp256k1\" is not supported"]),
        ("X25519", none(), &["-monitoring-signer-key={keys}/x25519.json"], 125, &["its curve \"X25519\" does not sign"]),
        ("no base64url", none(), &["-monitoring-signer-key={keys}/bad-base64.json"], 125, &["its d is no base64url"]),
        ("short", none(), &["-monitoring-signer-key={keys}/short.json"], 125, &["its d must have 32 bytes, not 30"]),
        ("without a type", none(), &["-monitoring-signer-key={keys}/without-kty.json"], 125, &["it is no JWK: it has no kty"]),
        ("of an unknown type", none(), &["-monitoring-signer-key={keys}/unknown-kty.json"], 125, &["its type \"AKP\" is not supported"]),
        ("without a public part", none(), &["-monitoring-signer-key={keys}/without-x.json"], 125, &["it has no x"]),
        ("a number for a name", none(), &["-monitoring-signer-key={keys}/kid-number.json"], 125, &["a member of the JWK has the wrong type (line 1"]),
        ("a list", none(), &["-monitoring-signer-key={keys}/array.json"], 125, &["wrong type"]),
        ("text", none(), &["-monitoring-signer-key={keys}/not-json.txt"], 125, &["it is no JSON (line 1, column 1)"]),
        ("cut off", none(), &["-monitoring-signer-key={keys}/truncated.json"], 125, &["it is no JSON"]),
        ("empty", none(), &["-monitoring-signer-key={keys}/empty.json"], 125, &["it is empty"]),
    ]);
}

fn make_fifo(path: &Path) {
    let status = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo runs");
    assert!(status.success());
}
