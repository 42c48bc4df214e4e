//! The only HTTP client. It knows limits, steps and causes, and nothing of what the services mean.
//!
//! One request a connection; no cookies, no decompression, no redirect to another origin (the token
//! must not travel there). Time is bounded by the caller, who drops the request; [`Client::step`] then
//! tells how far it came.

pub mod explain;
mod progress;
pub mod proxy;
pub mod retry;
pub mod roots;
pub mod trust;

use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT, CONNECTION, CONTENT_ENCODING, DATE, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::{Method, Url, redirect};

use explain::TransportError;
use progress::WhenConnected;
pub use progress::{Progress, Step};
use proxy::ProxyRules;
use trust::{LoadedTrust, TrustStore, Verifier};

use crate::error::Failure;
use crate::read::Until;
use crate::secret::redact_url;

/// The most that is read of an answer.
pub const MAX_ANSWER_BYTES: usize = 512 * 1024;
/// How many redirects are followed, on the same origin.
const MAX_REDIRECTS: usize = 3;

/// How connections are made; from flags and environment.
#[derive(Clone, Default)]
pub struct HttpConfig<Trust = TrustStore> {
    /// Whom we trust.
    pub trust: Trust,
    /// Which proxy leads where.
    pub proxies: ProxyRules,
    /// Further tries after the first.
    pub retries: u32,
}

/// The same, once `-ca-file` has been read: what a [`Client`] is made of.
pub type LoadedHttp = HttpConfig<LoadedTrust>;

impl HttpConfig {
    /// Reads `-ca-file`, which may be a pipe, so that a wrong one is an error also where it would not have
    /// been needed.
    pub fn load(self, until: &Until<'_>) -> Result<LoadedHttp, Failure> {
        let HttpConfig { trust, proxies, retries } = self;
        Ok(HttpConfig { trust: trust.load(until)?, proxies, retries })
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
}

impl Request<'_> {
    /// A GET without further headers.
    pub fn get(url: Url) -> Request<'static> {
        Request { method: Method::GET, url, headers: HeaderMap::new(), json: None }
    }
}

/// An answer, read whole. It may hold a token, so that it has no `Debug`.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, at most [`MAX_ANSWER_BYTES`].
    pub body: Vec<u8>,
    /// How far our clock is ahead of the server's (negative: behind), in seconds, by its `Date`.
    pub clock_offset_seconds: Option<i64>,
}

impl Answer {
    /// A header as text.
    pub fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
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

/// Whether redirects are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// Up to three, on the same origin.
    SameOrigin,
    /// A redirect is an answer like any other.
    No,
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
            .referer(false)
            .redirect(match redirects {
                Redirects::SameOrigin => redirect::Policy::custom(same_origin),
                Redirects::No => redirect::Policy::none(),
            })
            .connector_layer(WhenConnected(Arc::clone(&progress)))
            .dns_resolver(Arc::new(Resolver { progress: Arc::clone(&progress) }))
            .no_proxy();
        // An address needs no look-up.
        if proxy.as_ref().unwrap_or(url).domain().is_none() {
            progress.reach(Step::Connect);
        }
        let builder = match &proxy {
            Some(proxy) => builder.proxy(
                reqwest::Proxy::all(proxy.clone())
                    .map_err(|error| TransportError::setup(error.to_string()))?,
            ),
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

    /// What TLS has seen of the server's certificates.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Makes the request and reads the whole answer.
    pub async fn send(&self, request: Request<'_>) -> Result<Answer, TransportError> {
        let Request { method, url, headers, json } = request;
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
        let clock_offset_seconds = date.and_then(|date| self::clock_offset_seconds(date, received));
        self.clock_offset_seconds.set(clock_offset_seconds.or(self.clock_offset_seconds.get()));
        let head = (response.status().as_u16(), response.headers().clone());
        let body = match read_body(&mut response, &head.1).await {
            Ok(body) => body,
            // The status and what is there of the body say more than what went wrong with the rest.
            Err((body, _)) if !(200..300).contains(&head.0) => body,
            Err((_, Unreadable::Compressed(encoding))) => {
                let message = format!("answered with content-encoding {encoding:?}, which was not asked for");
                return Err(TransportError::answer(&url, &message));
            }
            Err((_, Unreadable::TooLarge)) => {
                let message =
                    format!("answered HTTP {} with more than {} KiB", head.0, MAX_ANSWER_BYTES / 1024);
                return Err(TransportError::answer(&url, &message));
            }
            Err((_, Unreadable::Broken(error))) => return Err(explain(&error)),
        };
        Ok(Answer { status: head.0, headers: head.1, body, clock_offset_seconds })
    }
}

/// Why a body cannot be used.
enum Unreadable {
    /// It has this content-encoding.
    Compressed(String),
    /// It is larger than [`MAX_ANSWER_BYTES`].
    TooLarge,
    /// It did not arrive whole.
    Broken(reqwest::Error),
}

/// Reads a body to its end; what is there of one that cannot be used comes with the reason.
async fn read_body(
    response: &mut reqwest::Response,
    headers: &HeaderMap,
) -> Result<Vec<u8>, (Vec<u8>, Unreadable)> {
    let encoding = headers.get(CONTENT_ENCODING).map(|encoding| String::from_utf8_lossy(encoding.as_bytes()));
    if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err((Vec::new(), Unreadable::Compressed(encoding.into_owned())));
    }
    let expected = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut body = Vec::with_capacity(expected.min(MAX_ANSWER_BYTES));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_ANSWER_BYTES => {
                return Err((body, Unreadable::TooLarge));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err((body, Unreadable::Broken(error))),
        }
    }
}

/// How far `now` is ahead of an HTTP date, in whole seconds as that date has them.
pub fn clock_offset_seconds(date: &str, now: SystemTime) -> Option<i64> {
    let date = httpdate::parse_http_date(date).ok()?;
    let whole = |duration: Duration| i64::try_from(duration.as_secs()).ok();
    match now.duration_since(date) {
        Ok(ahead) => whole(ahead),
        Err(behind) => whole(behind.duration() + Duration::from_millis(999)).map(|seconds| -seconds),
    }
}

/// Why a redirect was not followed.
#[derive(Debug)]
pub enum RefusedRedirect {
    /// It leads to another origin (shown without query).
    Elsewhere(String),
    /// There were more than [`MAX_REDIRECTS`].
    TooMany,
}

impl fmt::Display for RefusedRedirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RefusedRedirect::Elsewhere(origin) => {
                write!(
                    f,
                    "redirects to {origin}, another origin, where the token must not travel; if it is the right one, use its URL"
                )
            }
            RefusedRedirect::TooMany => write!(f, "redirected more than {MAX_REDIRECTS} times"),
        }
    }
}

impl StdError for RefusedRedirect {}

fn same_origin(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let first = attempt.previous().first().map(Url::origin);
    if first != Some(attempt.url().origin()) {
        let origin = attempt.url().origin().ascii_serialization();
        attempt.error(RefusedRedirect::Elsewhere(origin))
    } else if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error(RefusedRedirect::TooMany)
    } else {
        attempt.follow()
    }
}

/// The system's resolver, with its steps reported.
struct Resolver {
    progress: Arc<Progress>,
}

/// The system's resolver does not know the host.
#[derive(Debug)]
pub struct LookupFailed {
    /// The name that was asked for.
    pub host: String,
    source: io::Error,
}

impl fmt::Display for LookupFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The library's prefix says nothing; what the resolver says comes after it.
        let text = self.source.to_string();
        f.write_str(text.strip_prefix("failed to lookup address information: ").unwrap_or(&text))
    }
}

impl StdError for LookupFailed {}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let progress = Arc::clone(&self.progress);
        Box::pin(async move {
            progress.reach(Step::Lookup);
            let host = name.as_str().to_owned();
            match look_up(host.clone()).await {
                Ok(addresses) => {
                    progress.reach(Step::Connect);
                    Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
                }
                Err(source) => {
                    Err(Box::new(LookupFailed { host, source }) as Box<dyn StdError + Send + Sync>)
                }
            }
        })
    }
}

/// Asks the system's resolver on a thread of its own: it blocks, and one that hangs is left behind.
/// (tokio's threads are no place for it: tokio panics if the system has no room for one.)
pub(crate) async fn look_up(host: String) -> io::Result<Vec<SocketAddr>> {
    let (found, wait) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("lookup".to_owned()).spawn(move || {
        let addresses = (host.as_str(), 0).to_socket_addrs().map(Iterator::collect);
        // Nobody waits any more once the run is over.
        let _ = found.send(addresses);
    })?;
    wait.await.unwrap_or_else(|_| Err(io::Error::other("the look-up gave no answer")))
}
