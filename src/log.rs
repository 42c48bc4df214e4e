//! What is printed on stderr: one line for each failure and warning, and with debug on, what happens.

use std::io::{IsTerminal as _, StderrLock, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::error::{Failure, Stage, printable};
use crate::secret::redact_text;

/// `-log-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `monitoring-token: …`
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where messages go; made once, when the flags are known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log {
    format: LogFormat,
}

/// How long a pipe that takes nothing is waited for: whoever reads our stderr may have stopped to read,
/// and the timeout must hold all the same.
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// A pipe that says it can be written to takes this much without blocking (Linux: a page).
const PIECE_BYTES: usize = 4096;

/// Writes to stderr. One that is closed, full or stuck must not end the run, nor hold it up.
pub fn write_stderr(bytes: &[u8]) {
    static STUCK: AtomicBool = AtomicBool::new(false);
    let mut stderr = std::io::stderr().lock();
    for piece in bytes.chunks(PIECE_BYTES) {
        let patience = if STUCK.load(Ordering::Relaxed) { Duration::ZERO } else { STUCK_AFTER };
        if !takes_bytes(&stderr, patience) {
            STUCK.store(true, Ordering::Relaxed);
            return;
        }
        if stderr.write_all(piece).is_err() {
            return;
        }
    }
}

/// Whether `stderr` can be written to without blocking for ever. At a terminal, whoever has stopped it
/// is there to let it go on.
fn takes_bytes(stderr: &StderrLock<'_>, patience: Duration) -> bool {
    let mut fds = [PollFd::new(stderr, PollFlags::OUT)];
    let patience = Timespec::try_from(patience).ok();
    poll(&mut fds, patience.as_ref()) != Ok(0) || stderr.is_terminal()
}

struct Stderr;

impl std::io::Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        write_line(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Sets the diagnostics up. Without `debug`, text needs no subscriber: failures and warnings are
    /// written as they are. `RUST_LOG` has no say, and only this crate's events are shown: those of an
    /// HTTP library may hold the request.
    pub fn start(format: LogFormat, debug: bool) -> Log {
        if debug || format == LogFormat::Json {
            let level = if debug { LevelFilter::DEBUG } else { LevelFilter::WARN };
            let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
            let lines =
                tracing_subscriber::fmt().with_max_level(level).with_target(false).with_writer(|| Stderr);
            // A second start in one process (as tests do) keeps the first.
            let _ = match format {
                LogFormat::Text => lines.with_ansi(false).finish().with(ours).try_init(),
                LogFormat::Json => lines.json().flatten_event(true).finish().with(ours).try_init(),
            };
        }
        Log { format }
    }

    /// The one line of a failure.
    pub fn failure(self, failure: &Failure) {
        match self.format {
            LogFormat::Text => write_message("", &failure.message),
            LogFormat::Json => {
                let message = printable(&failure.message);
                let stage = failure.stage.map(Stage::label);
                tracing::error!(stage, exit_status = failure.status.code(), "{message}");
            }
        }
    }

    /// Something went wrong that does not change the result of the run.
    pub fn warning(self, message: &str) {
        match self.format {
            LogFormat::Text => write_message("warning: ", message),
            LogFormat::Json => tracing::warn!("{}", printable(message)),
        }
    }
}

fn write_message(kind: &str, message: &str) {
    write_line(&format!("monitoring-token: {kind}{}\n", printable(message)));
}

/// One write, so that lines of runs that share a stderr do not mix. Whoever made the line has replaced
/// the secrets that it knew of; this is for those that came with foreign text.
fn write_line(line: &str) {
    write_stderr(redact_text(line).as_bytes());
}
