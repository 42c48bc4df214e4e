//! `FILE.state` lists the tokens that belong to FILE or may belong to it. It contains no secret.
//!
//! Every change at the issuer is noted here first, so that a crash never leaves a token that the next `rotate` knows
//! nothing of. It does not say which token is in use: the content of FILE is compared with the fingerprints.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::issuer::stackstate::tokens::is_unique_name;
use crate::issuer::{Known, PlannedCreation};
use crate::secret::{ExposeSecret as _, SecretString};

/// Increases when the file format changes.
const VERSION: u32 = 1;

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct State {
    version: u32,
    /// The service and its base URL.
    pub issuer: String,
    /// The user, for issuers whose tokens belong to a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    pub tokens: Vec<Known>,
    /// Creations whose result is unknown.
    pub attempts: Vec<PlannedCreation>,
}

impl State {
    pub(super) fn new(issuer: String, user: Option<String>) -> State {
        State { version: VERSION, issuer, user, tokens: Vec::new(), attempts: Vec::new() }
    }

    pub(super) fn parse(json: &[u8]) -> Option<State> {
        let state: State = serde_json::from_slice(json).ok()?;
        (state.version == VERSION && state.is_credible()).then_some(state)
    }

    /// False if it names a token of StackState that `rotate` cannot have created. The admin token would delete it, and the
    /// owner of FILE need not have that.
    fn is_credible(&self) -> bool {
        let names = self.tokens.iter().map(|known| Some(known.id.as_str()));
        let planned = self.attempts.iter().map(|attempt| attempt.name.as_deref());
        self.user.is_some() || names.chain(planned).all(|name| name.is_some_and(is_unique_name))
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn position(&self, token: &SecretString) -> Option<usize> {
        let fingerprint = fingerprint(token);
        self.tokens.iter().position(|known| known.fingerprint == fingerprint)
    }
}

pub(super) fn fingerprint(token: &SecretString) -> String {
    let digest = digest(&SHA256, token.expose_secret().as_bytes());
    digest.as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
