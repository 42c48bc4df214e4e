//! How a run ends: a failure with its one line of text, and the exit status.

use std::borrow::{Borrow, Cow};
use std::ffi::OsStr;
use std::fmt::Display;

use rustix::io::Errno;

use crate::secret::{redact_links, shortened};

pub use crate::reason::Reason;
pub use crate::secret::printable;

/// The stages of a run, as the metrics name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Reading the command line, and waiting for other processes. A failure says nothing about key, issuer or target.
    Prepare,
    /// Reading the key and signing, or reading the issuer's credential.
    Sign,
    /// Getting the credential from its issuer.
    Exchange,
    Command,
    Revoke,
    /// Writing the result to a file or to stdout.
    Output,
}

impl Stage {
    pub const ALL: [Stage; 6] =
        [Stage::Prepare, Stage::Sign, Stage::Exchange, Stage::Command, Stage::Revoke, Stage::Output];

    pub fn label(self) -> &'static str {
        match self {
            Stage::Prepare => "prepare",
            Stage::Sign => "sign",
            Stage::Exchange => "exchange",
            Stage::Command => "command",
            Stage::Revoke => "revoke",
            Stage::Output => "output",
        }
    }
}

/// How the program ends. The values from 124 on are those of POSIX `env`, coreutils' `timeout` and the shells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    Command(u8),
    /// The command died of this signal, or this signal ended the run before the command started.
    Signal(i32),
    /// Usage error: unknown flag, invalid value, missing COMMAND.
    Usage,
    Timeout,
    /// monitoring-token itself failed; the target was not tested.
    Failed,
    CannotRun,
    NotFound,
}

impl ExitStatus {
    pub const SUCCESS: ExitStatus = ExitStatus::Command(0);

    /// The status that the parent process sees.
    pub fn code(self) -> u8 {
        match self {
            ExitStatus::Command(code) => code,
            ExitStatus::Usage => 2,
            ExitStatus::Timeout => 124,
            ExitStatus::Failed => 125,
            ExitStatus::CannotRun => 126,
            ExitStatus::NotFound => 127,
            // Signals are 1 to 64, so the sum fits.
            ExitStatus::Signal(number) => 128_u8.saturating_add(u8::try_from(number).unwrap_or(u8::MAX)),
        }
    }

    pub fn is_success(self) -> bool {
        self.code() == 0
    }
}

/// Why there is no result. The message is one line that follows `monitoring-token: `, says what to fix, and never holds
/// a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub stage: Stage,
    pub reason: Reason,
    pub status: ExitStatus,
    pub message: String,
}

impl Failure {
    /// Usage error: exit status 2.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { status: ExitStatus::Usage, ..Failure::local(Reason::Usage, message) }
    }

    /// monitoring-token itself fails in `stage`: exit status 125.
    pub fn failed(stage: Stage, reason: Reason, message: impl Into<String>) -> Failure {
        Failure { stage, reason, status: ExitStatus::Failed, message: message.into() }
    }

    /// monitoring-token itself failed on this machine, which says nothing about key, issuer or target: exit status 125.
    pub fn local(reason: Reason, message: impl Into<String>) -> Failure {
        Failure::failed(Stage::Prepare, reason, message)
    }

    /// A result cannot be written: exit status 125.
    pub fn unwritten(message: impl Into<String>) -> Failure {
        Failure::failed(Stage::Output, Reason::OutputFailed, message)
    }

    /// The timeout ended the run in `stage`: exit status 124.
    pub fn timeout(stage: Stage, reason: Reason, message: impl Into<String>) -> Failure {
        Failure { stage, reason, status: ExitStatus::Timeout, message: message.into() }
    }

    /// A signal ended the run in `stage`, before the command began: exit status 128 + `signal`.
    pub fn signal(stage: Stage, signal: crate::sys::signal::Signal) -> Failure {
        let message = format!(
            "interrupted by {signal} {}",
            match stage {
                Stage::Exchange => "while requesting a token; the command was not run",
                Stage::Prepare | Stage::Sign | Stage::Command | Stage::Output => "",
                Stage::Revoke => "while the token was deleted",
            }
        );
        Failure {
            stage,
            reason: Reason::Interrupted,
            status: ExitStatus::Signal(signal.number()),
            message: message.trim_end().to_owned(),
        }
    }

    /// The parent process died in `stage`, before the command began.
    pub fn orphaned(stage: Stage) -> Failure {
        let message = "the parent process died before the command was run (-die-with-parent)";
        Failure::failed(stage, Reason::ParentDied, message)
    }

    #[must_use]
    pub fn and(mut self, clause: &str) -> Failure {
        self.message.push_str(if self.message.ends_with('?') { " " } else { "; " });
        self.message.push_str(clause);
        self
    }

    #[must_use]
    pub(crate) fn with_warnings(self, warnings: impl IntoIterator<Item = impl Into<Warning>>) -> Failure {
        warnings
            .into_iter()
            .fold(self, |failure, warning| failure.and(&format!("and {}", warning.into().message)))
    }
}

/// A problem that does not change the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    pub message: String,
    /// For programs, if one may want to act on it.
    pub reason: Option<Reason>,
}

impl Warning {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Warning {
        Warning { message: message.into(), reason: Some(reason) }
    }
}

impl From<String> for Warning {
    fn from(message: String) -> Warning {
        Warning { message, reason: None }
    }
}

impl From<Failure> for Warning {
    fn from(failure: Failure) -> Warning {
        Warning::new(failure.reason, failure.message)
    }
}

/// The text of a system error, without its number.
pub fn system_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error ").map_or(text.as_str(), |(words, _)| words).to_owned()
}

/// As [`system_error`], in lower case; also for errors of the TLS library.
pub(crate) fn io_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" (os error ") {
        Some((words, _)) => words.to_lowercase(),
        // rustls appends the URL of its manual.
        None => text.split(": https://").next().unwrap_or_default().to_owned(),
    }
}

/// True if this machine or process has run out of something.
pub(crate) fn is_out_of_resources(error: &std::io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOMEM | Errno::NOBUFS)
    )
}

/// Advice if the system has run out of something; the file to be opened is not to blame then.
pub fn resource_advice(error: &std::io::Error) -> Option<&'static str> {
    match Errno::from_io_error(error)? {
        Errno::MFILE => Some("raise the limit on open files (ulimit -n)"),
        Errno::NFILE => Some("the machine has too many open files"),
        Errno::NOMEM => Some("the machine is out of memory"),
        _ => None,
    }
}

/// An argument for a message; a long one is cut off. It may be a URL, in the place of something else.
pub fn brief(word: &OsStr) -> String {
    const SHOWN_CHARS: usize = 200;
    shortened(redact_links(&word.display().to_string()), SHOWN_CHARS)
}

/// A word as a shell reads it.
pub(crate) fn shell_word(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

/// The names as a list in words: `A, B or C`.
pub(crate) fn or_list<S: Borrow<str> + Display>(names: &[S]) -> String {
    match names {
        [names @ .., last] if !names.is_empty() => format!("{} or {last}", names.join(", ")),
        _ => names.concat(),
    }
}
