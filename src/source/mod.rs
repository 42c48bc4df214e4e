//! The issuers of credentials. Each gets one, says what it puts into the command's environment, and
//! knows how to take it back. None of them knows how a command is run.

pub mod api;
pub mod gafaelfawr;
pub mod locate;
pub mod stackstate;

use std::ffi::OsString;
use std::time::Instant;

use crate::error::{Failure, Stage};
use crate::secret::SecretString;
use api::Api;

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

/// Why there is no new token.
#[derive(Debug)]
pub struct CreateError {
    /// In words.
    pub failure: Failure,
    /// Whether there may be one all the same.
    pub trace: Option<Trace>,
}

impl CreateError {
    /// The issuer said no: there is no token.
    pub fn refused(message: impl Into<String>) -> CreateError {
        CreateError { failure: Failure::ours(Stage::Exchange, message), trace: None }
    }

    /// There may be a token.
    pub fn unclear(message: impl Into<String>, trace: Trace) -> CreateError {
        CreateError { failure: Failure::ours(Stage::Exchange, message), trace: Some(trace) }
    }
}

/// What is known of a token that has to be deleted.
#[derive(Debug)]
pub enum Trace {
    /// The token.
    Token(SecretString),
    /// Its creation was answered, but not with a token.
    Unreadable,
    /// Its creation was not answered, and may still be under way.
    Unanswered,
}

impl Trace {
    /// What a creation that was answered with this status, and not with a token, has left. `own` says
    /// whether the error has the issuer's own form.
    pub fn of_refusal(status: u16, own: bool) -> Option<Trace> {
        match status {
            // A proxy may have given up on a server that goes on.
            408 | 501..=599 => Some(Trace::Unanswered),
            // The server itself rolls back.
            200..=299 | 500 => Some(Trace::Unreadable),
            // Who is not let in has made nothing; such an answer has no body at some servers.
            401 => None,
            _ => (!own).then_some(Trace::Unreadable),
        }
    }
}

/// An issuer of tokens that are deleted after the run.
#[expect(async_fn_in_trait, reason = "used on one thread, with the type known")]
pub trait Issuer {
    /// The API that is used.
    fn api(&self) -> &Api;

    /// Finds out, before anything is made, that the credential can delete what it will make.
    async fn prepare(&mut self, deadline: Instant) -> Result<(), Failure>;

    /// What the issuer tells of the credential (`token`) and of itself (`server`), for `check`.
    async fn describe(&self, deadline: Instant) -> Vec<(&'static str, String)>;

    /// Makes the token.
    async fn create(&self, deadline: Instant) -> Result<SecretString, CreateError>;

    /// Deletes the token. A failure says what went wrong, and what to do by hand.
    async fn revoke(&self, trace: &Trace, deadline: Instant) -> Result<(), String>;

    /// What remains to be done by hand where a token was not deleted. Never shows the token.
    fn by_hand(&self, trace: &Trace) -> String;

    /// What the command finds in its environment.
    fn lease(&self, token: &SecretString) -> Lease;
}
