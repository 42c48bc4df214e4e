//! The token of one run, whoever issues it.

use std::pin::Pin;
use std::time::Instant;

use super::api::Api;
use super::lease::{CreateError, Lease, Leftover};
use crate::failure::Failure;
use crate::secret::SecretString;

/// One type for the results of all issuers, so that the code that awaits them is compiled only once.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// An issuer of tokens that are deleted after the run.
pub(crate) trait Issuer {
    /// The API of the issuer.
    fn api(&self) -> &Api;

    /// Checks, before a token is created, that the credential can delete it.
    fn prepare(&self, deadline: Instant) -> BoxFuture<'_, Result<(), Failure>>;

    /// For `check`: describes the credential (`token`) and the issuer (`server`).
    fn describe(&self, deadline: Instant) -> BoxFuture<'_, Vec<(&'static str, String)>>;

    /// Creates the token.
    fn create(&self, deadline: Instant) -> BoxFuture<'_, Result<SecretString, CreateError>>;

    /// Deletes the token. The failure says what went wrong, and how to delete the token manually.
    fn revoke<'a>(&'a self, leftover: &'a Leftover, deadline: Instant) -> BoxFuture<'a, Result<(), String>>;

    /// How to delete a token manually. Never shows the token.
    fn manual_cleanup_hint(&self, leftover: &Leftover) -> String;

    /// The variables for the command.
    fn lease(&self, token: &SecretString) -> Lease;
}
