//! Shared by the tests: the binary in a clean environment, the sandbox, raw loopback servers, waiting.
#![allow(dead_code, reason = "each test takes what it needs")]

pub mod api;
pub mod chains;
pub mod filter;
pub mod issuer;
pub mod job;
pub mod messages;
pub mod network;
pub mod tls;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A machine whose name Locate can parse.
pub const MACHINE: &str = "mlab1-lga0t.mlab-sandbox.measurement-lab.org";

/// The path of a file in `testdata/`.
pub fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

/// The binary, with only PATH and HOME in its environment.
pub fn token() -> Command {
    binary(env!("CARGO_BIN_EXE_monitoring-token"))
}

/// Restores signals that a background job of a shell inherits as ignored (SIGINT and SIGQUIT): every program that the
/// tests start would inherit them, too.
fn take_signals_back() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2]
        {
            // SAFETY: the default disposition runs no handler.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    });
}

fn binary(path: &str) -> Command {
    take_signals_back();
    let mut command = Command::new(path);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/proc/no-home");
    command.stdin(Stdio::null());
    command
}

/// The exit status and the output of a program.
#[derive(Debug)]
pub struct Ended {
    /// As in a shell; -1 if a signal ended the program itself.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ended {
    /// Asserts this exit status, and that stderr is one line with all of `words`.
    #[track_caller]
    pub fn failed_with(&self, status: i32, words: &[&str]) -> &Ended {
        assert_ne!(status, 0, "that is not a failure");
        self.said(status, words)
    }

    /// As [`Ended::failed_with`], also for a success with a warning.
    #[track_caller]
    pub fn said(&self, status: i32, words: &[&str]) -> &Ended {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "one line: {self:?}");
        assert!(self.stderr.starts_with("monitoring-token: "), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:?}");
        }
        assert_eq!(messages::explain(self.stderr.trim_end(), Some(status)).err(), None);
        self
    }

    /// Asserts success without output on stderr.
    #[track_caller]
    pub fn succeeded(&self) -> &Ended {
        assert_eq!((self.status, self.stderr.as_str()), (0, ""), "{self:?}");
        self
    }
}

/// Runs it and waits for its end, within [`PATIENCE`].
#[track_caller]
pub fn run(command: &mut Command) -> Ended {
    finish(start(command))
}

/// Starts with both outputs piped.
#[track_caller]
pub fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// Starts it with a standard output that has no reader.
#[track_caller]
pub fn into_no_reader(command: &mut Command) -> Child {
    let (_, writer) = std::io::pipe().expect("a pipe");
    command.stdout(writer).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// A pipe that is full and not read. It stays so as long as its reader, the first of the two, is there.
pub fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    // SAFETY: the descriptor is open, and no pointer is passed.
    let set = |flags: i32| assert_eq!(unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, flags) }, 0);
    set(libc::O_NONBLOCK);
    while (&writer).write(&[0; 4096]).is_ok() {}
    set(0);
    (reader, writer)
}

/// Waits for the end, within [`PATIENCE`], and then kills it. Each line of the program must be in the manual.
#[track_caller]
pub fn finish(child: Child) -> Ended {
    let ended = wait_for(child);
    messages::all_explained(&ended.stderr);
    ended
}

/// As [`finish`], without the check of lines.
#[track_caller]
pub fn wait_for(child: Child) -> Ended {
    let pid = child.id();
    let (done, ended) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let _ = done.send(child.wait_with_output());
    });
    let Ok(output) = ended.recv_timeout(PATIENCE) else {
        kill(pid, libc::SIGKILL);
        panic!("process {pid} did not end within {PATIENCE:?}");
    };
    output.expect("the program can be waited for").into()
}

/// Sends a signal to one process.
pub fn kill(pid: u32, signal: i32) {
    // SAFETY: kill does not access memory.
    unsafe { libc::kill(i32::try_from(pid).unwrap(), signal) };
}

/// Waits until `condition` returns `Some`, within [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "gave up waiting for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The text of a file, once it is there and ends in a newline.
#[track_caller]
pub fn file_line(path: &Path) -> String {
    eventually(&format!("a line in {}", path.display()), || {
        std::fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'))
    })
}

/// The sandbox's program. It is a separate package, so cargo does not build it for these tests: it is built here, once
/// for each test process. `make bench` and `make guard` have already built it in release mode.
pub fn sandbox_program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_BIN_EXE_monitoring-token")).with_file_name("monitoring-sandbox");
        if program.parent().is_some_and(|folder| folder.ends_with("debug")) {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
            cargo.args(["build", "--quiet", "--locked", "--package", "monitoring-sandbox"]);
            let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).status();
            assert!(status.is_ok_and(|status| status.success()), "{cargo:?} failed");
        }
        let path = program.display().to_string();
        assert!(program.exists(), "{path} is missing: cargo build --package monitoring-sandbox");
        path
    })
}

/// A running sandbox, stopped when dropped.
pub struct Sandbox {
    child: Child,
    /// The exported variables.
    pub env: Vec<(String, String)>,
}

impl Sandbox {
    /// Starts one with these arguments; its Locate is the older one, which grants every service.
    pub fn start(args: &[&str]) -> Sandbox {
        let mut command = binary(sandbox_program());
        if !args.iter().any(|arg| arg.starts_with("--locate-version")) {
            command.arg("--locate-version=0.17");
        }
        let mut child = command
            .args(args)
            .arg("--until-eof")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the sandbox starts");
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut env = Vec::new();
        for line in stdout.lines().map_while(Result::ok) {
            let Some((name, value)) = line.strip_prefix("export ").and_then(|line| line.split_once('='))
            else {
                break;
            };
            let last = name == "SANDBOX_URL";
            env.push((name.to_owned(), value.to_owned()));
            if last {
                break;
            }
        }
        Sandbox { child, env }
    }

    /// The value of an exported variable.
    pub fn var(&self, name: &str) -> &str {
        self.env
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
            .expect("the sandbox exports it")
    }

    /// The binary with the exported variables.
    pub fn token(&self) -> Command {
        let mut command = token();
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Sets its fault, see `Fault`.
    pub fn misbehave(&self, fault: &str) {
        let address = self.var("SANDBOX_URL").strip_prefix("http://").unwrap();
        let request = format!(
            "POST /sandbox/fault HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{fault}",
            fault.len()
        );
        let answer = exchange(address, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Writes `request` to `address` and reads until the end.
pub fn exchange(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A raw server on loopback: `handle` gets one connection after the other, on a thread that ends with the process.
pub fn serve(handle: impl FnMut(TcpStream) + Send + 'static) -> SocketAddr {
    serve_at("127.0.0.1", handle)
}

/// As [`serve`], on another loopback address.
pub fn serve_at(host: &str, mut handle: impl FnMut(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((host, 0)).expect("a free port");
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            handle(stream);
        }
    });
    address
}

/// A listener whose queue is full: connections to it are neither made nor refused. It ends with the process.
pub fn full_queue(host: &str, port: u16) -> SocketAddr {
    let listener = TcpListener::bind((host, port)).expect("a free port");
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
    std::mem::forget((listener, held));
    address
}

/// `unshare` with these flags, in a new user namespace if necessary.
pub fn namespace(flags: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    // SAFETY: geteuid has no conditions.
    if unsafe { libc::geteuid() } != 0 {
        command.arg("--map-root-user");
    }
    command.args(flags);
    command
}

/// Reads the headers of a request.
pub fn read_head(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    read_head_of(stream)
}

/// Reads the headers of a request from any stream.
pub fn read_head_of(stream: &mut impl std::io::Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A raw server that responds to every request with these bytes.
pub fn serve_bytes(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer = answer.into();
    serve(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(&answer);
    })
}

/// An HTTP response with this status line, headers (each with its CRLF) and body.
pub fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}
