//! One result on disk.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::CacheKey;
use crate::new_file::replace;
use crate::secret::clean;

pub(super) const FILE_MODE: u32 = 0o600;
/// Entries are much smaller; a larger file was not written by this program.
const MAX_ENTRY_BYTES: u64 = 16 * 1024;

/// Prefix of the names of files that are being written.
pub(super) const TEMPORARY: &str = ".tmp-";

/// How a run ended. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CachedResult {
    pub exit_status: u8,
    /// The message of the failure, if the status is not the command's own.
    pub message: Option<String>,
    ended_unix_ms: u64,
    /// The timeout that ended the run, in milliseconds; `None` if it ended otherwise.
    timed_out_after_ms: Option<u64>,
}

impl CachedResult {
    pub(crate) fn now(exit_status: u8, message: Option<&str>, timed_out: Option<Duration>) -> CachedResult {
        CachedResult {
            exit_status,
            message: message.map(clean),
            ended_unix_ms: unix_ms(SystemTime::now()),
            timed_out_after_ms: timed_out.map(ms),
        }
    }

    /// False if the run timed out and this one has more time: it might succeed.
    pub(crate) fn applies_to(&self, timeout: Duration) -> bool {
        self.timed_out_after_ms.is_none_or(|had| ms(timeout) <= had)
    }

    pub(crate) fn age(&self) -> Duration {
        Duration::from_millis(unix_ms(SystemTime::now()).saturating_sub(self.ended_unix_ms))
    }
}

/// A result with its key and expiry, as stored.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The key of its run: an entry that was moved to another name is ignored.
    key: String,
    #[serde(rename = "kept")]
    pub result: CachedResult,
    max_age_ms: u64,
}

impl Entry {
    /// An entry that is valid for a random share of `ttl`, at least half of it, so that entries made together do not
    /// expire together.
    pub(super) fn new(key: &CacheKey, result: CachedResult, ttl: Duration, now: SystemTime) -> Entry {
        let max_age = ttl.mul_f64(f64::midpoint(1.0, fastrand::f64()));
        let result = CachedResult { ended_unix_ms: unix_ms(now), ..result };
        Entry { key: key.0.clone(), result, max_age_ms: ms(max_age) }
    }

    pub(super) fn is_of(&self, key: &CacheKey) -> bool {
        self.key == key.0
    }

    /// True if the entry is valid at `now` and not older than `ttl`. An entry from the future is ignored: the clock was
    /// wrong then, or is now.
    pub(super) fn is_fresh(&self, now: SystemTime, ttl: Duration) -> bool {
        let age = unix_ms(now).checked_sub(self.result.ended_unix_ms);
        age.is_some_and(|age| age < self.max_age_ms.min(ms(ttl)))
    }

    /// True if it was written between `began` and now.
    pub(super) fn was_written_since(&self, began: SystemTime) -> bool {
        (unix_ms(began)..=unix_ms(SystemTime::now())).contains(&self.result.ended_unix_ms)
    }

    /// True if no run can use it any more.
    pub(super) fn has_expired(&self, now: SystemTime) -> bool {
        unix_ms(now) >= self.result.ended_unix_ms.saturating_add(self.max_age_ms)
    }

    /// Reads the entry of any key; `None` if it cannot be read or another user owns it.
    pub(super) fn read(path: &Path) -> Option<Entry> {
        Entry::read_from(&open(path, OpenOptions::new().read(true)).ok()?)
    }

    /// Reads an entry from an open file, from its beginning.
    pub(super) fn read_from(file: &File) -> Option<Entry> {
        if !is_ours(&file.metadata().ok()?) {
            return None;
        }
        let mut json = Vec::new();
        file.take(MAX_ENTRY_BYTES).read_to_end(&mut json).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// Writes it to `path` in one step.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        replace(path, TEMPORARY, FILE_MODE, &self.to_json()?)
    }

    pub(super) fn to_json(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }
}

/// Opens a file of the cache: no link, and without waiting if it is a pipe.
pub(super) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()).open(path)
}

pub(super) fn is_ours(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.uid() == rustix::process::geteuid().as_raw()
}

fn unix_ms(time: SystemTime) -> u64 {
    ms(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::CacheKeyBuilder;
    use super::*;

    const TTL: Duration = Duration::from_secs(3600);

    fn entry(now: SystemTime) -> Entry {
        Entry::new(&CacheKeyBuilder::default().build(), CachedResult::now(0, None, None), TTL, now)
    }

    #[test]
    fn an_entry_counts_until_its_own_age_or_the_ttl_of_today() {
        let now = SystemTime::now();
        assert!(!entry(now + TTL).has_expired(now), "a clock was wrong, and it may come to count again");
        let entry = Entry { max_age_ms: ms(TTL * 3 / 4), ..entry(now) };
        for (after, ttl, expected) in [
            (Duration::ZERO, TTL, true),
            (TTL * 74 / 100, TTL, true),
            (TTL * 3 / 4, TTL, false),
            (TTL / 4, TTL / 4, false),
            (TTL / 4, TTL / 2, true),
            (Duration::ZERO, Duration::ZERO, false),
        ] {
            assert_eq!(entry.is_fresh(now + after, ttl), expected, "{after:?} {ttl:?}");
        }
    }

    #[test]
    fn a_result_is_only_for_those_who_waited_for_it() {
        let began = SystemTime::now();
        assert!(entry(began).was_written_since(began));
        assert!(!entry(began - Duration::from_secs(1)).was_written_since(began));
        assert!(!entry(began + TTL).was_written_since(began));
    }
}
