//! The administrator's commands: create, list and delete keys and service tokens, and prepare an installation.
//!
//! They return the text for stdout, except for a new token, whose loss they have to handle. Nothing here runs a
//! command.

pub(crate) mod bootstrap;
pub(crate) mod gafaelfawr;
pub(crate) mod key;
pub(crate) mod output;
pub(crate) mod rotate;
pub(crate) mod stackstate;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::Url;

use crate::failure::{ExitStatus, Failure, Stage};
use crate::go::duration;
use crate::http::{HttpConfig, LoadedHttp};
use crate::issuer::CreateError;
use crate::issuer::api::Api;
use crate::issuer::credential::Credential;
use crate::read::Until;
use crate::runtime::block_on;
use crate::secret::SecretString;
use crate::stdout;
use crate::sys::signal::Signals;
use output::{Format, SecretFile};

/// The settings that every request to a service needs.
pub(crate) struct Administration {
    /// Base URL of the service.
    pub url: Url,
    /// `--output`.
    pub format: Format,
    /// `--timeout`.
    pub timeout: Duration,
    pub http: HttpConfig,
    pub credential: Credential,
}

/// The time limit of a verb, and the signals that can end it early.
#[derive(Clone, Copy)]
struct Session<'a> {
    timeout: Duration,
    deadline: Instant,
    signals: &'a Signals,
}

impl<'a> Session<'a> {
    /// Starts now and lasts for `timeout`.
    fn begin(timeout: Duration, signals: &'a Signals) -> Session<'a> {
        Session { timeout, deadline: Instant::now() + timeout, signals }
    }

    /// Reads the files that may be pipes: `-ca-file` and the credential.
    fn read(self, http: HttpConfig, credential: Credential) -> Result<(LoadedHttp, SecretString), Failure> {
        let until = self.until();
        Ok((http.load(&until)?, credential.read(&until)?))
    }

    fn until(&self) -> Until<'a> {
        let since = self.deadline.checked_sub(self.timeout).unwrap_or(self.deadline);
        Until { since, signals: Some(self.signals), ..Until::at(self.deadline) }
    }

    /// Runs `work` until it finishes, the time is up or a signal arrives.
    fn wait<T>(self, api: &Api, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        block_on(Stage::Exchange, async {
            tokio::select! {
                biased;
                result = work => result,
                failure = self.ended_early(api) => Err(failure),
            }
        })?
    }

    async fn ended_early(self, api: &Api) -> Failure {
        tokio::select! {
            biased;
            signal = self.signals.interrupt() => Failure {
                message: format!("interrupted by {signal} while {}", api.doing()),
                ..Failure::signal(Stage::Exchange, signal)
            },
            () = tokio::time::sleep_until(self.deadline.into()) => {
                let after = duration::show(self.timeout);
                Failure::timeout(Stage::Exchange, format!("timed out after {after} while {}", api.stuck()))
            }
        }
    }

    /// As [`Session::wait`], for a request that changes something: if it is interrupted, `open` says what may have
    /// happened.
    fn change<T>(
        self,
        api: &Api,
        work: impl Future<Output = Result<T, Failure>>,
        open: &str,
    ) -> Result<T, Failure> {
        self.wait(api, work).map_err(|failure| match failure.status {
            ExitStatus::Timeout | ExitStatus::Signal(_) if api.maybe_sent() => failure.and(open),
            _ => failure,
        })
    }

    /// Creates a token; if the response is lost, `open` says that there may be one.
    fn make<T>(
        self,
        api: &Api,
        work: impl Future<Output = Result<T, CreateError>>,
        open: &str,
    ) -> Result<T, Failure> {
        let work = async {
            work.await.map_err(|error| match error.leftover {
                Some(_) => error.failure.and(open),
                None => error.failure,
            })
        };
        self.change(api, work, open)
    }
}

/// Where to write a new token.
enum Place {
    Stdout,
    File(SecretFile),
}

impl Place {
    /// Fails before a token is created if it could not be delivered.
    fn reserve(out: Option<PathBuf>) -> Result<Place, Failure> {
        if let Some(path) = out {
            return SecretFile::reserve(&path, "--out").map(Place::File);
        }
        stdout::check_open().map(|()| Place::Stdout).map_err(|_| {
            let message = "stdout is closed, so no token was created; open it, or use --out";
            Failure::unwritten(message)
        })
    }
}

/// Writes a new token to stdout. If that fails, the message says what `undo` reports about the lost token.
fn deliver(text: &str, undo: impl FnOnce() -> String) -> Result<(), Failure> {
    stdout::deliver(text).map_err(|error| stdout::unwritten(&error).and(&undo()))
}
