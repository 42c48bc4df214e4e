//! The issuers of credentials. Each gets one, says what it puts into the command's environment, and
//! knows how to take it back. None of them knows how a command is run.

pub mod api;
mod clock;
pub mod credential;
pub mod gafaelfawr;
pub mod locate;
mod quote;
pub mod refusal;
pub mod stackstate;
mod status;

use std::ffi::OsString;
use std::pin::Pin;
use std::time::{Duration, Instant};

use reqwest::Url;

use crate::failure::Failure;
use crate::http::{Answer, LoadedHttp, Phase};
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
    /// A token that the issuer may have created anyway.
    pub leftover: Option<Leftover>,
}

/// What is, or may be, left at the issuer and has to be deleted.
#[derive(Debug)]
pub enum Leftover {
    /// The token.
    Token(SecretString),
    /// Something answered its creation, but not with a token.
    Answered(Reply),
    /// Nothing answered, so that nothing shows whether the request arrived.
    Unanswered,
}

/// An answer to a creation that holds no token.
#[derive(Debug)]
pub struct Reply {
    /// `None`: the answer broke off.
    status: Option<u16>,
    /// Its `Location`, which names what was created.
    pub location: Option<String>,
}

impl Reply {
    /// Whether the server is done: what is not listed now was not created.
    pub fn is_final(&self) -> bool {
        // A proxy may have given up on a server that goes on.
        self.status.is_some_and(|status| !matches!(status, 408 | 501..=599))
    }
}

impl Leftover {
    /// What a creation may have left that was answered with this status, and not with a token. `own` says
    /// whether the error has the issuer's own form.
    pub fn of_refusal(answer: &Answer, own: bool) -> Option<Leftover> {
        match answer.status {
            // Whoever is not let in has created nothing; such an answer has no body at some servers.
            401 => None,
            // The issuer itself refused the request. A rate limiter or a gateway may act after the issuer.
            400..=499 if own && !matches!(answer.status, 408 | 429) => None,
            status => Some(Leftover::Answered(Reply {
                status: Some(status),
                location: answer.header("location").map(str::to_owned),
            })),
        }
    }

    /// What a creation may have left whose answer did not arrive whole, at the `phase` where it ended.
    pub fn of_interruption(phase: Phase) -> Option<Leftover> {
        match phase {
            Phase::Lookup | Phase::Connect | Phase::ProxyHandshake | Phase::Handshake => None,
            Phase::Answer => Some(Leftover::Unanswered),
            Phase::Body => Some(Leftover::Answered(Reply { status: None, location: None })),
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
