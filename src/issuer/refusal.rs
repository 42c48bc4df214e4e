//! Explains why an issuer refused a request: the texts that all issuers share.

use reqwest::header::LOCATION;

use super::quote::{first_words, shown, shown_location};
use super::status;
use crate::failure::Reason;
use crate::go::duration;
use crate::http::explain;
use crate::http::proxy::Proxy;
use crate::http::{Answer, retry};

/// The parts of the messages that differ between issuers.
pub(crate) struct Dialect {
    /// The name before `at URL`.
    pub name: &'static str,
    /// The owner in "a response that is not OWNER JSON".
    pub owner: &'static str,
    /// Advice if another server seems to respond.
    pub advice: &'static str,
    /// True if an error comes from the issuer, and not from a proxy on the path.
    pub is_own: fn(&Answer) -> bool,
    /// True if a 404 is about the token, and not about a missing API.
    pub is_not_found: fn(&Answer) -> bool,
    /// Explains a refusal with advice; uses [`Refusal::usual`] for errors that are not the issuer's own.
    pub explain: fn(&Refusal<'_>) -> String,
    /// The reason, if the error has the issuer's own format.
    pub reason: fn(&Refusal<'_>) -> Option<Reason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Asking about the admin token.
    Check,
    /// Asking about the token in a file.
    Verify,
    Create,
    List,
    Delete,
}

pub(crate) struct Refusal<'a> {
    pub dialect: &'static Dialect,
    pub origin: &'a str,
    pub path: &'a str,
    pub proxy: Option<&'a Proxy>,
    pub answer: &'a Answer,
    pub doing: Doing,
    /// The same credential was accepted earlier in this process.
    pub accepted_before: bool,
}

impl Refusal<'_> {
    pub(crate) fn explain(&self) -> String {
        match self.answer.status {
            200..=299 => self.not_from_server(),
            _ => (self.dialect.explain)(self),
        }
    }

    pub(crate) fn reason(&self) -> Reason {
        match self.answer.status {
            200..=299 => Reason::UnexpectedResponse,
            status if status::is_redirect(status) => Reason::RedirectRefused,
            status => (self.dialect.reason)(self).unwrap_or_else(|| status::reason(status)),
        }
    }

    pub(crate) fn server(&self) -> String {
        format!("{} at {}", self.dialect.name, self.origin)
    }

    pub(crate) fn what(&self) -> &'static str {
        match self.doing {
            Doing::Check => "check the admin token",
            Doing::Verify => "check the token in the file",
            Doing::Create => "create a token",
            Doing::List => "list the tokens",
            Doing::Delete => "delete the token",
        }
    }

    /// The status with the issuer's `words`, or with the beginning of the body.
    pub(crate) fn said(&self, words: &str) -> String {
        let Answer { status, body, .. } = self.answer;
        let label = status::label(*status);
        match (words, body.as_slice()) {
            ("", []) => format!("({label})"),
            ("", body) => format!("({label}, {})", first_words(body)),
            (words, _) => format!("({label}, {})", shown(words)),
        }
    }

    /// A success status with content that does not come from the issuer.
    fn not_from_server(&self) -> String {
        let Refusal { dialect, origin, answer, doing, .. } = self;
        // The body of a creation may hold a token.
        let said = match doing {
            Doing::Create => String::new(),
            _ => format!(", {}", first_words(&answer.body)),
        };
        format!(
            "{origin} returned a response that is not {} JSON (HTTP {}{said}); {}",
            dialect.owner, answer.status, dialect.advice
        )
    }

    /// The explanation by the status alone.
    pub(crate) fn usual(&self, said: &str) -> String {
        let Refusal { dialect, origin, path, answer, doing, proxy, .. } = self;
        let server = self.server();
        let (summary, advice) = status::meaning(answer.status, dialect.advice);
        match answer.status {
            status if status::is_redirect(status) => {
                let to = answer.headers.get(LOCATION);
                let to = to.map_or_else(|| "elsewhere".to_owned(), shown_location);
                format!(
                    "{origin} redirects to {to}, and the token must not be sent there; check --url and its scheme"
                )
            }
            404 | 405 => {
                format!("{origin} has no token API at {} {said}; {}", shown(path), dialect.advice)
            }
            401 if *doing == Doing::Verify => format!(
                "{server} did not accept the token in the file {said}, without saying that it is invalid; {}",
                dialect.advice
            ),
            407 => proxy_authentication(*proxy, origin, answer),
            429 => format!("{server} {summary} {said}; {}", when_to_ask(answer)),
            500.. => {
                format!("{origin} {summary} when asked to {} {said}; {advice}", self.what())
            }
            300..=399 | 408 => format!("{server} {summary} {said}; {advice}"),
            _ if (dialect.is_own)(answer) => format!("{server} refused to {} {said}", self.what()),
            _ => format!("{server} refused to {} {said}; {}", self.what(), dialect.advice),
        }
    }
}

/// A 407, from a known proxy or from something in between.
pub(super) fn proxy_authentication(proxy: Option<&Proxy>, at: &str, answer: &Answer) -> String {
    match proxy {
        Some(proxy) => explain::proxy_authentication(proxy, answer),
        None => format!(
            "{at} requires proxy authentication (HTTP 407), but no proxy is set; check the URL, and look for a proxy on the path"
        ),
    }
}

fn when_to_ask(answer: &Answer) -> String {
    match retry::retry_after(answer).filter(|asked| !asked.is_zero()) {
        Some(asked) => format!("it asks to wait {}", duration::show(asked)),
        None => "try again later, and less often".to_owned(),
    }
}
