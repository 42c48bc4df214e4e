//! The creation of a token, and the token that may be left of one.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Issuer;
use super::api::Api;
use super::quote::shown;
use crate::date::time;
use crate::failure::Failure;
use crate::http::{Answer, Phase};
use crate::secret::SecretString;

/// The pause before an issuer is asked again for a token that it may list late.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// How long a new token may be neither listed nor accepted, because both come from a replica that is behind. Shorter
/// than the time for a revocation.
pub(super) const KNOWN_WITHIN: Duration = Duration::from_secs(4);
/// How often it is asked if the server has finished with the creation. A token with a name of its own may be listed
/// later than that, unless a rate limiter refused the request.
const LOOKS_AFTER_FINAL_REPLY: u32 = 2;

/// A creation, planned before it is requested. `rotate` notes it in `FILE.state`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct PlannedCreation {
    /// By the issuer's clock, in Unix seconds.
    pub began: u64,
    pub expires: u64,
    /// The name that only this token has (StackState).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Gafaelfawr: its scopes, and the keys that were listed when it began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listed_before: Vec<String>,
    /// `rotate`: the width in seconds of the range from which `expires` was drawn.
    #[serde(default)]
    pub spread: u64,
    /// `exec`: the server, or something on the way, responded.
    #[serde(skip)]
    pub answered: bool,
}

/// A token that `rotate` created for a file or found there, as it is in `FILE.state`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Known {
    /// The ID that deletes it: its key (Gafaelfawr), or its unique name (StackState).
    pub id: String,
    /// SHA-256 of the token, in hexadecimal. A token is random, so the hash does not reveal it.
    pub fingerprint: String,
    /// By the issuer's clock, in Unix seconds.
    pub created: Option<u64>,
    pub expires: Option<u64>,
    /// It has been in FILE.
    pub installed: bool,
    /// Set by `--keep-old`: when FILE gets another token, this one is not deleted, but expires.
    pub keep: bool,
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
    /// The ID that deletes it, and, if the response is known, the token and when it came.
    Token(String, Option<(SecretString, Instant)>),
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
    /// The `Location`, which may identify the created token.
    pub location: Option<String>,
}

impl Reply {
    /// True if the server has finished: a token that is not listed now was not created.
    fn is_final(&self, planned: &PlannedCreation) -> bool {
        match self.status {
            // A proxy may have given up while the server still works on the request.
            None | Some(408 | 501..=599) => false,
            // The token may exist, and a list that is behind shows its name later.
            Some(200..=299 | 500) => planned.name.is_none(),
            Some(_) => true,
        }
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

    /// The ID that deletes the token, if it is known.
    fn id<'a>(&'a self, planned: &'a PlannedCreation) -> Option<&'a str> {
        match self {
            Leftover::Token(id, _) => Some(id),
            Leftover::Answered(_) | Leftover::Unanswered => planned.name.as_deref(),
        }
    }

    /// How to delete the token manually.
    pub(crate) fn manual_cleanup_hint(&self, issuer: &dyn Issuer, planned: &PlannedCreation) -> String {
        match self.id(planned) {
            Some(id) => issuer.manual_cleanup_hint(id, Some(planned.expires)),
            None => format!(
                "a token of {} that expires at {} may be left; see: {}",
                issuer.user().unwrap_or_default(),
                time(planned.expires),
                issuer.list_hint()
            ),
        }
    }

    /// Deletes the token, after looking for it if its ID is unknown. The failure says what went wrong, and how to delete
    /// the token manually.
    pub(crate) async fn revoke(&self, issuer: &dyn Issuer, planned: &PlannedCreation) -> Result<(), String> {
        let hint = || self.manual_cleanup_hint(issuer, planned);
        let (answered, is_final, is_rate_limited) = match self {
            Leftover::Answered(reply) => (true, reply.is_final(planned), reply.status == Some(429)),
            Leftover::Token(..) | Leftover::Unanswered => (false, false, false),
        };
        let planned = &PlannedCreation { answered, ..planned.clone() };
        let mut looks = 0;
        loop {
            let found = if let Some(id) = self.id(planned) {
                Found::Created(id.to_owned())
            } else {
                let found = issuer.find(planned, &Others::default()).await;
                found.map_err(|failure| format!("{failure}; {}", hint()))?
            };
            looks += 1;
            match found {
                Found::Created(id) => {
                    let deleted = issuer.delete(&id).await.map_err(|failure| {
                        format!("{failure}; {}", issuer.manual_cleanup_hint(&id, Some(planned.expires)))
                    })?;
                    if deleted {
                        return Ok(());
                    }
                }
                Found::Unproven(ids) => {
                    let ids = shown(&ids.join(", "));
                    return Err(format!("{ids} may belong to another run and was left alone; {}", hint()));
                }
                Found::NotListed => {}
            }
            if let Leftover::Token(_, Some((token, came))) = self
                && came.elapsed() >= KNOWN_WITHIN
                // The list may show it soon, so this may not take long.
                && let Ok(Ok(false)) = tokio::time::timeout(2 * LOOK_AGAIN_AFTER, issuer.exists(token)).await
            {
                return Ok(());
            }
            // Without a response, a token whose ID is unknown would not be deleted if it were listed later.
            let is_settled = !answered || is_final && looks >= LOOKS_AFTER_FINAL_REPLY;
            let may_be_listed = !is_settled || self.id(planned).is_some() && !is_rate_limited;
            if !may_be_listed || !may_look_again(issuer.api()).await {
                if is_final {
                    return Ok(());
                }
                let unconfirmed = match self {
                    Leftover::Token(..) => "",
                    Leftover::Answered(_) | Leftover::Unanswered => "its creation was not confirmed, and ",
                };
                return Err(format!("{unconfirmed}it is not listed; {}", hint()));
            }
        }
    }
}

/// Pauses before the issuer is asked again. If no time is left, returns false at once.
pub(super) async fn may_look_again(api: &Api) -> bool {
    let has_time = Instant::now() + 2 * LOOK_AGAIN_AFTER < api.deadline();
    if has_time {
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
    has_time
}

/// The result of looking for a token whose creation was not confirmed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The creation made this token.
    Created(String),
    /// It may have made one of these, or another run did.
    Unproven(Vec<String>),
    NotListed,
}

/// The tokens that are explained without the creation that is looked at: a new one of them says nothing about it.
#[derive(Default)]
pub(crate) struct Others {
    /// The token in FILE, and the known ones.
    pub ids: Vec<String>,
    /// The expiries of all open creations. No two have the same.
    pub expiries: Vec<u64>,
}

impl Others {
    pub(super) fn explain(&self, id: &str, expires: Option<u64>) -> bool {
        self.ids.iter().any(|known| known == id)
            || expires.is_some_and(|expires| self.expiries.contains(&expires))
    }
}
