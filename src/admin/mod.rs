//! What administrators do with service tokens by hand: make, list, delete, prepare an installation.
//! Text for stdout is the result, but for a new token, whose loss has to be dealt with; nothing here runs a
//! command.

pub mod bootstrap;
pub mod gafaelfawr;
pub mod output;
pub mod stackstate;

use std::time::{Duration, Instant};

use reqwest::Url;

use crate::cli::duration;
use crate::credential::Credential;
use crate::error::{Failure, Stage};
use crate::exit::ExitStatus;
use crate::http::HttpConfig;
use crate::signal::Signals;
use crate::source::api::Api;
use crate::stdout;
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

/// Runs `work` until it is done, until `deadline`, `timeout` after the beginning, or until a signal ends us,
/// where these are caught.
fn wait<T>(
    api: &Api,
    timeout: Duration,
    deadline: Instant,
    signals: Option<&Signals>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let failed = |error: std::io::Error| Failure::ours(Stage::Exchange, format!("cannot start: {error}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(failed)?;
    let interrupt = async {
        match signals {
            Some(signals) => signals.interrupt().await,
            None => std::future::pending().await,
        }
    };
    let at_step = || format!("while {} ({})", api.step(), api.origin());
    let result = runtime.block_on(async {
        tokio::select! {
            biased;
            result = work => result,
            signal = interrupt => Err(Failure {
                message: format!("ended by {signal} {}", at_step()),
                ..Failure::signal(Stage::Exchange, signal)
            }),
            () = tokio::time::sleep_until(deadline.into()) => Err(Failure::timeout(
                Stage::Exchange,
                format!("timed out after {} {}", duration::show(timeout), at_step()),
            )),
        }
    });
    runtime.shutdown_background();
    result
}

/// That a token would get lost on standard output, before it is made.
fn refuse_closed_stdout() -> Result<(), Failure> {
    stdout::check_open().map_err(|_| Failure {
        stage: None,
        status: ExitStatus::Failed,
        message: "stdout is closed, so the token would get lost and none was made; see --out".to_owned(),
    })
}

/// Writes a new token to stdout. The failure says what `undo` says of the token that is lost.
fn deliver(text: &str, undo: impl FnOnce() -> String) -> Result<(), Failure> {
    stdout::deliver(text).map_err(|error| Failure {
        stage: None,
        status: ExitStatus::Failed,
        message: format!("cannot write to stdout: {error}; {}", undo()),
    })
}
