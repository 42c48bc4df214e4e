//! A credential from an issuer, and the token that may be left there.

use std::ffi::OsString;

use crate::failure::Failure;
use crate::http::{Answer, Phase};
use crate::secret::SecretString;

/// A credential in the form that the command gets.
#[derive(Default)]
pub struct Lease {
    pub set: Vec<(OsString, SecretString)>,
    /// Variables to remove; one that is also in `set` is set.
    pub remove: Vec<OsString>,
}

#[derive(Debug)]
pub(crate) struct CreateError {
    pub failure: Failure,
    /// A token that the issuer may have created anyway.
    pub leftover: Option<Leftover>,
}

/// A token that is, or may be, left at the issuer and must be deleted.
#[derive(Debug)]
pub(crate) enum Leftover {
    Token(SecretString),
    /// The creation got a response, but it had no token.
    Answered(Reply),
    /// The creation got no response, so it is unknown whether the request arrived.
    Unanswered,
}

/// The response to a creation, without a token.
#[derive(Debug)]
pub(crate) struct Reply {
    /// `None`: the response is incomplete.
    status: Option<u16>,
    /// The `Location`, which identifies the created token.
    pub location: Option<String>,
}

impl Reply {
    /// True if the server has finished: a token that is not listed now was not created.
    pub(crate) fn is_final(&self) -> bool {
        // A proxy may have given up while the server still works on the request.
        self.status.is_some_and(|status| !matches!(status, 408 | 501..=599))
    }
}

impl Leftover {
    /// The token that a creation with this response may have left. `own` says that the error has the issuer's own
    /// format.
    pub(crate) fn of_refusal(answer: &Answer, own: bool) -> Option<Leftover> {
        match answer.status {
            // Without authentication, nothing is created; some servers return such a response without a body.
            401 => None,
            // The issuer itself refused the request. After a rate limiter or a gateway, the issuer may have acted.
            400..=499 if own && !matches!(answer.status, 408 | 429) => None,
            status => Some(Leftover::Answered(Reply {
                status: Some(status),
                location: answer.header("location").map(str::to_owned),
            })),
        }
    }

    /// The token that a creation may have left if its response is incomplete and it ended at `phase`.
    pub(crate) fn of_interruption(phase: Phase) -> Option<Leftover> {
        match phase {
            Phase::Lookup | Phase::Connect | Phase::ProxyHandshake | Phase::Handshake => None,
            Phase::Answer => Some(Leftover::Unanswered),
            Phase::Body => Some(Leftover::Answered(Reply { status: None, location: None })),
        }
    }
}
