//! StackState, also sold as Rancher Observability and SUSE Observability: service tokens, as the vendor's
//! OpenAPI specification has them (`/api/security/tokens`).

pub mod error;
pub mod exec;

use std::time::Instant;

use reqwest::{Method, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::Api;
use super::{CreateError, Trace};
use crate::error::Failure;
use crate::http::{Answer, HttpConfig};
use crate::secret::{ExposeSecret as _, SecretString};
use error::Doing;

/// The base URL's variable.
pub const URL: &str = "STS_CLI_URL";
/// The API path's variable.
pub const API_PATH: &str = "STS_CLI_API_PATH";
/// The variable of a person's API token.
pub const API_TOKEN: &str = "STS_CLI_API_TOKEN";
/// The variable of a service token.
pub const SERVICE_TOKEN: &str = "STS_CLI_SERVICE_TOKEN";

/// What every service token begins with.
pub const SERVICE_TOKEN_PREFIX: &str = "svctok-";

/// Which header a credential goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A person's: `X-API-Token`.
    ApiToken,
    /// A service's: `X-API-Key`.
    ServiceToken,
}

impl Kind {
    /// By what service tokens begin with.
    pub fn of(token: &SecretString) -> Kind {
        if token.expose_secret().starts_with(SERVICE_TOKEN_PREFIX) {
            Kind::ServiceToken
        } else {
            Kind::ApiToken
        }
    }
}

/// A token to make.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewToken {
    /// Its name.
    pub name: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// When it expires, Unix milliseconds; never, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_date: Option<i64>,
    /// A subject that is made for it; empty, as `sts` sends it, for none.
    pub dedicated_subject: String,
}

/// A token, as the list has it.
#[derive(Clone, Debug, Deserialize)]
pub struct ServiceToken {
    /// What it is deleted by. Not a number that survives a float.
    pub id: Option<i64>,
    /// Its name.
    pub name: String,
    /// When it expires, Unix milliseconds.
    pub expiration: Option<i64>,
    /// Its roles.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// The answer to a creation. It has no id.
#[derive(Deserialize)]
pub struct Created {
    /// The name, as the server keeps it.
    pub name: String,
    /// The token, shown this once.
    pub token: SecretString,
    /// When it expires, Unix milliseconds.
    pub expiration: Option<i64>,
}

/// The API of one installation.
pub struct StackState {
    api: Api,
    /// The base URL, without the API's path.
    url: Url,
}

impl StackState {
    /// The API at `api_path` below the installation's URL.
    pub fn new(
        http: &HttpConfig,
        url: Url,
        api_path: &str,
        kind: Kind,
        token: &SecretString,
    ) -> Result<StackState, Failure> {
        let header = match kind {
            Kind::ApiToken => "x-api-token",
            Kind::ServiceToken => "x-api-key",
        };
        let mut base = url.clone();
        if let Ok(mut path) = base.path_segments_mut() {
            path.pop_if_empty().extend(api_path.split('/').filter(|segment| !segment.is_empty()));
        }
        Ok(StackState { api: Api::new(http, base, (header, ""), token)?, url })
    }

    /// The requests below.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The installation's URL.
    pub fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    fn tokens(&self) -> Url {
        self.api.at(&["security", "tokens"])
    }

    fn read<T: for<'a> Deserialize<'a>>(&self, answer: &Answer, doing: Doing) -> Result<T, Failure> {
        if answer.status != 200 {
            return Err(error::explain(&self.api, answer, doing));
        }
        serde_json::from_slice(&answer.body).map_err(|_| error::no_stackstate(&self.api, answer, doing))
    }

    /// The server's version (`/server/info`), if it tells.
    pub async fn version(&self, deadline: Instant) -> Option<String> {
        let url = self.api.at(&["server", "info"]);
        let (answer, _) = self.api.repeatable(Method::GET, &url, deadline, &[]).await.ok()?;
        let info: Value = serde_json::from_slice(&answer.body).ok()?;
        let part = |name: &str| info["version"][name].as_u64();
        Some(format!("{}.{}.{}", part("major")?, part("minor")?, part("patch")?))
    }

    /// All tokens, as the server describes them, by name.
    pub async fn list_raw(&self, deadline: Instant) -> Result<Vec<Value>, Failure> {
        let url = self.tokens();
        let (answer, _) =
            self.api.repeatable(Method::GET, &url, deadline, &[]).await.map_err(error::unanswered)?;
        // Checked against what we know of a token, and kept as it is.
        let _: Vec<ServiceToken> = self.read(&answer, Doing::List)?;
        let mut tokens: Vec<Value> = self.read(&answer, Doing::List)?;
        tokens.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
        Ok(tokens)
    }

    /// All tokens, by name.
    pub async fn list(&self, deadline: Instant) -> Result<Vec<ServiceToken>, Failure> {
        let raw = self.list_raw(deadline).await?;
        Ok(raw.into_iter().filter_map(|token| serde_json::from_value(token).ok()).collect())
    }

    /// Makes a token.
    pub async fn create(&self, new: &NewToken, deadline: Instant) -> Result<Created, CreateError> {
        let body = serde_json::to_vec(new)
            .map_err(|error| CreateError::refused(format!("cannot write the request: {error}")))?;
        let answer = self.api.once(&self.tokens(), &body, deadline).await.map_err(|error| {
            let trace = error.maybe_sent.then_some(Trace::Unanswered);
            CreateError { failure: error::unanswered(error), trace }
        })?;
        match self.read::<Created>(&answer, Doing::Create) {
            Ok(created) if usable(&created.token) => Ok(created),
            Ok(_) => {
                let failure = error::no_stackstate(&self.api, &answer, Doing::Create);
                Err(CreateError { failure, trace: Some(Trace::Unreadable) })
            }
            Err(failure) => {
                let trace = Trace::of_refusal(answer.status, error::is_stackstates(&answer));
                Err(CreateError { failure, trace })
            }
        }
    }

    /// Deletes a token. `false`: there was none.
    pub async fn delete(&self, id: i64, deadline: Instant) -> Result<bool, Failure> {
        let url = self.api.at(&["security", "tokens", &id.to_string()]);
        let (answer, repeated) =
            self.api.repeatable(Method::DELETE, &url, deadline, &[500]).await.map_err(error::unanswered)?;
        match answer.status {
            204 => Ok(true),
            404 if error::is_stackstates(&answer) => Ok(repeated),
            _ => Err(error::explain(&self.api, &answer, Doing::Delete)),
        }
    }
}

/// Whether a token can stand in a header and in an environment.
fn usable(token: &SecretString) -> bool {
    let text = token.expose_secret();
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}
