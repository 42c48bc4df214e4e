//! The issuers of credentials. Each gets one, says what it puts into the command's environment, and
//! knows how to take it back. None of them knows how a command is run.

pub mod api;
mod clock;
pub mod credential;
pub mod gafaelfawr;
mod lease;
pub mod locate;
mod quote;
pub mod refusal;
mod run_token;
pub mod stackstate;
mod status;

use std::time::Duration;

pub use lease::{CreateError, Lease, Leftover};
pub use run_token::{BoxFuture, Issuer};

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
