//! Requests service URLs from Locate, with retries.

use std::time::{Duration, Instant, SystemTime};

use super::{LocateConfig, Offer, Signed};
use crate::failure::Failure;
use crate::go::duration;
use crate::http::explain::origin;
use crate::http::retry::{self, Next, Pauses};
use crate::http::{Client, Request};
use crate::key::PrivateKey;
use crate::secret::redact_url;

/// Locate with the request, the client and the key.
pub struct Locate<'a> {
    /// The parts of the request.
    pub config: &'a LocateConfig,
    /// The client for Locate's origin.
    pub client: &'a Client,
    /// Signs a new token for each try.
    pub key: &'a PrivateKey,
}

/// Says whether another try may help, and how long the server asks to wait.
enum Again {
    No,
    After(Option<Duration>),
}

impl Locate<'_> {
    /// Requests service URLs, first with the token in `signed`, then with a new token for each retry. Also returns the
    /// token that was accepted.
    ///
    /// It has no time limit of its own; `deadline` only limits the pauses.
    pub async fn ask(
        &self,
        mut signed: Signed,
        retries: u32,
        deadline: Instant,
    ) -> Result<(Signed, Offer), Failure> {
        let mut pauses = Pauses::new(retries);
        let mut tries = 0;
        loop {
            tries += 1;
            let (failure, retry_after) = match self.try_once(&signed).await {
                Ok(offer) => return Ok((signed, offer)),
                Err((failure, Again::No)) => return Err(failure),
                Err((failure, Again::After(asked))) => (failure, asked),
            };
            match pauses.next(retry_after, Instant::now(), deadline) {
                Next::GiveUp if tries == 1 => return Err(failure),
                Next::GiveUp => return Err(failure.and(&format!("tried {tries} times"))),
                Next::TooLate(asked) => {
                    let asked = duration::show(asked);
                    return Err(failure.and(&format!("it asks to wait {asked}, which is beyond the timeout")));
                }
                Next::After(pause) => {
                    tracing::debug!(%failure, pause = duration::show(pause), "trying again");
                    tokio::time::sleep(pause).await;
                }
            }
            signed = self.config.sign(self.key)?;
        }
    }

    async fn try_once(&self, signed: &Signed) -> Result<Offer, (Failure, Again)> {
        tracing::debug!(url = redact_url(&signed.url), "asking locate");
        let answer = self.client.send(Request::get(signed.url.clone())).await.map_err(|error| {
            let again = if error.retryable { Again::After(None) } else { Again::No };
            (error.into_failure(), again)
        })?;
        tracing::debug!(
            status = answer.status,
            bytes = answer.body.len(),
            clock_offset_seconds = answer.clock_offset_seconds,
            "locate answered"
        );
        self.read(&answer).map_err(|failure| {
            let again = if retry::is_retryable(answer.status) {
                Again::After(retry::retry_after(&answer, SystemTime::now()))
            } else {
                Again::No
            };
            (failure, again)
        })
    }

    /// Scheme, host and port.
    pub(super) fn at(&self) -> String {
        origin(&self.config.endpoint.url)
    }
}
