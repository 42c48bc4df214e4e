//! Lines on stderr: one for each failure and warning, and with debug on, one for each event. No line holds a secret of
//! the run or is longer than [`MAX_LINE_BYTES`].

use std::fmt::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::date;
use crate::failure::{Failure, Reason, Warning};
use crate::secret::{MAX_LINE_BYTES, capped, clean, clean_foreign};
use crate::terminal;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `monitoring-token: …`
    #[default]
    Text,
    Json,
    /// Failures as the JSON of `sts`.
    Sts,
}

/// Writes the lines. Created once, when the flags are known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Log {
    format: LogFormat,
}

/// How long to wait for a reader that may have stopped: the timeout must still hold.
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// A pipe that is ready for writing takes this much without blocking (Linux: a page).
const PIECE_BYTES: usize = 4096;

static REPORT_BY: OnceLock<Instant> = OnceLock::new();

/// From this time on, no line waits for a reader.
pub(crate) fn report_by(at: Instant) {
    let _ = REPORT_BY.set(at);
}

/// Writes to stderr. If it is closed, full or stuck, the run goes on.
pub(crate) fn write_stderr(bytes: &[u8]) {
    static STUCK: AtomicBool = AtomicBool::new(false);
    static REOPENED: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let stderr = std::io::stderr().lock();
    let reopened = REOPENED.get_or_init(|| terminal::reopen(stderr.as_fd()));
    let to = reopened.as_ref().map_or(stderr.as_fd(), AsFd::as_fd);
    for mut piece in bytes.chunks(PIECE_BYTES) {
        let patience = if STUCK.load(Ordering::Relaxed) { Duration::ZERO } else { STUCK_AFTER };
        let until = Instant::now() + patience;
        let until = REPORT_BY.get().map_or(until, |&by| by.min(until));
        while !piece.is_empty() {
            let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
            if poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], left.as_ref()) == Ok(0) {
                STUCK.store(true, Ordering::Relaxed);
                return;
            }
            match rustix::io::write(to, piece) {
                Ok(length) => piece = &piece[length..],
                Err(Errno::INTR | Errno::AGAIN) if Instant::now() < until => {}
                Err(_) => return,
            }
        }
    }
}

impl Log {
    /// Sets up the diagnostics. Without `debug`, text needs no subscriber: failures and warnings are written as they
    /// are. `RUST_LOG` is ignored, and only this crate's events are shown: those of an HTTP library may hold the
    /// request.
    pub(crate) fn start(format: LogFormat, debug: bool) -> Log {
        if debug || format == LogFormat::Json {
            let level = if debug { LevelFilter::DEBUG } else { LevelFilter::WARN };
            // A second start in one process (in tests) keeps the first.
            let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
            let lines = tracing_subscriber::registry().with(Lines { format }).with(ours);
            let _ = tracing::subscriber::set_global_default(lines);
        }
        Log { format }
    }

    pub(crate) fn failure(self, failure: &Failure) {
        match self.format {
            LogFormat::Text => write_message("", &failure.message),
            LogFormat::Json => {
                let stage = failure.stage.label();
                let (reason, exit_status) = (failure.reason.name(), failure.status.code());
                let advice = failure.reason.advice();
                tracing::error!(reason, stage, exit_status, advice, "{}", failure.message);
            }
            LogFormat::Sts => {
                // Escapes make the line longer.
                let message = capped(clean(&failure.message), MAX_LINE_BYTES / 2);
                write_line(format!("{{\"error\":true,\"error-message\":{}}}", json_string(&message)));
            }
        }
    }

    pub(crate) fn warning(self, warning: &Warning) {
        let Warning { message, reason } = warning;
        match self.format {
            LogFormat::Text | LogFormat::Sts => write_message("warning: ", message),
            LogFormat::Json => tracing::warn!(reason = reason.map(Reason::name), "{message}"),
        }
    }
}

fn write_message(kind: &str, message: &str) {
    write_line(format!("monitoring-token: {kind}{}", clean(message)));
}

/// True if the last line on stderr is unfinished.
static IN_LINE: AtomicBool = AtomicBool::new(false);

/// Call this when the command's output ended within a line: the next line of this program gets one of its own.
pub(crate) fn begin_line() {
    IN_LINE.store(true, Ordering::Relaxed);
}

/// A single write, so that lines of runs that share a stderr do not mix.
fn write_line(line: String) {
    let end_of_last = if IN_LINE.swap(false, Ordering::Relaxed) { "\n" } else { "" };
    write_stderr(format!("{end_of_last}{}\n", capped(line, MAX_LINE_BYTES - 1)).as_bytes());
}

/// Formats events as lines: values are first made safe to show, then encoded.
struct Lines {
    format: LogFormat,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (time, level) = (date::with_micros(date::since_epoch()), event.metadata().level().as_str());
        write_line(match self.format {
            LogFormat::Text | LogFormat::Sts => fields.text(&time, level),
            LogFormat::Json => fields.json(&time, level),
        });
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, Value)>,
}

enum Value {
    /// Is quoted.
    Text(String),
    /// A number or a boolean: the same in both formats.
    Plain(String),
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.rest.push((field.name(), Value::Text(clean_foreign(value))));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.rest.push((field.name(), Value::Plain(value.to_string())));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.rest.push((field.name(), Value::Plain(value.to_string())));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has neither infinity nor NaN.
        let value = if value.is_finite() { value } else { 0.0 };
        self.rest.push((field.name(), Value::Plain(value.to_string())));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.rest.push((field.name(), Value::Plain(value.to_string())));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = clean(&format!("{value:?}"));
        if field.name() == "message" {
            self.message = text;
        } else {
            self.rest.push((field.name(), Value::Text(text)));
        }
    }
}

impl Fields {
    fn text(&self, time: &str, level: &str) -> String {
        let mut line = format!("{time} {level:>5} {}", self.message);
        for (name, value) in &self.rest {
            let _ = match value {
                Value::Text(text) => write!(line, " {name}={}", json_string(text)),
                Value::Plain(plain) => write!(line, " {name}={plain}"),
            };
        }
        line
    }

    /// An object of at most [`MAX_LINE_BYTES`]: longer values are shortened.
    fn json(&self, time: &str, level: &str) -> String {
        let mut max_bytes = MAX_LINE_BYTES;
        loop {
            let short = |text: &str| json_string(&capped(text.to_owned(), max_bytes));
            let message = short(&self.message);
            let mut line = format!("{{\"timestamp\":\"{time}\",\"level\":\"{level}\",\"message\":{message}");
            for (name, value) in &self.rest {
                let _ = match value {
                    Value::Text(text) => write!(line, ",\"{name}\":{}", short(text)),
                    Value::Plain(plain) => write!(line, ",\"{name}\":{plain}"),
                };
            }
            line.push('}');
            if line.len() < MAX_LINE_BYTES || max_bytes == 0 {
                return line;
            }
            max_bytes /= 2;
        }
    }
}

fn json_string(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_json_line_parses_and_is_short(
            message in prop_oneof![any::<String>(), r#"(access_token=|\\|"|eyJ[a-z.]{0,9}|gt-|[a-z.]| ){0,40}"#],
            value in any::<String>(),
            times in 0..3000_usize,
            number in any::<i64>(),
        ) {
            let fields = Fields {
                message: clean(&message),
                rest: vec![
                    ("text", Value::Text(clean(&value.repeat(times)))),
                    ("number", Value::Plain(number.to_string())),
                ],
            };
            let line = fields.json("2026-11-22T00:56:41.000123Z", "ERROR");
            prop_assert!(line.len() < MAX_LINE_BYTES && !line.contains('\n'));
            let object: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&object["number"], &serde_json::json!(number));
            prop_assert!(object["message"].is_string() && object["text"].is_string());
        }
    }
}
