//! Connections that fail, break or stay silent; and proxies.

use std::io::Write as _;

use super::Server::At;
use super::servers::{
    answers, closed_port, does, drip, endless, full_queue, reset, resets_after, says, stalls_after,
    stalls_after_any,
};
use super::{Lab, Row};
use crate::support::read_head;

/// Connections that break.
#[rustfmt::skip]
pub fn broken(_: &Lab) -> Vec<Row> {
    vec![
        ("refused", closed_port(), &[], 125, &["cannot connect to http://127.0.0.1:", "connection refused", "check that the server is running and the port is correct"]),
        ("an address that cannot be reached", At("http://255.255.255.255:1"), &[], 125, &["cannot connect to http://255.255.255.255:1: "]),
        ("refused, with retries", closed_port(), &["-retries=1"], 125, &["connection refused", "the port is correct; tried 2 times"]),
        ("no such host", At("http://name.invalid"), &[], 125, &["cannot resolve name.invalid: no such host; check the host name and DNS"]),
        ("reset at once", does(|stream| reset(&stream)), &[], 125, &["http://127.0.0.1:", "reset"]),
        ("reset before the answer", resets_after(""), &[], 125, &["the connection to http://127.0.0.1:", "broke before it responded", "connection reset"]),
        ("reset in the middle", resets_after("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), &[], 125, &["http://127.0.0.1:"]),
        ("closed at once", does(drop), &[], 125, &["http://127.0.0.1:", "before it responded"]),
        ("closed before the answer", says(""), &[], 125, &["closed the connection before it responded"]),
        ("closed in the head", says("HTTP/1.1 200 OK\r\nContent-"), &[], 125, &["closed the connection before it responded"]),
        ("closed in the body", says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), &[], 125, &["the connection to http://127.0.0.1:", "broke in the middle of its response: end of file before message length reached"]),
        ("closed in a chunk", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"), &[], 125, &["in the middle of its response"]),
        ("chunks of nonsense", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"), &[], 125, &["in the middle of its response", "chunk size"]),
        ("a negative length", says("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"), &[], 125, &["did not respond with valid HTTP: its Content-Length is invalid", "scheme and port"]),
        ("two lengths", says("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"), &[], 125, &["did not respond with valid HTTP"]),
        ("headers without end", endless("HTTP/1.1 200 OK\r\n", b"X-Y: zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n"), &[], 125, &["did not respond with valid HTTP"]),
        ("a greeting of ssh", does(|mut stream| { let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n"); read_head(&mut stream); }), &[], 125, &["did not respond with valid HTTP: it speaks SSH", "check the scheme and port of the URL"]),
        ("HTTP/0.9", says("<html></html>\r\n"), &[], 125, &["did not respond with valid HTTP"]),
        ("HTTP/2", says(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00".as_slice()), &[], 125, &["speaks only HTTP/2, which is not supported"]),
        ("TLS", says(b"\x15\x03\x01\x00\x02\x02\x46".as_slice()), &[], 125, &["speaks TLS on this port; use https in its URL"]),
        ("a status of four digits", says("HTTP/1.1 2000 OK\r\n\r\n{}"), &[], 125, &["did not respond with valid HTTP"]),
        ("switching protocols", says("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), &[], 125, &["http://127.0.0.1:"]),
    ]
}

/// Silence until the timeout; the message names the step.
#[rustfmt::skip]
pub fn silent(_: &Lab) -> Vec<Row> {
    vec![
        ("before anything", At("http://127.0.0.1:1"), &["-timeout=1µs"], 124, &["timed out after", "while connecting (http://127.0.0.1:1)"]),
        ("before anything, by a proxy", At("http://far.invalid/"), &["-timeout=1µs", "HTTP_PROXY=http://[::1]:1"], 124, &["while connecting (http://far.invalid through the proxy http://[::1]:1/)"]),
        ("before anything, by a name", At("http://localhost:1"), &["-timeout=1µs"], 124, &["while resolving the host name (http://localhost:1)"]),
        ("while connecting", full_queue(), &["-timeout=700ms"], 124, &["timed out after", "while connecting (http://127.0.0.1:", "firewall"]),
        ("in the TLS handshake", stalls_after_any(), &["-timeout=700ms", "LOCATE_URL=https://{host}/"], 124, &["in the TLS handshake (https://127.0.0.1:"]),
        ("before the answer", stalls_after(""), &["-timeout=700ms"], 124, &["while waiting for the response (http://127.0.0.1:"]),
        ("in the head", stalls_after("HTTP/1.1 200 OK\r\n"), &["-timeout=700ms"], 124, &["while waiting for the response"]),
        ("in the body", stalls_after("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"), &["-timeout=700ms"], 124, &["while reading the response"]),
        ("byte by byte", does(drip), &["-timeout=700ms"], 124, &["while reading the response"]),
        ("a proxy that is silent", stalls_after(""), &["-timeout=700ms", "HTTP_PROXY={url}", "LOCATE_URL=http://far.invalid/"], 124, &["waiting for the response (http://far.invalid through the proxy http://127.0.0.1:"]),
        ("a tunnel that is silent", stalls_after(""), &["-timeout=700ms", "HTTPS_PROXY={url}", "LOCATE_URL=https://far.invalid/"], 124, &["while connecting (https://far.invalid through the proxy http://127.0.0.1:", "check that the proxy is up and can reach the server"]),
        ("by SCRIPT_DEADLINE", stalls_after(""), &["SCRIPT_DEADLINE={soon}"], 124, &["while waiting for the response"]),
    ]
}

/// Proxies that fail.
#[rustfmt::skip]
pub fn proxies(_: &Lab) -> Vec<Row> {
    let proxy = |answer: &str| says(answer.to_owned());
    let wants_password = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    vec![
        ("no proxy URL", At("http://far.invalid/"), &["HTTP_PROXY=http://a b"], 125, &["HTTP_PROXY is not a valid proxy URL"]),
        ("a proxy URL with a variable in it", At("http://far.invalid/"), &["http_proxy=http://${PROXY_HOST}:3128"], 125, &["http_proxy is not a valid proxy URL", "was not expanded"]),
        ("a proxy URL of a template", At("https://far.invalid/"), &["https_proxy={{ proxy }}:3128"], 125, &["https_proxy is not a valid proxy URL", "was not expanded"]),
        ("a proxy with a list of hosts", At("https://far.invalid/"), &["https_proxy=http://a,b:3128"], 125, &["https_proxy is not a valid proxy URL"]),
        ("a proxy's user that is a word of the message", At("http://far.invalid/"), &["http_proxy=http://proxy@127.0.0.1:1"], 125, &["cannot connect to the proxy http://REDACTED@127.0.0.1:1/", "check http_proxy and NO_PROXY"]),
        ("no proxy URL for https", At("https://far.invalid/"), &["HTTPS_PROXY=http://a b"], 125, &["HTTPS_PROXY is not a valid proxy URL: expected"]),
        ("no proxy URL, with a password", At("http://far.invalid/"), &["http_proxy=ftp://u:pw@h/"], 125, &["http_proxy is not a valid proxy URL", "percent-encode"]),
        ("a question before a warning", proxy("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), &["HTTP_PROXY={url}", "LOCATE_URL=http://far.invalid/"], 125, &["check -locate-url and -service; and note that tokens are sent to far.invalid over plain HTTP"]),
        ("a proxy that is down", At("http://far.invalid/"), &["HTTP_PROXY=http://127.0.0.1:1"], 125, &["cannot connect to the proxy http://127.0.0.1:1/ for http://far.invalid", "connection refused", "; and note that tokens are sent to far.invalid over plain HTTP"]),
        ("a proxy nobody knows", At("https://far.invalid/"), &["HTTPS_PROXY=http://proxy.invalid:1"], 125, &["cannot resolve the proxy proxy.invalid: no such host; check HTTPS_PROXY and DNS"]),
        ("a tunnel that wants a password", proxy(wants_password), &["HTTPS_PROXY={url}", "LOCATE_URL=https://far.invalid/"], 125, &["the proxy http://127.0.0.1:", "requires authentication (HTTP 407), but HTTPS_PROXY has no credentials"]),
        ("a tunnel that is refused", proxy("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), &["HTTPS_PROXY={url}", "LOCATE_URL=https://far.invalid/"], 125, &["refused to connect to https://far.invalid (HTTP 403 Forbidden)", "HTTPS_PROXY"]),
        ("a proxy's own error", answers("503 Service Unavailable", "", "squid"), &["HTTP_PROXY={url}", "LOCATE_URL=http://far.invalid/"], 125, &["http://far.invalid through the proxy http://127.0.0.1:", "HTTP 503 Service Unavailable, \"squid\"", "tokens are sent to far.invalid over plain HTTP"]),
        ("a proxy's password is not shown", At("http://far.invalid/"), &["HTTP_PROXY=http://u:s3cret@127.0.0.1:1"], 125, &["http://REDACTED@127.0.0.1:1"]),
    ]
}
