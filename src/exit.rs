//! How a run ends: the one table from outcome to exit status (the values from 124
//! on are those of POSIX `env`, coreutils' `timeout` and the shells).

/// The exit status of this program.
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
