//! By what a run is known.

use std::os::unix::ffi::OsStrExt as _;

use ring::digest::{Context, SHA256};

/// Increases when the hashed data changes.
const KEY_FORMAT: &str = "monitoring-token result 1";
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheKey(pub(super) String);

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
        CacheKey(
            self.0.finish().as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")),
        )
    }
}
