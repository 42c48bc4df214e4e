//! Results of runs, kept for a while, so that the same run is not made again.
//!
//! # Theory of operation
//!
//! A run is known by the hash of what makes it that run, its [`CacheKey`]. `KEY.json` holds a result, and is only ever
//! renamed into place. `KEY.lock` is locked by the process that makes the run, with flock(2), so that a process that
//! dies lets go of it. A process that finds it locked waits and takes the result that the other one leaves in the lock
//! file. Only processes that waited use that result, so it may be a failure that is not kept.
//!
//! A run does not depend on the cache: if the cache cannot be used, the command is run.

mod entry;
mod lock;
mod prune;

use std::fmt::Write as _;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub(crate) use entry::CachedResult;
use entry::Entry;
use lock::Lock;
use ring::digest::{Context, SHA256};

use crate::owner::is_trusted;

const DIR_MODE: u32 = 0o700;
/// Pauses between tries to lock a file that another process has locked: they grow from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Increases when the hashed data changes.
const KEY_FORMAT: &str = "monitoring-token result 1";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheKey(String);

/// Collects the parts that identify a run. Each part is hashed with its length, so that neither spaces nor empty parts
/// can make two runs look the same.
pub(crate) struct CacheKeyBuilder(Context);

impl Default for CacheKeyBuilder {
    fn default() -> CacheKeyBuilder {
        CacheKeyBuilder(Context::new(&SHA256)).part(KEY_FORMAT)
    }
}

impl CacheKeyBuilder {
    #[must_use]
    pub(crate) fn part(mut self, part: impl AsRef<std::ffi::OsStr>) -> CacheKeyBuilder {
        let part = part.as_ref().as_bytes();
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// Adds a part that may be missing; missing and empty differ.
    #[must_use]
    pub(crate) fn optional(self, part: Option<&str>) -> CacheKeyBuilder {
        match part {
            None => self.part("absent"),
            Some(part) => self.part("present").part(part),
        }
    }

    pub(crate) fn build(self) -> CacheKey {
        let mut hex = String::new();
        for byte in self.0.finish().as_ref() {
            let _ = write!(hex, "{byte:02x}");
        }
        CacheKey(hex)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cache {
    /// The folder, created if missing. `None` if neither a flag nor the environment names one.
    pub dir: Option<PathBuf>,
    /// How long a success is reused; zero for never.
    pub ttl: Duration,
    /// How long a failure is reused; zero for never.
    pub failure_ttl: Duration,
}

pub(crate) enum Lookup<'a> {
    Hit(CachedResult),
    /// This process has to make the run.
    Miss(Claim<'a>),
}

/// The right, and the duty, to make a run while other processes wait for its result: it holds the lock of the entry.
pub(crate) struct Claim<'a> {
    cache: &'a Cache,
    dir: &'a Path,
    key: &'a CacheKey,
    lock: Lock,
}

impl Cache {
    /// Looks for a result that applies to a run with this `timeout`. If there is none, claims the run, or waits for the
    /// process that has claimed it. `pause` waits for that long, or fails if the run has to end; its error is the inner
    /// one. With the outer error, the cache cannot be used; the run is to be made without it.
    pub(crate) fn look_up<'a, E>(
        &'a self,
        key: &'a CacheKey,
        timeout: Duration,
        mut pause: impl FnMut(Duration) -> Result<(), E>,
    ) -> io::Result<Result<Lookup<'a>, E>> {
        let dir = self.open()?;
        if let Some(result) = self.find(dir, key, timeout) {
            return Ok(Ok(Lookup::Hit(result)));
        }
        let began = SystemTime::now();
        let mut waited = None;
        let lock = loop {
            if let Some(lock) = Lock::acquire(&path(dir, key, "lock"))? {
                break lock;
            }
            if waited.is_none() {
                tracing::debug!("the same run is being made by another process; waiting for its result");
            }
            let next = waited.map_or(FIRST_PAUSE, |last: Duration| (last * 2).min(LONGEST_PAUSE));
            waited = Some(next);
            if let Err(ended) = pause(next) {
                return Ok(Err(ended));
            }
        };
        let left = waited.and_then(|_| lock.read(key)).filter(|entry| entry.was_written_since(began));
        let left = left.map(|entry| entry.result).filter(|result| result.applies_to(timeout));
        // It may also have been stored in the meantime.
        if let Some(result) = left.or_else(|| self.find(dir, key, timeout)) {
            return Ok(Ok(Lookup::Hit(result)));
        }
        lock.clear()?;
        // It must not count again if the clock is set or the next run has a longer TTL: what this run finds is newer.
        match std::fs::remove_file(path(dir, key, "json")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Ok(Lookup::Miss(Claim { cache: self, dir, key, lock })))
    }

    /// Creates the folder if it is missing, and fails if other users could have written to it.
    fn open(&self) -> io::Result<&Path> {
        let dir = self.dir.as_deref().ok_or_else(|| {
            io::Error::other("none of XDG_CACHE_HOME, CACHE_DIRECTORY and HOME is set to an absolute path")
        })?;
        if let Err(error) = check_private(dir) {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            create_private(dir)?;
            check_private(dir)?;
        }
        Ok(dir)
    }

    /// The stored result, if it is still valid.
    fn find(&self, dir: &Path, key: &CacheKey, timeout: Duration) -> Option<CachedResult> {
        let entry = Entry::read(&path(dir, key, "json")).filter(|entry| entry.is_of(key))?;
        // The TTL may have become shorter since.
        let is_fresh = entry.is_fresh(SystemTime::now(), self.ttl_of(&entry.result));
        (is_fresh && entry.result.applies_to(timeout)).then_some(entry.result)
    }

    fn ttl_of(&self, result: &CachedResult) -> Duration {
        if result.exit_status == 0 { self.ttl } else { self.failure_ttl }
    }
}

/// Fails if `dir` belongs to another user, or if every user can write to it: they could forge results and block runs.
fn check_private(dir: &Path) -> io::Result<()> {
    const WRITABLE_BY_OTHERS: u32 = 0o002;
    let link = dir.symlink_metadata()?;
    let metadata = if link.is_symlink() { dir.metadata()? } else { link.clone() };
    if let Some(uid) = [link.uid(), metadata.uid()].into_iter().find(|&uid| !is_trusted(uid)) {
        return Err(io::Error::other(format!("it belongs to another user (uid {uid})")));
    }
    if metadata.is_dir() && metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(io::Error::other("every user can write to it (run chmod 700 on it)"));
    }
    Ok(())
}

/// Creates a folder and its missing parents with mode 0700, whatever the umask.
fn create_private(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir
        .ancestors()
        .filter(|folder| !folder.as_os_str().is_empty())
        .take_while(|folder| !folder.exists())
        .collect();
    for folder in missing.into_iter().rev() {
        match DirBuilder::new().mode(DIR_MODE).create(folder) {
            Ok(()) => std::fs::set_permissions(folder, Permissions::from_mode(DIR_MODE))?,
            // Another run was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn path(dir: &Path, key: &CacheKey, kind: &str) -> PathBuf {
    dir.join(format!("{}.{kind}", key.0))
}

impl Claim<'_> {
    /// Releases the claim: waiting processes get `result`, and it is stored if that was requested. `None` is for a
    /// result that says nothing about the target; a waiting process then makes the run itself.
    pub(crate) fn finish(self, result: Option<CachedResult>) -> io::Result<()> {
        let Claim { cache, dir, key, lock } = self;
        let Some(result) = result else { return Ok(()) };
        let ttl = cache.ttl_of(&result);
        let entry = Entry::new(key, result, ttl, SystemTime::now());
        let noted = lock.write(&entry);
        let written = if ttl.is_zero() { Ok(()) } else { entry.write(&path(dir, key, "json")) };
        drop(lock);
        prune::prune(dir, SystemTime::now());
        written.and(noted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_part_is_not_an_empty_one() {
        let key = |part| CacheKeyBuilder::default().optional(part).build();
        let (missing, empty, word) = (key(None), key(Some("")), key(Some("absent")));
        assert!(missing != empty && missing != word && empty != word);
        assert_eq!((missing.0.len(), key(None)), (64, missing), "hex of SHA-256");
    }
}
