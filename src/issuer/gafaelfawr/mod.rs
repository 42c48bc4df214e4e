//! Gafaelfawr: service tokens of a Rubin Phalanx environment (`/auth/api/v1`, as Gafaelfawr 15.4 answers).

mod error;
mod orphan;
pub(crate) mod tokens;

use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{Access, Api, Scheme};
use super::refusal::Doing;
use super::{CreateError, Leftover};
use crate::failure::Failure;
use crate::http::Answer;
use crate::secret::{ExposeSecret as _, SecretString, protect};

/// The variable with the admin token, which is hidden from the command.
pub(crate) const ADMIN_TOKEN: &str = "GAFAELFAWR_ADMIN_TOKEN";
pub(crate) const URL: &str = "GAFAELFAWR_URL";
pub(crate) const ADMIN_SCOPE: &str = "admin:token";
pub(crate) const MIN_LIFETIME: Duration = Duration::from_secs(300);
/// [`MIN_LIFETIME`] with a margin, because the server counts from the moment it gets the request.
pub(crate) const SHORTEST_LIFETIME: Duration = Duration::from_secs(310);
/// Larger integers would be read as milliseconds.
pub(crate) const MAX_EXPIRES: u64 = 20_000_000_000;
/// Length of a token's key, and of its secret.
const PART_CHARS: usize = 22;
const MAX_USERNAME_CHARS: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct NewToken {
    pub username: String,
    /// A description; the API stores it but does not list it.
    pub name: Option<String>,
    /// Sorted.
    pub scopes: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub(crate) struct TokenInfo {
    pub username: String,
    /// `service`, `user`, `session`, …
    pub token_type: String,
    /// Sorted.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The creation, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<u64>,
    /// The expiry, in Unix seconds; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// The key, which identifies the token.
    pub token: String,
    /// The name, which only user tokens have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_name: Option<String>,
}

/// True if `text` has the form of a token's key. The secret part has the same form.
pub(crate) fn is_token_key(text: &str) -> bool {
    text.len() == PART_CHARS && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The key of a token of the form `gt-KEY.SECRET`.
pub(crate) fn token_key_of(token: &SecretString) -> Option<&str> {
    let (key, secret) = token.expose_secret().strip_prefix("gt-")?.split_once('.')?;
    (is_token_key(key) && is_token_key(secret)).then_some(key)
}

/// True for a valid username: lower case, digits, single dashes within.
pub(crate) fn is_username(name: &str) -> bool {
    name.len() <= MAX_USERNAME_CHARS
        && name.split('-').all(|word| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
        && name.bytes().any(|b| b.is_ascii_lowercase())
}

pub(crate) fn is_scope(scope: &str) -> bool {
    !scope.is_empty()
        && scope.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'.' | b'_' | b'-'))
}

/// The token of a response without a usable one, if its `Location` names the key:
/// `/auth/api/v1/users/USER/tokens/KEY`.
fn located(leftover: Leftover, username: &str) -> Leftover {
    let Leftover::Answered(reply) = &leftover else { return leftover };
    let key = reply.location.as_deref().and_then(|location| {
        let (path, key) = location.rsplit_once('/')?;
        let is_ours = path.ends_with(&format!("/auth/api/v1/users/{username}/tokens"));
        (is_ours && is_token_key(key)).then(|| key.to_owned())
    });
    key.map_or(leftover, |key| Leftover::Token(key, None))
}

const BEARER: Scheme = ("authorization", "bearer ");

pub(crate) struct Gafaelfawr {
    pub api: Api,
}

impl Gafaelfawr {
    pub(crate) fn new(access: Access<'_>) -> Result<Gafaelfawr, Failure> {
        Ok(Gafaelfawr { api: Api::new(&error::DIALECT, access, BEARER)? })
    }

    /// The command line that lists the tokens of a user, for messages.
    pub(crate) fn list_command(&self, username: &str) -> String {
        format!("{} --username {username}", self.api.command_line("list"))
    }

    pub(crate) fn delete_command(&self, username: &str, key: &str) -> String {
        // A key may begin with a dash.
        let end = if key.starts_with('-') { "-- " } else { "" };
        format!("{} --username {username} {end}{key}", self.api.command_line("delete"))
    }

    fn user_tokens(&self, username: &str) -> Url {
        self.api.at(&["auth", "api", "v1", "users", username, "tokens"])
    }

    pub(crate) fn own_token(&self) -> Url {
        self.api.at(&["auth", "api", "v1", "token-info"])
    }

    pub(crate) async fn token_info(&self) -> Result<TokenInfo, Failure> {
        self.api.get(&self.own_token(), Doing::Check).await
    }

    /// The token of a file as Gafaelfawr describes it; `None` if the response `is_invalid`.
    pub(crate) async fn info_of(
        &self,
        token: &SecretString,
        is_invalid: fn(&Answer) -> bool,
    ) -> Result<Option<TokenInfo>, Failure> {
        self.api.get_if_valid(&self.own_token(), (BEARER, token), is_invalid).await
    }

    pub(crate) async fn list(&self, username: &str) -> Result<Vec<TokenInfo>, Failure> {
        self.api.get(&self.user_tokens(username), Doing::List).await
    }

    /// Creates a token that expires at `expires` (Unix seconds; `None` for never).
    pub(crate) async fn create(
        &self,
        new: &NewToken,
        expires: Option<u64>,
    ) -> Result<SecretString, CreateError> {
        #[derive(Deserialize)]
        struct Created {
            token: SecretString,
        }
        let mut body = json!({"username": new.username, "token_type": "service", "scopes": new.scopes});
        if let Some(name) = &new.name {
            body["name"] = Value::from(name.as_str());
        }
        if let Some(expires) = expires {
            body["expires"] = Value::from(expires);
        }
        let url = self.api.at(&["auth", "api", "v1", "tokens"]);
        let usable = |created: &Created| token_key_of(&created.token).is_some();
        let body = body.to_string();
        let created = self.api.create(&url, body.as_bytes(), 201, usable).await;
        let created = created.map_err(|CreateError { failure, leftover }| CreateError {
            leftover: leftover.map(|leftover| located(leftover, &new.username)),
            failure,
        })?;
        protect(created.token.expose_secret());
        Ok(created.token)
    }

    /// Deletes a token. `false`: it did not exist.
    pub(crate) async fn delete(&self, username: &str, key: &str) -> Result<bool, Failure> {
        let url = self.api.at(&["auth", "api", "v1", "users", username, "tokens", key]);
        self.api.delete(&url).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_token_may_begin_with_a_dash() {
        let token = SecretString::from("gt--ILcvegmBCW73byPdV-uMg.E3fHDP5_OQkXphqpRkiZtw");
        assert_eq!(token_key_of(&token), Some("-ILcvegmBCW73byPdV-uMg"));
        for other in ["gt-a.b", "xx-ILcvegmBCW73byPdV-uMgA.E3fHDP5_OQkXphqpRkiZtw", ""] {
            assert_eq!(token_key_of(&SecretString::from(other)), None);
        }
    }
}
