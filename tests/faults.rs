//! Everything that can go wrong before the command: for each fault, the exit status is right, stderr has exactly one
//! line with helpful words and a row in docs/troubleshooting.md, and the command never runs. To add a fault, add a row
//! to a table in `faults/`; see [`Fault`].

#![expect(clippy::too_many_lines, reason = "tables, one row a fault")]

mod connection;
mod local;
mod locate;
mod servers;
mod tls;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crate::support::job::Folder;
use crate::support::messages;
use crate::support::tls::{Authority, Identity};
use crate::support::{MACHINE, read_head, read_head_of, serve, start, testdata, token, wait_for};

/// One fault. In words, flags and variables `{url}` is the server's origin, `{host}` its host and port, `{keys}` the
/// folder of keys, `{dir}` a folder of this section, `{ca}` the certificate of the CA of [`Server::Tls`], `{soon}` a
/// time in 2.5 s, `{ff}` a byte that is not UTF-8.
struct Fault {
    name: &'static str,
    /// The server at `LOCATE_URL`.
    server: Server,
    /// Additional flags (`-…`) and variables (`NAME=value`). The defaults are an EdDSA key, `-service=ndt/ndt7`, no
    /// retries, and a timeout that is not reached.
    settings: &'static [&'static str],
    status: i32,
    /// Words of the message.
    words: &'static [&'static str],
}

/// A fault with the default settings and the most common exit status.
fn fault(name: &'static str, server: Server, words: &'static [&'static str]) -> Fault {
    Fault { name, server, settings: &[], status: 125, words }
}

impl Fault {
    fn with(self, settings: &'static [&'static str]) -> Fault {
        Fault { settings, ..self }
    }

    fn exits(self, status: i32) -> Fault {
        Fault { status, ..self }
    }
}

/// The server of a fault.
enum Server {
    /// No server: this is `LOCATE_URL`.
    At(&'static str),
    /// A raw server on loopback that handles each connection like this.
    Does(Box<dyn FnMut(TcpStream) + Send>),
    /// The same, with TLS, for this host name.
    Tls(&'static str, Box<Identity>, Vec<u8>),
    /// No server: this is the whole command line, with a key and without an exchange.
    Line(&'static [&'static str]),
}

impl Server {
    /// Starts it and returns its origin.
    fn start(self) -> String {
        match self {
            Server::At(url) => url.to_owned(),
            Server::Line(_) => String::new(),
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

/// State shared by the faults.
struct Lab {
    /// A server that must not get a token, and its requests.
    elsewhere: (SocketAddr, Arc<Mutex<Vec<String>>>),
    folder: Folder,
    authority: Authority,
}

impl Lab {
    fn new() -> Lab {
        let folder = Folder::new();
        let authority = Authority::new("Authority of the tests");
        folder.write("ca.pem", authority.pem());
        let travelled = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&travelled);
        let elsewhere = serve(move |mut stream| seen.lock().unwrap().push(read_head(&mut stream)));
        Lab { elsewhere: (elsewhere, travelled), folder, authority }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        self.folder.write(name, bytes);
    }

    fn make_fifo(&self, name: &str) {
        let status = Command::new("mkfifo").arg(self.path(name)).status().expect("mkfifo runs");
        assert!(status.success());
    }

    /// The run with this fault. Its command would write `ran`.
    fn command(&self, server: Server, settings: &[&str], ran: &Path) -> Command {
        let line = if let Server::Line(line) = server { Some(line) } else { None };
        let url = server.start();
        let fill = |text: &str| {
            let soon = SystemTime::now() + Duration::from_millis(2500);
            let soon = soon.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
            let text = text
                .replace("{url}", &url)
                .replace("{host}", url.rsplit("//").next().unwrap())
                .replace("{soon}", &soon.to_string())
                .replace("{keys}", testdata("keys").to_str().unwrap())
                .replace("{dir}", self.folder.root().to_str().unwrap())
                .replace("{ca}", self.path("ca.pem").to_str().unwrap());
            OsString::from_vec(text.split("{ff}").map(str::as_bytes).collect::<Vec<_>>().join(&0xff))
        };
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"));
        if let Some(line) = line {
            command.env("MONITORING_TOKEN_EXCHANGE", "false").args(line.iter().map(|word| fill(word)));
        } else {
            let is_origin = url.matches('/').count() == 2;
            let path = if is_origin { "/v2/platform/monitoring/" } else { "" };
            command.env("LOCATE_URL", format!("{url}{path}")).env("MACHINE", MACHINE);
            command.args(["-service=ndt/ndt7", "-retries=0", "-timeout=25s"]);
        }
        for setting in settings {
            match setting.split_once('=') {
                _ if setting.starts_with('-') => command.arg(fill(setting)),
                Some((variable, value)) => command.env(variable, fill(value)),
                None => command.env_remove(setting),
            };
        }
        if line.is_none() {
            command.arg("--").arg("touch").arg(ran);
        }
        command
    }

    /// Tries one fault; returns the messages of the manual that describe it, or the problems.
    fn try_one(
        &self,
        at: usize,
        Fault { name, server, settings, status, words }: Fault,
    ) -> Result<BTreeSet<usize>, String> {
        let ran = self.path(&format!("ran-{at}"));
        let mut command = self.command(server, settings, &ran);
        // Only JSON has the reason; the message is the same as in text.
        command.env("MONITORING_TOKEN_LOG_FORMAT", "json");
        let begun = Instant::now();
        let mut ended = wait_for(start(&mut command));
        let line = ended.stderr.trim_end().to_owned();
        ended.stderr = ended.stderr.lines().map(|line| messages::as_text(line) + "\n").collect();
        let mut wrong = unfit_for_people(&ended.stderr);
        let in_manual = messages::explain(&line, Some(status)).unwrap_or_else(|why| {
            wrong.push(why);
            BTreeSet::new()
        });
        if ended.status != status {
            wrong.push(format!("status {} instead of {status}", ended.status));
        }
        wrong.extend(words.iter().filter(|word| !ended.stderr.contains(**word)).map(|w| format!("no {w:?}")));
        // A run with its own timeout ends soon after it.
        let is_short = settings.iter().any(|setting| setting.starts_with("-timeout="));
        if is_short && begun.elapsed() > Duration::from_secs(20) {
            wrong.push(format!("it took {:?}", begun.elapsed()));
        }
        if ran.exists() {
            wrong.push("the command was run".to_owned());
        }
        if !ended.stdout.is_empty() {
            wrong.push(format!("stdout {:?}", ended.stdout));
        }
        if wrong.is_empty() {
            return Ok(in_manual);
        }
        Err(format!("{name}: {}\n    {}", wrong.join(", "), ended.stderr.trim_end()))
    }

    /// Tries all faults, several at a time. Returns the messages of the manual that were provoked, and all problems.
    fn try_all(&self, rows: Vec<Fault>) -> (BTreeSet<usize>, Vec<String>) {
        let rows = Mutex::new(rows.into_iter().enumerate());
        let result = Mutex::new((BTreeSet::new(), Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    loop {
                        let next = rows.lock().unwrap().next();
                        let Some((at, row)) = next else { break };
                        let tried = self.try_one(at, row);
                        let mut result = result.lock().unwrap();
                        match tried {
                            Ok(in_manual) => result.0.extend(in_manual),
                            Err(wrong) => result.1.push(wrong),
                        }
                    }
                });
            }
        });
        result.into_inner().unwrap()
    }
}

/// Why the output is not a single readable line without secrets.
fn unfit_for_people(stderr: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if stderr.lines().count() != 1 || !stderr.starts_with("monitoring-token: ") {
        wrong.push("not one line".to_owned());
    }
    if stderr.chars().count() > 700 {
        wrong.push(format!("a line of {} characters", stderr.chars().count()));
    }
    if stderr.chars().any(|c| c.is_control() && c != '\n') {
        wrong.push("control characters".to_owned());
    }
    // The last part of an echoed token must be gone: replaced, or cut off with the text after it.
    let echoed = stderr.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
    for word in echoed.filter(|word| word.contains("eyJ")) {
        let last = word.rsplit('.').next().unwrap_or_default();
        if !(last.starts_with("eyJ") || "REDACTED".starts_with(last) || last.starts_with("REDACTED")) {
            wrong.push("a token".to_owned());
        }
    }
    wrong
}

/// Tries the faults of these tables and compares them with a section of the manual: each message there must be provoked
/// here, except those in `elsewhere`, which name the test that provokes them, or the reason why no test can.
#[track_caller]
fn hold(section: &str, tables: &[fn(&Lab) -> Vec<Fault>], elsewhere: &[(&str, &str)]) {
    let lab = Lab::new();
    let (provoked, mut wrong) = lab.try_all(tables.iter().flat_map(|table| table(&lab)).collect());
    let messages = messages::all().iter().enumerate();
    for (at, message) in messages.filter(|(_, message)| message.section == section) {
        let text = message.text;
        match (provoked.contains(&at), elsewhere.iter().find(|(excused, _)| *excused == text)) {
            (false, None) => wrong.push(format!("no fault brings: {text}")),
            (true, Some((_, why))) => wrong.push(format!("a fault here brings {text}, too, not only {why}")),
            _ => {}
        }
    }
    for (text, _) in elsewhere {
        if !messages::all().iter().any(|message| message.section == section && message.text == *text) {
            wrong.push(format!("not in the manual any more: {text}"));
        }
    }
    if *lab.elsewhere.1.lock().unwrap() != Vec::<String>::new() {
        wrong.push("a token travelled elsewhere".to_owned());
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_faults_of_the_key_are_those_of_the_manual() {
    let elsewhere = [
        ("interrupted by SIGNAL while reading the key FILE", "tests/supervise/signals.rs"),
        ("cannot create a key: …", "it would take a kernel without random numbers"),
    ];
    hold("The key", &[local::keys], &elsewhere);
}

#[test]
fn the_faults_of_locates_answer_are_those_of_the_manual() {
    let tables = [
        locate::answers_that_say_no,
        locate::echoes,
        locate::other_forms,
        locate::service_urls,
        locate::redirects,
    ];
    hold("Locate's answer", &tables, &[]);
}

#[test]
fn the_faults_of_the_connection_are_those_of_the_manual() {
    let tables = [connection::broken, connection::silent, connection::proxies];
    let elsewhere = [
        (
            "interrupted by SIGNAL while requesting a token; the command was not run",
            "tests/supervise/signals.rs",
        ),
        ("cannot resolve HOST: this machine is out of resources", "tests/network.rs"),
        ("cannot connect to URL: this machine is out of resources", "tests/network.rs"),
        ("the proxy URL2 requires authentication (SOCKS5)", "tests/network.rs"),
        ("the proxy URL2 requires … authentication (HTTP 407), which is not supported", "tests/network.rs"),
        ("the proxy URL2 rejected the credentials in VARIABLE", "tests/network.rs"),
        ("the proxy URL2 did not connect to URL: …", "tests/network.rs"),
        ("refusing to use VARIABLE because REQUEST_METHOD is set", "tests/network.rs"),
    ];
    hold("Connecting", &tables, &elsewhere);
}

#[test]
fn the_faults_of_tls_are_those_of_the_manual() {
    let elsewhere = [
        ("interrupted by SIGNAL while reading the CA file FILE", "tests/supervise/signals.rs"),
        ("interrupted by SIGNAL while reading SSL_CERT_FILE FILE", "tests/tls.rs"),
        ("the certificate of URL is not trusted: its issuer \"NAME\", …", "tests/certificates.rs"),
        ("the certificate of URL is not trusted: its chain …", "tests/certificates.rs"),
        ("… lists HOST as a DNS name", "tests/certificates.rs"),
        ("… has a date that cannot be read", "tests/certificates.rs"),
        ("… is an X.509 version N certificate", "tests/certificates.rs"),
        ("… has a critical extension", "tests/certificates.rs"),
        ("… cannot be parsed", "tests/certificates.rs"),
        ("… cannot be used: the server's key …", "tests/certificates.rs"),
        ("… is signed with an algorithm that is not supported", "tests/certificates.rs"),
    ];
    hold("TLS", &[tls::handshakes, tls::certificates, tls::roots], &elsewhere);
}

#[test]
fn the_faults_of_the_command_are_those_of_the_manual() {
    let elsewhere = [
        ("timed out after T while waiting for another process to finish the same run", "tests/cache.rs"),
        ("interrupted by SIGNAL while waiting for another process to finish the same run", "tests/cache.rs"),
        ("… (the result of T ago)", "tests/cache.rs"),
        ("timed out after T; cannot terminate COMMAND: it runs as USER", "tests/wild/supervision.rs"),
        ("cannot terminate COMMAND: it runs as USER", "tests/wild/supervision.rs"),
        ("timed out after T; COMMAND did not exit even after SIGKILL", "it would take a kernel that hangs"),
        ("COMMAND did not exit even after SIGKILL", "it would take a kernel that hangs"),
        ("timed out after T, of which COMMAND had only T", "tests/cache.rs"),
        ("cannot write the output of COMMAND: …", "tests/reasons.rs"),
        ("timed out after T while the system loaded COMMAND", "tests/supervise/timeout.rs"),
        ("interrupted by SIGNAL while the system loaded COMMAND", "tests/supervise/timeout.rs"),
        ("interrupted by SIGNAL; terminated COMMAND", "tests/wild/supervision.rs"),
        ("interrupted by SIGNAL while the output of COMMAND was written", "tests/secrets/stream.rs"),
        ("cannot run COMMAND: the environment is too large", "tests/wild/command.rs"),
        ("the parent process died before the command was run", "tests/supervise/parent.rs"),
        ("cannot run COMMAND: this machine is out of resources", "tests/supervise/limits.rs"),
        (
            "cannot run COMMAND: a sandbox forbids a system call that monitoring-token needs",
            "tests/supervise/limits.rs",
        ),
        ("cannot run COMMAND: this machine needs a /dev/null", "tests/supervise/limits.rs"),
        ("cannot start: …", "tests/supervise/limits.rs"),
        ("cannot catch signals: …", "what forbids that keeps the program from being loaded, too"),
        ("the system random number generator failed", "it would take a kernel without them"),
        ("cannot write to stdout: …", "tests/supervise/output.rs"),
        ("internal error at PLACE", "it would take a bug"),
    ];
    hold("The command", &[local::commands], &elsewhere);
}

/// `gafaelfawr` and `stackstate` provoke the other messages about issuers.
#[test]
fn the_faults_of_an_administrators_credential_are_in_the_manual() {
    let lab = Lab::new();
    let (_, wrong) = lab.try_all(local::credentials(&lab));
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_faults_of_usage_are_those_of_the_manual() {
    hold("Usage errors", &[local::usage], &[]);
}
