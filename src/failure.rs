//! How a run ends: a failure of ours, what it says in its one line, and the exit status.

use std::ffi::OsStr;
use std::fmt;

use rustix::io::Errno;

pub use crate::reason::Reason;
pub use crate::secret::printable;

/// The parts of a run, as the metrics name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Reading the key and signing, or reading the issuer's credential.
    Sign,
    /// Getting the credential from its issuer.
    Exchange,
    /// Running the command.
    Command,
    /// Revoking the credential.
    Revoke,
}

impl Stage {
    /// All stages, in the order in which a run goes through them.
    pub const ALL: [Stage; 4] = [Stage::Sign, Stage::Exchange, Stage::Command, Stage::Revoke];

    /// The value of the `stage` label.
    pub fn label(self) -> &'static str {
        match self {
            Stage::Sign => "sign",
            Stage::Exchange => "exchange",
            Stage::Command => "command",
            Stage::Revoke => "revoke",
        }
    }
}

/// The exit status of this program. The values from 124 on are those of POSIX `env`, coreutils' `timeout` and the
/// shells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// The command ended with this status.
    Command(u8),
    /// The command died of this signal, or this signal ended the run before the command began.
    Signal(i32),
    /// Bad usage: unknown flag, bad value, no COMMAND.
    Usage,
    /// The timeout ended the run.
    Timeout,
    /// monitoring-token itself failed; the target was not tested.
    Failed,
    /// COMMAND exists but cannot be run.
    CannotRun,
    /// COMMAND was not found.
    NotFound,
}

impl ExitStatus {
    /// Everything went well.
    pub const SUCCESS: ExitStatus = ExitStatus::Command(0);

    /// The number that the parent process sees.
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

    /// Whether the run counts as a success.
    pub fn is_success(self) -> bool {
        self.code() == 0
    }
}

/// Why there is no result. The message is one line, fits behind `monitoring-token: `, names what to
/// fix, and never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the metrics show as failed: the stage that says something of key, issuer or target. `None` where
    /// nothing of them failed: a usage error, a wait for another process, a stdout that takes nothing.
    pub stage: Option<Stage>,
    /// Why, for programs.
    pub reason: Reason,
    /// How the program ends.
    pub status: ExitStatus,
    /// What is printed.
    pub message: String,
}

impl Failure {
    /// Bad usage: exit status 2.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { stage: None, reason: Reason::Usage, status: ExitStatus::Usage, message: message.into() }
    }

    /// monitoring-token itself fails in `stage`: exit status 125.
    pub fn failed(stage: Stage, reason: Reason, message: impl Into<String>) -> Failure {
        Failure { stage: Some(stage), reason, status: ExitStatus::Failed, message: message.into() }
    }

    /// monitoring-token itself fails on this machine, which shows nothing about key, issuer or target: exit status
    /// 125.
    pub fn local(reason: Reason, message: impl Into<String>) -> Failure {
        Failure { stage: None, reason, status: ExitStatus::Failed, message: message.into() }
    }

    /// The timeout ended the run in `stage`: exit status 124.
    pub fn timeout(stage: Stage, message: impl Into<String>) -> Failure {
        let reason = match stage {
            Stage::Sign => Reason::TimeoutFile,
            Stage::Exchange | Stage::Revoke => Reason::TimeoutExchange,
            Stage::Command => Reason::TimeoutCommand,
        };
        Failure { stage: Some(stage), reason, status: ExitStatus::Timeout, message: message.into() }
    }

    /// A signal ended the run in `stage`, before the command began: exit status 128 + `signal`.
    pub fn signal(stage: Stage, signal: crate::sys::signal::Signal) -> Failure {
        let message = format!(
            "interrupted by {signal} {}",
            match stage {
                Stage::Exchange => "while requesting a token; the command was not run",
                Stage::Sign | Stage::Command => "",
                Stage::Revoke => "while the token was deleted",
            }
        );
        Failure {
            stage: Some(stage),
            reason: Reason::Interrupted,
            status: ExitStatus::Signal(signal.number()),
            message: message.trim_end().to_owned(),
        }
    }

    /// Our parent died in `stage`, before the command began.
    pub fn orphaned(stage: Stage) -> Failure {
        let message = "the parent process died before the command was run (-die-with-parent)";
        Failure::failed(stage, Reason::ParentDied, message)
    }

    /// The same, with a further clause in its one line.
    #[must_use]
    pub fn and(mut self, clause: &str) -> Failure {
        self.message.push_str(if self.message.ends_with('?') { " " } else { "; " });
        self.message.push_str(clause);
        self
    }

    /// The same, with the warnings of the run as clauses of its one line.
    #[must_use]
    pub(crate) fn with_warnings(self, warnings: impl IntoIterator<Item = String>) -> Failure {
        warnings.into_iter().fold(self, |failure, warning| failure.and(&format!("and {warning}")))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// What the system says of an error, without the number that only programmers read.
pub fn system_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error ").map_or(text.as_str(), |(words, _)| words).to_owned()
}

/// The same, in lower case, for errors that may be the TLS library's.
pub(crate) fn io_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" (os error ") {
        Some((words, _)) => words.to_lowercase(),
        // rustls adds the address of its manual.
        None => text.split(": https://").next().unwrap_or_default().to_owned(),
    }
}

/// Whether it is this machine, or this process, that has no more of something.
pub(crate) fn is_out_of_resources(error: &std::io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOMEM | Errno::NOBUFS)
    )
}

/// What to do where the system has run out of something; the file that was to be opened is not to blame.
pub fn resource_advice(error: &std::io::Error) -> Option<&'static str> {
    match Errno::from_io_error(error)? {
        Errno::MFILE => Some("raise the limit on open files (ulimit -n)"),
        Errno::NFILE => Some("the machine has too many open files"),
        Errno::NOMEM => Some("the machine is out of memory"),
        _ => None,
    }
}

/// A word of the command line as a message shows it: its beginning, if it is very long.
pub fn brief(word: &OsStr) -> String {
    const SHOWN_CHARS: usize = 200;
    shortened(word.display().to_string(), SHOWN_CHARS)
}

/// The beginning of `text`, with an ellipsis, if it has more than `max_chars`.
pub fn shortened(mut text: String, max_chars: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(max_chars) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::ExitStatus::{self, *};

    #[test]
    fn every_outcome_has_its_documented_number() {
        let table = [
            (Command(0), 0),
            (Command(255), 255),
            (Usage, 2),
            (Timeout, 124),
            (Failed, 125),
            (CannotRun, 126),
            (NotFound, 127),
            (Signal(15), 143),
            (Signal(64), 192),
        ];
        for (status, code) in table {
            assert_eq!(status.code(), code, "{status:?}");
        }
        assert!(ExitStatus::SUCCESS.is_success());
    }
}
