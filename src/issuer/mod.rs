//! The issuers of credentials. Each obtains a credential, says which variables the command gets, and can revoke it.
//! None knows how a command is run.

pub(crate) mod api;
pub(crate) mod credential;
pub(crate) mod gafaelfawr;
mod lease;
pub mod locate;
mod quote;
mod refusal;
pub(crate) mod stackstate;
mod status;

use std::pin::Pin;
use std::time::{Duration, Instant};

use reqwest::Url;

pub(crate) use lease::{CreateError, Lease, Leftover};

use crate::failure::Failure;
use crate::http::HttpConfig;
use crate::secret::SecretString;
use api::{Access, Api};
use credential::Credential;

/// How to reach an issuer, before anything is read that may be a pipe.
pub(crate) struct Site {
    /// The base URL.
    pub url: Url,
    pub http: HttpConfig,
    pub credential: Credential,
}

/// An issuer and the tokens to create, before a connection is made.
pub(crate) enum IssuerConfig {
    Gafaelfawr(gafaelfawr::NewToken),
    /// The name of `new` is the prefix of each token's name, and its expiry is set later.
    StackState {
        new: stackstate::NewToken,
        api: stackstate::ApiConfig,
    },
}

impl IssuerConfig {
    pub(crate) fn connect(self, access: Access<'_>, needed: Duration) -> Result<Box<dyn Issuer>, Failure> {
        Ok(match self {
            IssuerConfig::Gafaelfawr(new) => {
                Box::new(gafaelfawr::exec::RunToken::connect(new, access, needed)?)
            }
            IssuerConfig::StackState { new, api } => {
                Box::new(stackstate::exec::RunToken::connect(new, api, access, needed)?)
            }
        })
    }

    pub(crate) fn service(&self) -> &'static str {
        match self {
            IssuerConfig::Gafaelfawr(_) => "gafaelfawr",
            IssuerConfig::StackState { .. } => "stackstate",
        }
    }

    /// The label that distinguishes the tokens of an issuer in the metrics.
    pub(crate) fn owner(&self) -> (&'static str, &str) {
        match self {
            IssuerConfig::Gafaelfawr(new) => ("user", &new.username),
            IssuerConfig::StackState { new, .. } => ("name", &new.name),
        }
    }
}

/// Converts a Unix time of the local clock to the issuer's clock, if that is known.
pub(crate) fn server_time(api: &Api, local: u64) -> u64 {
    local.saturating_add_signed(-api.client().usable_clock_offset_seconds().unwrap_or_default())
}

/// One type for the results of all issuers, so that the code that awaits them is compiled only once.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// An issuer of tokens that are deleted after the run.
pub(crate) trait Issuer {
    fn api(&self) -> &Api;

    /// Checks, before a token is created, that the credential can delete it.
    fn prepare(&self, deadline: Instant) -> BoxFuture<'_, Result<(), Failure>>;

    /// For `check`: describes the credential (`token`) and the issuer (`server`).
    fn describe(&self, deadline: Instant) -> BoxFuture<'_, Vec<(&'static str, String)>>;

    fn create(&self, deadline: Instant) -> BoxFuture<'_, Result<SecretString, CreateError>>;

    /// Deletes the token. The failure says what went wrong, and how to delete the token manually.
    fn revoke<'a>(&'a self, leftover: &'a Leftover, deadline: Instant) -> BoxFuture<'a, Result<(), String>>;

    /// How to delete a token manually. Never shows the token.
    fn manual_cleanup_hint(&self, leftover: &Leftover) -> String;

    fn lease(&self, token: &SecretString) -> Lease;
}
