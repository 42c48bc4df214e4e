//! M-Lab Locate: a signed request in exchange for a service URL with an access token
//! (`/v2/platform/monitoring/`; m-lab/locate v0.17.6 and v0.19.2, `handler/monitoring.go`).

mod answer;
mod ask;
mod explain;
mod offer;

use std::ffi::OsString;
use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::Url;

pub use ask::Locate;
pub use explain::FATAL_CLOCK_LAG;
pub use offer::{Granted, ORIGINAL_DEFAULT_KEY, Offer, choose_key};

use super::Lease;
use crate::error::{Failure, Stage};
use crate::key::sign::monitoring_jwt;
use crate::key::{KeySource, PrivateKey};
use crate::secret::{ExposeSecret as _, SecretString, protect, scrub};

/// The variable that ndt clients read.
pub const SERVICE_URL: &str = "SERVICE_URL";
const SERVICE_HOSTNAME: &str = "SERVICE_HOSTNAME";
/// The key's variable, which the command must not see.
pub const SIGNER_KEY: &str = "MONITORING_SIGNER_KEY";

/// Which variable of the command gets which URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// No request: the monitoring URL only.
    No,
    /// `$ENV_NAME` is the monitoring URL, `SERVICE_URL` the service URL.
    Both,
    /// `$ENV_NAME` is the service URL.
    ServiceUrl,
}

/// What a monitoring request is made of.
pub struct LocateConfig {
    /// The URL prefix, its query included.
    pub prefix: Url,
    /// Where the private key is.
    pub key: KeySource,
    /// The machine to monitor: the JWT's `sub`.
    pub machine: String,
    /// `<experiment>/<datatype>`.
    pub service: String,
    /// `-env-name`.
    pub env_name: OsString,
    /// What is exchanged and handed over.
    pub exchange: Exchange,
    /// The key in `target.urls`, if one was named.
    pub url_key: Option<String>,
    /// Whether the variable `SERVICE_URL` that we were started with is our flag's, or stale.
    pub drop_service_url: bool,
}

/// A fresh JWT, and the monitoring URL that holds it.
pub struct Signed {
    /// The JWT.
    pub jwt: SecretString,
    /// The URL to ask. It is a secret, too: show it by [`crate::secret::redact_url`].
    pub url: Url,
}

/// What Go's `url.QueryEscape` leaves as it is.
const GO_QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

fn go_escape(text: &str) -> String {
    utf8_percent_encode(text, GO_QUERY).to_string().replace(' ', "+")
}

impl LocateConfig {
    /// The monitoring URL: prefix, service, the prefix's own query and the token. The query is sorted
    /// and escaped as Go's `url.Values.Encode` does, so that a command sees what the original gave it.
    pub fn monitoring_url(&self, jwt: &SecretString) -> Url {
        let mut url = self.prefix.clone();
        let slash = if url.path().ends_with('/') { "" } else { "/" };
        url.set_path(&format!("{}{slash}{}", self.prefix.path(), self.service));
        let mut query: Vec<(String, String)> =
            self.prefix.query_pairs().into_owned().filter(|(name, _)| name != "access_token").collect();
        query.push(("access_token".to_owned(), jwt.expose_secret().to_owned()));
        query.sort_by(|(a, _), (b, _)| a.cmp(b));
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{}={}", go_escape(name), go_escape(value))).collect();
        url.set_query(Some(&query.join("&")));
        url
    }

    /// Signs a fresh JWT and puts it into the monitoring URL.
    pub fn sign(&self, key: &PrivateKey) -> Result<Signed, Failure> {
        let jwt = monitoring_jwt(key, &self.machine, SystemTime::now())
            .map_err(|refusal| self.key.refuse(&refusal))?;
        protect(jwt.expose_secret());
        let url = self.monitoring_url(&jwt);
        tracing::debug!(
            algorithm = key.algorithm.name(),
            key_id = key.key_id,
            jwt = scrub(jwt.expose_secret()),
            "signed"
        );
        Ok(Signed { jwt, url })
    }

    /// What the command finds in its environment.
    pub fn lease(&self, Signed { url, .. }: Signed, granted: Option<Granted>) -> Lease {
        let monitoring_url = SecretString::from(String::from(url));
        let mut lease = Lease { remove: vec![SIGNER_KEY.into()], ..Lease::default() };
        if self.drop_service_url {
            lease.remove.push(SERVICE_URL.into());
        }
        match granted {
            None => lease.set.push((self.env_name.clone(), monitoring_url)),
            Some(granted) => {
                if self.exchange == Exchange::ServiceUrl {
                    // One that we were started with is of another server.
                    lease.remove.push(SERVICE_HOSTNAME.into());
                    lease.set.push((self.env_name.clone(), granted.url));
                } else {
                    lease.set.push((SERVICE_URL.into(), granted.url));
                    lease.set.push((SERVICE_HOSTNAME.into(), granted.hostname.into()));
                    // Last, because it wins where -env-name is one of the others.
                    lease.set.push((self.env_name.clone(), monitoring_url));
                }
            }
        }
        lease
    }
}

/// A failure of the exchange.
pub fn failed(message: impl Into<String>) -> Failure {
    Failure::ours(Stage::Exchange, message)
}

/// Protects the token in a service URL: as it stands there, and without escapes, which is how a client may show
/// it.
fn protect_access_tokens(url: &str) {
    let query = url.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or_default());
    let written = query.split('&').filter_map(|pair| pair.strip_prefix("access_token")?.strip_prefix('='));
    for token in written {
        protect(token);
        protect(&percent_decode_str(token).decode_utf8_lossy());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(prefix: &str, service: &str) -> LocateConfig {
        LocateConfig {
            prefix: prefix.parse().unwrap(),
            key: KeySource::Inline(SecretString::from("{}")),
            machine: String::new(),
            service: service.to_owned(),
            env_name: "MONITORING_URL".into(),
            exchange: Exchange::Both,
            url_key: None,
            drop_service_url: false,
        }
    }

    #[test]
    fn the_monitoring_url_keeps_the_prefix_and_its_query() {
        for (prefix, expected) in [
            ("http://h/v2/platform/monitoring/", "http://h/v2/platform/monitoring/ndt/ndt7?access_token=T"),
            ("http://h/v2/platform/monitoring", "http://h/v2/platform/monitoring/ndt/ndt7?access_token=T"),
            ("http://h", "http://h/ndt/ndt7?access_token=T"),
            (
                "https://h/p/?early_exit=250&monitoring=true",
                "https://h/p/ndt/ndt7?access_token=T&early_exit=250&monitoring=true",
            ),
            ("http://h/?z=%2F+a~*&access_token=old", "http://h/ndt/ndt7?access_token=T&z=%2F+a~%2A"),
        ] {
            let url = config(prefix, "ndt/ndt7").monitoring_url(&SecretString::from("T"));
            assert_eq!(url.as_str(), expected);
        }
    }
}
