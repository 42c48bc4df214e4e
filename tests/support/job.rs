//! A job: a command in its own folder, which exchanges files with the test. Also, questions about processes.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, Sender};

use tempfile::TempDir;

use super::{
    Ended, PATIENCE, eventually, file_line, finish, http, kill, read_head, run, serve, start, token,
};

/// The sleep of a script that is meant to be stopped: longer than any test waits. After a failed test, it ends by
/// itself.
pub const LONG: &str = "70";

/// For `eval`: the same for a shell that has to react to signals.
pub const WAIT: &str = "waited=0; while [ $waited -lt 3500 ]; do waited=$((waited+1)); sleep 0.02; done";

/// A temporary private JWK, created once.
pub fn key() -> &'static str {
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("key");
        run(token().args(["key", "generate", "--out"]).arg(&path)).succeeded();
        std::fs::read_to_string(path).unwrap()
    })
}

/// The binary, with a key and these flags, but without an exchange.
pub fn without_exchange(flags: &[&str]) -> Command {
    let mut command = token();
    command.env("MONITORING_SIGNER_KEY", key()).arg("-exchange=false").args(flags).arg("--");
    command
}

/// A temporary folder of one test.
pub struct Folder(TempDir);

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        self.root()
    }
}

impl Folder {
    pub fn new() -> Folder {
        Folder(TempDir::new().unwrap())
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// A run of a script that writes notes in a folder, `$D`.
pub struct Job {
    folder: Folder,
    child: Option<Child>,
}

impl Job {
    /// Runs `script` without an exchange. It may use `$LONG` and `eval $WAIT` to wait until it is stopped.
    pub fn start(flags: &[&str], script: &str) -> Job {
        Job::prepare(without_exchange(flags), &["/bin/sh", "-c", script], |_| {})
    }

    /// Runs `words` with the settings of `command`; `change` gets the command last.
    pub fn prepare(mut command: Command, words: &[&str], change: impl FnOnce(&mut Command)) -> Job {
        let folder = Folder::new();
        command
            .args(words)
            .env("D", folder.root())
            .env("LONG", LONG)
            .env("WAIT", WAIT)
            .current_dir(folder.root());
        change(&mut command);
        Job { child: Some(start(&mut command)), folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    /// Waits for the note.
    #[track_caller]
    pub fn note(&self, name: &str) -> String {
        file_line(&self.path(name)).trim_end().to_owned()
    }

    /// Waits for a note with a process ID.
    #[track_caller]
    pub fn noted_pid(&self, name: &str) -> u32 {
        self.note(name).parse().unwrap()
    }

    pub fn has_note(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Creates the file that a script waits for.
    pub fn leave(&self, name: &str) {
        std::fs::write(self.path(name), "\n").unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn signal(&self, signal: i32) {
        kill(self.pid(), signal);
    }

    #[track_caller]
    pub fn finish(&mut self) -> Ended {
        finish(self.child.take().unwrap())
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // Only after a failed test: the program forwards SIGTERM to its command.
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The state of a process (proc_pid_stat(5)); `None` if it is gone.
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

pub fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

#[track_caller]
pub fn wait_until_gone(pid: u32) {
    eventually(&format!("the end of process {pid}"), || (!is_alive(pid)).then_some(()));
}

/// A member of `/proc/PID/status`.
pub fn status_of(pid: u32, member: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(member)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

/// A Locate that reports when it was asked, and responds when it is told to.
pub struct SlowLocate {
    pub url: String,
    asked: Receiver<()>,
    pub go_on: Sender<()>,
}

impl SlowLocate {
    pub fn start() -> SlowLocate {
        let (tell, asked) = mpsc::channel();
        let (go_on, wait) = mpsc::channel::<()>();
        let address = serve(move |mut stream| {
            read_head(&mut stream);
            let _ = tell.send(());
            if wait.recv().is_ok() {
                let urls = r#"{"target":{"urls":{"wss:///x":"wss://127.0.0.1/x?access_token=a.b.c"}}}"#;
                let _ = std::io::Write::write_all(&mut stream, http("200 OK", "", urls).as_bytes());
            }
        });
        SlowLocate { url: format!("http://{address}/"), asked, go_on }
    }

    /// The binary, with a key and this Locate.
    pub fn token(&self, flags: &[&str]) -> Command {
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", key()).env("LOCATE_URL", &self.url);
        command.args(flags).arg("--");
        command
    }

    #[track_caller]
    pub fn wait_until_asked(&self) {
        self.asked.recv_timeout(PATIENCE).expect("locate is asked");
    }
}

/// A pipe in `folder`, for somebody who waits for what is written to it.
pub fn make_fifo(folder: &Folder) -> PathBuf {
    let fifo = folder.path("fifo");
    let path = std::ffi::CString::new(fifo.to_str().unwrap()).unwrap();
    // SAFETY: the path is a C string.
    check(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }).unwrap();
    fifo
}

/// Waits until this process has opened this file.
#[track_caller]
pub fn wait_until_open(pid: u32, path: &Path) {
    let fds = format!("/proc/{pid}/fd");
    let is_it = |fd: std::fs::DirEntry| std::fs::read_link(fd.path()).is_ok_and(|to| to == path);
    eventually("a file to be opened", || std::fs::read_dir(&fds).ok()?.flatten().any(is_it).then_some(()));
}

/// Lets `prepare` make system calls in the new process, before it becomes the program.
pub fn before_exec(
    command: &mut Command,
    prepare: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: what the tests pass only makes system calls.
    unsafe { command.pre_exec(prepare) };
}

/// The result of a system call.
pub fn check(result: impl Into<i64>) -> std::io::Result<()> {
    if result.into() == -1 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
