//! M-Lab Locate: a signed request in exchange for a service URL with an access token
//! (`/v2/platform/monitoring/`; m-lab/locate v0.17.6 and v0.19.2, `handler/monitoring.go`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{Duration, Instant, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use serde::Deserialize;

use super::Lease;
use crate::cli::duration;
use crate::error::{Failure, Stage, printable};
use crate::http::explain::origin;
use crate::http::retry::{self, Next, Pauses};
use crate::http::{Answer, Client, Request};
use crate::key::sign::monitoring_jwt;
use crate::key::{KeySource, PrivateKey};
use crate::secret::{ExposeSecret as _, SecretString, redact_text, redact_url};

/// The key that the original takes if none is named (`-service-url-key-name`).
pub const ORIGINAL_DEFAULT_KEY: &str = "wss://:3010/ndt_protocol";
/// What is taken for `ndt/ndt7` if none is named.
const NDT7_DEFAULT_KEY: &str = "wss:///ndt/v7/download";
/// The variable that ndt clients read.
pub const SERVICE_URL: &str = "SERVICE_URL";
const SERVICE_HOSTNAME: &str = "SERVICE_HOSTNAME";
/// The key's variable, which the command must not see.
pub const SIGNER_KEY: &str = "MONITORING_SIGNER_KEY";
/// A clock that differs by less cannot be told from a slow answer: `Date` has whole seconds.
const NOTABLE_CLOCK_OFFSET_SECONDS: i64 = 2;
/// How much of a body that is no JSON is shown.
const SHOWN_BODY_CHARS: usize = 80;

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

/// The service URL that was chosen, and what else the answer tells.
#[derive(Debug)]
pub struct Granted {
    /// The URL with its access token, as Locate wrote it.
    pub url: SecretString,
    /// Its host.
    pub hostname: String,
    /// The keys on offer.
    pub keys: Vec<String>,
    /// The key that was taken.
    pub key: String,
}

/// The service URLs that Locate has given, by their keys.
pub struct Offer(BTreeMap<String, String>);

/// The answer (m-lab/locate, `api/v2/api.go`: `MonitoringResult`).
#[derive(Deserialize)]
struct MonitoringResult {
    error: Option<LocateError>,
    target: Option<Target>,
    /// Cloud Endpoints, which stands before Locate, answers `{"code","message"}`.
    code: Option<i64>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct LocateError {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    urls: Option<BTreeMap<String, String>>,
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
    pub fn sign(&self, key: &PrivateKey) -> Result<(SecretString, Url), Failure> {
        let jwt = monitoring_jwt(key, &self.machine, SystemTime::now())
            .map_err(|refusal| self.key.refuse(&refusal))?;
        let url = self.monitoring_url(&jwt);
        tracing::debug!(
            algorithm = key.algorithm.name(),
            key_id = key.key_id,
            jwt = redact_text(jwt.expose_secret()),
            "signed"
        );
        Ok((jwt, url))
    }

    /// Exchanges signed requests for a service URL. See [`LocateConfig::ask`].
    pub async fn exchange(
        &self,
        client: &Client,
        key: &PrivateKey,
        first: (SecretString, Url),
        retries: u32,
        deadline: Instant,
    ) -> Result<(SecretString, Url, Granted), Failure> {
        let (jwt, url, offer) = self.ask(client, key, first, retries, deadline).await?;
        Ok((jwt, url, self.choose(offer)?))
    }

    /// Asks Locate for its service URLs, trying again where that may help. `first` is the
    /// monitoring URL that is tried first; each further try is freshly signed. Gives the URL that was
    /// accepted, too.
    ///
    /// It has no time limit of its own; `deadline` only tells which pauses are worth while.
    pub async fn ask(
        &self,
        client: &Client,
        key: &PrivateKey,
        first: (SecretString, Url),
        retries: u32,
        deadline: Instant,
    ) -> Result<(SecretString, Url, Offer), Failure> {
        let (mut jwt, mut url) = first;
        let mut pauses = Pauses::new(retries);
        loop {
            tracing::debug!(url = redact_url(&url), "asking locate");
            let (failure, retry_after) = match client.send(Request::get(url.clone())).await {
                Ok(answer) => {
                    tracing::debug!(
                        status = answer.status,
                        bytes = answer.body.len(),
                        clock_offset_seconds = answer.clock_offset_seconds,
                        "locate answered"
                    );
                    match self.read(&answer, key, client) {
                        Ok(offer) => return Ok((jwt, url, offer)),
                        Err(failure) if !retry::is_retryable(answer.status) => return Err(failure),
                        Err(failure) => (failure, retry::retry_after(&answer, SystemTime::now())),
                    }
                }
                Err(error) if !error.retryable => return Err(Self::failed(&error.message)),
                Err(error) => (Self::failed(&error.message), None),
            };
            match pauses.next(retry_after, Instant::now(), deadline) {
                Next::GiveUp => return Err(failure),
                Next::TooLate(asked) => {
                    let asked = duration::show(asked);
                    return Err(Failure {
                        message: format!("{failure}; it asks to wait {asked}, which is beyond the timeout"),
                        ..failure
                    });
                }
                Next::After(pause) => {
                    tracing::debug!(%failure, pause = duration::show(pause), "trying again");
                    tokio::time::sleep(pause).await;
                }
            }
            (jwt, url) = self.sign(key)?;
        }
    }

    /// A failure of the exchange.
    pub fn failed(message: &str) -> Failure {
        Failure::ours(Stage::Exchange, message)
    }

    /// Reads Locate's answer.
    fn read(&self, answer: &Answer, key: &PrivateKey, client: &Client) -> Result<Offer, Failure> {
        let at = origin(&self.prefix);
        let result: Option<MonitoringResult> = match serde_json::from_slice(&answer.body) {
            Ok(result) => Some(result),
            Err(error) if error.is_data() && answer.status == 200 => {
                let wrong = printable(&redact_text(&error.to_string()));
                return Err(Self::failed(&format!(
                    "locate at {at} gave an answer of another form than expected: {wrong}"
                )));
            }
            Err(_) => None,
        };
        if let Some(error) = result.as_ref().and_then(|result| result.error.as_ref()) {
            return Err(Self::failed(&self.explain_error(error, answer, key)));
        }
        if !(200..300).contains(&answer.status) {
            return Err(Self::failed(&self.explain_status(answer, result.as_ref(), key, client)));
        }
        let Some(result) = result else {
            return Err(Self::failed(&if answer.body.is_empty() {
                format!("locate at {at} answered HTTP {} with nothing; is -locate-url right?", answer.status)
            } else {
                let words = first_words(&answer.body);
                format!(
                    "{at} answered HTTP {} with {words}, not with Locate's JSON; is -locate-url right, or a proxy in between?",
                    answer.status
                )
            }));
        };
        let urls = result.target.and_then(|target| target.urls).filter(|urls| !urls.is_empty());
        let Some(urls) = urls else {
            return Err(Self::failed(&format!(
                "locate at {at} answered HTTP {} without target.urls",
                answer.status
            )));
        };
        Ok(Offer(urls))
    }

    /// Takes the service URL out of `target.urls`.
    pub fn choose(&self, Offer(mut urls): Offer) -> Result<Granted, Failure> {
        let keys: Vec<String> = urls.keys().cloned().collect();
        let key = choose_key(&keys, self.url_key.as_deref(), &self.service)
            .ok_or_else(|| {
                let on_offer = printable(&keys.join(", "));
                Self::failed(&match &self.url_key {
                    Some(named) => {
                        format!("locate has no URL key {named:?} for {}; it has {on_offer}", self.service)
                    }
                    None => format!(
                        "locate has several URL keys for {}; name one with -service-url-key-name: {on_offer}",
                        self.service
                    ),
                })
            })?
            .to_owned();
        let url = urls.remove(&key).unwrap_or_default();
        let usable = !url.chars().any(char::is_control);
        let hostname =
            Url::parse(&url).ok().filter(|_| usable).and_then(|url| url.host_str().map(str::to_owned));
        let Some(hostname) = hostname else {
            return Err(Self::failed(&format!(
                "locate gave no usable URL under the key {}",
                printable(&key)
            )));
        };
        Ok(Granted { url: SecretString::from(url), hostname, keys, key })
    }

    /// An error object of Locate's, with its likely cause.
    fn explain_error(&self, error: &LocateError, answer: &Answer, key: &PrivateKey) -> String {
        let status = answer.status;
        let said = [Some(error.title.as_str()), error.detail.as_deref()]
            .into_iter()
            .flatten()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(": ");
        let said = format!("(HTTP {status}, {}: {})", error.kind, redact_text(&said));
        let at = origin(&self.prefix);
        match error.kind.as_str() {
            "claim" => format!(
                "locate at {at} does not enforce tokens for the service {}, so it cannot monitor it {said}; is -service right?",
                self.service
            ),
            "subject" => format!(
                "locate cannot parse the machine name {:?} {said}; it must be an M-Lab host name, set -machine",
                self.machine
            ),
            "config" => format!("locate does not know the service {} {said}; set -service", self.service),
            _ if status == 401 => Self::explain_unauthorized(answer, key, &said),
            _ => format!("locate at {at} answered with an error {said}"),
        }
    }

    fn explain_unauthorized(answer: &Answer, key: &PrivateKey, said: &str) -> String {
        let clock = match answer.clock_offset_seconds {
            Some(offset) if offset.abs() >= NOTABLE_CLOCK_OFFSET_SECONDS => {
                let behind = if offset < 0 { "behind" } else { "ahead of" };
                let by = duration::show(Duration::from_secs(offset.unsigned_abs()));
                format!("; local clock is {by} {behind} the server")
            }
            _ => String::new(),
        };
        let algorithm = if key.algorithm.is_known_to_locate() {
            String::new()
        } else {
            format!("; Locate does not take {} keys", key.algorithm.name())
        };
        format!(
            "locate rejected the token {said}: key id {:?} may not be registered there{algorithm}{clock}",
            key.key_id
        )
    }

    /// A status that says no, without an error object.
    fn explain_status(
        &self,
        answer: &Answer,
        result: Option<&MonitoringResult>,
        key: &PrivateKey,
        client: &Client,
    ) -> String {
        let (status, at) = (answer.status, origin(&self.prefix));
        let endpoints =
            result.and_then(|result| result.message.as_deref().map(|message| (result.code, message)));
        let said = match endpoints {
            Some((_, message)) => format!("(HTTP {status}, {})", redact_text(message)),
            None if answer.body.is_empty() => format!("(HTTP {status})"),
            None => format!("(HTTP {status}, {})", first_words(&answer.body)),
        };
        match status {
            401 => Self::explain_unauthorized(answer, key, &said),
            403 => format!(
                "{at} forbids the request {said}; is -locate-url the platform's path, and is this address allowed there?"
            ),
            404 => format!("{at} has nothing at this path {said}; is -locate-url right?"),
            407 => format!(
                "the proxy{} wants authentication {said}",
                client.proxy.as_ref().map(|p| format!(" {}", redact_url(p))).unwrap_or_default()
            ),
            429 => format!("{at} limits our rate {said}"),
            300..=399 => format!("{at} redirects without saying where to {said}"),
            500.. => format!("{at} has trouble of its own {said}"),
            _ => format!("{at} refused the request {said}"),
        }
    }

    /// What the command finds in its environment.
    pub fn lease(&self, jwt: SecretString, monitoring_url: &Url, granted: Option<Granted>) -> Lease {
        let monitoring_url = SecretString::from(monitoring_url.as_str());
        let mut lease = Lease { remove: vec![SIGNER_KEY.into()], ..Lease::default() };
        if self.drop_service_url {
            lease.remove.push(SERVICE_URL.into());
        }
        lease.secrets.push(jwt);
        match granted {
            None => lease.set.push((self.env_name.clone(), monitoring_url)),
            Some(granted) => {
                lease.secrets.extend(access_token(granted.url.expose_secret()));
                if self.exchange == Exchange::ServiceUrl {
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

fn access_token(url: &str) -> Option<SecretString> {
    let url = Url::parse(url).ok()?;
    let (_, token) = url.query_pairs().find(|(name, _)| name == "access_token")?;
    Some(SecretString::from(token.into_owned()))
}

/// The key to take: the one that was named; else the original's default; else ndt7's; else the only one.
fn choose_key<'a>(keys: &'a [String], named: Option<&str>, service: &str) -> Option<&'a str> {
    let has = |wanted: &str| keys.iter().map(String::as_str).find(|&key| key == wanted);
    if let Some(named) = named {
        return has(named);
    }
    let only = || match keys {
        [only] => Some(only.as_str()),
        _ => None,
    };
    let ndt7 = || (service == "ndt/ndt7").then(|| has(NDT7_DEFAULT_KEY)).flatten();
    has(ORIGINAL_DEFAULT_KEY).or_else(ndt7).or_else(only)
}

/// The beginning of a body that is no JSON, in quotes.
fn first_words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: String = redact_text(&words).chars().take(SHOWN_BODY_CHARS).collect();
    let more = if words.chars().count() > SHOWN_BODY_CHARS { "…" } else { "" };
    format!("\"{}{more}\"", printable(&shown))
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

    #[test]
    fn the_url_key_is_chosen_by_the_documented_order() {
        let keys = |keys: &[&str]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
        let ndt7 = keys(&["ws:///ndt/v7/download", "wss:///ndt/v7/download"]);
        let ndt5 = keys(&["ws://:3001/ndt_protocol", "wss://:3010/ndt_protocol"]);
        let wehe = keys(&["wss://:4443/v0/envelope/access"]);
        for (keys, named, service, expected) in [
            (&ndt7, None, "ndt/ndt7", Some("wss:///ndt/v7/download")),
            (&ndt7, Some("ws:///ndt/v7/download"), "ndt/ndt7", Some("ws:///ndt/v7/download")),
            (&ndt7, Some("nope"), "ndt/ndt7", None),
            (&ndt7, Some(""), "ndt/ndt7", None),
            (&ndt7, None, "other/x", None),
            (&ndt5, None, "ndt/ndt5", Some("wss://:3010/ndt_protocol")),
            (&wehe, None, "wehe/replay", Some("wss://:4443/v0/envelope/access")),
            (&wehe, Some(ORIGINAL_DEFAULT_KEY), "wehe/replay", None),
        ] {
            assert_eq!(choose_key(keys, named, service), expected, "{named:?} {service}");
        }
    }
}
