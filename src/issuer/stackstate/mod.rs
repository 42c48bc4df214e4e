//! StackState, also sold as Rancher Observability and SUSE Observability: service tokens by the vendor's OpenAPI
//! specification (`/api/security/tokens`).

mod error;
pub(crate) mod tokens;

use percent_encoding::percent_decode_str;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CreateError;
use super::api::{Access, Api};
use super::credential::SERVICE_TOKEN_PREFIX;
use super::refusal::Doing;
use crate::failure::Failure;
use crate::secret::{ExposeSecret as _, SecretString, protect};

pub(crate) const URL: &str = "STS_CLI_URL";
pub(crate) const API_PATH: &str = "STS_CLI_API_PATH";
pub(crate) const CONTEXT: &str = "STS_CLI_CONTEXT";
pub(crate) const CA_PATH: &str = "STS_CA_CERT_PATH";
pub(crate) const CA_DATA: &str = "STS_CA_CERT_BASE64_DATA";
pub(crate) const DEFAULT_API_PATH: &str = "/api";
/// The variable with a person's API token.
pub(crate) const API_TOKEN: &str = "STS_CLI_API_TOKEN";
/// The variable with a service token.
pub(crate) const SERVICE_TOKEN: &str = "STS_CLI_SERVICE_TOKEN";

/// The variable with the token of a Kubernetes service account, which counts as one of the three.
pub(crate) const K8S_TOKEN: &str = "STS_CLI_K8S_SA_TOKEN";
pub(crate) const CREDENTIALS: [&str; 3] = [API_TOKEN, SERVICE_TOKEN, K8S_TOKEN];
/// The variable that disables certificate verification in `sts`.
pub(crate) const SKIP_SSL: &str = "STS_SKIP_SSL";
/// The variable with the path of that token's file.
pub(crate) const K8S_TOKEN_PATH: &str = "STS_CLI_K8S_SA_TOKEN_PATH";

/// The kind of a credential, which decides its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CredentialKind {
    /// A person's: `X-API-Token`.
    Api,
    /// A service's: `X-API-Key`.
    Service,
    /// A Kubernetes service account's: `X-API-ServiceBearer`.
    Kubernetes,
}

impl CredentialKind {
    /// The kind by the form of the token: a service token, or a JWT, which Kubernetes issues.
    pub(crate) fn of(token: &SecretString) -> CredentialKind {
        let token = token.expose_secret();
        if token.starts_with(SERVICE_TOKEN_PREFIX) {
            CredentialKind::Service
        } else if token.starts_with("eyJ") && token.matches('.').count() == 2 {
            CredentialKind::Kubernetes
        } else {
            CredentialKind::Api
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewToken {
    /// The name, which need not be unique.
    pub name: String,
    pub roles: Vec<String>,
    /// The expiry, in Unix milliseconds; `None` for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_date: Option<i64>,
    /// A subject to create for it; empty for none, as `sts` sends it.
    pub dedicated_subject: String,
}

/// A listed token; the fields are in the order of `sts`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceToken {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedicated_subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The expiry, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<i64>,
    /// The ID that deletes it. It may be too large for a float.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// The last change, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_timestamp: Option<i64>,
    pub name: String,
    #[serde(default)]
    pub roles: Vec<String>,
}

/// The response to a creation, which has no ID.
#[derive(Deserialize)]
pub(crate) struct Created {
    /// The name as the server stored it.
    pub name: String,
    pub token: SecretString,
    /// The expiry, in Unix milliseconds.
    pub expiration: Option<i64>,
}

const SERVICE_HEADER: &str = "x-api-key";

/// How to use the API, from flags, variables and a context of `sts`.
pub(crate) struct ApiConfig {
    /// The path of the API below the URL.
    pub path: String,
    /// The kind of the credential, if its origin tells.
    pub kind: Option<CredentialKind>,
    /// Variables with which `sts` reaches the same API in the same way, beside URL and token.
    pub variables: Vec<(&'static str, String)>,
}

pub(crate) struct StackState {
    pub api: Api,
    /// The base URL, without the API's path.
    url: Url,
    /// See [`ApiConfig`].
    variables: Vec<(&'static str, String)>,
}

impl StackState {
    pub(crate) fn new(
        access: Access<'_>,
        ApiConfig { path, kind, variables }: ApiConfig,
    ) -> Result<StackState, Failure> {
        let Access { url, credential, .. } = &access;
        let header = match kind.unwrap_or_else(|| CredentialKind::of(credential)) {
            CredentialKind::Api => "x-api-token",
            CredentialKind::Service => SERVICE_HEADER,
            CredentialKind::Kubernetes => "x-api-servicebearer",
        };
        let mut base = url.clone();
        if let Ok(mut segments) = base.path_segments_mut() {
            let written = path.split('/').filter(|segment| !segment.is_empty());
            segments.pop_if_empty().extend(written.map(|it| percent_decode_str(it).decode_utf8_lossy()));
        }
        let url = url.clone();
        let api = Api::new(&error::DIALECT, Access { url: base, ..access }, (header, ""))?;
        Ok(StackState { api, url, variables })
    }

    pub(crate) fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    fn tokens(&self) -> Url {
        self.api.at(&["security", "tokens"])
    }

    /// The server's version (`/server/info`), if it reports one.
    pub(crate) async fn version(&self) -> Option<String> {
        let url = self.api.at(&["server", "info"]);
        let info: Value = self.api.get(&url, Doing::Check).await.ok()?;
        let part = |name: &str| info["version"][name].as_u64();
        Some(format!("{}.{}.{}", part("major")?, part("minor")?, part("patch")?))
    }

    /// True if this service token is valid.
    pub(crate) async fn accepts(&self, token: &SecretString) -> Result<bool, Failure> {
        let url = self.api.at(&["server", "info"]);
        let with_it = ((SERVICE_HEADER, ""), token);
        let info: Option<Value> = self.api.get_if_valid(&url, with_it, error::is_invalid_token).await?;
        Ok(info.is_some())
    }

    pub(crate) async fn list(&self) -> Result<Vec<ServiceToken>, Failure> {
        let mut tokens: Vec<ServiceToken> = self.api.get(&self.tokens(), Doing::List).await?;
        tokens.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tokens)
    }

    /// The IDs of the tokens with this name.
    pub(crate) async fn ids_of(&self, name: &str) -> Result<Vec<i64>, Failure> {
        let listed = self.list().await?;
        Ok(listed.iter().filter(|token| token.name == name).filter_map(|token| token.id).collect())
    }

    /// Creates a token. It is not repeated if it may have arrived.
    pub(crate) async fn create(&self, new: &NewToken) -> Result<Created, CreateError> {
        let body = serde_json::json!(new).to_string();
        let usable = |created: &Created| usable(&created.token);
        let created: Created = self.api.create(&self.tokens(), body.as_bytes(), 200, usable).await?;
        protect(created.token.expose_secret());
        Ok(created)
    }

    /// Deletes a token. `false`: it did not exist.
    pub(crate) async fn delete(&self, id: i64) -> Result<bool, Failure> {
        self.api.delete(&self.api.at(&["security", "tokens", &id.to_string()])).await
    }
}

/// True if a header and a variable can hold the token.
fn usable(token: &SecretString) -> bool {
    /// Servers do not accept much longer headers.
    const MAX_TOKEN_BYTES: usize = 8 * 1024;
    let text = token.expose_secret();
    (1..=MAX_TOKEN_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
