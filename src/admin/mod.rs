//! What administrators do with service tokens by hand: make, list, delete, prepare an installation.
//! Text for stdout is the result; nothing here runs a command.

pub mod bootstrap;
pub mod gafaelfawr;
pub mod output;
pub mod stackstate;

use std::time::{Duration, Instant};

use reqwest::Url;

use crate::cli::duration;
use crate::credential::Credential;
use crate::error::{Failure, Stage};
use crate::http::HttpConfig;
use crate::source::api::Api;
use output::Format;

/// What the verbs have in common.
pub struct Administration {
    /// The service's base URL.
    pub url: Url,
    /// `--output`.
    pub format: Format,
    /// `--timeout`.
    pub timeout: Duration,
    /// How requests are made.
    pub http: HttpConfig,
    /// Where the credential is.
    pub credential: Credential,
}

/// Runs `work` until it is done, or until `deadline`, `timeout` after the beginning.
fn wait<T>(
    api: &Api,
    timeout: Duration,
    deadline: Instant,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let failed = |error: std::io::Error| Failure::ours(Stage::Exchange, format!("cannot start: {error}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(failed)?;
    let result = runtime.block_on(async {
        tokio::time::timeout_at(deadline.into(), work).await.unwrap_or_else(|_| {
            let message = format!(
                "timed out after {} while {} ({})",
                duration::show(timeout),
                api.step(),
                api.origin()
            );
            Err(Failure::timeout(Stage::Exchange, message))
        })
    });
    runtime.shutdown_background();
    result
}
