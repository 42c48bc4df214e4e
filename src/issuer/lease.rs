//! What an issuer gives, and what may be left at it.

use std::ffi::OsString;

use crate::failure::Failure;
use crate::http::{Answer, Phase};
use crate::secret::SecretString;

/// A credential, as the command gets it.
#[derive(Default)]
pub struct Lease {
    /// Variables to set.
    pub set: Vec<(OsString, SecretString)>,
    /// Variables to remove, unless they are set.
    pub remove: Vec<OsString>,
}

/// Why there is no new token.
#[derive(Debug)]
pub struct CreateError {
    /// In words.
    pub failure: Failure,
    /// A token that the issuer may have created anyway.
    pub leftover: Option<Leftover>,
}

/// What is, or may be, left at the issuer and has to be deleted.
#[derive(Debug)]
pub enum Leftover {
    /// The token.
    Token(SecretString),
    /// Something answered its creation, but not with a token.
    Answered(Reply),
    /// Nothing answered, so that nothing shows whether the request arrived.
    Unanswered,
}

/// An answer to a creation that holds no token.
#[derive(Debug)]
pub struct Reply {
    /// `None`: the answer broke off.
    status: Option<u16>,
    /// Its `Location`, which names what was created.
    pub location: Option<String>,
}

impl Reply {
    /// Whether the server is done: what is not listed now was not created.
    pub fn is_final(&self) -> bool {
        // A proxy may have given up on a server that goes on.
        self.status.is_some_and(|status| !matches!(status, 408 | 501..=599))
    }
}

impl Leftover {
    /// What a creation may have left that was answered with this status, and not with a token. `own` says
    /// whether the error has the issuer's own form.
    pub fn of_refusal(answer: &Answer, own: bool) -> Option<Leftover> {
        match answer.status {
            // Whoever is not let in has created nothing; such an answer has no body at some servers.
            401 => None,
            // The issuer itself refused the request. A rate limiter or a gateway may act after the issuer.
            400..=499 if own && !matches!(answer.status, 408 | 429) => None,
            status => Some(Leftover::Answered(Reply {
                status: Some(status),
                location: answer.header("location").map(str::to_owned),
            })),
        }
    }

    /// What a creation may have left whose answer did not arrive whole, at the `phase` where it ended.
    pub fn of_interruption(phase: Phase) -> Option<Leftover> {
        match phase {
            Phase::Lookup | Phase::Connect | Phase::ProxyHandshake | Phase::Handshake => None,
            Phase::Answer => Some(Leftover::Unanswered),
            Phase::Body => Some(Leftover::Answered(Reply { status: None, location: None })),
        }
    }
}
