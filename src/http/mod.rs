//! The only HTTP client. It handles limits, phases and causes, and knows nothing about the services.
//!
//! One request for each connection; no cookies, no decompression, no redirect to another origin (the token must not be
//! sent there). The caller limits the time by dropping the request; [`Client::phase`] then says how far it came.

mod answer;
mod attempt;
mod cause;
pub(crate) mod certificate;
mod chain;
mod classify;
mod connection;
pub(crate) mod explain;
mod fitness;
pub mod proxy;
mod redirect;
mod resolve;
pub mod retry;
pub mod roots;
mod second_look;
pub(crate) mod trust;
mod untrusted;

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{DATE, HeaderMap};
use reqwest::{Method, Url};

pub use answer::{Answer, MAX_ANSWER_BYTES, clock_offset_seconds};
use answer::{Unreadable, read_body};
pub use attempt::{Attempt, Phase, Progress};
use cause::{Cause, Circumstances};
use connection::Connections;
use explain::TransportError;
use proxy::{Proxy, ProxyRules};
pub use redirect::Redirects;
pub(crate) use resolve::look_up;
use trust::{LoadedTrust, TrustStore, Verifier};

use crate::failure::Failure;
use crate::go::proxy::is_loopback;
use crate::read::Until;
use crate::secret::quoted;

/// How long to wait for the body of an error: the status says the most, and must not get lost.
const ERROR_BODY_PATIENCE: Duration = Duration::from_secs(2);
const MAX_ENCODING_CHARS: usize = 64;

/// True if the clock of a server with this offset may set the expiry of a token. With more than a day, a forged `Date`
/// could make a token last for years.
pub(crate) fn is_usable(clock_offset_seconds: i64) -> bool {
    clock_offset_seconds.unsigned_abs() <= 24 * 60 * 60
}

#[derive(Clone, Default)]
pub struct HttpConfig<Trust = TrustStore> {
    pub trust: Trust,
    pub proxies: ProxyRules,
    pub retries: u32,
    /// The network interface of an IPv6 address with a zone.
    pub interface: Option<String>,
    /// The time limit for connecting, shared by all addresses of a host so that a dead one does not use all of it. Set by
    /// [`HttpConfig::load`].
    pub connect_within: Duration,
}

/// The same, once `-ca-file` has been read: what a [`Client`] is made of.
pub type LoadedHttp = HttpConfig<LoadedTrust>;

impl HttpConfig {
    /// Reads `-ca-file`, which may be a pipe. An invalid file is always an error, even if it would not be needed.
    pub fn load(self, until: &Until<'_>) -> Result<LoadedHttp, Failure> {
        let HttpConfig { trust, proxies, retries, interface, .. } = self;
        let trust = trust.load(until)?;
        // The event that ends the run is a better message than this time limit, which is reached a little later.
        let connect_within =
            until.deadline.saturating_duration_since(Instant::now()) + Duration::from_secs(1);
        Ok(HttpConfig { trust, proxies, retries, interface, connect_within })
    }
}

#[derive(Clone)]
pub struct Request<'a> {
    pub method: Method,
    /// The complete URL; its query may hold a token.
    pub url: Url,
    /// Additional headers. Secret values must be marked as sensitive.
    pub headers: HeaderMap,
    pub json: Option<&'a [u8]>,
    pub max_answer_bytes: usize,
}

impl Request<'_> {
    pub fn get(url: Url) -> Request<'static> {
        Request {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            json: None,
            max_answer_bytes: MAX_ANSWER_BYTES,
        }
    }
}

pub struct Client {
    inner: RefCell<reqwest::Client>,
    connections: Connections,
    clock_offset_seconds: Cell<Option<i64>>,
    blames_proxy: Cell<bool>,
    left_machine: Cell<bool>,
}

impl Client {
    pub fn new(config: &LoadedHttp, url: &Url, redirects: Redirects) -> Result<Client, TransportError> {
        let connections = Connections::new(config, url, redirects)?;
        Ok(Client {
            inner: RefCell::new(connections.client()?),
            connections,
            clock_offset_seconds: Cell::new(None),
            blames_proxy: Cell::new(false),
            left_machine: Cell::new(false),
        })
    }

    pub fn phase(&self) -> Phase {
        self.connections.progress.phase()
    }

    pub fn advice(&self) -> &'static str {
        match (self.phase(), self.proxy()) {
            (Phase::Connect, Some(_)) => "check that the proxy is up and can reach the server",
            (phase, _) => phase.advice(),
        }
    }

    pub fn attempt(&self) -> Attempt {
        self.connections.progress.attempt()
    }

    /// True if the last request failed because of the proxy, after it was reached.
    pub fn blames_proxy(&self) -> bool {
        self.blames_proxy.get()
    }

    /// How far the local clock is ahead of the server's, by the last response with a date, whether credible or not.
    pub fn clock_offset_seconds(&self) -> Option<i64> {
        self.clock_offset_seconds.get()
    }

    /// As [`Client::clock_offset_seconds`], if the value may set the expiry of a token.
    pub(crate) fn usable_clock_offset_seconds(&self) -> Option<i64> {
        self.clock_offset_seconds().filter(|offset| is_usable(*offset))
    }

    pub fn proxy(&self) -> Option<&Proxy> {
        self.connections.proxy.as_ref()
    }

    pub fn via(&self) -> String {
        explain::via(self.proxy())
    }

    /// The status of the response whose body is being read, as a clause for messages; empty without one.
    fn status_clause(&self) -> String {
        self.attempt().status.map(|status| format!(", HTTP {}", explain::Status(status))).unwrap_or_default()
    }

    /// The current step with the server of `url`, such as `connecting (https://h)`.
    pub fn doing(&self, url: &Url) -> String {
        format!("{} ({}{}{})", self.phase(), explain::origin(url), self.via(), self.status_clause())
    }

    /// The host that gets a token over plain HTTP, unless it is this machine. A name such as `x.localhost` may belong
    /// to another machine, which only a connection shows.
    pub fn plain_http_host(&self, url: &Url) -> Option<String> {
        let left = || (url.scheme() == "http" && self.left_machine.get()).then(|| url.host_str()).flatten();
        plain_http_host(url).or_else(|| left().map(str::to_owned))
    }

    pub fn verifier(&self) -> &Verifier {
        &self.connections.verifier
    }

    pub async fn send(&self, request: Request<'_>) -> Result<Answer, TransportError> {
        self.blames_proxy.set(false);
        let url = request.url.clone();
        let max_bytes = request.max_answer_bytes;
        let mut response = self.respond(request).await.map_err(|cause| self.explain(&cause, &url))?;
        let received = SystemTime::now();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        self.connections.progress.note(|attempt| {
            attempt.phase = Phase::Body;
            attempt.status = Some(status);
            attempt.peer = response.remote_addr();
        });
        self.note_peer();
        self.blames_proxy.set(status == 407 && self.proxy().is_some());
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let clock_offset_seconds = date.and_then(|date| clock_offset_seconds(date, received));
        self.clock_offset_seconds.set(clock_offset_seconds.or(self.clock_offset_seconds.get()));
        let is_error = !(200..300).contains(&status);
        let patience = is_error.then_some(ERROR_BODY_PATIENCE);
        let body = match read_body(&mut response, &headers, max_bytes, patience).await {
            Ok(body) => body,
            // The status and the part of the body that arrived say more than the error in the rest.
            Err((body, _)) if is_error => body,
            Err((_, Unreadable::Compressed(encoding))) => {
                let encoding = quoted(encoding.as_bytes(), MAX_ENCODING_CHARS);
                let message = format!("responded with Content-Encoding {encoding}, which was not requested");
                return Err(TransportError::answer(&url, &message));
            }
            Err((_, Unreadable::TooLarge)) => {
                let limit = max_bytes / 1024;
                let message =
                    format!("returned a response larger than {limit} KiB (HTTP {status}); check the URL");
                return Err(TransportError::answer(&url, &message));
            }
            Err((_, Unreadable::Broken(error))) => {
                return Err(self.explain(&self.connections.classify(&error), &url));
            }
        };
        Ok(Answer { status, headers, body, clock_offset_seconds })
    }

    async fn respond(&self, request: Request<'_>) -> Result<reqwest::Response, Cause> {
        let url = request.url.clone();
        let is_repeatable = request.method == Method::GET;
        loop {
            let cause = match self.try_once(request.clone()).await {
                Ok(response) => return Ok(response),
                Err(cause) => cause,
            };
            match self.connections.other_client(&cause, is_repeatable) {
                Some(other) => self.inner.replace(other),
                None => return Err(self.connections.look_again(cause, &url).await),
            };
        }
    }

    async fn try_once(&self, request: Request<'_>) -> Result<reqwest::Response, Cause> {
        let Request { method, url, headers, json, .. } = request;
        self.connections.begin(&url);
        let mut builder = self.inner.borrow().request(method, url).headers(headers);
        if let Some(json) = json {
            builder = builder.header(reqwest::header::CONTENT_TYPE, "application/json").body(json.to_vec());
        }
        let result = builder.send().await;
        result.map_err(|error| self.connections.classify(&error))
    }

    fn note_peer(&self) {
        let peer = self.attempt().peer.map(|peer| peer.ip().to_canonical());
        if self.proxy().is_some() || peer.is_some_and(|address| !address.is_loopback()) {
            self.left_machine.set(true);
        }
    }

    fn explain(&self, cause: &Cause, url: &Url) -> TransportError {
        self.blames_proxy.set(cause.is_of_proxy());
        let verifier = self.verifier();
        let circumstances = Circumstances {
            url,
            proxy: self.proxy(),
            attempt: self.attempt(),
            seen: verifier.seen(),
            places: &verifier.trust.places,
        };
        circumstances.explain(cause)
    }
}

/// The host that gets a token over plain HTTP, unless it is this machine. Names below `localhost` should be, too (RFC
/// 6761, 6.3); the connection shows whether they are.
pub(crate) fn plain_http_host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let below_localhost = host.ends_with(".localhost");
    (url.scheme() == "http" && !is_loopback(url) && !below_localhost).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::plain_http_host;

    #[test]
    fn only_unencrypted_connections_to_other_machines_count() {
        for (url, expected) in [
            ("http://a.example/", Some("a.example")),
            ("http://10.0.0.1:8080/", Some("10.0.0.1")),
            ("http://[2001:db8::1]/", Some("[2001:db8::1]")),
            ("http://notlocalhost/", Some("notlocalhost")),
            ("https://a.example/", None),
            ("http://LOCALHOST:1/", None),
            ("http://localhost./", None),
            ("http://sandbox.localhost/", None),
            ("http://127.0.0.9/", None),
            ("http://[::1]/", None),
            ("http://[::ffff:127.0.0.1]/", None),
        ] {
            assert_eq!(plain_http_host(&url.parse().unwrap()).as_deref(), expected, "{url}");
        }
    }
}
