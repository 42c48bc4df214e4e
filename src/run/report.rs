//! What is known of a run when it is over.

use std::time::Duration;

use crate::error::Stage;

/// The figures of a run.
#[derive(Debug, Default)]
pub struct Report {
    durations: [Option<Duration>; Stage::ALL.len()],
    /// How far our clock is ahead of the issuer's, in seconds.
    pub clock_offset_seconds: Option<i64>,
    /// Whether a token may be left that was to be deleted.
    pub revocation_failed: bool,
    /// The host that got a token over plain http, if it is not loopback.
    pub insecure: Option<String>,
}

impl Report {
    /// Records how long a stage took.
    pub fn took(&mut self, stage: Stage, duration: Duration) {
        self.durations[stage as usize] = Some(duration);
    }

    /// How long a stage took, if it was reached.
    pub fn duration(&self, stage: Stage) -> Option<Duration> {
        self.durations[stage as usize]
    }
}
