//! The issuers of credentials. Each gets one, says what it puts into the command's environment, and
//! knows how to take it back. None of them knows how a command is run.

pub mod api;
mod clock;
pub mod gafaelfawr;
pub mod locate;
mod quote;
pub mod refusal;
pub mod stackstate;

use std::ffi::OsString;
use std::pin::Pin;
use std::time::{Duration, Instant};

use reqwest::Url;

use crate::error::Failure;
use crate::http::LoadedHttp;
use crate::secret::SecretString;
use api::Api;

/// A credential, as the command gets it.
#[derive(Default)]
pub struct Lease {
    /// Variables to set.
    pub set: Vec<(OsString, SecretString)>,
    /// Variables to remove, unless they are set.
    pub remove: Vec<OsString>,
}

/// Why there is no new token.
#[derive(Debug)]
pub struct CreateError {
    /// In words.
    pub failure: Failure,
    /// What there may be at the issuer all the same.
    pub leftover: Option<Leftover>,
}

/// What is, or may be, left at the issuer and has to be deleted.
#[derive(Debug)]
pub enum Leftover {
    /// The token.
    Token(SecretString),
    /// Its creation was answered, but not with a token.
    Unreadable,
    /// Its creation was not answered, and may still be under way.
    Unanswered,
}

impl Leftover {
    /// What a creation that was answered with this status, and not with a token, has left. `own` says
    /// whether the error has the issuer's own form.
    pub fn of_refusal(status: u16, own: bool) -> Option<Leftover> {
        match status {
            // A proxy may have given up on a server that goes on.
            408 | 501..=599 => Some(Leftover::Unanswered),
            // The server itself rolls back.
            200..=299 | 500 => Some(Leftover::Unreadable),
            // Who is not let in, or is held back, has made nothing; such an answer has no body at some servers.
            401 | 429 => None,
            _ => (!own).then_some(Leftover::Unreadable),
        }
    }
}

/// Who makes the token of a run, and which. Nothing is connected yet.
pub enum IssuerConfig {
    /// A Phalanx environment.
    Gafaelfawr(gafaelfawr::exec::RunTokenConfig),
    /// A StackState installation.
    StackState(stackstate::exec::RunTokenConfig),
}

impl IssuerConfig {
    /// The issuer at this base URL, for a token that is needed for `needed`.
    pub fn connect(
        self,
        http: &LoadedHttp,
        url: Url,
        credential: &SecretString,
        needed: Duration,
    ) -> Result<Box<dyn Issuer>, Failure> {
        Ok(match self {
            IssuerConfig::Gafaelfawr(config) => Box::new(config.connect(http, url, credential, needed)?),
            IssuerConfig::StackState(config) => Box::new(config.connect(http, url, credential, needed)?),
        })
    }
}

/// What an issuer does, whichever it is: one type for all, so that the code that awaits it is there once.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

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
