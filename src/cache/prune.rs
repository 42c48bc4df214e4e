//! Removes old entries once in a while, so that they do not pile up.

use std::fs::{DirEntry, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::entry::{Entry, TEMPORARY, open};
use super::lock::Lock;

/// Its modification time is the time of the last cleanup.
const STAMP: &str = ".pruned";
const INTERVAL: Duration = Duration::from_secs(3600);
/// No write takes this long: an older temporary file was left behind.
const WRITING_TAKES: Duration = Duration::from_secs(3600);

/// Removes expired entries, at most once an hour. Failures are ignored.
pub(super) fn prune(dir: &Path, now: SystemTime) {
    let stamp = dir.join(STAMP);
    if stamp
        .metadata()
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|last| !is_older(last, INTERVAL, now))
    {
        return;
    }
    let touched = open(&stamp, File::options().create(true).truncate(false).write(true));
    if touched.and_then(|file| file.set_modified(now)).is_err() {
        return;
    }
    for file in dir.read_dir().into_iter().flatten().flatten() {
        remove_if_useless(dir, &file, now);
    }
}

/// True if `time` differs from `now` by more than `than`; a time in the future means that a clock was wrong.
fn is_older(time: SystemTime, than: Duration, now: SystemTime) -> bool {
    now.duration_since(time).map_or(true, |age| age > than)
}

fn remove_if_useless(dir: &Path, file: &DirEntry, now: SystemTime) {
    let (path, name) = (file.path(), file.file_name());
    let Some(name) = name.to_str() else { return };
    let left_behind = || {
        let modified = file.metadata().and_then(|metadata| metadata.modified());
        modified.is_ok_and(|time| is_older(time, WRITING_TAKES, now))
    };
    if let Some(key) = name.strip_suffix(".lock") {
        // Only the holder of a lock may remove it, and only while there is no entry, because entries come and go under
        // it.
        if is_key(key)
            && !dir.join(format!("{key}.json")).exists()
            && left_behind()
            && let Ok(Some(held)) = Lock::acquire(&path)
        {
            let _ = std::fs::remove_file(&path);
            drop(held);
        }
        return;
    }
    let useless = match name.strip_suffix(".json") {
        Some(key) if is_key(key) => {
            Entry::read(&path).map_or_else(left_behind, |entry| entry.has_expired(now))
        }
        Some(_) => false,
        None => name.starts_with(TEMPORARY) && left_behind(),
    };
    if useless {
        let _ = std::fs::remove_file(path);
    }
}

/// True for names that this program gives to entries.
fn is_key(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::super::{Cache, CacheKeyBuilder, CachedResult, Lookup};
    use super::*;

    fn keep(cache: &Cache, name: &str) -> String {
        let key = CacheKeyBuilder::default().part(name).build();
        match cache.look_up(&key, Duration::ZERO, |_| Err(())).unwrap() {
            Ok(Lookup::Miss(claim)) => claim.finish(Some(CachedResult::now(0, None, None))).unwrap(),
            _ => panic!("nobody else is here"),
        }
        key.0
    }

    #[test]
    fn pruning_removes_expired_entries_and_keeps_fresh_ones() {
        let dir = tempfile::tempdir().unwrap();
        let cache = |ttl| Cache { dir: Some(dir.path().to_owned()), ttl, failure_ttl: Duration::ZERO };
        let short = keep(&cache(Duration::from_secs(60)), "short");
        let long = keep(&cache(Duration::from_secs(24 * 3600)), "long");
        let has = |name: &str| dir.path().join(name).exists();
        std::fs::write(dir.path().join(".tmp-left"), "").unwrap();
        std::fs::write(dir.path().join("other.json"), "not ours").unwrap();
        std::fs::write(dir.path().join(format!("{}.json", "0".repeat(64))), "torn").unwrap();
        // The first result was kept a moment ago, so it is not time yet.
        prune(dir.path(), SystemTime::now());
        assert!(has(&format!("{short}.json")) && has(".tmp-left"));
        prune(dir.path(), SystemTime::now() + 2 * INTERVAL);
        for (name, expected) in [
            (format!("{short}.json"), false),
            (format!("{long}.json"), true),
            (format!("{long}.lock"), true),
            (format!("{}.json", "0".repeat(64)), false),
            (".tmp-left".to_owned(), false),
            ("other.json".to_owned(), true),
        ] {
            assert_eq!(has(&name), expected, "{name}");
        }
        // The lock of an entry that is gone goes the next time at the latest.
        prune(dir.path(), SystemTime::now() + 4 * INTERVAL);
        assert!(!has(&format!("{short}.lock")));
    }
}
