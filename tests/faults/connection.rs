//! Connections that fail, break or stay silent; and proxies.

use std::io::Write as _;

use super::Server::At;
use super::servers::{
    answers, closed_port, does, drip, endless, full_queue, reset, resets_after, says, stalls_after,
    stalls_after_any,
};
use super::{Fault, Lab, fault};
use crate::support::read_head;

/// Connections that break.
pub fn broken(_: &Lab) -> Vec<Fault> {
    vec![
        fault(
            "refused",
            closed_port(),
            &[
                "cannot connect to http://127.0.0.1:",
                "connection refused",
                "check that the server is running and the port is correct",
            ],
        ),
        fault(
            "an address that cannot be reached",
            At("http://255.255.255.255:1"),
            &["cannot connect to http://255.255.255.255:1: "],
        ),
        fault(
            "refused, with retries",
            closed_port(),
            &["connection refused", "the port is correct; tried 2 times"],
        )
        .with(&["-retries=1"]),
        fault(
            "no such host",
            At("http://name.invalid"),
            &["cannot resolve name.invalid: no such host; check the host name and DNS"],
        ),
        fault("reset at once", does(|stream| reset(&stream)), &["http://127.0.0.1:", "reset"]),
        fault(
            "reset before the answer",
            resets_after(""),
            &["the connection to http://127.0.0.1:", "broke before it responded", "connection reset"],
        ),
        fault(
            "reset in the middle",
            resets_after("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
            &["http://127.0.0.1:"],
        ),
        fault("closed at once", does(drop), &["http://127.0.0.1:", "before it responded"]),
        fault("closed before the answer", says(""), &["closed the connection before it responded"]),
        fault(
            "closed in the head",
            says("HTTP/1.1 200 OK\r\nContent-"),
            &["closed the connection before it responded"],
        ),
        fault(
            "closed in the body",
            says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
            &[
                "the connection to http://127.0.0.1:",
                "broke in the middle of its response: end of file before message length reached",
            ],
        ),
        fault(
            "closed in a chunk",
            says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"),
            &["in the middle of its response"],
        ),
        fault(
            "chunks of nonsense",
            says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
            &["in the middle of its response", "chunk size"],
        ),
        fault(
            "a negative length",
            says("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"),
            &["did not respond with valid HTTP: its Content-Length is invalid", "scheme and port"],
        ),
        fault(
            "two lengths",
            says("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"),
            &["did not respond with valid HTTP"],
        ),
        fault(
            "headers without end",
            endless("HTTP/1.1 200 OK\r\n", b"X-Y: zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n"),
            &["did not respond with valid HTTP"],
        ),
        fault(
            "a greeting of ssh",
            does(|mut stream| {
                let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
                read_head(&mut stream);
            }),
            &["did not respond with valid HTTP: it speaks SSH", "check the scheme and port of the URL"],
        ),
        fault("HTTP/0.9", says("<html></html>\r\n"), &["did not respond with valid HTTP"]),
        fault(
            "HTTP/2",
            says(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00".as_slice()),
            &["speaks only HTTP/2, which is not supported"],
        ),
        fault(
            "TLS",
            says(b"\x15\x03\x01\x00\x02\x02\x46".as_slice()),
            &["speaks TLS on this port; use https in its URL"],
        ),
        fault(
            "a status of four digits",
            says("HTTP/1.1 2000 OK\r\n\r\n{}"),
            &["did not respond with valid HTTP"],
        ),
        fault(
            "switching protocols",
            says("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
            &["http://127.0.0.1:"],
        ),
    ]
}

/// Silence until the timeout; the message names the step.
pub fn silent(_: &Lab) -> Vec<Fault> {
    vec![
        fault(
            "before anything",
            At("http://127.0.0.1:1"),
            &["timed out after", "while connecting to http://127.0.0.1:1: "],
        )
        .with(&["-timeout=1µs"])
        .exits(124),
        fault(
            "before anything, by a proxy",
            At("http://far.invalid/"),
            &["while connecting to http://far.invalid through the proxy http://[::1]:1/: "],
        )
        .with(&["-timeout=1µs", "HTTP_PROXY=http://[::1]:1"])
        .exits(124),
        fault(
            "before anything, by a name",
            At("http://localhost:1"),
            &["while resolving the host name of http://localhost:1: "],
        )
        .with(&["-timeout=1µs"])
        .exits(124),
        fault(
            "while connecting",
            full_queue(),
            &["timed out after", "while connecting to http://127.0.0.1:", "firewall"],
        )
        .with(&["-timeout=700ms"])
        .exits(124),
        fault("in the TLS handshake", stalls_after_any(), &["in the TLS handshake with https://127.0.0.1:"])
            .with(&["-timeout=700ms", "LOCATE_URL=https://{host}/"])
            .exits(124),
        fault(
            "before the answer",
            stalls_after(""),
            &["while waiting for http://127.0.0.1:", " to respond: "],
        )
        .with(&["-timeout=700ms"])
        .exits(124),
        fault("in the head", stalls_after("HTTP/1.1 200 OK\r\n"), &["while waiting for http"])
            .with(&["-timeout=700ms"])
            .exits(124),
        fault(
            "in the body",
            stalls_after("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"),
            &["while reading the response"],
        )
        .with(&["-timeout=700ms"])
        .exits(124),
        fault("byte by byte", does(drip), &["while reading the response"])
            .with(&["-timeout=700ms"])
            .exits(124),
        fault(
            "a proxy that is silent",
            stalls_after(""),
            &["waiting for http://far.invalid through the proxy http://127.0.0.1:", "to respond: "],
        )
        .with(&["-timeout=700ms", "HTTP_PROXY={url}", "LOCATE_URL=http://far.invalid/"])
        .exits(124),
        fault(
            "a tunnel that is silent",
            stalls_after(""),
            &[
                "while connecting to https://far.invalid through the proxy http://127.0.0.1:",
                "check that the proxy is up and can reach the server",
            ],
        )
        .with(&["-timeout=700ms", "HTTPS_PROXY={url}", "LOCATE_URL=https://far.invalid/"])
        .exits(124),
        fault("by SCRIPT_DEADLINE", stalls_after(""), &["while waiting for http"])
            .with(&["SCRIPT_DEADLINE={soon}"])
            .exits(124),
    ]
}

/// Proxies that fail.
pub fn proxies(_: &Lab) -> Vec<Fault> {
    let proxy = |answer: &str| says(answer.to_owned());
    let wants_password = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    vec![
        fault("no proxy URL", At("http://far.invalid/"), &["HTTP_PROXY is not a valid proxy URL"])
            .with(&["HTTP_PROXY=http://a b"]),
        fault(
            "a proxy URL with a variable in it",
            At("http://far.invalid/"),
            &["http_proxy is not a valid proxy URL", "was not expanded"],
        )
        .with(&["http_proxy=http://${PROXY_HOST}:3128"]),
        fault(
            "a proxy URL of a template",
            At("https://far.invalid/"),
            &["https_proxy is not a valid proxy URL", "was not expanded"],
        )
        .with(&["https_proxy={{ proxy }}:3128"]),
        fault(
            "a proxy with a list of hosts",
            At("https://far.invalid/"),
            &["https_proxy is not a valid proxy URL"],
        )
        .with(&["https_proxy=http://a,b:3128"]),
        fault(
            "a proxy's user that is a word of the message",
            At("http://far.invalid/"),
            &["cannot connect to the proxy http://REDACTED@127.0.0.1:1/", "check http_proxy and NO_PROXY"],
        )
        .with(&["http_proxy=http://proxy@127.0.0.1:1"]),
        fault(
            "no proxy URL for https",
            At("https://far.invalid/"),
            &["HTTPS_PROXY is not a valid proxy URL: expected"],
        )
        .with(&["HTTPS_PROXY=http://a b"]),
        fault(
            "no proxy URL, with a password",
            At("http://far.invalid/"),
            &["http_proxy is not a valid proxy URL", "percent-encode"],
        )
        .with(&["http_proxy=ftp://u:pw@h/"]),
        fault(
            "a question before a warning",
            proxy("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
            &["/v2/platform/monitoring/; and note that tokens are sent to far.invalid over plain HTTP"],
        )
        .with(&["HTTP_PROXY={url}", "LOCATE_URL=http://far.invalid/"]),
        fault(
            "a proxy that is down",
            At("http://far.invalid/"),
            &[
                "cannot connect to the proxy http://127.0.0.1:1/ for http://far.invalid",
                "connection refused; check HTTP_PROXY and NO_PROXY",
            ],
        )
        .with(&["HTTP_PROXY=http://127.0.0.1:1"]),
        fault(
            "a proxy nobody knows",
            At("https://far.invalid/"),
            &["cannot resolve the proxy proxy.invalid: no such host; check HTTPS_PROXY and DNS"],
        )
        .with(&["HTTPS_PROXY=http://proxy.invalid:1"]),
        fault(
            "a tunnel that wants a password",
            proxy(wants_password),
            &[
                "the proxy http://127.0.0.1:",
                "requires authentication (HTTP 407), but HTTPS_PROXY has no credentials",
            ],
        )
        .with(&["HTTPS_PROXY={url}", "LOCATE_URL=https://far.invalid/"]),
        fault(
            "a tunnel that is refused",
            proxy("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
            &["refused to connect to https://far.invalid (HTTP 403 Forbidden)", "HTTPS_PROXY"],
        )
        .with(&["HTTPS_PROXY={url}", "LOCATE_URL=https://far.invalid/"]),
        fault(
            "a tunnel to a server that is down",
            proxy("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
            &["could not connect to https://far.invalid (HTTP 502 Bad Gateway); check that the server is up"],
        )
        .with(&["HTTPS_PROXY={url}", "LOCATE_URL=https://far.invalid/"]),
        fault(
            "a proxy's own error",
            answers("503 Service Unavailable", "", "squid"),
            &[
                "http://far.invalid through the proxy http://127.0.0.1:",
                "HTTP 503 Service Unavailable, \"squid\"",
                "tokens are sent to far.invalid over plain HTTP",
            ],
        )
        .with(&["HTTP_PROXY={url}", "LOCATE_URL=http://far.invalid/"]),
        fault("a proxy's password is not shown", At("http://far.invalid/"), &["http://REDACTED@127.0.0.1:1"])
            .with(&["HTTP_PROXY=http://u:s3cret@127.0.0.1:1"]),
    ]
}
