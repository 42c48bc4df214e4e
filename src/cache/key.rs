//! By what a run is known.

use std::os::unix::ffi::OsStrExt as _;

use ring::digest::{Context, SHA256};

/// Changes when what is hashed does.
const KEY_FORMAT: &str = "monitoring-token result 1";
/// Which run it is, as a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheKey(pub(super) String);

/// Collects what makes a run that run. Every part is hashed with its length before it, so that neither
/// blanks nor empty parts can make two runs look the same.
pub(crate) struct CacheKeyBuilder(Context);

impl Default for CacheKeyBuilder {
    fn default() -> CacheKeyBuilder {
        CacheKeyBuilder(Context::new(&SHA256)).part(KEY_FORMAT)
    }
}

impl CacheKeyBuilder {
    /// Adds a part.
    #[must_use]
    pub(crate) fn part(mut self, part: impl AsRef<std::ffi::OsStr>) -> CacheKeyBuilder {
        let part = part.as_ref().as_bytes();
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// Adds a part that may be missing, which is not the same as an empty one.
    #[must_use]
    pub(crate) fn optional(self, part: Option<&str>) -> CacheKeyBuilder {
        match part {
            None => self.part("absent"),
            Some(part) => self.part("present").part(part),
        }
    }

    /// The hash of all parts.
    pub(crate) fn build(self) -> CacheKey {
        CacheKey(
            self.0.finish().as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")),
        )
    }
}
