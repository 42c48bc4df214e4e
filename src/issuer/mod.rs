//! The issuers of credentials. Each gets one, says what it puts into the command's environment, and
//! knows how to take it back. None of them knows how a command is run.

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

/// Who makes the token of a run, and which. Nothing is connected yet.
pub enum IssuerConfig {
    /// A Phalanx environment.
    Gafaelfawr(gafaelfawr::exec::RunTokenConfig),
    /// A StackState installation.
    StackState(stackstate::exec::RunTokenConfig),
}

impl IssuerConfig {
    /// The issuer of a token that is needed for `needed`.
    pub fn connect(self, access: Access<'_>, needed: Duration) -> Result<Box<dyn Issuer>, Failure> {
        Ok(match self {
            IssuerConfig::Gafaelfawr(config) => Box::new(config.connect(access, needed)?),
            IssuerConfig::StackState(config) => Box::new(config.connect(access, needed)?),
        })
    }
}
