//! What it means that an issuer has not done what it was asked: the words that all issuers share.

use std::time::SystemTime;

use super::quote::{first_words, shown};
use super::status::{self, Advice, Meaning};
use crate::failure::Reason;
use crate::go::duration;
use crate::http::explain::authentication;
use crate::http::proxy::Proxy;
use crate::http::{Answer, retry};

/// An issuer, as its answers are read and explained.
pub struct Dialect {
    /// What it is called before `at URL`.
    pub name: &'static str,
    /// Whose JSON is expected.
    pub owner: &'static str,
    /// What to look at where another server seems to respond.
    pub advice: &'static str,
    /// Whether an error is the issuer's own, and not one of a proxy in between.
    pub is_own: fn(&Answer) -> bool,
    /// Whether a 404 is about the token, and not one of a server that has no such API.
    pub is_not_found: fn(&Answer) -> bool,
    /// What a refusal means, and what to do; [`Refusal::usual`] for what is not the issuer's own.
    pub explain: fn(&Refusal<'_>) -> String,
    /// The same for programs, where the error has the issuer's own form.
    pub reason: fn(&Refusal<'_>) -> Option<Reason>,
}

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Asking what the admin token is.
    Check,
    /// Asking what the token in a file is.
    Verify,
    /// Making a token.
    Create,
    /// Listing tokens.
    List,
    /// Deleting a token.
    Delete,
}

/// An answer that is not the one that was asked for.
pub struct Refusal<'a> {
    /// Who has answered.
    pub dialect: &'static Dialect,
    /// Scheme, host and port.
    pub origin: &'a str,
    /// The path that was asked for.
    pub path: &'a str,
    /// The proxy in between.
    pub proxy: Option<&'a Proxy>,
    /// The answer.
    pub answer: &'a Answer,
    /// What was asked for.
    pub doing: Doing,
    /// Whether the same credential was accepted before in this process.
    pub accepted_before: bool,
}

impl Refusal<'_> {
    /// In one line, what it means and what to do.
    pub fn explain(&self) -> String {
        match self.answer.status {
            200..=299 => self.foreign(),
            _ => (self.dialect.explain)(self),
        }
    }

    /// The same for programs.
    pub fn reason(&self) -> Reason {
        match self.answer.status {
            200..=299 => Reason::UnexpectedResponse,
            300..=399 => Reason::RedirectRefused,
            status => (self.dialect.reason)(self).unwrap_or_else(|| status::reason(status)),
        }
    }

    /// The issuer and where it is.
    pub fn server(&self) -> String {
        format!("{} at {}", self.dialect.name, self.origin)
    }

    /// What was asked for.
    pub fn what(&self) -> &'static str {
        match self.doing {
            Doing::Check => "check the admin token",
            Doing::Verify => "check the token in the file",
            Doing::Create => "create a token",
            Doing::List => "list the tokens",
            Doing::Delete => "delete the token",
        }
    }

    /// The status and the issuer's `words`, or else the beginning of the body.
    pub fn said(&self, words: &str) -> String {
        let Answer { status, body, .. } = self.answer;
        let label = status::label(*status);
        match (words, body.as_slice()) {
            ("", []) => format!("({label})"),
            ("", body) => format!("({label}, {})", first_words(body)),
            (words, _) => format!("({label}, {})", shown(words)),
        }
    }

    /// A good status, and not what the issuer returns.
    fn foreign(&self) -> String {
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

    /// What the status alone means.
    pub fn usual(&self, said: &str) -> String {
        let Refusal { dialect, origin, path, answer, doing, proxy, .. } = self;
        let meaning = status::meaning(answer.status);
        let (server, summary) = (self.server(), meaning.summary);
        match answer.status {
            300..=399 => {
                let to = answer.header("location").map_or_else(|| "elsewhere".to_owned(), shown);
                format!(
                    "{origin} redirects to {to}, and the token must not be sent there; check --url and its scheme"
                )
            }
            404 | 405 => {
                format!("{origin} has no token API at {} {said}; {}", shown(path), dialect.advice)
            }
            407 => proxy_authentication(*proxy, origin),
            429 => format!("{server} {summary} {said}; {}", when_to_ask(answer)),
            500.. => {
                let left = match doing {
                    Doing::Create => "may not have created a token".to_owned(),
                    _ => format!("did not {}", self.what()),
                };
                let advice =
                    if answer.status == 511 { advice(meaning, dialect.advice) } else { String::new() };
                format!("{origin} {summary}, and {left} {said}{advice}")
            }
            408 => format!("{server} {summary} {said}{}", advice(meaning, dialect.advice)),
            _ => format!("{server} refused to {} {said}", self.what()),
        }
    }
}

/// What to do about a status, as a further clause.
pub(super) fn advice(meaning: &Meaning, check_url: &str) -> String {
    match meaning.advice {
        Advice::CheckUrl => format!("; {check_url}"),
        Advice::Do(what) => format!("; {what}"),
    }
}

/// A 407, of a proxy that is known or of whoever is in between.
pub(super) fn proxy_authentication(proxy: Option<&Proxy>, at: &str) -> String {
    match proxy {
        Some(proxy) => authentication(proxy, "HTTP 407"),
        None => format!(
            "{at} requires proxy authentication (HTTP 407), but no proxy is set; check the URL and what is in between"
        ),
    }
}

/// What to do about a rate limit.
fn when_to_ask(answer: &Answer) -> String {
    match retry::retry_after(answer, SystemTime::now()).filter(|asked| !asked.is_zero()) {
        Some(asked) => format!("it asks to wait {}", duration::show(asked)),
        None => "try again later, and less often".to_owned(),
    }
}
