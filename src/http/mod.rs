//! The only HTTP client. It knows limits, steps and causes, and nothing of what the services mean.
//!
//! One request a connection; no cookies, no decompression, no redirect to another origin (the token
//! must not travel there). Time is bounded by the caller, who drops the request; [`Client::step`] then
//! tells how far it came.

mod answer;
pub(crate) mod certificate;
mod chain;
pub mod explain;
mod loopback;
mod progress;
pub mod proxy;
mod redirect;
mod resolve;
pub mod retry;
pub mod roots;
pub mod trust;
mod untrusted;

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{ACCEPT, CONNECTION, DATE, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::{Method, Url};

pub use answer::{Answer, MAX_ANSWER_BYTES, clock_offset_seconds};
use answer::{Unreadable, read_body};
use explain::TransportError;
pub(crate) use loopback::plain_http_host;
use progress::WhenConnected;
pub use progress::{Progress, Step};
use proxy::ProxyRules;
pub use redirect::Redirects;
use resolve::Resolver;
pub(crate) use resolve::look_up;
use trust::{LoadedTrust, TrustStore, Verifier};

use crate::error::Failure;
use crate::read::Until;
use crate::secret::{quoted, redact_url};

/// How much of a content-encoding is shown.
const MAX_ENCODING_CHARS: usize = 64;

/// How connections are made; from flags and environment.
#[derive(Clone, Default)]
pub struct HttpConfig {
    /// Whom we trust.
    pub trust: TrustStore,
    /// Which proxy leads where.
    pub proxies: ProxyRules,
    /// Further tries after the first.
    pub retries: u32,
}

/// The same, once `-ca-file` has been read: what a [`Client`] is made of.
#[derive(Clone, Default)]
pub struct LoadedHttp {
    /// Whom we trust.
    pub trust: LoadedTrust,
    /// Which proxy leads where.
    pub proxies: ProxyRules,
    /// Further tries after the first.
    pub retries: u32,
    /// The time that the addresses of a host share, so that one that is dead does not take all of it.
    pub connect_within: Duration,
}

impl HttpConfig {
    /// Reads `-ca-file`, which may be a pipe, so that a wrong one is an error also where it would not have
    /// been needed.
    pub fn load(self, until: &Until<'_>) -> Result<LoadedHttp, Failure> {
        let HttpConfig { trust, proxies, retries } = self;
        let trust = trust.load(until)?;
        // What ends the run says more than the end of this time, which comes a little later.
        let connect_within =
            until.deadline.saturating_duration_since(Instant::now()) + Duration::from_secs(1);
        Ok(LoadedHttp { trust, proxies, retries, connect_within })
    }
}

/// A request to make.
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The whole URL; its query may hold a token.
    pub url: Url,
    /// Headers beyond the usual; values that are secrets must be marked sensitive.
    pub headers: HeaderMap,
    /// A JSON body.
    pub json: Option<&'a [u8]>,
    /// The most that is read of the answer's body.
    pub max_answer_bytes: usize,
}

impl Request<'_> {
    /// A GET without further headers.
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

/// A client for one origin.
pub struct Client {
    inner: reqwest::Client,
    progress: Arc<Progress>,
    verifier: Arc<Verifier>,
    clock_offset_seconds: Cell<Option<i64>>,
    /// The proxy in use, for messages.
    pub proxy: Option<Url>,
}

impl Client {
    /// A client that can reach `url`'s origin.
    pub fn new(config: &LoadedHttp, url: &Url, redirects: Redirects) -> Result<Client, TransportError> {
        let progress = Arc::new(Progress::default());
        let verifier = Arc::new(Verifier::new(config.trust.clone()));
        let tls = trust::client_config(Arc::clone(&verifier), Arc::clone(&progress));
        let proxy = config.proxies.proxy_for(url).map_err(TransportError::setup)?;
        let mut headers = HeaderMap::new();
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("monitoring-token/", env!("CARGO_PKG_VERSION"))),
        );
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .default_headers(headers)
            .http1_only()
            .pool_max_idle_per_host(0)
            .connect_timeout(config.connect_within)
            .referer(false)
            .redirect(redirects.policy())
            .connector_layer(WhenConnected(Arc::clone(&progress)))
            .dns_resolver(Arc::new(Resolver::new(Arc::clone(&progress))))
            .no_proxy();
        // An address needs no look-up.
        if proxy.as_ref().unwrap_or(url).domain().is_none() {
            progress.reach(Step::Connect);
        }
        let builder = match proxy.clone() {
            Some(mut proxy) => {
                // As in Go, the proxy looks the name up, with both schemes.
                if proxy.scheme() == "socks5" {
                    let _ = proxy.set_scheme("socks5h");
                }
                let proxy = reqwest::Proxy::all(proxy);
                builder.proxy(proxy.map_err(|error| TransportError::setup(error.to_string()))?)
            }
            None => builder,
        };
        let inner = builder.build().map_err(|error| TransportError::explain(&error, url, None))?;
        Ok(Client { inner, progress, verifier, clock_offset_seconds: Cell::new(None), proxy })
    }

    /// How far the current request has come.
    pub fn step(&self) -> Step {
        self.progress.step()
    }

    /// How far our clock is ahead of the server's, by its last answer that tells, whatever that says.
    pub fn clock_offset_seconds(&self) -> Option<i64> {
        self.clock_offset_seconds.get()
    }

    /// The proxy in between, as a clause for messages; empty without one.
    pub fn via(&self) -> String {
        self.proxy
            .as_ref()
            .map(|proxy| format!(" through the proxy {}", redact_url(proxy)))
            .unwrap_or_default()
    }

    /// Whether the current TLS handshake, or the last one, is with the proxy and not with the server behind it.
    pub fn is_handshake_with_proxy(&self) -> bool {
        self.progress.handshakes() == 1 && self.proxy.as_ref().is_some_and(|proxy| proxy.scheme() == "https")
    }

    /// What TLS has seen of the server's certificates.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Makes the request and reads the whole answer.
    pub async fn send(&self, request: Request<'_>) -> Result<Answer, TransportError> {
        let Request { method, url, headers, json, max_answer_bytes } = request;
        let explain = |error: &reqwest::Error| TransportError::explain(error, &url, Some(self));
        self.progress.reach(Step::Connect);
        let mut builder = self.inner.request(method, url.clone()).headers(headers);
        if let Some(json) = json {
            builder = builder.header(reqwest::header::CONTENT_TYPE, "application/json").body(json.to_vec());
        }
        let mut response = builder.send().await.map_err(|error| explain(&error))?;
        let received = SystemTime::now();
        self.progress.reach(Step::Body);
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        let clock_offset_seconds = date.and_then(|date| clock_offset_seconds(date, received));
        self.clock_offset_seconds.set(clock_offset_seconds.or(self.clock_offset_seconds.get()));
        let head = (response.status().as_u16(), response.headers().clone());
        let body = match read_body(&mut response, &head.1, max_answer_bytes).await {
            Ok(body) => body,
            // The status and what is there of the body say more than what went wrong with the rest.
            Err((body, _)) if !(200..300).contains(&head.0) => body,
            Err((_, Unreadable::Compressed(encoding))) => {
                let encoding = quoted(encoding.as_bytes(), MAX_ENCODING_CHARS);
                let message = format!("answered with content-encoding {encoding}, which was not asked for");
                return Err(TransportError::answer(&url, &message));
            }
            Err((_, Unreadable::TooLarge)) => {
                let message =
                    format!("answered HTTP {} with more than {} KiB", head.0, max_answer_bytes / 1024);
                return Err(TransportError::answer(&url, &message));
            }
            Err((_, Unreadable::Broken(error))) => return Err(explain(&error)),
        };
        Ok(Answer { status: head.0, headers: head.1, body, clock_offset_seconds })
    }
}
