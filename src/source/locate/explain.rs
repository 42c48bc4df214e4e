//! What it means that Locate has refused, and what to do.

use std::time::Duration;

use super::Locate;
use super::answer::{LocateError, MonitoringResult};
use crate::http::Answer;
use crate::key::sign::JWT_LIFETIME;
use crate::secret::redact_url;
use crate::source::clock;
use crate::source::quote::{first_words, quoted_name, shown};

/// A clock that is behind by this much lets a token expire before it arrives, or soon after.
pub const FATAL_CLOCK_LAG: Duration = JWT_LIFETIME.saturating_sub(Duration::from_secs(2));

impl Locate<'_> {
    /// An error object of Locate's, with its likely cause.
    pub(super) fn explain_error(&self, error: &LocateError, answer: &Answer) -> String {
        let status = answer.status;
        let said = [error.kind.as_str(), error.title.as_str(), error.detail.as_deref().unwrap_or_default()]
            .into_iter()
            .filter(|text| !text.is_empty())
            .map(shown)
            .collect::<Vec<_>>()
            .join(": ");
        let comma = if said.is_empty() { "" } else { ", " };
        let said = format!("(HTTP {status}{comma}{said})");
        let at = self.at();
        match error.kind.as_str() {
            "claim" => format!(
                "locate at {at} does not enforce tokens for the service {}, so it cannot monitor it {said}; is -service right?",
                self.config.endpoint.service
            ),
            "subject" => format!(
                "locate at {at} cannot parse the machine name {} {said}; set -machine to an M-Lab host name",
                quoted_name(&self.config.machine)
            ),
            "config" => {
                format!(
                    "locate at {at} does not know the service {} {said}; set -service",
                    self.config.endpoint.service
                )
            }
            _ if status == 401 => self.explain_unauthorized(answer, &said),
            _ => {
                let advice = if status < 300 { "" } else { advice(status) };
                format!("locate at {at} answered with an error {said}{advice}")
            }
        }
    }

    fn explain_unauthorized(&self, answer: &Answer, said: &str) -> String {
        let expired = if clock::lag(answer).is_some_and(|lag| lag >= FATAL_CLOCK_LAG) {
            ", so the token had expired when it arrived: set the clock"
        } else {
            ""
        };
        let clock = clock::clause(answer) + expired;
        let algorithm =
            self.key.algorithm.refused_by().map(|refused| format!("; {refused}")).unwrap_or_default();
        let unknown = if self.key.key_id.is_empty() {
            "the key has no key id (kid), by which it would be found there".to_owned()
        } else {
            format!("key id {} may not be registered there", quoted_name(&self.key.key_id))
        };
        format!("locate rejected the token {said}: {unknown}{algorithm}{clock} ({})", self.at())
    }

    /// A status that says no, without an error object.
    pub(super) fn explain_status(&self, answer: &Answer, result: Option<&MonitoringResult>) -> String {
        let (status, at) = (answer.status, format!("{}{}", self.at(), self.client.via()));
        let said = match result.and_then(|result| result.message.as_deref()) {
            Some(message) => format!("(HTTP {status}, {})", shown(message)),
            None if answer.body.is_empty() => format!("(HTTP {status})"),
            None => format!("(HTTP {status}, {})", first_words(&answer.body)),
        };
        match status {
            401 => self.explain_unauthorized(answer, &said),
            403 => format!("{at} forbids the request {said}{}", advice(status)),
            404 => format!("{at} has nothing at {} {said}{}", self.path(), advice(status)),
            407 => format!(
                "the proxy{} wants authentication {said}; put USER:PASSWORD@ into the proxy variable",
                self.client.proxy.as_ref().map(|p| format!(" {}", redact_url(p))).unwrap_or_default()
            ),
            429 => format!("{at} limits our rate {said}{}", advice(status)),
            300..=399 => {
                let to = match answer.header(reqwest::header::LOCATION) {
                    Some(to) => format!("to {}, which is no URL", first_words(to.as_bytes())),
                    None => "without saying where to".to_owned(),
                };
                format!("{at} redirects {to} {said}{}", advice(status))
            }
            500.. => format!("{at} has trouble of its own {said}{}", advice(status)),
            _ => format!("{at} refused the request {said}{}", advice(status)),
        }
    }

    /// The path that is asked for.
    fn path(&self) -> String {
        shown(self.config.endpoint.url.path())
    }
}

/// What to do about a status that says no, as a further clause.
fn advice(status: u16) -> &'static str {
    match status {
        403 => "; is -locate-url the platform's path, and is this address allowed there?",
        429 => "; probe less often, or spread the probes",
        500.. => "; if it lasts, tell its operators",
        _ => "; is -locate-url right?",
    }
}
