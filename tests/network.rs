//! The network between the program and its servers: names, proxies, and unusual HTTP. Most cases come from reports of
//! users of similar programs; each names its source.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::ffi::OsStringExt as _;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::{ServerConnection, StreamOwned};

use crate::support::job::Folder;
use crate::support::network::{Zone, dns, isolate, response_to};
use crate::support::tls::{Authority, server_params};
use crate::support::{
    Ended, MACHINE, eventually, finish, full_queue, http, kill, read_head, read_head_of, run, serve,
    serve_at, start, testdata, token,
};

const GOOD: &str = r#"{"target":{"urls":{"wss:///ndt/v7/download":"wss://ndt.example/ndt/v7/download?access_token=a.b.c"}}}"#;

fn ok() -> String {
    http("200 OK", "", GOOD)
}

/// The binary with this origin and no retries.
fn asks(origin: &str) -> Command {
    let mut command = token();
    command
        .env("LOCATE_URL", format!("{origin}/v2/platform/monitoring/"))
        .env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"))
        .env("MACHINE", MACHINE)
        .args(["-service=ndt/ndt7", "-timeout=25s"]);
    command
}

fn once(command: &mut Command) -> Ended {
    run(command.args(["-retries=0", "--", "true"]))
}

/// A server that reads a request, writes this, and counts the requests.
fn counting(answer: impl Into<Vec<u8>>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let (answer, heads) = (answer.into(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&heads);
    let address = serve(move |mut stream| {
        seen.lock().unwrap().push(read_head(&mut stream));
        let _ = stream.write_all(&answer);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    (address, heads)
}

fn answers(answer: impl Into<Vec<u8>>) -> String {
    format!("http://{}", counting(answer).0)
}

/// attohttpc#94: servers send more than a hundred headers, and fold them. Go does not limit their number.
#[test]
fn many_headers_and_folded_headers_are_accepted() {
    let many = |count: usize| (0..count).map(|n| format!("X-{n}: y\r\n")).collect::<Vec<_>>().concat();
    for headers in [
        many(101),
        many(2000),
        "X-Folded: one\r\n two\r\n\tthree\r\n".to_owned(),
        "X-Empty:\r\nX-Folded:\r\n  two\r\n".to_owned(),
        format!("X-Long: {}\r\n", "z".repeat(100_000)),
    ] {
        once(&mut asks(&answers(http("200 OK", &headers, GOOD)))).succeeded();
    }
    for headers in [many(2100), format!("X-Long: {}\r\n", "z".repeat(600_000))] {
        once(&mut asks(&answers(http("200 OK", &headers, GOOD))))
            .failed_with(125, &["it sent more than 2048 headers or 408 KiB of them"]);
    }
}

/// Go and curl read these responses.
#[test]
fn odd_headers_are_accepted() {
    for header in [
        "Content-Encoding:",
        "Content-Encoding: none",
        "Content-Encoding: UTF-8",
        "Content-Encoding: identity",
        "X Frame: a",
    ] {
        once(&mut asks(&answers(http("200 OK", &format!("{header}\r\n"), GOOD)))).succeeded();
    }
    let twice = "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n";
    once(&mut asks(&answers(http("200 OK", twice, GOOD)))).failed_with(
        125,
        &["responded with Content-Encoding \"gzip\", which was not requested; turn it off in the server"],
    );
}

/// akka-http#2791: a server that speaks only HTTP/2, in the clear or under TLS.
#[test]
fn a_server_that_speaks_only_http2_is_named() {
    let settings = b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80\0\x04\0\x01\0\0\0\x05\0\xff\xff\xff";
    let goaway = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01";
    for bytes in [&settings[..], goaway, &[&settings[..], goaway].concat()] {
        let ended = once(&mut asks(&answers(bytes)));
        ended.failed_with(125, &["speaks only HTTP/2, which is not supported"]);
    }
    let authority = Authority::new("CA of HTTP/2");
    let identity = authority.issue(&server_params(&["127.0.0.1"]));
    let folder = Folder::new();
    std::fs::write(folder.path("ca.pem"), authority.pem()).unwrap();
    // One that says so in the handshake, and one that does not.
    for protocols in [vec![b"h2".to_vec()], Vec::new()] {
        let mut config = (*identity.config()).clone();
        config.alpn_protocols = protocols;
        let config = Arc::new(config);
        let address = serve(move |stream| {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(settings);
            let _ = stream.flush();
            let _ = stream.read(&mut [0; 1024]);
        });
        once(asks(&format!("https://{address}")).arg("-ca-file").arg(folder.path("ca.pem")))
            .failed_with(125, &["https://127.0.0.1:", "speaks only HTTP/2"]);
    }
}

/// Go's net/http gives up after five informational responses; here they are skipped until the deadline.
#[test]
fn informational_responses_are_skipped() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    for some in [hints.repeat(5), hints.repeat(6), "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000)] {
        once(&mut asks(&answers(some + &ok()))).succeeded();
    }
    // A few each second, without end.
    let slow = serve(|mut stream| {
        read_head(&mut stream);
        for _ in 0..5 {
            let _ = stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n");
            std::thread::sleep(Duration::from_millis(300));
        }
        let _ = stream.read_to_end(&mut Vec::new());
    });
    once(asks(&format!("http://{slow}")).arg("-timeout=900ms")).failed_with(124, &["to respond"]);
}

/// A server that writes `flood` again and again, after `head`.
fn floods(head: &'static str, flood: &'static str) -> String {
    let flood = flood.repeat(2000);
    let address = serve(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(head.as_bytes());
        while stream.write_all(flood.as_bytes()).is_ok() {}
    });
    format!("http://{address}")
}

/// The CPU time that a process has taken (proc_pid_schedstat).
fn cpu_time(pid: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

/// Sends SIGTERM in the middle of the work, and gives the CPU time that the program takes from then on: unlike time, it
/// does not depend on how busy the machine is.
fn cpu_time_after_sigterm(command: &mut Command) -> (Ended, Duration) {
    let child = start(command);
    let pid = child.id();
    eventually("the program to be busy", || (cpu_time(pid)? > Duration::from_millis(150)).then_some(()));
    let before = cpu_time(pid).unwrap();
    kill(pid, libc::SIGTERM);
    // It is there until it is waited for.
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    eventually("its end", || stat().contains(") Z ").then_some(()));
    let after = cpu_time(pid).unwrap();
    (finish(child), after.saturating_sub(before))
}

/// The HTTP library reads and parses what a server floods it with before it gives anything else its turn: SIGTERM was
/// not acted on for a second, and the deadline was overrun by as much. In a release build, 50 ms are the limit; this
/// build is slower.
#[test]
fn a_flood_does_not_hold_up_signals_or_the_deadline() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (head, flood) in [
        ("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("", "HTTP/1.1 102 Processing\r\nA: b\r\n\r\n"),
        ("HTTP/1.1 199 ", "x\r\n\r\nHTTP/1.1 199 "),
        (CHUNKED, "1\r\na\r\n"),
    ] {
        let (ended, took) = cpu_time_after_sigterm(asks(&floods(head, flood)).args(["--", "true"]));
        assert_eq!(ended.status, 143, "{flood:?}: {ended:?}");
        assert!(took < Duration::from_millis(250), "{flood:?} took {took:?}");
        let ended = once(asks(&floods(head, flood)).arg("-timeout=300ms"));
        assert_eq!(ended.status, 124, "{flood:?}: {ended:?}");
    }
}

/// The same of floods within TLS: records of one byte, and changes of the keys.
#[test]
fn a_flood_within_tls_does_not_hold_up_signals_or_the_deadline() {
    let authority = Authority::new("CA of the flood");
    let folder = Folder::new();
    std::fs::write(folder.path("ca.pem"), authority.pem()).unwrap();
    for (piece, is_slow) in [("HTTP/1.1 103 Early Hints\r\n\r\n", false), ("x", true)] {
        let address = authority.issue(&server_params(&["127.0.0.1"])).serve(move |mut stream| {
            read_head_of(&mut stream);
            if is_slow {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            }
            let flood = piece.repeat(if is_slow { 1 } else { 500 });
            while stream.write_all(flood.as_bytes()).is_ok() {}
        });
        let origin = format!("https://{address}");
        let (ended, took) = cpu_time_after_sigterm(
            asks(&origin).arg("-ca-file").arg(folder.path("ca.pem")).args(["--", "true"]),
        );
        assert_eq!(ended.status, 143, "{piece:?}: {ended:?}");
        assert!(took < Duration::from_millis(250), "{piece:?} took {took:?}");
    }
}

/// Statuses such as 304 and 300 are not redirects. The message said that they have no `Location`.
#[test]
fn an_unusual_3xx_is_not_called_a_redirect() {
    for status in ["304 Not Modified", "300 Multiple Choices", "305 Use Proxy", "306 Unused"] {
        for headers in ["", "Location: http://elsewhere.example/\r\n"] {
            let answer = format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n");
            let ended = once(&mut asks(&answers(answer.clone())));
            ended.failed_with(
                125,
                &["returned an unexpected status (HTTP ", &status[..3], "; check -locate-url"],
            );
            assert!(!ended.stderr.contains("redirect"), "{ended:?}");
            let mut list = token();
            list.env("GAFAELFAWR_ADMIN_TOKEN", "gt-abc.defghi");
            list.args(["gafaelfawr", "list", "--username=u", "--url"]).arg(answers(answer));
            let ended = run(&mut list);
            ended.failed_with(125, &["returned an unexpected status (HTTP "]);
            assert!(!ended.stderr.contains("redirect"), "{ended:?}");
        }
    }
    for status in ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect"] {
        once(&mut asks(&answers(http(status, "", "")))).failed_with(125, &["redirects without a Location"]);
    }
}

/// A redirect to what no HTTP server is behind was called "null, a different origin", whose URL to put into the flag.
#[test]
fn a_redirect_to_something_that_is_not_http_is_named() {
    for (location, shown) in [
        (
            "javascript:alert(document.cookie)",
            "redirects to javascript:…, which is not an http:// or https:// URL",
        ),
        ("ftp://files.example/x?token=s3cret", "redirects to ftp://files.example/…, which is not"),
        // These cannot be targets of a request at all.
        ("file:///etc/passwd", ", which is not "),
        ("data:application/json,{}", ", which is not "),
        ("mailto:ops@example.org", ", which is not "),
        ("wss://h.example/x", "redirects to wss://h.example/…, which is not"),
    ] {
        let ended = once(&mut asks(&answers(http("302 Found", &format!("Location: {location}\r\n"), ""))));
        ended.failed_with(125, &[shown]);
        assert!(!ended.stderr.contains("s3cret") && !ended.stderr.contains("null"), "{ended:?}");
    }
}

/// A link-local address needs its interface, which a URL names after `%25` (RFC 6874).
#[test]
fn an_ipv6_zone_is_the_interface_to_connect_through() {
    let _etc = isolate(&[("hosts", "")]);
    let mut ip = Command::new("ip");
    ip.args(["-6", "addr", "add", "fe80::1/64", "dev", "lo", "nodad"]);
    assert!(ip.status().unwrap().success());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let port = serve_at("::", move |mut stream| {
        seen.lock().unwrap().push(read_head(&mut stream));
        let _ = stream.write_all(ok().as_bytes());
    })
    .port();
    // By name or, as in Go, by number.
    for zone in ["lo", "1"] {
        let ended = once(&mut asks(&format!("http://[fe80::1%25{zone}]:{port}")));
        ended.said(0, &["token sent to [fe80::1] over plain HTTP"]);
    }
    assert!(heads.lock().unwrap()[0].to_lowercase().contains(&format!("\r\nhost: [fe80::1]:{port}\r\n")));
    for (host, words) in [
        ("[fe80::1]", "name this machine's network interface in the URL: http://[fe80::1%25eth0]/"),
        ("[fe80::1%25none]", "no such device; name this machine's network interface"),
    ] {
        once(&mut asks(&format!("http://{host}:{port}"))).failed_with(125, &[words]);
    }
    once(&mut asks(&format!("http://[fe80::1%lo]:{port}"))).failed_with(2, &["write a zone as %25ZONE"]);
    let mut list = token();
    list.env("GAFAELFAWR_ADMIN_TOKEN", "gt-abc.defghi");
    list.args(["gafaelfawr", "list", "--username=u", "--url=http://[fe80::1%25lo]/"]);
    run(&mut list).failed_with(2, &["an IPv6 zone is supported in -locate-url only"]);
}

/// The status of an error is shown even if its body never ends, and even if the time is up meanwhile.
#[test]
fn an_error_whose_body_hangs_is_still_shown() {
    for status in ["503 Service Unavailable", "404 Not Found", "429 Too Many Requests"] {
        let mut held = Vec::new();
        let address = serve(move |mut stream| {
            read_head(&mut stream);
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 100\r\n\r\nbusy");
            held.push(stream);
        });
        let number = &status[..3];
        let began = Instant::now();
        once(&mut asks(&format!("http://{address}")))
            .failed_with(125, &[&format!("HTTP {number}"), "\"busy\""]);
        assert!(began.elapsed() < Duration::from_secs(15));
        once(asks(&format!("http://{address}")).arg("-timeout=700ms"))
            .failed_with(124, &["while reading the response", &format!("HTTP {status}")]);
    }
}

/// HTTP 408 is about the network and not the request: it is retried, and no flag is blamed.
#[test]
fn a_request_timeout_is_retried() {
    let answer = http("408 Request Timeout", "", "");
    let (address, heads) = counting(answer);
    let ended = run(asks(&format!("http://{address}")).args(["-retries=1", "--", "true"]));
    ended.failed_with(125, &["timed out waiting for the request (HTTP 408)", "tried 2 times"]);
    assert!(!ended.stderr.contains("-locate-url"), "{ended:?}");
    assert_eq!(heads.lock().unwrap().len(), 2);
}

/// A captive portal (RFC 6585, section 6) is not the server's fault.
#[test]
fn a_captive_portal_is_named() {
    let page = "<!DOCTYPE html><html><head><title>Hotel Wi-Fi</title></head><body><p>Please <b>log in</b>.</p></body></html>";
    let origin = answers(http("511 Network Authentication Required", "", page));
    let ended = once(&mut asks(&origin));
    ended.failed_with(
        125,
        &["captive portal", "HTTP 511", "HTML page \"Hotel Wi-Fi: Please log in.\"", "sign in"],
    );
}

/// reqwest#2802: a response that ends with the connection, without TLS's close_notify, as Go accepts it.
#[test]
fn a_response_may_end_without_close_notify() {
    let authority = Authority::new("CA of the abrupt end");
    for (answer, is_whole) in [
        (format!("HTTP/1.1 200 OK\r\n\r\n{GOOD}"), true),
        (format!("HTTP/1.1 200 OK\r\n\r\n{}", &GOOD[..40]), false),
        (format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{GOOD}"), false),
    ] {
        let address = authority.issue(&server_params(&["127.0.0.1"])).serve(move |mut stream| {
            read_head_of(&mut stream);
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.flush();
            let _ = stream.sock.shutdown(Shutdown::Both);
        });
        let folder = Folder::new();
        std::fs::write(folder.path("ca.pem"), authority.pem()).unwrap();
        let ended = once(asks(&format!("https://{address}")).arg("-ca-file").arg(folder.path("ca.pem")));
        if is_whole {
            ended.succeeded()
        } else {
            ended.failed_with(125, &[])
        };
    }
}

/// coreutils#9701, secretspec#140: a variable that cannot be decoded was treated as unset, and the proxy bypassed.
#[test]
fn a_variable_that_is_not_utf8_is_refused_by_name() {
    let (address, heads) = counting(ok());
    for (variable, scheme) in [
        ("HTTP_PROXY", "http"),
        ("http_proxy", "http"),
        ("HTTPS_PROXY", "https"),
        ("https_proxy", "https"),
        ("SSL_CERT_FILE", "https"),
        ("SSL_CERT_DIR", "https"),
    ] {
        let value = std::ffi::OsString::from_vec(
            format!("http://{address}/").into_bytes().into_iter().chain([0xff]).collect(),
        );
        for first in [None, Some("check")] {
            let mut command = token();
            command.args(first).env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"));
            command.env("LOCATE_URL", format!("{scheme}://far.invalid/")).env(variable, &value);
            let ended = once(&mut command);
            assert_eq!(ended.status, 2, "{ended:?}");
            assert!(ended.stderr.contains(&format!("{variable}: not valid UTF-8")), "{ended:?}");
        }
    }
    let mut command = asks("http://far.invalid");
    command
        .env("HTTP_PROXY", format!("http://{address}"))
        .env("NO_PROXY", std::ffi::OsString::from_vec(vec![0xff]));
    once(&mut command).failed_with(2, &["NO_PROXY: not valid UTF-8"]);
    assert_eq!(*heads.lock().unwrap(), Vec::<String>::new());
}

/// requests#2703: `#`, `/`, `?` in a proxy's password, and a variable in small letters.
#[test]
fn a_proxy_url_that_is_cut_off_names_its_variable_and_percent_encoding() {
    for (variable, origin) in [("http_proxy", "http://far.invalid"), ("HTTPS_PROXY", "https://far.invalid")] {
        for value in [
            "http://me:pa#ss@proxy:1",
            "http://me:12/34@proxy:1",
            "me:pa?ss@proxy:1",
            r"http://CORP\me:w@proxy:1",
        ] {
            let ended = once(asks(origin).env(variable, value));
            ended.failed_with(
                125,
                &[&format!("{variable} is not a valid proxy URL"), "percent-encode", "%23"],
            );
            assert!(!ended.stderr.contains("me:"), "{ended:?}");
        }
    }
}

/// Go sends the bytes that a password stands for, in whatever encoding they are.
#[test]
fn a_password_that_is_not_utf8_is_sent_as_its_bytes() {
    // u:p, the byte E4, ss
    let header = "authorization: basic dtpw5hnz\r\n";
    let (address, heads) = counting(ok());
    once(&mut asks(&format!("http://u:p%E4ss@{address}"))).succeeded();
    let proxy = format!("http://u:p%E4ss@{address}");
    once(asks("http://far.invalid").env("HTTP_PROXY", &proxy)).said(0, &["token sent to far.invalid"]);
    once(asks("https://far.invalid").env("HTTPS_PROXY", &proxy)).failed_with(125, &["https://far.invalid"]);
    let heads: Vec<String> = heads.lock().unwrap().iter().map(|head| head.to_lowercase()).collect();
    assert!(heads[0].contains(&format!("\r\n{header}")), "{heads:?}");
    assert!(heads[1..].iter().all(|head| head.contains(&format!("\r\nproxy-{header}"))), "{heads:?}");
}

/// go#16405: in a CGI program a request's header may have set HTTP_PROXY (golang.org/s/cgihttpproxy). Go refuses.
#[test]
fn in_a_cgi_program_http_proxy_is_refused_as_in_go() {
    let (address, heads) = counting(ok());
    let proxy = format!("http://{address}");
    for variable in ["HTTP_PROXY", "http_proxy"] {
        let ended = once(asks("http://far.invalid").env(variable, &proxy).env("REQUEST_METHOD", "GET"));
        ended.failed_with(125, &["refusing to use", variable, "REQUEST_METHOD"]);
    }
    assert_eq!(*heads.lock().unwrap(), Vec::<String>::new());
    // An empty one counts as unset, and https has a variable that no header can set.
    once(asks("http://far.invalid").env("HTTP_PROXY", &proxy).env("REQUEST_METHOD", ""))
        .said(0, &["token sent to far.invalid"]);
    once(asks("https://far.invalid").env("HTTPS_PROXY", &proxy).env("REQUEST_METHOD", "GET"))
        .failed_with(125, &["https://far.invalid"]);
    assert_eq!(heads.lock().unwrap().len(), 2);
}

/// The message said that the proxy refused (HTTP 200 OK). It may have refused only at first, so it is asked again.
#[test]
fn a_tunnel_that_the_library_cannot_read_is_not_called_refused() {
    let headers = "X-Many: x\r\n".repeat(101);
    let (address, _) = counting(http("200 OK", &headers, ""));
    let through = |address, origin| {
        let mut command = asks(origin);
        command.env("HTTPS_PROXY", format!("http://{address}")).args(["-retries=1", "--", "true"]);
        run(&mut command)
    };
    through(address, "https://far.invalid").failed_with(
        125,
        &["did not connect to https://far.invalid: its response to CONNECT cannot be read", "tried 2 times"],
    );
    let (address, _) = counting(http("204 No Content", "", ""));
    through(address, "https://far.invalid").failed_with(
        125,
        &["did not connect to https://far.invalid: it responded to CONNECT with HTTP 204 No Content instead of 200"],
    );
    // The proxy is not to blame for a host name that no certificate can have.
    let (address, _) = counting("HTTP/1.1 200 OK\r\n\r\n");
    let ended = through(address, "https://-a.example");
    ended.failed_with(
        125,
        &["cannot connect to https://-a.example: a certificate cannot have this host name\n"],
    );
}

/// reqwest#2252: a message must say why a proxy refuses a tunnel. The HTTP library does not report the status, so the
/// proxy is asked a second time; one that wants a password gets it only once, because more may lock the account.
#[test]
fn a_refused_tunnel_shows_its_status_and_the_variable() {
    for (status, requests, words) in [
        (
            "403 Forbidden",
            2,
            &["refused to connect to https://far.invalid (HTTP 403 Forbidden)", "https_proxy"][..],
        ),
        ("502 Bad Gateway", 4, &["(HTTP 502 Bad Gateway)", "tried 2 times"]),
        ("407 Proxy Authentication Required", 2, &["rejected the credentials in https_proxy (HTTP 407)"]),
        ("400 Bad Request", 2, &["(HTTP 400 Bad Request)"]),
    ] {
        let (address, heads) = counting(http(status, "", "<html>squid</html>"));
        let mut command = asks("https://far.invalid");
        command.env("https_proxy", format!("http://me:s3cret@{address}")).args(["-retries=1", "--", "true"]);
        let ended = run(&mut command);
        ended.failed_with(125, words);
        assert!(!ended.stderr.contains("s3cret"), "{ended:?}");
        let heads = heads.lock().unwrap();
        assert_eq!(heads.len(), requests, "{status}");
        for (number, head) in heads.iter().enumerate() {
            let is_with_credentials = head.to_lowercase().contains("proxy-authorization: basic bwu6cznjcmv0");
            assert_eq!(is_with_credentials, !(status.starts_with("407") && number == 1), "{heads:?}");
            assert_eq!(head.to_lowercase().contains("proxy-authorization"), is_with_credentials, "{heads:?}");
            assert!(head.starts_with("CONNECT far.invalid:443 HTTP/1.1\r\n"), "{heads:?}");
            assert!(head.to_lowercase().contains("\r\nuser-agent: monitoring-token/"), "{heads:?}");
        }
    }
    // More than 8 KiB of headers are not accepted.
    let large = format!("HTTP/1.1 200 OK\r\nX-Large: {}\r\n\r\n", "y".repeat(20_000));
    let (address, _) = counting(large);
    once(asks("https://far.invalid").env("HTTPS_PROXY", format!("http://{address}"))).failed_with(
        125,
        &["did not connect to https://far.invalid: its response has more than 8 KiB of headers"],
    );
}

/// The second look tried a dead address until its second was over.
#[test]
fn a_refused_tunnel_shows_its_status_beside_a_dead_address() {
    let _etc = isolate(&[("hosts", "127.0.0.11 proxy.test\n127.0.0.12 proxy.test\n")]);
    let port = serve_at("127.0.0.12", |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(http("403 Forbidden", "", "").as_bytes());
    })
    .port();
    full_queue("127.0.0.11", port);
    let mut command = asks("https://far.invalid");
    command.env("HTTPS_PROXY", format!("http://proxy.test:{port}")).arg("-timeout=9s");
    once(&mut command).failed_with(125, &["refused to connect to https://far.invalid (HTTP 403 Forbidden)"]);
}

/// A 407 names the status, the variable and whether credentials were missing or rejected; `check` blames the proxy.
#[test]
fn a_proxy_that_wants_credentials_fails_the_row_of_the_proxy() {
    let (address, heads) =
        counting(http("407 Proxy Authentication Required", "Proxy-Authenticate: Basic\r\n", ""));
    for (scheme, variable) in [("https", "HTTPS_PROXY"), ("http", "HTTP_PROXY"), ("http", "http_proxy")] {
        for (credentials, words) in
            [("", "requires authentication (HTTP 407), but "), ("me:s3cret@", "rejected the credentials in ")]
        {
            let mut command = token();
            command.arg("check").env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"));
            command.env("LOCATE_URL", format!("{scheme}://far.invalid/"));
            command.env(variable, format!("http://{credentials}{address}"));
            let ended = run(command.args(["-retries=2", "--json"]));
            assert_eq!(ended.status, 125, "{ended:?}");
            let told: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
            let failed: Vec<_> =
                told["steps"].as_array().unwrap().iter().filter(|row| row["outcome"] == "failed").collect();
            assert_eq!(failed.len(), 1, "{told:#}");
            assert_eq!(failed[0]["step"], "proxy", "{told:#}");
            let detail = failed[0]["detail"].as_str().unwrap();
            assert!(detail.contains(words) && detail.contains(variable), "{detail}");
        }
    }
    // Once for each check; for a tunnel, once more without credentials.
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 8);
    let has_credentials = |head: &&String| head.to_lowercase().contains("proxy-authorization");
    assert_eq!(heads.iter().filter(has_credentials).count(), 3);
}

/// Behind a proxy that accepts only Windows accounts, the password was called wrong.
#[test]
fn a_proxy_without_basic_authentication_is_not_called_a_wrong_password() {
    let unsupported =
        |names: &str| format!("requires {names} authentication (HTTP 407), which is not supported");
    let (rejected, missing) = ("rejected the credentials in ", "has no credentials; put USER:PASSWORD@");
    for (headers, names) in [
        ("Proxy-Authenticate: Negotiate\r\n", "Negotiate"),
        ("Proxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM\r\n", "Negotiate or NTLM"),
        ("Proxy-Authenticate: Digest realm=\"Basic, x\", nonce=\"y\", qop=\"auth\"\r\n", "Digest"),
        ("Proxy-Authenticate: Negotiate, Basic realm=\"x\"\r\n", ""),
        ("Proxy-Authenticate: NTLM\r\nProxy-Authenticate: basic\r\n", ""),
        ("", ""),
    ] {
        let body = "<html>407</html>";
        let (address, _) = counting(http("407 Proxy Authentication Required", headers, body));
        for (scheme, variable) in [("https", "HTTPS_PROXY"), ("http", "HTTP_PROXY")] {
            for (credentials, usual) in [("", missing), ("me:s3cret@", rejected)] {
                let mut command = asks(&format!("{scheme}://far.invalid"));
                let ended = once(command.env(variable, format!("http://{credentials}{address}")));
                let words = if names.is_empty() { usual.to_owned() } else { unsupported(names) };
                ended.failed_with(125, &["the proxy http://", &words, variable]);
                assert!(!ended.stderr.contains("s3cret"), "{ended:?}");
            }
        }
    }
    let (address, _) = counting(http("407 x", "Proxy-Authenticate: Negotiate\r\n", ""));
    for args in [&["gafaelfawr", "list", "--username=bot-x"][..], &["stackstate", "list"]] {
        let mut command = token();
        command.env("GAFAELFAWR_URL", "http://far.invalid").env("GAFAELFAWR_ADMIN_TOKEN", "gt-a.b");
        command.env("STS_CLI_URL", "http://far.invalid").env("STS_CLI_API_TOKEN", "x");
        let ended = run(command.args(args).env("HTTP_PROXY", format!("http://{address}")));
        ended.failed_with(125, &[&unsupported("Negotiate")]);
    }
}

/// Each scheme was compared with all others, which took longer than the timeout.
#[test]
fn a_proxy_that_offers_very_many_schemes_does_not_delay_the_failure() {
    let names: Vec<String> = (0..60_000).map(|number| format!("{number:05}")).collect();
    let header = format!("Proxy-Authenticate: {}\r\n", names.join(","));
    let address = serve(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(http("407 x", &header, "").as_bytes());
    });
    let mut command = asks("http://far.invalid");
    let began = Instant::now();
    once(command.env("HTTP_PROXY", format!("http://{address}"))).failed_with(125, &["requires 00000, 00001"]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// urllib3#422, proxy-agents#131: TLS to an `https://` proxy failed, and the target was blamed.
#[test]
fn tls_to_a_proxy_that_fails_blames_the_proxy() {
    let authority = Authority::new("CA of the proxy");
    let address = authority.issue(&server_params(&["127.0.0.1"])).serve(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
    });
    let plain = serve(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    for (target, variable, proxy) in [
        ("http://far.invalid", "HTTP_PROXY", address.to_string()),
        ("https://far.invalid", "HTTPS_PROXY", address.to_string()),
        ("https://far.invalid", "HTTPS_PROXY", plain.to_string()),
    ] {
        let ended = once(asks(target).env(variable, format!("https://{proxy}")));
        ended.failed_with(125, &[&format!("the proxy https://{proxy}")]);
        let mut command = token();
        command
            .args(["check", "-retries=0", "--json"])
            .env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"));
        let ended = run(command.env("LOCATE_URL", target).env(variable, format!("https://{proxy}")));
        let told: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        let proxy_row = told["steps"].as_array().unwrap().iter().find(|row| row["step"] == "proxy").unwrap();
        assert_eq!(proxy_row["outcome"], "failed", "{told:#}");
    }
    // A trusted proxy with TLS, and TLS to the server through it.
    let folder = Folder::new();
    std::fs::write(folder.path("ca.pem"), authority.pem()).unwrap();
    let address = authority.issue(&server_params(&["127.0.0.1"])).serve(|mut stream| {
        let head = read_head_of(&mut stream);
        assert!(head.starts_with("GET http://far.invalid/"), "{head}");
        let _ = stream.write_all(ok().as_bytes());
        let _ = stream.flush();
    });
    let mut command = asks("http://far.invalid");
    command.env("HTTP_PROXY", format!("https://{address}")).arg("-ca-file").arg(folder.path("ca.pem"));
    once(&mut command).said(0, &["token sent to far.invalid"]);
}

/// A SOCKS 5 server that chooses this method (RFC 1928, section 3) and records the offered ones.
fn socks(chosen: u8) -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let offers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&offers);
    let address = serve(move |mut stream: TcpStream| {
        let mut head = [0; 2];
        let _ = stream.read_exact(&mut head);
        let mut methods = vec![0; head[1].into()];
        let _ = stream.read_exact(&mut methods);
        seen.lock().unwrap().push(methods);
        let _ = stream.write_all(&[5, chosen]);
        if chosen == 2 {
            let mut begin = [0; 2];
            let _ = stream.read_exact(&mut begin);
            let mut user = vec![0; usize::from(begin[1]) + 1];
            let _ = stream.read_exact(&mut user);
            let mut password = vec![0; user[user.len() - 1].into()];
            let _ = stream.read_exact(&mut password);
            let is_right = user == b"alone\0" || (user.starts_with(b"me") && password.starts_with(b"right"));
            let _ = stream.write_all(&[1, u8::from(!is_right)]);
            if !is_right {
                return;
            }
        }
        if chosen < 3 {
            let _ = stream.read(&mut [0; 300]);
            let _ = stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
            read_head(&mut stream);
            let _ = stream.write_all(ok().as_bytes());
        }
    });
    (address, offers)
}

/// socksio#27, netty#13287: a URL with a user, and a server that does not authenticate. Go offers both methods at once;
/// here they are offered one after the other.
#[test]
fn a_socks_proxy_without_authentication_gets_no_credentials() {
    for (chosen, credentials, offered) in [
        (0, "", &[0][..]),
        (0, "me:right@", &[2, 0]),
        (2, "me:right@", &[2]),
        (0, "me@", &[2, 0]),
        (2, "alone@", &[2]),
        (2, "alone:@", &[2]),
        (0, ":right@", &[0]),
    ] {
        let (address, offers) = socks(chosen);
        let proxy = format!("socks5://{credentials}{address}");
        once(asks("http://far.invalid").env("HTTP_PROXY", proxy)).said(0, &["token sent to far.invalid"]);
        assert_eq!(offers.lock().unwrap().concat(), offered);
    }
}

/// RFC 1929 allows 255 bytes each; the HTTP library has less room, and the message blamed the password.
#[test]
fn the_room_for_socks_credentials_is_stated() {
    let long = |count: usize| format!("me:right{}", "x".repeat(count - "meright".len()));
    let host = format!("{}.invalid", "h".repeat(63));
    for (host, fits) in [("far.invalid", 238), (&host, 178), ("10.1.2.3", 246), ("[2001:db8::1]", 234)] {
        let (address, _) = socks(2);
        let proxy = |length| format!("socks5://{}@{address}", long(length));
        let ask = |length| once(asks(&format!("http://{host}")).env("HTTP_PROXY", proxy(length)));
        ask(fits).said(0, &["token sent to "]);
        let over = fits + 1;
        let words = format!(
            "the user name and password have {over} bytes together, and with this host name at most {fits} are supported"
        );
        ask(over).failed_with(125, &["did not connect to ", &words]);
    }
    let (address, _) = socks(0);
    let host = ["h".repeat(63), "h".repeat(63), "h".repeat(63), "h".repeat(61)].join(".");
    let long = once(asks(&format!("http://{host}")).env("HTTP_PROXY", format!("socks5://{address}")));
    long.failed_with(125, &["the host name has 253 bytes, and at most 252 are supported"]);
}

/// socks5-http-client#15: a server requires a password, and the URL has none, or a wrong one.
#[test]
fn a_socks_proxy_that_wants_credentials_says_so() {
    for (chosen, credentials, words) in [
        (0xff, "", "requires authentication (SOCKS5), but HTTP_PROXY has no credentials; put USER:PASSWORD@"),
        (2, "", "requires authentication (SOCKS5), but HTTP_PROXY has no credentials"),
        (2, "me:wrong@", "rejected the credentials in HTTP_PROXY (SOCKS5)"),
        (0xff, "me:right@", "rejected the credentials in HTTP_PROXY (SOCKS5)"),
    ] {
        let (address, offers) = socks(chosen);
        let mut command = asks("http://far.invalid");
        command.env("HTTP_PROXY", format!("socks5://{credentials}{address}")).args([
            "-retries=2",
            "--",
            "true",
        ]);
        run(&mut command).failed_with(125, &["the proxy socks5://", words]);
        let asked = offers.lock().unwrap().len();
        assert_eq!(asked, if (chosen, credentials) == (0xff, "me:right@") { 2 } else { 1 }, "{credentials}");
    }
}

/// Authentication methods and reply codes that the HTTP library does not know (RFC 1928 has more) were reported as "does
/// not speak SOCKS5".
#[test]
fn a_socks_proxy_that_responds_unusually_is_described() {
    for (method, reply, credentials, words) in [
        (1, 0, "", "it requires GSSAPI authentication, which is not supported"),
        (1, 0, "me:right@", "it requires GSSAPI authentication, which is not supported"),
        (3, 0, "", "it requires an authentication method that is not supported"),
        (0x80, 0, "me:right@", "it requires an authentication method that is not supported"),
        (0, 9, "", "it refused with the unknown SOCKS5 reply code 9"),
        (0, 0x5b, "", "it refused with the unknown SOCKS5 reply code 91"),
        (0, 5, "", "connection refused"),
    ] {
        let address = serve(move |mut stream| {
            let _ = stream.read(&mut [0; 3]);
            let _ = stream.write_all(&[5, method]);
            let _ = stream.read(&mut [0; 300]);
            let _ = stream.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]);
        });
        let mut command = asks("http://far.invalid");
        command.env("HTTP_PROXY", format!("socks5://{credentials}{address}"));
        once(&mut command).failed_with(125, &["the proxy socks5://", words]);
    }
    for (bytes, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "it speaks HTTP, not SOCKS5"),
        (b"\0\x5a\0\0\0\0\0\0", "it does not speak SOCKS5"),
        (b"SSH-2.0-x\r\n", "it does not speak SOCKS5"),
        // A bound address that is an empty name.
        (b"\x05\0\x05\0\0\x03\0\0\0", "its reply has an address that is not supported"),
    ] {
        let address = serve(move |mut stream| {
            let _ = stream.read(&mut [0; 300]);
            let _ = stream.write_all(bytes);
        });
        once(asks("http://far.invalid").env("HTTP_PROXY", format!("socks5://{address}")))
            .failed_with(125, &["the proxy socks5://", words]);
    }
}

/// A 401: the message names the clock, if that explains it; otherwise the key, by file and ID.
#[test]
fn a_rejected_token_blames_the_clock_or_the_key() {
    let rejects = |behind: i64| {
        let answer = move || {
            let now = std::time::SystemTime::now();
            let by = Duration::from_secs(behind.unsigned_abs());
            let date = httpdate::fmt_http_date(if behind < 0 { now - by } else { now + by });
            http("401 Unauthorized", &format!("Date: {date}\r\n"), "")
        };
        let address = serve(move |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(answer().as_bytes());
        });
        once(&mut asks(&format!("http://{address}")))
    };
    for behind in [121, 600, 90_000] {
        let ended = rejects(behind);
        ended.failed_with(
            125,
            &["locate rejected the token (HTTP 401): the local clock is ", "set the clock"],
        );
        assert!(!ended.stderr.contains("key"), "{ended:?}");
    }
    // Locate v0.17 has a leeway of 60 s, v0.19 none.
    for behind in [62, 90, 115] {
        let ended = rejects(behind);
        ended.failed_with(
            125,
            &["(HTTP 401): the local clock is ", "set the clock. Locate v0.17 tolerates this", "key ID"],
        );
    }
    for behind in [0, 30, -30, -600] {
        let ended = rejects(behind);
        let key = testdata("keys/eddsa.json").display().to_string();
        ended.failed_with(
            125,
            &[
                &format!("(HTTP 401): key ID \"test_eddsa\" of {key} may not be registered at http"),
                "another key may be registered under this ID",
                &format!("`monitoring-token key public {key}`"),
            ],
        );
        assert!(!ended.stderr.contains("set the clock"), "{ended:?}");
    }
}

#[test]
fn names_are_resolved_by_resolv_conf_and_hosts_alone() {
    let _etc = isolate(&[
        (
            "resolv.conf",
            "nameserver 127.0.0.1\nsearch one.test two.test\noptions ndots:2 timeout:1 attempts:1\n",
        ),
        ("hosts", "192.0.2.7 listed.example alias\n"),
        // staticx#129: the modules named here must not be loaded.
        ("nsswitch.conf", "hosts: nonexistent [NOTFOUND=return]\n"),
    ]);
    let address = |text: &str| text.parse().unwrap();
    let questions = dns("127.0.0.1", move |name| match name {
        "probe.two.test." | "far.away.test." => Zone::Has(vec![address("192.0.2.1"), address("::1")]),
        "large.away.test." => Zone::HasOverTcp(vec![address("192.0.2.1")]),
        "dead.away.test." => Zone::Fails,
        "silent.away.test." => Zone::Silent,
        _ => Zone::NoSuchHost,
    });
    let port = serve_at("0.0.0.0", |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(ok().as_bytes());
    })
    .port();
    let ask = |host: &str| {
        questions.lock().unwrap().clear();
        let ended = once(&mut asks(&format!("http://{host}:{port}")));
        let mut asked = questions.lock().unwrap().clone();
        asked.dedup();
        (ended, asked)
    };
    let plain = |host: &str| format!("token sent to {host} over plain HTTP");
    // Fewer dots than ndots: the search domains come first.
    let (ended, asked) = ask("probe");
    ended.said(0, &[&plain("probe")]);
    assert_eq!(asked, ["probe.one.test.", "probe.two.test."]);
    let (ended, asked) = ask("far.away.test");
    ended.said(0, &[&plain("far.away.test")]);
    assert_eq!(asked, ["far.away.test."]);
    ask("large.away.test").0.said(0, &[&plain("large.away.test")]);
    let (ended, asked) = ask("ALIAS");
    ended.said(0, &[&plain("alias")]);
    assert_eq!(asked, Vec::<String>::new());
    // Not queried (RFC 6761, section 6.3), and not looked up in a file.
    for host in ["localhost", "sandbox.localhost"] {
        let (ended, asked) = ask(host);
        ended.succeeded();
        assert_eq!(asked, Vec::<String>::new());
    }
    ask("gone.away.test")
        .0
        .failed_with(125, &["cannot resolve gone.away.test: no such host; check the host name and DNS"]);
    ask("dead.away.test")
        .0
        .failed_with(125, &["cannot resolve dead.away.test: the DNS server 127.0.0.1 returned SERVFAIL"]);
    ask("silent.away.test")
        .0
        .failed_with(125, &["cannot resolve silent.away.test: the DNS server 127.0.0.1 did not respond"]);
}

/// RFC 4074, 4.2: load balancers deny that a name exists when they are asked for an address family that it lacks.
#[test]
fn a_name_that_dns_denies_for_one_family_is_found() {
    let _etc =
        isolate(&[("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"), ("hosts", "")]);
    let address = |text: &str| text.parse().unwrap();
    dns("127.0.0.1", move |name| match name {
        "four.test." => Zone::HasAlone(vec![address("127.0.0.1")]),
        "six.test." => Zone::HasAlone(vec![address("::1")]),
        _ => Zone::NoSuchHost,
    });
    let port = serve_at("::", |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(ok().as_bytes());
    })
    .port();
    for host in ["four.test", "six.test"] {
        once(&mut asks(&format!("http://{host}:{port}"))).said(0, &[&format!("token sent to {host}")]);
    }
    once(&mut asks("http://none.test")).failed_with(125, &["cannot resolve none.test: no such host"]);
}

#[test]
fn a_dns_server_that_is_silent_leaves_time_for_the_others() {
    let _etc = isolate(&[
        ("resolv.conf", "nameserver 127.0.0.9\nnameserver 127.0.0.2\noptions timeout:1\n"),
        ("hosts", ""),
    ]);
    let silent = dns("127.0.0.9", |_| Zone::Silent);
    dns("127.0.0.2", |_| Zone::Has(vec!["127.0.0.1".parse().unwrap()]));
    let origin = answers(ok());
    let port = origin.rsplit(':').next().unwrap();
    let ended = once(&mut asks(&format!("http://far.test:{port}")));
    ended.said(0, &["token sent to far.test"]);
    assert!(!silent.lock().unwrap().is_empty());
}

/// An A record for the name in the question, with the address 127.0.0.1 (RFC 1035, 4.1.3).
const LOOPBACK_RECORD: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1];

/// Each name was asked for five seconds from a dead server first: all the time that the deletion of a token has.
#[test]
fn a_dns_server_that_is_silent_costs_a_second() {
    let _etc = isolate(&[
        ("resolv.conf", "nameserver 127.0.0.9\nnameserver 127.0.0.2\noptions timeout:20 attempts:1\n"),
        ("hosts", ""),
    ]);
    dns("127.0.0.9", |_| Zone::Silent);
    dns("127.0.0.2", |name| match name {
        // It ignores queries for the other family, as some firewalls do.
        "four.test." => Zone::Sends(
            |query| {
                let response = response_to(query, 1);
                if response.ends_with(&[0, 28, 0, 1]) {
                    vec![]
                } else {
                    vec![[&response[..], &LOOPBACK_RECORD].concat()]
                }
            },
            Vec::new(),
        ),
        _ => Zone::Has(vec!["127.0.0.1".parse().unwrap()]),
    });
    let origin = answers(ok());
    let port = origin.rsplit(':').next().unwrap();
    for host in ["far.test", "four.test"] {
        let began = Instant::now();
        once(&mut asks(&format!("http://{host}:{port}"))).said(0, &[&format!("token sent to {host}")]);
        assert!(began.elapsed() < Duration::from_secs(15), "{host}: {:?}", began.elapsed());
    }
}

/// A dead address took an equal part of the whole time.
#[test]
fn a_dead_address_costs_a_second() {
    let _etc = isolate(&[("hosts", "127.0.0.11 two.test\n127.0.0.12 two.test\n127.0.0.13 two.test\n")]);
    let port = serve_at("127.0.0.13", |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(ok().as_bytes());
    })
    .port();
    full_queue("127.0.0.11", port);
    full_queue("127.0.0.12", port);
    let began = Instant::now();
    once(asks(&format!("http://two.test:{port}")).arg("-timeout=60s")).said(0, &["token sent to two.test"]);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

/// Each address of a proxy that took more than a second for the tunnel was given up.
#[test]
fn a_slow_tunnel_is_opened_once() {
    let _etc = isolate(&[("hosts", "127.0.0.11 proxy.test\n127.0.0.12 proxy.test\n")]);
    let authority = Authority::new("CA behind a proxy");
    let folder = Folder::new();
    std::fs::write(folder.path("ca.pem"), authority.pem()).unwrap();
    for (scheme, origin) in [("http", "https://far.test"), ("socks5", "http://far.test")] {
        let config = authority.issue(&server_params(&["far.test"])).config();
        let connections = Arc::new(Mutex::new(0));
        let count = Arc::clone(&connections);
        let port = serve_at("0.0.0.0", move |mut stream| {
            *count.lock().unwrap() += 1;
            if scheme == "http" {
                read_head(&mut stream);
                std::thread::sleep(Duration::from_millis(1500));
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                let inner = ServerConnection::new(Arc::clone(&config)).expect("a sound configuration");
                let mut inner = StreamOwned::new(inner, stream);
                read_head_of(&mut inner);
                let _ = inner.write_all(ok().as_bytes());
                return;
            }
            // RFC 1928: the greeting, then the request.
            let _ = stream.read_exact(&mut [0; 3]);
            let _ = stream.write_all(&[5, 0]);
            let _ = stream.read(&mut [0; 300]);
            std::thread::sleep(Duration::from_millis(1500));
            let _ = stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
            read_head(&mut stream);
            let _ = stream.write_all(ok().as_bytes());
        })
        .port();
        let mut command = asks(origin);
        for variable in ["HTTPS_PROXY", "HTTP_PROXY"] {
            command.env(variable, format!("{scheme}://proxy.test:{port}"));
        }
        let ended = once(command.arg("-ca-file").arg(folder.path("ca.pem")));
        assert_eq!(ended.status, 0, "{scheme}: {ended:?}");
        assert_eq!(*connections.lock().unwrap(), 1, "{scheme}");
    }
}

/// The second server was believed although the first one, which knows the names of the own network, was about to respond.
#[test]
fn a_denial_of_the_second_dns_server_waits_for_the_first_one() {
    let _etc = isolate(&[("resolv.conf", "nameserver 127.0.0.9\nnameserver 127.0.0.2\n"), ("hosts", "")]);
    dns("127.0.0.9", |name| {
        if name == "none.test." {
            return Zone::Silent;
        }
        std::thread::sleep(Duration::from_millis(1250));
        Zone::Has(vec!["127.0.0.1".parse().unwrap()])
    });
    let second = dns("127.0.0.2", |name| match name {
        "empty.test." => Zone::Has(Vec::new()),
        _ => Zone::NoSuchHost,
    });
    let origin = answers(ok());
    let port = origin.rsplit(':').next().unwrap();
    for host in ["far.test", "empty.test"] {
        once(&mut asks(&format!("http://{host}:{port}"))).said(0, &[&format!("token sent to {host}")]);
        assert!(second.lock().unwrap().contains(&format!("{host}.")), "{host}");
    }
    once(&mut asks("http://none.test")).failed_with(125, &["cannot resolve none.test: no such host"]);
}

/// As in Go and glibc: the first server may be an authoritative one, or may have stopped to look up names for this machine.
#[test]
fn a_dns_server_that_only_refers_to_others_is_passed_over() {
    let _etc = isolate(&[
        ("resolv.conf", "nameserver 127.0.0.9\nnameserver 127.0.0.2\noptions timeout:1 attempts:1\n"),
        ("hosts", ""),
    ]);
    dns("127.0.0.9", |_| Zone::Refers);
    dns("127.0.0.2", |name| match name {
        "far.test." => Zone::Has(vec!["127.0.0.1".parse().unwrap()]),
        "empty.test." => Zone::Has(Vec::new()),
        _ => Zone::Refers,
    });
    let origin = answers(ok());
    let port = origin.rsplit(':').next().unwrap();
    once(&mut asks(&format!("http://far.test:{port}"))).said(0, &["token sent to far.test"]);
    for (host, why) in [
        ("empty.test", "it has no IPv4 or IPv6 address"),
        ("none.test", "the DNS server 127.0.0.2 returned a referral instead of an address"),
    ] {
        let expected = format!("cannot resolve {host}: {why}; check the host name and DNS");
        once(&mut asks(&format!("http://{host}:{port}"))).failed_with(125, &[&expected]);
    }
}

/// As in Go and glibc: what is not needed of a response need not be valid, and a truncated one may end anywhere.
#[test]
fn odd_dns_responses_are_read() {
    fn good(query: &[u8]) -> Vec<u8> {
        [&response_to(query, 1)[..], &LOOPBACK_RECORD].concat()
    }
    /// The good response with this at this place.
    fn with(query: &[u8], at: usize, byte: u8) -> Vec<u8> {
        let mut out = good(query);
        out[at] = byte;
        out
    }
    fn truncated(query: &[u8], records: usize) -> Vec<u8> {
        let mut out = response_to(query, 40);
        out[2] |= 2;
        out.extend(LOOPBACK_RECORD.repeat(records));
        out.truncate(512);
        out
    }
    fn has_edns(query: &[u8]) -> bool {
        query.ends_with(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]) && query[11] == 1
    }
    let _etc = isolate(&[("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1\n"), ("hosts", "")]);
    let here = vec!["127.0.0.1".parse().unwrap()];
    dns("127.0.0.1", move |name| match name {
        "cut.test." => Zone::Sends(|query| vec![truncated(query, 40)], here.clone()),
        "left.out.test." => Zone::Sends(|query| vec![truncated(query, 0)], here.clone()),
        "no.tcp.test." => Zone::Sends(|query| vec![truncated(query, 0)], Vec::new()),
        "large.test." => Zone::Sends(
            |query| {
                let whole = [response_to(query, 60), LOOPBACK_RECORD.repeat(60)].concat();
                vec![if has_edns(query) { whole } else { truncated(query, 40) }]
            },
            Vec::new(),
        ),
        "refuses.edns.test." => Zone::Sends(
            |query| vec![if has_edns(query) { with(query, 3, 0x81) } else { good(query) }],
            Vec::new(),
        ),
        "drops.edns.test." => {
            Zone::Sends(|query| if has_edns(query) { Vec::new() } else { vec![good(query)] }, Vec::new())
        }
        "reserved.bit.test." => Zone::Sends(|query| vec![with(query, 3, 0xc0)], Vec::new()),
        "authorities.test." => Zone::Sends(|query| vec![with(query, 9, 2)], Vec::new()),
        "additional.test." => Zone::Sends(
            |query| vec![[with(query, 11, 1), vec![0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 3, 1, 2, 3]].concat()],
            Vec::new(),
        ),
        "records.test." => Zone::Sends(|query| vec![with(query, 7, 2)], Vec::new()),
        "others.test." => Zone::Sends(
            |query| {
                // The address of another name is not the one to connect to.
                let mut forged = with(query, 13, b'x');
                *forged.last_mut().unwrap() = 9;
                let id = &query[..2];
                vec![query.to_vec(), id.to_vec(), [id, b"junk"].concat(), Vec::new(), forged, good(query)]
            },
            Vec::new(),
        ),
        "case.test." => Zone::Sends(|query| vec![with(query, 13, b'C')], Vec::new()),
        _ => Zone::NoSuchHost,
    });
    let origin = answers(ok());
    let port = origin.rsplit(':').next().unwrap();
    for host in [
        "cut",
        "left.out",
        "large",
        "refuses.edns",
        "drops.edns",
        "reserved.bit",
        "authorities",
        "additional",
        "records",
        "others",
        "case",
    ] {
        once(&mut asks(&format!("http://{host}.test:{port}")))
            .said(0, &[&format!("token sent to {host}.test over plain HTTP")]);
    }
    once(&mut asks("http://no.tcp.test"))
        .failed_with(125, &["cannot resolve no.tcp.test: the DNS server 127.0.0.1 did not respond"]);
}

#[test]
fn a_link_local_address_in_the_hosts_file_has_an_interface() {
    let _etc = isolate(&[("hosts", "fe80::1%lo named.example\nfe80::1%1 numbered.example\n")]);
    let added = Command::new("ip").args(["address", "add", "fe80::1/64", "dev", "lo", "nodad"]).status();
    assert!(added.is_ok_and(|status| status.success()));
    let port = serve_at("::", |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(ok().as_bytes());
    })
    .port();
    let other = serve_at("::", |mut stream| drop(stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n"))).port();
    for host in ["named.example", "numbered.example"] {
        once(&mut asks(&format!("http://{host}:{port}"))).said(0, &[&format!("token sent to {host}")]);
        // This is found out by a second connection.
        let url = format!("http://{host}:{other}");
        once(asks(&url).arg("-retries=0")).failed_with(125, &["it speaks SSH"]);
    }
}

/// A name below `localhost` that resolves to another machine gets the warning about plain HTTP.
#[test]
fn localhost_that_leads_elsewhere_is_warned_of() {
    let _etc = isolate(&[
        ("resolv.conf", "nameserver 127.0.0.1\n"),
        ("hosts", "192.0.2.1 x.localhost\n192.0.2.2 deep.er.localhost.\n127.0.0.5 here.localhost\n"),
    ]);
    let port = serve_at("0.0.0.0", |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(ok().as_bytes());
    })
    .port();
    for host in ["x.localhost", "deep.er.localhost"] {
        let ended = once(&mut asks(&format!("http://{host}:{port}")));
        ended.said(0, &[&format!("warning: token sent to {host} over plain HTTP; use https")]);
    }
    for host in ["here.localhost", "none.localhost", "localhost"] {
        once(&mut asks(&format!("http://{host}:{port}"))).succeeded();
    }
}

/// Own case: without free descriptors, the message was "Name or service not known".
#[test]
fn a_machine_without_descriptors_does_not_blame_dns() {
    let _etc =
        isolate(&[("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"), ("hosts", "")]);
    let mut seen = 0;
    for descriptors in 4..16 {
        let command = asks("http://far.test:9");
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--nofile={descriptors}")).arg(command.get_program()).args(command.get_args());
        limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ended = once(&mut limited);
        assert_eq!(ended.status, 125, "{ended:?}");
        if ended
            .stderr
            .contains("cannot resolve far.test: this machine is out of resources: too many open files")
        {
            seen += 1;
        } else if ended.stderr.contains("cannot resolve") {
            assert!(ended.stderr.contains("did not respond"), "{ended:?}");
        }
    }
    assert!(seen > 0);
}

/// A host with an address that leads nowhere, such as one of IPv6 without a route, is reached at its other one.
#[test]
fn a_check_of_the_target_does_not_wait_for_an_address_that_leads_nowhere() {
    let _files = isolate(&[("hosts", "127.0.0.1 target.example\n127.0.0.2 target.example\n")]);
    let target = serve_at("127.0.0.2", drop);
    full_queue("127.0.0.1", target.port());
    let url = format!("ws://target.example:{}/ndt/v7/download?access_token=a.b.c", target.port());
    let answer = format!(r#"{{"target":{{"urls":{{"wss:///ndt/v7/download":"{url}"}}}}}}"#);
    let mut command = token();
    command.arg("check").env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"));
    command.env("LOCATE_URL", answers(http("200 OK", "", &answer)));
    let ended = run(command.args(["-service=ndt/ndt7", "-timeout=25s"]));
    assert!(ended.stdout.contains(&format!("connected to {target}")), "{ended:?}");
}
