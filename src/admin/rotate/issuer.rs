//! The operations of an issuer that `rotate` needs.

use std::path::Path;
use std::time::Instant;

use super::state::{Known, PlannedCreation};
use crate::date::unix_now;
use crate::failure::Failure;
use crate::issuer::api::Api;
use crate::issuer::{CreateError, server_time};
use crate::secret::SecretString;

/// How long a request may still take effect after its client has gone.
pub(super) const SETTLED_AFTER_SECONDS: u64 = 900;

/// The issuer's answer about the token in FILE.
pub(super) enum Seen {
    Valid {
        id: String,
        created: Option<u64>,
        expires: Option<u64>,
        /// Its scopes, if they differ from those of a new token.
        other_scopes: Option<String>,
    },
    /// It has expired or was deleted.
    Invalid,
}

/// The result of looking for a token whose creation was not confirmed.
pub(super) enum Found {
    /// It created this token.
    Created(String),
    /// It may have created one of these.
    Unproven(Vec<String>),
    NotListed,
}

/// The tokens that are explained without the creation that is looked at: a new one of them says nothing about it.
pub(super) struct Others {
    /// The token in FILE, and the known ones.
    pub ids: Vec<String>,
    /// The expiries of all open creations. No two have the same.
    pub expiries: Vec<u64>,
}

impl Others {
    pub(super) fn explain(&self, id: &str, expires: Option<u64>) -> bool {
        self.ids.iter().any(|known| known == id)
            || expires.is_some_and(|expires| self.expiries.contains(&expires))
    }
}

/// The operations that differ between issuers. Times are by the issuer's clock, in Unix seconds.
pub(super) trait Rotates {
    fn api(&self) -> &Api;

    fn now(&self) -> u64 {
        server_time(self.api(), unix_now())
    }

    /// `known` is the entry of the token in `FILE.state`.
    async fn look_at(
        &self,
        token: &SecretString,
        known: Option<&Known>,
        deadline: Instant,
    ) -> Result<Seen, Failure>;

    /// The next token expires on a day, whatever `--lifetime` is.
    fn has_fixed_expiry(&self) -> bool {
        false
    }

    /// The next creation, which must not be mistaken for one of the `open` ones. The token in FILE is valid until
    /// `valid_until`, if it is valid.
    async fn plan(
        &self,
        open: &[PlannedCreation],
        valid_until: Option<u64>,
        deadline: Instant,
    ) -> Result<PlannedCreation, Failure>;

    /// Creates the token; returns it with the ID that deletes it.
    async fn create(
        &self,
        attempt: &PlannedCreation,
        deadline: Instant,
    ) -> Result<(SecretString, String), CreateError>;

    async fn find(
        &self,
        attempt: &PlannedCreation,
        others: &Others,
        deadline: Instant,
    ) -> Result<Found, Failure>;

    /// Deletes a token. It is not an error if there is none.
    async fn delete(&self, id: &str, deadline: Instant) -> Result<(), Failure>;

    /// The command line that deletes the token.
    fn delete_hint(&self, id: &str) -> String;

    fn list_hint(&self) -> String;

    /// How to go on without `FILE.state`, and at which cost.
    fn without_state(&self, file: &Path) -> String;
}
