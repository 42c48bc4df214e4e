//! A running sandbox, and raw requests to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// The program, with an empty environment.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_monitoring-sandbox"));
    command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// A running sandbox, stopped when dropped.
pub struct Sandbox {
    pub child: Child,
    /// The `export` lines.
    pub exports: String,
    address: String,
}

impl Sandbox {
    pub fn start(command: &mut Command) -> Sandbox {
        let mut child = command.arg("--until-eof").spawn().expect("the sandbox starts");
        let mut exports = String::new();
        let mut address = None;
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            let _ = writeln!(exports, "{line}");
            address = line.strip_prefix("export SANDBOX_URL=http://").map(str::to_owned);
            if address.is_some() {
                break;
            }
        }
        Sandbox { child, address: address.unwrap_or_else(|| panic!("no SANDBOX_URL in {exports}")), exports }
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Makes a request with these headers and `Connection: close`.
    pub fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !body.is_empty() {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        let mut stream = TcpStream::connect(&self.address).expect("the sandbox listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&[head.as_bytes(), b"\r\n", body].concat()).expect("the request is taken");
        let mut response = Vec::new();
        stream.read_to_end(&mut response).expect("a response");
        Response::parse(&String::from_utf8_lossy(&response))
    }

    /// As [`Sandbox::ask`], with the sandbox's own Host.
    pub fn request(&self, method: &str, target: &str, body: &[u8]) -> Response {
        self.ask(method, target, &[("Host", &self.address), ("Content-Type", "application/json")], body)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Names in lower case, without the headers of every response.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Response {
    fn parse(text: &str) -> Response {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("not HTTP: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let of_connection = ["connection", "content-length", "date"];
        Response {
            status: status.unwrap_or_else(|| panic!("no status: {text:?}")),
            headers: headers.filter(|(name, _)| !of_connection.contains(&name.as_str())).collect(),
            body: body.to_owned(),
        }
    }
}
