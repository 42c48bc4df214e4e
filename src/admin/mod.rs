//! What administrators do by hand, with keys, and with service tokens: make, list, delete, prepare an
//! installation.
//! Text for stdout is the result, but for a new token, whose loss has to be dealt with; nothing here runs a
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

use crate::failure::{ExitStatus, Failure, Reason, Stage};
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

/// What the verbs that ask a service have in common.
pub(crate) struct Administration {
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

/// The time that a verb has, and what may end it before.
#[derive(Clone, Copy)]
struct Session<'a> {
    timeout: Duration,
    deadline: Instant,
    signals: &'a Signals,
}

impl<'a> Session<'a> {
    /// From now on, for `timeout`.
    fn begin(timeout: Duration, signals: &'a Signals) -> Session<'a> {
        Session { timeout, deadline: Instant::now() + timeout, signals }
    }

    /// Reads what may be pipes: `-ca-file`, and the credential.
    fn read(self, http: HttpConfig, credential: Credential) -> Result<(LoadedHttp, SecretString), Failure> {
        let until = Until { signals: Some(self.signals), ..Until::at(self.deadline) };
        Ok((http.load(&until)?, credential.read(&until)?))
    }

    /// Runs `work` until it is done, the time is up, or a signal ends us.
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
        let at_phase = || format!("while {}", api.doing());
        tokio::select! {
            biased;
            signal = self.signals.interrupt() => Failure {
                message: format!("interrupted by {signal} {}", at_phase()),
                ..Failure::signal(Stage::Exchange, signal)
            },
            () = tokio::time::sleep_until(self.deadline.into()) => {
                let after = duration::show(self.timeout);
                Failure::timeout(Stage::Exchange, format!("timed out after {after} {}", at_phase()))
            }
        }
    }

    /// The same for what changes something: if its end is not awaited, `open` says what that leaves open.
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

    /// Makes a token; `open` says that there may be one.
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

/// Where a new token goes.
enum Place {
    /// To standard output.
    Stdout,
    /// Into this file.
    File(SecretFile),
}

impl Place {
    /// Fails if a token would get lost there, before one is created.
    fn reserve(out: Option<PathBuf>) -> Result<Place, Failure> {
        if let Some(path) = out {
            return SecretFile::reserve(&path, "--out").map(Place::File);
        }
        stdout::check_open().map(|()| Place::Stdout).map_err(|_| {
            let message = "stdout is closed, so the token would get lost and none was made; see --out";
            Failure::local(Reason::OutputFailed, message)
        })
    }
}

/// Writes a new token to stdout. The failure says what `undo` says of the token that is lost.
fn deliver(text: &str, undo: impl FnOnce() -> String) -> Result<(), Failure> {
    stdout::deliver(text).map_err(|error| stdout::unwritten(&error).and(&undo()))
}
