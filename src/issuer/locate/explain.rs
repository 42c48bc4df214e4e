//! Explains Locate's refusals.

use std::time::Duration;

use super::Locate;
use super::answer::{LocateError, MonitoringResult};
use super::config::failed;
use crate::failure::{Failure, Reason};
use crate::go::duration;
use crate::http::Answer;
use crate::issuer::quote::{first_words, quoted_name, shown, shown_location};
use crate::issuer::refusal::proxy_authentication;
use crate::issuer::status::{self, meaning};
use crate::key::KeySource;
use crate::key::sign::JWT_LIFETIME;

/// With a clock that is behind by this much, a token has expired when it arrives. `Date` has whole seconds.
pub const FATAL_CLOCK_LAG: Duration = JWT_LIFETIME.saturating_sub(Duration::from_secs(2));
/// Locate v0.17 accepts a token for this long after its expiry; v0.19 does not.
const LEEWAY: Duration = Duration::from_secs(60);

const CHECK_URL: &str = "check -locate-url";

fn reason_of_status(answer: &Answer) -> Reason {
    match answer.status {
        401 if status::clock_lag(answer).is_some_and(|lag| lag >= FATAL_CLOCK_LAG) => Reason::ClockSkew,
        401 => Reason::TokenRejected,
        status => status::reason(status),
    }
}

fn reason_of_error(error: &LocateError, answer: &Answer) -> Reason {
    match error.kind.as_str() {
        "claim" => Reason::ServiceNotEnforced,
        "subject" => Reason::UnknownMachine,
        "config" => Reason::UnknownService,
        _ if answer.status < 300 => Reason::ServerError,
        _ => reason_of_status(answer),
    }
}

impl Locate<'_> {
    pub(super) fn explain_error(&self, error: &LocateError, answer: &Answer) -> Failure {
        let label = status::label(answer.status);
        let said = [error.kind.as_str(), error.title.as_str(), error.detail.as_str()]
            .into_iter()
            .filter(|text| !text.is_empty())
            .map(shown)
            .collect::<Vec<_>>()
            .join(": ");
        let comma = if said.is_empty() { "" } else { ", " };
        let said = format!("({label}{comma}{said})");
        let at = self.at();
        let (service, malformed) = self.config.endpoint.shown_service();
        let message = match error.kind.as_str() {
            "claim" => {
                let advice = malformed.unwrap_or(
                    ", so the service cannot be monitored there; check -service (v0.19 enforces them only for ndt/ndt7 and wehe/replay)",
                );
                format!("locate at {at} does not enforce tokens for the service {service} {said}{advice}")
            }
            "subject" => format!(
                "locate at {at} cannot parse the machine name {} {said}; set -machine to an M-Lab host name",
                quoted_name(&self.config.machine)
            ),
            "config" => {
                let advice = malformed.unwrap_or("; check -service");
                format!("locate at {at} does not know the service {service} {said}{advice}")
            }
            _ if answer.status == 401 => self.explain_unauthorized(answer, &said),
            _ => {
                // With the status of a success, it is a failure of the server.
                let status = if answer.status < 300 { 500 } else { answer.status };
                let advice = meaning(status, CHECK_URL).1;
                format!("locate at {at} returned an error {said}; {advice}")
            }
        };
        failed(reason_of_error(error, answer), message)
    }

    /// A rejected token: the clock, if it explains the rejection; otherwise the key.
    fn explain_unauthorized(&self, answer: &Answer, said: &str) -> String {
        let rejected = format!("locate rejected the token {said}");
        let Some(lag) = status::clock_lag(answer).filter(|lag| *lag >= FATAL_CLOCK_LAG) else {
            // Then the key is known.
            if said.contains("expired") {
                let clock = status::clock_clause(answer);
                let slow = "a clock that is behind, or a slow connection, uses up its 60 seconds";
                return format!("{rejected}: the token had expired when it arrived: {slow}{clock}");
            }
            return format!("{rejected}: {}{}", self.explain_key(), status::clock_clause(answer));
        };
        let behind = duration::show(lag);
        let expired = format!(
            "{rejected}: the local clock is {behind} behind {}, so the token had expired when it arrived; set the clock",
            self.at()
        );
        if lag >= FATAL_CLOCK_LAG + LEEWAY {
            return expired;
        }
        format!("{expired}. Locate v0.17 tolerates this much: there, {}", self.explain_key())
    }

    fn explain_key(&self) -> String {
        let (key, compare) = match &self.config.key {
            KeySource::File(path, _) => {
                let path = shown(&path.display().to_string());
                (format!("of {path}"), format!("`monitoring-token key public {path}`"))
            }
            _ => ("in MONITORING_SIGNER_KEY".to_owned(), "`monitoring-token key public FILE`".to_owned()),
        };
        let algorithm = self.key.remark();
        if self.key.key_id.is_empty() {
            let at = self.at();
            return format!("the key {key} has no key ID (kid), by which Locate at {at} finds it{algorithm}");
        }
        let id = quoted_name(&self.key.key_id);
        format!(
            "key ID {id} {key} may not be registered at {}, or another key may be registered under this ID{algorithm}; compare with {compare}",
            self.at()
        )
    }

    pub(super) fn explain_status(&self, answer: &Answer, result: Option<&MonitoringResult>) -> Failure {
        let (status, label) = (answer.status, status::label(answer.status));
        let at = format!("{}{}", self.at(), self.client.via());
        let said = match result.and_then(|result| result.message.as_deref()) {
            Some(message) => format!("({label}, {})", shown(message)),
            None if answer.body.is_empty() => format!("({label})"),
            None => format!("({label}, {})", first_words(&answer.body)),
        };
        let (summary, advice) = meaning(status, CHECK_URL);
        let message = match status {
            401 => self.explain_unauthorized(answer, &said),
            404 => format!(
                "{} at {at} {summary} {said}; check -service and -locate-url, whose path normally ends in /v2/platform/monitoring/",
                shown(self.config.endpoint.url.path())
            ),
            407 => proxy_authentication(self.client.proxy(), &self.at(), answer),
            status if status::is_redirect(status) => {
                let to = match answer.headers.get(reqwest::header::LOCATION) {
                    Some(to) => format!("to \"{}\", which is not a valid URL", shown_location(to)),
                    None => "without a Location".to_owned(),
                };
                format!("{at} redirects {to} {said}; {advice}")
            }
            _ => format!("{at} {summary} {said}; {advice}"),
        };
        failed(reason_of_status(answer), message)
    }
}
