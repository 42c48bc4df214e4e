//! The client: one [`Request`] at a time, and what is known of the last one.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, USER_AGENT,
};
use reqwest::{Method, Url};
use tokio::time::timeout;
use tower::util::MapFutureLayer;

use super::answer::{Answer, MAX_ANSWER_BYTES, Unreadable, clock_offset_seconds, is_usable, read_body};
use super::attempt::{Attempt, PRODUCT, Phase, Progress};
use super::connection::{Redirects, watched};
use super::explain::{
    Circumstances, TransportError, is_head_too_large, is_without_credentials, named_status, origin, via,
};
use super::proxy::{Proxy, authorization};
use super::resolve::{Resolver, interface_name};
use super::second_look::literal_address;
use super::tls::{Verifier, client_config};
use super::{LoadedHttp, plain_http_host};
use crate::failure::Reason;

/// How long to wait for the body of an error: the status says the most, and must not get lost.
const ERROR_BODY_PATIENCE: Duration = Duration::from_secs(2);
/// How long the first address of a host may take to accept a connection before the request begins again with the next
/// one, once for each address. The HTTP library gives a dead one an equal part of the whole time.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(1);
/// How many headers the HTTP library accepts in a response. Go has no such limit.
const USUAL_MAX_HEADERS: usize = 100;
/// The limit for headers when the usual one is too low. It is not the default, because room for that many headers costs
/// time in each response.
const MAX_HEADERS: usize = 2048;

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
    library: RefCell<reqwest::Client>,
    setup: Setup,
    clock_offset_seconds: Cell<Option<i64>>,
    blames_proxy: Cell<bool>,
    left_machine: Cell<bool>,
}

/// The library's client is made of this.
struct Setup {
    progress: Arc<Progress>,
    verifier: Arc<Verifier>,
    proxy: Option<Proxy>,
    redirects: Redirects,
    interface: Option<String>,
    connect_within: Duration,
    sends_socks_credentials: Cell<bool>,
    max_headers: Cell<usize>,
}

impl Setup {
    fn library(&self) -> Result<reqwest::Client, TransportError> {
        let progress = Arc::clone(&self.progress);
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(PRODUCT));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(client_config(&self.verifier, &self.progress))
            .default_headers(headers)
            .user_agent(PRODUCT) // for the request to a proxy
            .http1_only()
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            // Go accepts a name with a space in it.
            .http1_ignore_invalid_headers_in_responses(true)
            .pool_max_idle_per_host(0)
            .connect_timeout(self.connect_within)
            .referer(false)
            .redirect(self.redirects.policy())
            .connector_layer(MapFutureLayer::new(move |it| watched(it, Arc::clone(&progress))))
            .dns_resolver(Arc::new(Resolver(Arc::clone(&self.progress))))
            .no_proxy();
        if let Some(proxy) = &self.proxy {
            let url = proxy.for_library(self.sends_socks_credentials.get());
            let invalid = |_| format!("{} is not a valid proxy URL", proxy.variable);
            let mut through = reqwest::Proxy::all(url).map_err(invalid).map_err(invalid_proxy)?;
            if let Some(authorization) = proxy.authorization() {
                through = through.custom_http_auth(authorization);
            }
            builder = builder.proxy(through);
        }
        if self.max_headers.get() != USUAL_MAX_HEADERS {
            builder = builder.http1_max_headers(self.max_headers.get());
        }
        if let Some(interface) = &self.interface {
            builder = builder.interface(interface);
        }
        let failed = |_| "the HTTP client cannot be set up".to_owned();
        builder.build().map_err(failed).map_err(|why| TransportError::unsent(Reason::System, why, false))
    }

    /// Another client, if a repeatable request that failed with `error` may succeed with it: the HTTP library offers a
    /// SOCKS proxy only one method, and accepts few headers by default.
    fn other_library(&self, error: &reqwest::Error, is_repeatable: bool) -> Option<reqwest::Client> {
        if self.sends_socks_credentials.get() && is_without_credentials(error) {
            self.sends_socks_credentials.set(false);
        } else if is_repeatable && self.max_headers.get() == USUAL_MAX_HEADERS && is_head_too_large(error) {
            self.max_headers.set(MAX_HEADERS);
        } else {
            return None;
        }
        self.library().ok()
    }
}

fn invalid_proxy(why: String) -> TransportError {
    TransportError::unsent(Reason::ProxyInvalid, why, false)
}

impl Client {
    pub fn new(config: &LoadedHttp, url: &Url, redirects: Redirects) -> Result<Client, TransportError> {
        let proxy = config.proxies.proxy_for(url).map_err(invalid_proxy)?;
        let proxy_speaks_tls = proxy.as_ref().is_some_and(|proxy| proxy.url.scheme() == "https");
        let setup = Setup {
            progress: Arc::new(Progress { proxy_speaks_tls, ..Progress::default() }),
            verifier: Arc::new(Verifier::new(config.trust.clone())),
            sends_socks_credentials: Cell::new(proxy.as_ref().is_some_and(Proxy::has_socks_credentials)),
            max_headers: Cell::new(USUAL_MAX_HEADERS),
            proxy,
            redirects,
            interface: config.interface.as_deref().map(interface_name),
            connect_within: config.connect_within,
        };
        let client = Client {
            library: RefCell::new(setup.library()?),
            setup,
            clock_offset_seconds: Cell::new(None),
            blames_proxy: Cell::new(false),
            left_machine: Cell::new(false),
        };
        client.begin(url);
        Ok(client)
    }

    fn begin(&self, url: &Url) {
        let hop = self.proxy().map_or(url, |proxy| &proxy.url);
        // An address needs no lookup.
        let phase = if literal_address(hop).is_some() { Phase::Connect } else { Phase::Lookup };
        self.setup.progress.begin(phase, Vec::new());
    }

    pub fn attempt(&self) -> Attempt {
        self.setup.progress.note(|attempt| attempt.clone())
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
        self.setup.proxy.as_ref()
    }

    pub fn via(&self) -> String {
        via(self.proxy())
    }

    /// The current step with the server of `url`, such as `connecting to https://h`, with the status of the response if
    /// its body is being read.
    pub fn doing(&self, url: &Url) -> String {
        let Attempt { phase, status, .. } = self.attempt();
        let (origin, at) = (origin(url), origin(url) + &self.via());
        let proxy = self.proxy().map(|proxy| format!("the proxy {} for ", proxy.shown())).unwrap_or_default();
        let status = status.map(|status| format!(" ({})", named_status(status))).unwrap_or_default();
        match phase {
            Phase::Lookup => format!("resolving the host name of {proxy}{origin}"),
            Phase::Connect => format!("connecting to {at}"),
            Phase::ProxyHandshake => format!("in the TLS handshake with {proxy}{origin}"),
            Phase::Handshake => format!("in the TLS handshake with {at}"),
            Phase::Answer => format!("waiting for {at} to respond"),
            Phase::Body => format!("reading the response of {at}{status}"),
        }
    }

    /// As [`Client::doing`], with advice for a request that stops there.
    pub fn stuck(&self, url: &Url) -> String {
        let advice = match (self.attempt().phase, self.proxy()) {
            (Phase::Connect, Some(_)) => "check that the proxy is up and can reach the server",
            (phase, _) => phase.advice(),
        };
        format!("{}: {advice}", self.doing(url))
    }

    /// The host that got a token over plain HTTP, unless it is this machine. A name such as `x.localhost` may belong
    /// to another machine, which only a connection shows.
    pub fn plain_http_host(&self, url: &Url) -> Option<String> {
        if !self.attempt().has_sent {
            return None;
        }
        let left = || (url.scheme() == "http" && self.left_machine.get()).then(|| url.host_str()).flatten();
        plain_http_host(url).or_else(|| left().map(str::to_owned))
    }

    /// The certificate of the last TLS handshake, of the proxy or of the server, if it was trusted.
    pub fn trusted_certificate(&self) -> Option<Vec<u8>> {
        self.setup.verifier.trusted()
    }

    /// Sends a request, and reads the response. Dropped, it stops at once.
    pub async fn send(&self, request: &Request<'_>) -> Result<Answer, TransportError> {
        self.blames_proxy.set(false);
        let result = self.exchange(request).await;
        self.blames_proxy.set(match &result {
            Ok(answer) => answer.status == 407 && self.proxy().is_some(),
            Err(error) => error.blames_proxy,
        });
        result
    }

    async fn exchange(&self, request: &Request<'_>) -> Result<Answer, TransportError> {
        let mut response = self.respond(request).await?;
        let received = SystemTime::now();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let peer = response.remote_addr();
        self.setup.progress.note(|attempt| {
            attempt.phase = Phase::Body;
            attempt.status = Some(status);
            attempt.peer = peer;
        });
        let is_remote = peer.is_some_and(|peer| !peer.ip().to_canonical().is_loopback());
        if self.proxy().is_some() || is_remote {
            self.left_machine.set(true);
        }
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let clock_offset_seconds = date.and_then(|date| clock_offset_seconds(date, received));
        self.clock_offset_seconds.set(clock_offset_seconds.or(self.clock_offset_seconds.get()));
        let mut body = Vec::new();
        let end = read_body(&mut body, &mut response, request.max_answer_bytes);
        if (200..300).contains(&status) {
            match end.await {
                Ok(()) => {}
                Err(Unreadable::Refused(why)) => return Err(TransportError::answer(&request.url, &why)),
                Err(Unreadable::Broken(error)) => return Err(self.explain(&error, &request.url).await),
            }
        } else {
            // The status and the part of the body that arrived say more than an error in the rest.
            let _ = timeout(ERROR_BODY_PATIENCE, end).await;
        }
        Ok(Answer { status, headers, body, clock_offset_seconds })
    }

    async fn respond(&self, request: &Request<'_>) -> Result<reqwest::Response, TransportError> {
        let Request { method, url, headers, json, .. } = request;
        // The library would leave out a password that is not UTF-8.
        let with_header = authorization(url).map(|authorization| {
            let (mut headers, mut url) = (headers.clone(), url.clone());
            let _ = url.set_username("");
            let _ = url.set_password(None);
            headers.entry(AUTHORIZATION).or_insert(authorization);
            (headers, url)
        });
        let (headers, target) = with_header.as_ref().map_or((headers, url), |(headers, url)| (headers, url));
        let mut rounds = 0;
        loop {
            self.begin(url);
            let library = self.library.borrow().clone();
            let mut builder = library.request(method.clone(), target.clone()).headers(headers.clone());
            if let Some(json) = json {
                builder = builder.header(CONTENT_TYPE, "application/json").body(json.to_vec());
            }
            let mut sending = pin!(builder.send());
            let error = loop {
                match timeout(ADDRESS_PATIENCE / 4, &mut sending).await {
                    Ok(Ok(response)) => return Ok(response),
                    Ok(Err(error)) => break Some(error),
                    Err(_) if self.setup.progress.begins_elsewhere(ADDRESS_PATIENCE, rounds) => break None,
                    Err(_) => {}
                }
            };
            let Some(error) = error else {
                rounds += 1;
                continue;
            };
            match self.setup.other_library(&error, *method == Method::GET) {
                Some(other) => self.library.replace(other),
                None => return Err(self.explain(&error, url).await),
            };
        }
    }

    async fn explain(&self, error: &reqwest::Error, url: &Url) -> TransportError {
        let circumstances = Circumstances {
            url,
            proxy: self.proxy(),
            attempt: self.attempt(),
            max_headers: self.setup.max_headers.get(),
            // With a progress of its own: a second look must not change how far the attempt came.
            tls: client_config(&self.setup.verifier, &Arc::default()),
        };
        circumstances.explain(error).await
    }
}
