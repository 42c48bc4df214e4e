//! The issuers of credentials. Each obtains a credential, says which variables the command gets, and can revoke it.
//! None knows how a command is run.

pub(crate) mod api;
mod creation;
pub(crate) mod credential;
pub(crate) mod gafaelfawr;
pub mod locate;
mod quote;
mod refusal;
pub(crate) mod stackstate;
mod status;

use std::ffi::OsString;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use reqwest::Url;

pub(crate) use creation::{CreateError, Found, Known, Leftover, Others, PlannedCreation};

use crate::date::{time, unix_now};
use crate::failure::{Failure, Warning};
use crate::go::duration;
use crate::http::HttpConfig;
use crate::secret::SecretString;
use api::{Access, Api};
use credential::Credential;
use gafaelfawr::{Gafaelfawr, tokens::Environment};
use stackstate::{StackState, tokens::Installation};

/// How long a request may still take effect after its client has gone.
pub(crate) const SETTLED_AFTER_SECONDS: u64 = 900;

/// How to reach an issuer, before anything is read that may be a pipe.
pub(crate) struct Site {
    /// The base URL.
    pub url: Url,
    pub http: HttpConfig,
    pub credential: Credential,
    /// The flags among these, for the command lines in messages: each with a space before it.
    pub flags: String,
}

/// An issuer and the tokens to create, before a connection is made.
pub(crate) enum IssuerConfig {
    Gafaelfawr(gafaelfawr::NewToken),
    /// The name of `new` is the prefix of each token's name.
    StackState {
        new: stackstate::NewToken,
        api: stackstate::ApiConfig,
    },
}

impl IssuerConfig {
    pub(crate) fn connect(self, access: Access<'_>, lifetime: Lifetime) -> Result<Box<dyn Issuer>, Failure> {
        Ok(match self {
            IssuerConfig::Gafaelfawr(new) => {
                Box::new(Environment { admin: Gafaelfawr::new(access)?, new, lifetime })
            }
            IssuerConfig::StackState { new, api } => {
                Box::new(Installation { admin: StackState::new(access, api)?, new, lifetime })
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

/// How long a new token is valid.
#[derive(Clone, Copy)]
pub(crate) enum Lifetime {
    /// At least this long; it is deleted when the run ends.
    OfRun(Duration),
    /// At most this long; it is kept in a file.
    InFile(Duration),
}

/// A credential in the form that the command gets.
#[derive(Default)]
pub struct Lease {
    pub set: Vec<(OsString, SecretString)>,
    /// Variables to remove; one that is also in `set` is set.
    pub remove: Vec<OsString>,
}

/// The issuer's answer about the token in a file.
pub(crate) enum Seen {
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

/// One type for the results of all issuers, so that the code that awaits them is compiled only once.
pub(crate) type Work<'a, T, E = Failure> = Pin<Box<dyn Future<Output = Result<T, E>> + 'a>>;

/// An issuer of tokens for a run or a file. Times are by its clock, in Unix seconds.
pub(crate) trait Issuer {
    fn api(&self) -> &Api;

    /// The local time, converted to the issuer's clock if that is known.
    fn now(&self) -> u64 {
        let offset = self.api().client.usable_clock_offset_seconds().unwrap_or_default();
        unix_now().saturating_add_signed(-offset)
    }

    /// A warning if the clocks are days apart and the local one, which then sets the expiry of a token, is ahead.
    fn clock_warning(&self) -> Option<Warning> {
        let client = &self.api().client;
        let offset =
            client.clock_offset_seconds().filter(|_| client.usable_clock_offset_seconds().is_none())?;
        let ahead = Duration::from_secs(u64::try_from(offset).ok()?);
        Some(Warning::from(format!(
            "the local clock is {} ahead of the server; if the local clock is wrong, set it: the new token is valid for that much longer",
            duration::show(ahead)
        )))
    }

    /// The user, for issuers whose tokens belong to a user.
    fn user(&self) -> Option<&str> {
        None
    }

    /// The next creation, which must not be mistaken for one of the `open` ones. Fails if a token for a run could be
    /// created but not deleted. The token in the file is valid until `valid_until`, if it is valid.
    fn plan<'a>(&'a self, open: &'a [PlannedCreation], valid_until: Option<u64>)
    -> Work<'a, PlannedCreation>;

    /// For `check`: describes the credential (`token`) and the issuer (`server`).
    fn describe(&self) -> Work<'_, Vec<(&'static str, String)>>;

    /// Creates the token; returns it with the ID that deletes it.
    fn create<'a>(&'a self, planned: &'a PlannedCreation) -> Work<'a, (SecretString, String), CreateError>;

    /// Looks for the token of a creation that was not confirmed.
    fn find<'a>(&'a self, planned: &'a PlannedCreation, others: &'a Others) -> Work<'a, Found>;

    /// Deletes a token. `false`: there is none, but it may still be listed later.
    fn delete<'a>(&'a self, id: &'a str) -> Work<'a, bool>;

    /// False if a token that is not listed does not exist any more: the list may only be behind.
    fn exists<'a>(&'a self, _: &'a SecretString) -> Work<'a, bool> {
        Box::pin(async { Ok(true) })
    }

    /// The command line that deletes the token.
    fn delete_hint(&self, id: &str) -> String;

    fn list_hint(&self) -> String;

    /// How to delete the token manually.
    fn manual_cleanup_hint(&self, id: &str, expires: Option<u64>) -> String {
        let expires =
            expires.map_or_else(|| "never expires".to_owned(), |at| format!("expires at {}", time(at)));
        format!("the token {expires}; to delete it now: {}", self.delete_hint(id))
    }

    fn lease(&self, token: &SecretString) -> Lease;

    /// Asks about the token in a file, which may be known from `FILE.state`.
    fn look_at<'a>(&'a self, token: &'a SecretString, known: Option<&'a Known>) -> Work<'a, Seen>;

    /// The next token in the file expires on a day, whatever `--lifetime` is.
    fn has_fixed_expiry(&self) -> bool {
        false
    }

    /// How `rotate` goes on without `FILE.state`, and at which cost.
    fn without_state(&self, file: &Path) -> String;
}
