//! Talks to the sandbox's token APIs directly.

use crate::support::job::Folder;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};

use serde_json::Value;

use super::{PATIENCE, Sandbox, eventually, exchange, read_head, run, serve};

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

/// Makes a request with these bytes.
pub fn ask(
    sandbox: &Sandbox,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: Option<&str>,
) -> Reply {
    let address = sandbox.var("SANDBOX_URL").strip_prefix("http://").unwrap().to_owned();
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(request, "{name}: {value}\r\n");
    }
    if let Some(body) = body {
        let _ = write!(request, "Content-Length: {}\r\n", body.len());
    }
    let answer = exchange(&address, format!("{request}\r\n{}", body.unwrap_or_default()).as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    Reply {
        status: status.unwrap_or_else(|| panic!("no status: {answer}")),
        headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        body: body.to_owned(),
    }
}

impl Sandbox {
    /// The state that a control path shows.
    #[track_caller]
    pub fn shows(&self, path: &str) -> Value {
        ask(self, "GET", path, &[], None).json()
    }

    /// Changes Gafaelfawr's state.
    #[track_caller]
    pub fn change_gafaelfawr(&self, change: &str) {
        assert_eq!(ask(self, "POST", "/sandbox/gafaelfawr", &[], Some(change)).status, 200, "{change}");
    }

    /// The tokens of an issuer that a client made.
    #[track_caller]
    pub fn made_tokens(&self, control: &str) -> Vec<Value> {
        let tokens = self.shows(control)["tokens"].as_array().cloned().expect("a list of tokens");
        tokens.into_iter().filter(|token| token["username"] != "admin").collect()
    }

    /// The requests to the token APIs so far, as `METHOD path`.
    pub fn requests(&self) -> Vec<String> {
        let requests = self.shows("/sandbox/requests");
        let line = |request: &Value| {
            format!("{} {}", request["method"].as_str().unwrap(), request["path"].as_str().unwrap())
        };
        requests.as_array().unwrap().iter().map(line).collect()
    }

    /// Waits for a request that begins like this.
    #[track_caller]
    pub fn awaits(&self, beginning: &str) {
        eventually(&format!("a request {beginning}"), || {
            self.requests().iter().any(|line| line.starts_with(beginning)).then_some(())
        });
    }
}

/// Reads a complete request.
pub fn read_request(stream: &mut TcpStream) -> String {
    let head = read_head(stream);
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let _ = stream.read_exact(&mut body);
    head + &String::from_utf8_lossy(&body)
}

/// A server in front of `upstream`, a URL: `handle` gets each request and a function that forwards it, and returns the
/// response.
pub fn relay(
    upstream: &str,
    mut handle: impl FnMut(&str, &dyn Fn(&str) -> String) -> String + Send + 'static,
) -> String {
    let upstream = upstream.strip_prefix("http://").unwrap().to_owned();
    let address = serve(move |mut stream| {
        let request = read_request(&mut stream);
        // A connection that is only a test.
        if request.is_empty() {
            return;
        }
        let answer = handle(&request, &|request| exchange(&upstream, request.as_bytes()));
        let _ = stream.write_all(answer.as_bytes());
    });
    format!("http://{address}")
}

/// A proxy that forwards requests to `upstream`, a URL, unless `instead` returns a response.
pub fn proxy(upstream: &str, instead: impl Fn(&str) -> Option<String> + Send + 'static) -> SocketAddr {
    let url = relay(upstream, move |request, pass_on| {
        let answer = pass_on(request);
        instead(request).unwrap_or(answer)
    });
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// A proxy that holds certain requests until they are released.
pub struct Gate {
    pub url: String,
    asked: Receiver<()>,
    go_on: Sender<()>,
}

impl Gate {
    /// Holds requests that begin like this, before they reach `upstream`, a URL, or, with `after`, holds their
    /// responses.
    pub fn start(upstream: &str, beginning: &'static str, after: bool) -> Gate {
        let upstream = upstream.strip_prefix("http://").unwrap().to_owned();
        let (tell, asked) = mpsc::channel();
        let (go_on, wait) = mpsc::channel();
        let address = serve(move |mut stream| {
            let request = read_request(&mut stream);
            let wait_here = || {
                let _ = tell.send(());
                let _ = wait.recv_timeout(PATIENCE);
            };
            let is_meant = request.starts_with(beginning);
            if is_meant && !after {
                wait_here();
            }
            let answer = exchange(&upstream, request.as_bytes());
            if is_meant && after {
                wait_here();
            }
            let _ = stream.write_all(answer.as_bytes());
        });
        Gate { url: format!("http://{address}"), asked, go_on }
    }

    /// Waits until a request is held.
    #[track_caller]
    pub fn holds(&self) {
        self.asked.recv_timeout(PATIENCE).expect("a request");
    }

    pub fn let_go(&self) {
        self.go_on.send(()).expect("the proxy is there");
    }
}

/// The environment of COMMAND.
#[track_caller]
pub fn environment(command: &mut Command) -> BTreeMap<String, String> {
    let folder = Folder::new();
    let seen = folder.path("environment");
    run(shell(command, &format!("env -0 > {}", seen.display()))).succeeded();
    let seen = std::fs::read_to_string(seen).expect("the command has run");
    let variables = seen.split('\0').filter_map(|line| line.split_once('='));
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A shell script as COMMAND.
pub fn shell<'a>(command: &'a mut Command, script: &str) -> &'a mut Command {
    command.args(["--", "/bin/sh", "-c", script])
}
