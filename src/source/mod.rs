//! The issuers of credentials. Each gets one, says what it puts into the command's environment, and
//! knows how to take it back. None of them knows how a command is run.

pub mod locate;

use std::ffi::OsString;

use crate::secret::SecretString;

/// A credential, as the command gets it.
#[derive(Default)]
pub struct Lease {
    /// Variables to set.
    pub set: Vec<(OsString, SecretString)>,
    /// Variables to remove, unless they are set.
    pub remove: Vec<OsString>,
    /// The tokens that were issued in this run: what `-output=on-failure` must not show.
    pub secrets: Vec<SecretString>,
}
