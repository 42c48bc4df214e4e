//! What it means that an issuer has not done what it was asked: the words that all issuers share.

use std::time::SystemTime;

use super::quote::{first_words, shown};
use crate::duration;
use crate::http::{Answer, retry};

/// An issuer, as its answers are read and explained.
pub struct Service {
    /// What it is called before `at URL`.
    pub name: &'static str,
    /// Whose JSON is expected.
    pub owner: &'static str,
    /// What to look at where another server seems to answer: a question.
    pub advice: &'static str,
    /// Whether an error is the issuer's own, and not one of a proxy in between.
    pub is_own: fn(&Answer) -> bool,
    /// Whether a 404 is about the token, and not one of a server that has no such API.
    pub is_not_found: fn(&Answer) -> bool,
    /// What a refusal means, and what to do; [`Refusal::usual`] for what is not the issuer's own.
    pub explain: fn(&Refusal<'_>) -> String,
}

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Asking what the admin token is.
    Check,
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
    pub service: &'static Service,
    /// Scheme, host and port.
    pub origin: &'a str,
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
            _ => (self.service.explain)(self),
        }
    }

    /// The issuer and where it is.
    pub fn server(&self) -> String {
        format!("{} at {}", self.service.name, self.origin)
    }

    /// What was asked for.
    pub fn what(&self) -> &'static str {
        match self.doing {
            Doing::Check => "tell what the admin token is",
            Doing::Create => "make a token",
            Doing::List => "list the tokens",
            Doing::Delete => "delete the token",
        }
    }

    /// The status and the issuer's `words`, or else the beginning of the body.
    pub fn said(&self, words: &str) -> String {
        let Answer { status, body, .. } = self.answer;
        match (words, body.as_slice()) {
            ("", []) => format!("(HTTP {status})"),
            ("", body) => format!("(HTTP {status}, {})", first_words(body)),
            (words, _) => format!("(HTTP {status}, {})", shown(words)),
        }
    }

    /// A good status, and not what the issuer answers.
    fn foreign(&self) -> String {
        let Refusal { service, origin, answer, doing, .. } = self;
        // The body of a creation may hold a token.
        let said = match doing {
            Doing::Create => String::new(),
            _ => format!(" ({})", first_words(&answer.body)),
        };
        format!(
            "{origin} answered HTTP {} with something else than {}'s JSON{said}; {}",
            answer.status, service.owner, service.advice
        )
    }

    /// What the status alone means.
    pub fn usual(&self, said: &str) -> String {
        let Refusal { service, origin, answer, doing, .. } = self;
        match answer.status {
            300..=399 => {
                let to = answer.header("location").map_or_else(|| "elsewhere".to_owned(), shown);
                format!(
                    "{origin} redirects to {to}, and the token must not travel there; is --url right, with its scheme?"
                )
            }
            404 | 405 => format!("{origin} has no token API {said}; {}", service.advice),
            429 => format!("{} limits our rate {said}; {}", self.server(), when_to_ask(answer)),
            500.. if *doing == Doing::Create => {
                format!("{origin} has trouble of its own and may not have made a token {said}")
            }
            500.. => format!("{origin} has trouble of its own and did not {} {said}", self.what()),
            _ => format!("{} refused to {} {said}", self.server(), self.what()),
        }
    }
}

/// What to do about a rate limit.
fn when_to_ask(answer: &Answer) -> String {
    match retry::retry_after(answer, SystemTime::now()).filter(|asked| !asked.is_zero()) {
        Some(asked) => format!("it asks to wait {}", duration::show(asked)),
        None => "try again later, and less often".to_owned(),
    }
}
