//! The server of a recorded run: it gives the recorded responses and records the requests.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use super::case::{Asked, bytes, without_jwt};
use crate::support::{PATIENCE, read_head, testdata};

/// A server for one run.
pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    at: &'static str,
    /// One response for each request; the last one repeats.
    answers: Vec<Value>,
    /// The values of placeholders in responses.
    names: Vec<(&'static str, String)>,
    asked: Mutex<Vec<Asked>>,
    over: AtomicBool,
}

impl Server {
    /// Listens on this loopback address, unless the recording refused connections.
    pub fn start(host: &str, at: &'static str, answers: &Value, names: &[(&'static str, String)]) -> Server {
        let answers = match answers {
            Value::Null => vec![serde_json::json!({"status": 200, "body": "{FULL}"})],
            Value::Array(many) => many.clone(),
            one => vec![one.clone()],
        };
        let refuses = answers[0]["behaviour"] == "refuse";
        let listener = TcpListener::bind((host, 0)).expect("a free port");
        let address = listener.local_addr().unwrap();
        let mut names = names.to_vec();
        names.push(("{PORT}", address.port().to_string()));
        let shared = Arc::new(Shared { at, answers, names, asked: Mutex::default(), over: false.into() });
        let shared_there = Arc::clone(&shared);
        // A port without a listener.
        let thread = (!refuses).then(|| thread::spawn(move || shared_there.serve(&listener)));
        Server { address, shared, thread }
    }

    /// Stops, and returns the requests.
    pub fn finish(mut self) -> Vec<Asked> {
        self.shared.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = TcpStream::connect(self.address);
            thread.join().expect("the server ends in order");
        }
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }
}

impl Shared {
    fn serve(&self, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            self.answer(stream);
        }
    }

    fn answer(&self, mut stream: TcpStream) {
        // TLS gets no response from this server, as in the recording.
        let mut first = [0];
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        if !matches!(stream.peek(&mut first), Ok(1)) || !first[0].is_ascii_uppercase() {
            return self.hang(&mut stream);
        }
        let head = read_head(&mut stream);
        if head.starts_with("CONNECT ") {
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        let number = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(read_request(self.at, &head));
            asked.len() - 1
        };
        let answer = &self.answers[number.min(self.answers.len() - 1)];
        if let Some(delay) = answer["delay_ms"].as_u64() {
            thread::sleep(Duration::from_millis(delay));
        }
        match answer["behaviour"].as_str() {
            Some("hang") => self.hang(&mut stream),
            Some("close") => {}
            Some("reset") => {
                let linger = libc::linger { l_onoff: 1, l_linger: 0 };
                let size = libc::socklen_t::try_from(size_of::<libc::linger>()).unwrap();
                // SAFETY: `linger` is there during the call, and `size` is its size.
                unsafe {
                    let linger = std::ptr::from_ref(&linger).cast();
                    libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, linger, size);
                }
            }
            _ => self.write(&mut stream, answer),
        }
    }

    /// Says nothing until the client gives up.
    fn hang(&self, stream: &mut TcpStream) {
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut rest = [0; 1024];
        loop {
            match stream.read(&mut rest) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            if self.over.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    fn fill(&self, text: &str) -> Vec<u8> {
        let file = |name: &str| std::fs::read_to_string(testdata("original").join(name)).unwrap();
        let mut text = text.to_owned();
        for (placeholder, name) in [("{FULL}", "answer-full.json"), ("{FULL7}", "answer-ndt7.json")] {
            if text.contains(placeholder) {
                text = text.replace(placeholder, file(name).trim_end());
            }
        }
        for (placeholder, value) in &self.names {
            text = text.replace(placeholder, value);
        }
        bytes(&text)
    }

    fn write(&self, stream: &mut TcpStream, answer: &Value) {
        if let Some(raw) = answer["raw"].as_str() {
            let _ = stream.write_all(&self.fill(raw));
            return;
        }
        let body = self.fill(answer["body"].as_str().unwrap_or_default());
        let mut headers = vec![
            ("Date".to_owned(), httpdate::fmt_http_date(std::time::SystemTime::now())),
            ("Content-Type".to_owned(), "application/json".to_owned()),
        ];
        for (name, value) in answer["headers"].as_object().into_iter().flatten() {
            headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
            if let Some(value) = value.as_str() {
                headers.push((name.clone(), String::from_utf8_lossy(&self.fill(value)).into_owned()));
            }
        }
        let zipped = answer["gzip"] == "always";
        if zipped {
            headers.push(("Content-Encoding".to_owned(), "gzip".to_owned()));
        }
        let chunked = answer["chunked"] == true;
        if chunked {
            headers.push(("Transfer-Encoding".to_owned(), "chunked".to_owned()));
        } else if answer["no_length"] != true {
            headers.push(("Content-Length".to_owned(), body.len().to_string()));
        }
        let mut head = format!("HTTP/1.1 {} Recorded\r\n", answer["status"]);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "Connection: close\r\n\r\n";
        let mut written = body;
        if chunked {
            let end = format!("{:x}\r\n", written.len());
            written = [end.as_bytes(), &written, b"\r\n0\r\n\r\n"].concat();
        }
        let missing = usize::try_from(answer["truncate"].as_u64().unwrap_or_default()).unwrap();
        written.truncate(written.len() - missing);
        let whole = [head.into_bytes(), written].concat();
        match answer["slow_ms"].as_u64() {
            None => drop(stream.write_all(&whole)),
            Some(pause) => {
                for piece in whole.chunks(200) {
                    if stream.write_all(piece).is_err() || self.over.load(Ordering::SeqCst) {
                        return;
                    }
                    thread::sleep(Duration::from_millis(pause));
                }
            }
        }
    }
}

fn read_request(at: &'static str, head: &str) -> Asked {
    let line = head.lines().next().unwrap_or_default();
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    // A proxy is asked for a whole URL.
    let target = match target.split_once("://").filter(|_| !target.starts_with('/')) {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (query, jwt) = without_jwt(query);
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    Asked { at, method, path: path.to_owned(), query, authorization: header("authorization"), jwt }
}
