//! A monitoring request: what it is made of, how it is signed, and what the command gets of it.

use std::borrow::Cow;
use std::ffi::OsString;
use std::time::SystemTime;

use reqwest::Url;

use super::offer::{Granted, Offer};
use crate::failure::{Failure, Reason, Stage};
use crate::go::url::GoUrl;
use crate::http::explain::origin;
use crate::issuer::Lease;
use crate::key::sign::monitoring_jwt;
use crate::key::{KeySource, PrivateKey};
use crate::secret::{ExposeSecret as _, SecretString, protect, scrub};

/// The variable that ndt clients read.
pub const SERVICE_URL: &str = "SERVICE_URL";
const SERVICE_HOSTNAME: &str = "SERVICE_HOSTNAME";
/// The variable with the key, which is hidden from the command.
pub const SIGNER_KEY: &str = "MONITORING_SIGNER_KEY";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// No request: only the monitoring URL.
    No,
    /// `$ENV_NAME` is the monitoring URL, `SERVICE_URL` the service URL.
    Both,
    /// `$ENV_NAME` is the service URL.
    ServiceUrl,
}

pub struct LocateConfig {
    pub endpoint: Endpoint,
    pub key: KeySource,
    /// The machine to monitor: the `sub` of the JWT.
    pub machine: String,
    /// `-env-name`: the variable for the URL.
    pub env_name: OsString,
    pub exchange: Exchange,
    /// `-service-url-key-name`: the key in `target.urls`.
    pub url_key: Option<String>,
    /// Remove the inherited variable `SERVICE_URL`: it is the flag of this program, or stale.
    pub drop_service_url: bool,
}

pub struct Signed {
    /// The URL to request. It is a secret, so show it only with [`crate::secret::redact_url`].
    pub url: Url,
    /// The same URL for the command, byte for byte as the original writes it.
    pub text: SecretString,
}

/// The longest URL that a request and a variable can hold.
const LONGEST_URL: usize = 32 * 1024;

/// The endpoint of Locate: prefix and service, which form one URL wherever the user splits them.
pub struct Endpoint {
    pub url: Url,
    /// The monitored service, such as `ndt/ndt7`: the end of the path, as Locate reads it.
    pub service: String,
    written: GoUrl,
}

impl Endpoint {
    /// Joins prefix and service. The error is a clause without secrets.
    pub fn new(prefix: &str, service: &str) -> Result<Endpoint, String> {
        let written = GoUrl::parse(prefix)?.join(service);
        let url = requested(&written, &written.text())?;
        if url.as_str().len() > LONGEST_URL {
            return Err(format!("with the service it is longer than {} KiB", LONGEST_URL / 1024));
        }
        Ok(Endpoint { url, service: written.service(), written })
    }

    /// The service for messages. If Locate cannot expect it, it is quoted, with advice.
    pub(super) fn shown_service(&self) -> (String, Option<&'static str>) {
        let service = &self.service;
        if !service.contains('/') {
            // Only a part of it is given, often because a variable in a script is not set.
            let advice = ": expected EXPERIMENT/DATATYPE, such as ndt/ndt7; check -service";
            return (format!("{service:?}"), Some(advice));
        }
        if self.url.path().ends_with('/') {
            let advice = ": remove the slash at the end of -service, or of -locate-url if -service is empty";
            return (format!("\"{service}/\""), Some(advice));
        }
        (service.clone(), None)
    }

    /// The network interface of an IPv6 address, which `url` cannot hold.
    pub fn zone(&self) -> Option<String> {
        self.written.zone().map(Cow::into_owned)
    }

    /// The monitoring URL: the query of the prefix with the token added.
    pub fn monitoring_url(&self, jwt: &SecretString) -> Result<(Url, SecretString), String> {
        let written = self.written.clone().with("access_token", jwt.expose_secret());
        let text = SecretString::from(written.text());
        Ok((requested(&written, text.expose_secret())?, text))
    }
}

/// The URL to request, parsed by stricter rules than Go's. `text` is the URL as written.
fn requested(written: &GoUrl, text: &str) -> Result<Url, String> {
    let without_zone = written.text_without_zone();
    let url = without_zone.as_deref().unwrap_or(text);
    Url::parse(url).map_err(|error| format!("{error}; check its host and port"))
}

impl LocateConfig {
    pub fn sign(&self, key: &PrivateKey) -> Result<Signed, Failure> {
        let jwt = monitoring_jwt(key, &self.machine, SystemTime::now())
            .map_err(|refusal| self.key.refuse(&refusal))?;
        protect(jwt.expose_secret());
        let (url, text) = self.endpoint.monitoring_url(&jwt).map_err(|why| failed(Reason::Usage, why))?;
        tracing::debug!(
            algorithm = key.alg(),
            key_id = key.key_id,
            jwt = scrub(jwt.expose_secret()),
            "signed"
        );
        Ok(Signed { url, text })
    }

    pub fn choose(&self, offer: Offer) -> Result<Granted, Failure> {
        let Endpoint { url, service, .. } = &self.endpoint;
        offer.choose(&origin(url), service, self.url_key.as_deref())
    }

    pub fn lease(&self, Signed { text: monitoring_url, .. }: Signed, granted: Option<Granted>) -> Lease {
        let mut lease = Lease { remove: vec![SIGNER_KEY.into()], ..Lease::default() };
        if self.drop_service_url {
            lease.remove.push(SERVICE_URL.into());
        }
        match granted {
            None => lease.set.push((self.env_name.clone(), monitoring_url)),
            Some(granted) if self.exchange == Exchange::ServiceUrl => {
                // An inherited one belongs to another server.
                lease.remove.push(SERVICE_HOSTNAME.into());
                lease.set.push((self.env_name.clone(), granted.url));
            }
            Some(granted) => {
                lease.set.push((SERVICE_URL.into(), granted.url));
                lease.set.push((SERVICE_HOSTNAME.into(), granted.hostname.into()));
                // Comes last, so it wins if -env-name names one of the others.
                lease.set.push((self.env_name.clone(), monitoring_url));
            }
        }
        lease
    }
}

pub(super) fn failed(reason: Reason, message: impl Into<String>) -> Failure {
    Failure::failed(Stage::Exchange, reason, message)
}
