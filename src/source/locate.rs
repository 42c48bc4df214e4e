//! M-Lab Locate: a signed request in exchange for a service URL with an access token
//! (`/v2/platform/monitoring/`; m-lab/locate v0.17.6 and v0.19.2, `handler/monitoring.go`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Lease;
use crate::cli::duration;
use crate::error::{Failure, Stage, printable};
use crate::http::explain::origin;
use crate::http::retry::{self, Next, Pauses};
use crate::http::{Answer, Client, Request};
use crate::key::sign::{JWT_LIFETIME, monitoring_jwt};
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
/// A clock that is behind by more lets a token expire before it arrives, or soon after.
const FATAL_CLOCK_OFFSET_SECONDS: u64 = JWT_LIFETIME.as_secs() - 2;
/// How much of a body that is no JSON is shown.
const SHOWN_BODY_CHARS: usize = 80;
/// How much of a text in an answer is shown.
const SHOWN_TEXT_CHARS: usize = 200;
/// How much of a key id, or of another name of the user's, is shown.
const SHOWN_NAME_CHARS: usize = 64;
/// How many of the keys on offer are shown.
const SHOWN_KEYS: usize = 20;
/// The kernel takes no variable of more than 128 KiB (execve(2), MAX_ARG_STRLEN); a URL is far smaller.
const MAX_SERVICE_URL_BYTES: usize = 32 * 1024;

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
    #[serde(default, deserialize_with = "object")]
    error: Option<LocateError>,
    #[serde(default, deserialize_with = "object")]
    target: Option<Target>,
    /// Cloud Endpoints, which stands before Locate, answers `{"code","message"}`.
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

/// An object, or nothing. serde itself would take an array for a struct, member by member.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    struct Object<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }
    from.deserialize_any(Object(PhantomData))
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
        let mut tries = 0;
        loop {
            tries += 1;
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
                Next::GiveUp if tries == 1 => return Err(failure),
                Next::GiveUp => {
                    return Err(failure.and(&format!("tried {tries} times")));
                }
                Next::TooLate(asked) => {
                    let asked = duration::show(asked);
                    return Err(failure.and(&format!("it asks to wait {asked}, which is beyond the timeout")));
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

    /// Reads Locate's answer: the URLs on offer, or in words why there are none.
    pub fn read(&self, answer: &Answer, key: &PrivateKey, client: &Client) -> Result<Offer, Failure> {
        let at = origin(&self.prefix);
        // serde would take an array for the struct, member by member.
        let is_object = answer.body.trim_ascii_start().starts_with(b"{");
        let parsed = is_object.then(|| serde_json::from_slice(&answer.body)).transpose();
        let result: Option<MonitoringResult> = match parsed {
            Ok(result) => result,
            Err(error) if error.is_data() && answer.status == 200 => {
                let wrong = shown(&error.to_string(), SHOWN_TEXT_CHARS);
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
                    "{at}{} answered HTTP {} with {words}, not with Locate's JSON; is -locate-url right, or a proxy in between?",
                    client.via(),
                    answer.status
                )
            }));
        };
        let urls = result.target.and_then(|target| target.urls).filter(|urls| !urls.is_empty());
        let Some(urls) = urls else {
            return Err(Self::failed(&format!(
                "locate at {at} answered HTTP {} without target.urls, so with no server to test; is -locate-url the monitoring path?",
                answer.status
            )));
        };
        Ok(Offer(urls))
    }

    /// Takes the service URL out of `target.urls`.
    pub fn choose(&self, Offer(mut urls): Offer) -> Result<Granted, Failure> {
        let at = origin(&self.prefix);
        let keys: Vec<String> = urls.keys().cloned().collect();
        let key = choose_key(&keys, self.url_key.as_deref(), &self.service)
            .ok_or_else(|| {
                let more = if keys.len() > SHOWN_KEYS { ", …" } else { "" };
                let on_offer = keys.iter().take(SHOWN_KEYS).map(|key| shown(key, SHOWN_TEXT_CHARS));
                let on_offer = on_offer.collect::<Vec<_>>().join(", ") + more;
                Self::failed(&match &self.url_key {
                    Some(named) => {
                        format!(
                            "locate at {at} has no URL key {} for {}; it has {on_offer}",
                            quoted(named),
                            self.service
                        )
                    }
                    None => format!(
                        "locate at {at} has several URL keys for {}; name one with -service-url-key-name: {on_offer}",
                        self.service
                    ),
                })
            })?
            .to_owned();
        let url = urls.remove(&key).unwrap_or_default();
        let hostname = usable_host(&url).map_err(|why| {
            let key = shown(&key, SHOWN_TEXT_CHARS);
            Self::failed(&format!(
                "locate at {at} gave no usable URL under the key {key} for {}: {why}; the command was not run",
                self.service
            ))
        })?;
        Ok(Granted { url: SecretString::from(url), hostname, keys, key })
    }

    /// An error object of Locate's, with its likely cause.
    fn explain_error(&self, error: &LocateError, answer: &Answer, key: &PrivateKey) -> String {
        let status = answer.status;
        let said = [error.kind.as_str(), error.title.as_str(), error.detail.as_deref().unwrap_or_default()]
            .into_iter()
            .filter(|text| !text.is_empty())
            .map(|text| shown(text, SHOWN_TEXT_CHARS))
            .collect::<Vec<_>>()
            .join(": ");
        let comma = if said.is_empty() { "" } else { ", " };
        let said = format!("(HTTP {status}{comma}{said})");
        let at = origin(&self.prefix);
        match error.kind.as_str() {
            "claim" => format!(
                "locate at {at} does not enforce tokens for the service {}, so it cannot monitor it {said}; is -service right?",
                self.service
            ),
            "subject" => format!(
                "locate at {at} cannot parse the machine name {} {said}; set -machine to an M-Lab host name",
                quoted(&self.machine)
            ),
            "config" => {
                format!("locate at {at} does not know the service {} {said}; set -service", self.service)
            }
            _ if status == 401 => self.explain_unauthorized(answer, key, &said),
            _ => {
                let advice = if status < 300 { "" } else { advice(status) };
                format!("locate at {at} answered with an error {said}{advice}")
            }
        }
    }

    fn explain_unauthorized(&self, answer: &Answer, key: &PrivateKey, said: &str) -> String {
        let clock = match answer.clock_offset_seconds {
            Some(offset) if offset.abs() >= NOTABLE_CLOCK_OFFSET_SECONDS => {
                let by = duration::show(Duration::from_secs(offset.unsigned_abs()));
                match offset {
                    0.. => format!("; local clock is {by} ahead of the server"),
                    _ if offset.unsigned_abs() < FATAL_CLOCK_OFFSET_SECONDS => {
                        format!("; local clock is {by} behind the server")
                    }
                    _ => format!(
                        "; local clock is {by} behind the server, so the token had expired when it arrived: set the clock"
                    ),
                }
            }
            _ => String::new(),
        };
        let algorithm = if key.algorithm.is_known_to_locate() {
            String::new()
        } else {
            format!("; Locate does not take {} keys", key.algorithm.name())
        };
        let unknown = if key.key_id.is_empty() {
            "the key has no key id (kid), by which it would be found there".to_owned()
        } else {
            format!("key id {} may not be registered there", quoted(&key.key_id))
        };
        format!("locate rejected the token {said}: {unknown}{algorithm}{clock} ({})", origin(&self.prefix))
    }

    /// A status that says no, without an error object.
    fn explain_status(
        &self,
        answer: &Answer,
        result: Option<&MonitoringResult>,
        key: &PrivateKey,
        client: &Client,
    ) -> String {
        let (status, at) = (answer.status, format!("{}{}", origin(&self.prefix), client.via()));
        let said = match result.and_then(|result| result.message.as_deref()) {
            Some(message) => format!("(HTTP {status}, {})", shown(message, SHOWN_TEXT_CHARS)),
            None if answer.body.is_empty() => format!("(HTTP {status})"),
            None => format!("(HTTP {status}, {})", first_words(&answer.body)),
        };
        match status {
            401 => self.explain_unauthorized(answer, key, &said),
            403 => format!("{at} forbids the request {said}{}", advice(status)),
            404 => format!("{at} has nothing at {} {said}{}", self.path(), advice(status)),
            407 => format!(
                "the proxy{} wants authentication {said}; put USER:PASSWORD@ into the proxy variable",
                client.proxy.as_ref().map(|p| format!(" {}", redact_url(p))).unwrap_or_default()
            ),
            429 => format!("{at} limits our rate {said}{}", advice(status)),
            300..=399 => {
                let to = match answer.header(reqwest::header::LOCATION) {
                    Some(to) => format!("to {:?}, which is no URL", shown(to, SHOWN_BODY_CHARS)),
                    None => "without saying where to".to_owned(),
                };
                format!("{at} redirects {to} {said}{}", advice(status))
            }
            500.. => format!("{at} has trouble of its own {said}{}", advice(status)),
            _ => format!("{at} refused the request {said}{}", advice(status)),
        }
    }

    /// The path that is asked for.
    fn path(&self) -> String {
        shown(&format!("{}/{}", self.prefix.path().trim_end_matches('/'), self.service), SHOWN_TEXT_CHARS)
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

/// What to do about a status that says no, as a further clause.
fn advice(status: u16) -> &'static str {
    match status {
        403 => "; is -locate-url the platform's path, and is this address allowed there?",
        429 => "; probe less often, or spread the probes",
        500.. => "; if it lasts, tell its operators",
        _ => "; is -locate-url right?",
    }
}

fn access_token(url: &str) -> Option<SecretString> {
    let url = Url::parse(url).ok()?;
    let (_, token) = url.query_pairs().find(|(name, _)| name == "access_token")?;
    Some(SecretString::from(token.into_owned()))
}

/// The key to take: the one that was named; else the original's default; else ndt7's; else the only one.
pub fn choose_key<'a>(keys: &'a [String], named: Option<&str>, service: &str) -> Option<&'a str> {
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

/// The host of a service URL that can be handed to a command.
fn usable_host(url: &str) -> Result<String, String> {
    if url.is_empty() {
        return Err("it is empty".to_owned());
    }
    if url.len() > MAX_SERVICE_URL_BYTES {
        return Err(format!("it has {} bytes", url.len()));
    }
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("it holds blanks or control characters".to_owned());
    }
    // By the rules of browsers `wss:///ndt/v7` has the host `ndt`; no client of ours reads it so.
    if url
        .split_once("://")
        .is_none_or(|(_, rest)| rest.is_empty() || rest.starts_with(['/', '\\', '?', '#']))
    {
        return Err("it names no host".to_owned());
    }
    let parsed = Url::parse(url).map_err(|error| format!("it is none ({error})"))?;
    if !matches!(parsed.scheme(), "ws" | "wss" | "http" | "https") {
        return Err(format!("its scheme is {}, not ws, wss, http or https", parsed.scheme()));
    }
    let sound = |label: &str| {
        label.bytes().any(|b| b.is_ascii_alphanumeric())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    match parsed.host_str() {
        Some(host) if host.starts_with('[') || host.trim_end_matches('.').split('.').all(sound) => {
            Ok(host.to_owned())
        }
        _ => Err("it names no host".to_owned()),
    }
}

/// Foreign text as it may be shown: on one line, without tokens, and no longer than `max_chars`.
fn shown(text: &str, max_chars: usize) -> String {
    // Tokens first: half a token would not be known for one.
    let text = redact_text(text);
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(max_chars) {
        words.truncate(end);
        words.push('…');
    }
    printable(&words)
}

/// A name that the user gave, in quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", shown(name, SHOWN_NAME_CHARS))
}

/// The beginning of a body that is no JSON, in quotes.
fn first_words(body: &[u8]) -> String {
    format!("\"{}\"", shown(&String::from_utf8_lossy(body), SHOWN_BODY_CHARS))
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
