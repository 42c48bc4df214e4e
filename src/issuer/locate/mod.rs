//! M-Lab Locate: a signed request in exchange for a service URL with an access token
//! (`/v2/platform/monitoring/`; m-lab/locate v0.17.6 and v0.19.2, `handler/monitoring.go`).

mod answer;
mod config;
mod explain;
mod offer;

use std::time::Instant;

pub use config::{Endpoint, Exchange, LocateConfig, SERVICE_URL, SIGNER_KEY, Signed};
pub use explain::FATAL_CLOCK_LAG;
pub use offer::{Granted, ORIGINAL_DEFAULT_KEY, Offer, choose_key};

use crate::failure::Failure;
use crate::go::duration;
use crate::http::explain::origin;
use crate::http::retry::{self, Again, Next, Pauses, Tried};
use crate::http::{Client, Request};
use crate::key::PrivateKey;
use crate::secret::{redact_url, scrub_stack};

pub struct Locate<'a> {
    pub config: &'a LocateConfig,
    pub client: &'a Client,
    /// Signs a new token for each try.
    pub key: &'a PrivateKey,
}

impl Locate<'_> {
    /// Requests service URLs, first with the token in `signed`, then with a new token for each retry. Also returns the
    /// token that was accepted.
    ///
    /// It has no time limit of its own; `deadline` only limits the pauses.
    pub async fn ask(
        &self,
        signed: Signed,
        retries: u32,
        deadline: Instant,
    ) -> Result<(Signed, Offer), Failure> {
        let mut first = Some(signed);
        let tried = retry::repeat(Pauses::new(retries), deadline, async || {
            let signed = match first.take().map_or_else(|| self.sign(), Ok) {
                Ok(signed) => signed,
                Err(failure) => return (Err(failure), Again::No),
            };
            match self.try_once(&signed).await {
                Ok(offer) => (Ok((signed, offer)), Again::No),
                Err((failure, again)) => {
                    if let Again::After(_) = again {
                        tracing::debug!(%failure, "the try failed");
                    }
                    (Err(failure), again)
                }
            }
        });
        let Tried { result, tries, gave_up } = tried.await;
        result.map_err(|failure: Failure| match gave_up {
            Some(Next::TooLate(asked)) => {
                let asked = duration::show(asked);
                failure.and(&format!("it asks to wait {asked}, which is beyond the timeout"))
            }
            Some(_) if tries > 1 => failure.and(&format!("tried {tries} times")),
            _ => failure,
        })
    }

    fn sign(&self) -> Result<Signed, Failure> {
        let signed = self.config.sign(self.key);
        scrub_stack();
        signed
    }

    async fn try_once(&self, signed: &Signed) -> Result<Offer, (Failure, Again)> {
        tracing::debug!(url = redact_url(&signed.url), "requesting the service URL");
        let answer = self.client.send(&Request::get(signed.url.clone())).await.map_err(|error| {
            let again = if error.retryable { Again::After(None) } else { Again::No };
            (error.into_failure(), again)
        })?;
        tracing::debug!(
            status = answer.status,
            bytes = answer.body.len(),
            clock_offset_seconds = answer.clock_offset_seconds,
            "received Locate's response"
        );
        self.read(&answer).map_err(|failure| {
            let again = if retry::is_retryable(answer.status) {
                Again::After(retry::retry_after(&answer))
            } else {
                Again::No
            };
            (failure, again)
        })
    }

    pub(super) fn at(&self) -> String {
        origin(&self.config.endpoint.url)
    }
}
