//! Gafaelfawr's state: its tokens, its clock, and the services that are down.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::unix_now;
use crate::http::MAX_KEPT_BYTES;
use crate::random;

/// How long a request hangs while Redis is down.
pub(super) const REDIS_TIMEOUT: Duration = Duration::from_millis(9200);

#[derive(Clone)]
pub(super) struct Token {
    pub(super) key: String,
    pub(super) secret: String,
    pub(super) username: String,
    pub(super) kind: String,
    pub(super) scopes: Vec<String>,
    pub(super) created: u64,
    pub(super) expires: Option<u64>,
    pub(super) label: Option<String>,
}

impl Token {
    pub(super) fn show(&self) -> Value {
        let mut shown = json!({
            "username": self.username, "token_type": self.kind, "scopes": self.scopes,
            "created": self.created, "token": self.key,
        });
        if let Some(expires) = self.expires {
            shown["expires"] = expires.into();
        }
        if let Some(name) = &self.label {
            shown["token_name"] = name.as_str().into();
        }
        shown
    }

    fn bytes(&self) -> usize {
        let scopes = self.scopes.iter().map(|scope| size_of::<String>() + scope.len()).sum::<usize>();
        size_of::<Token>() + self.username.len() + scopes + self.label.as_ref().map_or(0, String::len)
    }

    pub(super) fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|has| has == scope)
    }
}

/// A service that is down.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Down {
    Redis,
    Postgres,
}

pub(super) struct State {
    /// Oldest first.
    pub(super) tokens: Vec<Token>,
    pub(super) bootstrap: String,
    pub(super) session: String,
    pub(super) clock_ahead: u64,
    pub(super) down: Option<Down>,
    pub(super) down_after: Duration,
    /// The `realm` of challenges.
    pub(super) realm: String,
}

impl State {
    /// A bootstrap token and a session; no other tokens.
    pub(super) fn new(realm: String) -> Result<State, String> {
        Ok(State {
            tokens: Vec::new(),
            bootstrap: format!("gt-{}.{}", random::word(16)?, random::word(16)?),
            session: random::word(48)?,
            clock_ahead: 0,
            down: None,
            down_after: REDIS_TIMEOUT,
            realm,
        })
    }

    pub(super) fn now(&self) -> u64 {
        unix_now() + self.clock_ahead
    }

    pub(super) fn add(
        &mut self,
        username: &str,
        kind: &str,
        mut scopes: Vec<String>,
        expires: Option<u64>,
        label: Option<String>,
    ) -> Result<String, String> {
        scopes.sort_unstable();
        let (key, secret) = (random::word(16)?, random::word(16)?);
        let token = format!("gt-{key}.{secret}");
        let (username, kind) = (username.to_owned(), kind.to_owned());
        let created = self.now();
        let new = Token { key, secret, username, kind, scopes, created, expires, label };
        if self.tokens.iter().chain([&new]).map(Token::bytes).sum::<usize>() > MAX_KEPT_BYTES {
            return Err("too many tokens are kept; delete some".to_owned());
        }
        self.tokens.push(new);
        Ok(token)
    }
}
