//! The token of one run, whoever issues it.

use std::pin::Pin;
use std::time::Instant;

use super::api::Api;
use super::lease::{CreateError, Lease, Leftover};
use crate::failure::Failure;
use crate::secret::SecretString;

/// What an issuer does, whichever it is: one type for all, so that the code that awaits it is there once.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// An issuer of tokens that are deleted after the run.
pub trait Issuer {
    /// The API that is used.
    fn api(&self) -> &Api;

    /// Finds out, before anything is made, that the credential can delete what it will make.
    fn prepare(&self, deadline: Instant) -> BoxFuture<'_, Result<(), Failure>>;

    /// What the issuer tells of the credential (`token`) and of itself (`server`), for `check`.
    fn describe(&self, deadline: Instant) -> BoxFuture<'_, Vec<(&'static str, String)>>;

    /// Makes the token.
    fn create(&self, deadline: Instant) -> BoxFuture<'_, Result<SecretString, CreateError>>;

    /// Deletes the token. A failure says what went wrong, and what to do by hand.
    fn revoke<'a>(&'a self, leftover: &'a Leftover, deadline: Instant) -> BoxFuture<'a, Result<(), String>>;

    /// What remains to be done by hand where a token was not deleted. Never shows the token.
    fn by_hand(&self, leftover: &Leftover) -> String;

    /// What the command finds in its environment.
    fn lease(&self, token: &SecretString) -> Lease;
}
