//! The issuers of credentials. Each obtains a credential, says which variables the command gets, and can revoke it.
//! None knows how a command is run.

pub(crate) mod api;
mod clock;
pub(crate) mod credential;
pub(crate) mod gafaelfawr;
mod lease;
pub mod locate;
mod quote;
mod refusal;
mod run_token;
pub(crate) mod stackstate;
mod status;

use std::time::Duration;

pub(crate) use lease::{CreateError, Lease, Leftover};
pub(crate) use run_token::{BoxFuture, Issuer};

use api::Access;

use crate::failure::Failure;

/// The issuer of a run's token, and the token, before a connection is made.
pub(crate) enum IssuerConfig {
    Gafaelfawr(gafaelfawr::exec::RunTokenConfig),
    StackState(stackstate::exec::RunTokenConfig),
}

impl IssuerConfig {
    /// The issuer of a token that is needed for `needed`.
    pub(crate) fn connect(self, access: Access<'_>, needed: Duration) -> Result<Box<dyn Issuer>, Failure> {
        Ok(match self {
            IssuerConfig::Gafaelfawr(config) => Box::new(config.connect(access, needed)?),
            IssuerConfig::StackState(config) => Box::new(config.connect(access, needed)?),
        })
    }
}
