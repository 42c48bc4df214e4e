//! What `rotate` asks of an issuer.

use std::time::{Duration, Instant};

use super::state::{Known, PlannedCreation};
use crate::date::unix_now;
use crate::failure::Failure;
use crate::http::is_usable;
use crate::issuer::api::Api;
use crate::issuer::{BoxFuture, CreateError};
use crate::secret::SecretString;

/// What the issuer says of the token in FILE.
pub(super) enum Seen {
    Valid {
        id: String,
        created: Option<u64>,
        expires: Option<u64>,
    },
    /// It has expired or was deleted.
    Invalid,
}

/// What a list says of a creation whose result is not known.
pub(super) enum Found {
    /// It created this token.
    Created(String),
    /// It may have created one of these.
    Unproven(Vec<String>),
    NotListed,
}

/// What differs between issuers. Times are by the issuer's clock, in Unix seconds.
pub(super) trait Rotates {
    fn api(&self) -> &Api;

    /// How far the local clock is ahead, if an answer has told it.
    fn clock_offset(&self) -> Option<i64>;

    fn now(&self) -> u64 {
        let offset = self.clock_offset().filter(|offset| is_usable(*offset));
        unix_now().saturating_add_signed(-offset.unwrap_or_default())
    }

    /// `known` is what `FILE.state` says of the token.
    fn look_at<'a>(
        &'a self,
        token: &'a SecretString,
        known: Option<&'a Known>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Seen, Failure>>;

    /// How long before its expiry a token is replaced, unless `--renew-before` says it.
    fn renew_before(&self, created: Option<u64>, expires: u64) -> Duration;

    /// The next creation, told apart from the `open` ones. The token in FILE is valid until `valid_until`, if it
    /// is valid.
    fn plan<'a>(
        &'a self,
        open: &'a [PlannedCreation],
        valid_until: Option<u64>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<PlannedCreation, Failure>>;

    /// Gives the token, and what it is deleted by.
    fn create<'a>(
        &'a self,
        attempt: &'a PlannedCreation,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(SecretString, String), CreateError>>;

    fn find<'a>(
        &'a self,
        attempt: &'a PlannedCreation,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Found, Failure>>;

    /// Deletes a token, or finds that there is none.
    fn delete<'a>(&'a self, id: &'a str, deadline: Instant) -> BoxFuture<'a, Result<(), Failure>>;

    /// The command line that does it.
    fn delete_hint(&self, id: &str) -> String;

    fn list_hint(&self) -> String;
}
