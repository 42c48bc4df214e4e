//! Servers that misbehave.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, SystemTime};

use super::Server;
use super::Server::At;
use crate::support::{self, http, read_head};

pub fn does(handle: impl FnMut(TcpStream) + Send + 'static) -> Server {
    Server::Does(Box::new(handle))
}

/// Reads the request and responds with these bytes.
pub fn says(answer: impl Into<Vec<u8>>) -> Server {
    let answer = answer.into();
    does(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(&answer);
        // A reset must not cut off bytes that are still being read.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

/// Responds with this status line, headers (each with its CRLF) and body.
pub fn answers(status: &str, headers: &str, body: &str) -> Server {
    says(http(status, headers, body))
}

pub fn json(status: &str, body: &str) -> Server {
    answers(status, "Content-Type: application/json\r\n", body)
}

/// A successful response with these `target.urls`.
pub fn urls(urls: &str) -> Server {
    json("200 OK", &format!(r#"{{"access_token":"x","target":{{"machine":"m","urls":{urls}}}}}"#))
}

/// Responds with the result of `make` for the headers of the request.
pub fn replies(make: impl Fn(&str) -> String + Send + 'static) -> Server {
    does(move |mut stream| {
        let head = read_head(&mut stream);
        let _ = stream.write_all(make(&head).as_bytes());
    })
}

/// Reads the request, writes this, and then neither writes nor closes the connection.
pub fn stalls_after(begin: &'static str) -> Server {
    let mut held = Vec::new();
    does(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(begin.as_bytes());
        held.push(stream);
    })
}

/// The next close of the connection is a reset.
pub fn reset(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = u32::try_from(size_of::<libc::linger>()).unwrap();
    // SAFETY: pointer and size are those of a `linger` that outlives the call.
    let done = unsafe {
        let option = (&raw const linger).cast();
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, option, size)
    };
    assert_eq!(done, 0);
}

/// Reads the request, writes this, and resets the connection.
pub fn resets_after(begin: &'static str) -> Server {
    does(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(begin.as_bytes());
        reset(&stream);
    })
}

/// Repeats `chunk` after `head` until the connection is closed.
pub fn endless(head: &'static str, chunk: &'static [u8]) -> Server {
    does(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(head.as_bytes());
        while stream.write_all(chunk).is_ok() {}
    })
}

/// The JWT in the headers of a request.
pub fn jwt_in(head: &str) -> &str {
    let (_, rest) = head.split_once("access_token=").expect("every request has a token");
    rest.split(['&', ' ']).next().unwrap_or_default()
}

/// The HTTP date this many seconds from now.
pub fn date(offset_seconds: i64) -> String {
    let offset = Duration::from_secs(offset_seconds.unsigned_abs());
    let now = SystemTime::now();
    httpdate::fmt_http_date(if offset_seconds < 0 { now - offset } else { now + offset })
}

pub fn rejects_with_date(offset_seconds: i64) -> Server {
    replies(move |_| http("401 Unauthorized", &format!("Date: {}\r\n", date(offset_seconds)), ""))
}

pub fn host_in(head: &str) -> &str {
    head.lines().find_map(|line| line.strip_prefix("host: ")).expect("every request names its host")
}

/// Connections to it are neither made nor refused.
pub fn full_queue() -> Server {
    At(Box::leak(format!("http://{}", support::full_queue("127.0.0.1", 0)).into_boxed_str()))
}

/// An address without a listener.
pub fn closed_port() -> Server {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    At(Box::leak(format!("http://{address}").into_boxed_str()))
}

/// Accepts connections and does nothing else.
pub fn stalls_after_any() -> Server {
    let mut held = Vec::new();
    does(move |stream| held.push(stream))
}

/// Sends one byte at a time, without end.
pub fn drip(mut stream: TcpStream) {
    read_head(&mut stream);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
    while stream.write_all(b" ").is_ok() {
        std::thread::sleep(Duration::from_millis(50));
    }
}
