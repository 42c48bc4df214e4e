//! What is printed on stderr: one line for each failure and warning, and with debug on, what happens.

use std::io::Write as _;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::error::{Failure, Stage, printable};

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

/// A stderr that nobody reads, or that is full or closed, must not end the run.
fn write_stderr(bytes: &[u8]) {
    let _ = std::io::stderr().write_all(bytes);
}

struct Stderr;

impl std::io::Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        write_stderr(bytes);
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
            LogFormat::Text => write_line("", &failure.message),
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
            LogFormat::Text => write_line("warning: ", message),
            LogFormat::Json => tracing::warn!("{}", printable(message)),
        }
    }
}

fn write_line(kind: &str, message: &str) {
    // One write, so that lines of runs that share a stderr do not mix.
    write_stderr(format!("monitoring-token: {kind}{}\n", printable(message)).as_bytes());
}
