//! Connections: the parts of the HTTP library that can be replaced or wrapped (resolver, connector and TLS session
//! store), so that they report their progress.

use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{ACCEPT, CONNECTION, HeaderMap, HeaderValue, USER_AGENT};
use rustls::ClientConfig;
use tower_layer::layer_fn;
use tower_service::Service;

use crate::failure::Reason;
use crate::sys::descriptors::bound_receive_buffers;

use super::LoadedHttp;
use super::attempt::{PRODUCT, Phase, Progress};
use super::cause::{Broken, Cause, OTHER_PROTOCOL, SocksRefusal};
use super::explain::{TransportError, USUAL_MAX_HEADERS};
use super::proxy::Proxy;
use super::redirect::Redirects;
use super::resolve::{Resolver, look_up};
use super::second_look::{self, Hop};
use super::trust::{self, Verifier};

pub(super) struct Connections {
    pub progress: Arc<Progress>,
    pub verifier: Arc<Verifier>,
    pub proxy: Option<Proxy>,
    origin: Url,
    redirects: Redirects,
    interface: Option<String>,
    connect_within: Duration,
    sends_socks_credentials: Cell<bool>,
    max_headers: Cell<usize>,
}

/// The limit for headers when the usual one is too low. It is not the default, because room for that many headers costs
/// time in each response.
const MAX_HEADERS: usize = 2048;

impl Connections {
    pub(super) fn new(
        config: &LoadedHttp,
        url: &Url,
        redirects: Redirects,
    ) -> Result<Connections, TransportError> {
        let proxy =
            config.proxies.proxy_for(url).map_err(|why| TransportError::setup(Reason::ProxyInvalid, why))?;
        let proxy_speaks_tls = proxy.as_ref().is_some_and(|proxy| proxy.url.scheme() == "https");
        let connections = Connections {
            progress: Arc::new(Progress { proxy_speaks_tls, ..Progress::default() }),
            verifier: Arc::new(Verifier::new(config.trust.clone())),
            sends_socks_credentials: Cell::new(proxy.as_ref().is_some_and(Proxy::has_socks_credentials)),
            max_headers: Cell::new(USUAL_MAX_HEADERS),
            proxy,
            origin: url.clone(),
            redirects,
            interface: config.interface.clone(),
            connect_within: config.connect_within,
        };
        connections.begin(url);
        Ok(connections)
    }

    pub(super) fn begin(&self, url: &Url) {
        let hop = self.proxy.as_ref().map_or(url, |proxy| &proxy.url);
        // An address needs no lookup.
        let phase = if second_look::literal_address(hop).is_some() { Phase::Connect } else { Phase::Lookup };
        self.progress.begin(phase, Vec::new());
    }

    pub(super) fn client(&self) -> Result<reqwest::Client, TransportError> {
        let progress = Arc::clone(&self.progress);
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(PRODUCT));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls())
            .default_headers(headers)
            .user_agent(PRODUCT) // for the request to a proxy
            .http1_only()
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .pool_max_idle_per_host(0)
            .connect_timeout(self.connect_within)
            .referer(false)
            .redirect(self.redirects.policy())
            .connector_layer(layer_fn(move |connector| Connecting {
                connector,
                progress: Arc::clone(&progress),
            }))
            .dns_resolver(Arc::new(Resolver(Arc::clone(&self.progress))))
            .no_proxy();
        if let Some(proxy) = &self.proxy {
            let url = proxy.for_library(self.sends_socks_credentials.get());
            let proxy = reqwest::Proxy::all(url).map_err(|_| {
                TransportError::setup(
                    Reason::ProxyInvalid,
                    format!("{} is not a valid proxy URL", proxy.variable),
                )
            })?;
            builder = builder.proxy(proxy);
        }
        if self.max_headers.get() != USUAL_MAX_HEADERS {
            builder = builder.http1_max_headers(self.max_headers.get());
        }
        if let Some(interface) = &self.interface {
            builder = builder.interface(interface);
        }
        builder
            .build()
            .map_err(|_| TransportError::setup(Reason::System, "the HTTP client cannot be set up".to_owned()))
    }

    fn tls(&self) -> ClientConfig {
        trust::client_config(Arc::clone(&self.verifier), Arc::clone(&self.progress))
    }

    /// Another client, if a repeatable request that stopped for `cause` may succeed with it: the HTTP library offers a
    /// SOCKS proxy only one method, and accepts few headers by default.
    pub(super) fn other_client(&self, cause: &Cause, is_repeatable: bool) -> Option<reqwest::Client> {
        match cause {
            Cause::Socks(SocksRefusal::TakesNoCredentials) if self.sends_socks_credentials.get() => {
                self.sends_socks_credentials.set(false);
            }
            Cause::Broken(Broken::HeadTooLarge(USUAL_MAX_HEADERS)) if is_repeatable => {
                self.max_headers.set(MAX_HEADERS);
            }
            _ => return None,
        }
        self.client().ok()
    }

    pub(super) fn classify(&self, error: &reqwest::Error) -> Cause {
        let max_headers = self.max_headers.get();
        super::classify::classify(error, self.progress.phase(), self.proxy.as_ref(), max_headers)
    }

    /// Asks the proxy or the server once more, without credentials of the service, if the HTTP library does not tell
    /// enough.
    pub(super) async fn look_again(&self, cause: Cause, url: &Url) -> Cause {
        let attempt = self.progress.attempt();
        let addresses = &attempt.addresses[..];
        match (cause, &self.proxy) {
            (Cause::TunnelRefused(None), Some(proxy)) => {
                let mut tls = (proxy.url.scheme() == "https").then(|| self.tls());
                if let Some(tls) = &mut tls {
                    tls.alpn_protocols.clear();
                }
                let seen = second_look::ask_for_tunnel(Hop { url: &proxy.url, addresses }, proxy, url, tls);
                seen.await.unwrap_or(Cause::TunnelRefused(None))
            }
            (Cause::SocksUnreachable, Some(proxy)) => why_unreachable(proxy, addresses).await,
            (Cause::Socks(SocksRefusal::Unknown), Some(proxy)) => {
                let seen = second_look::ask_socks(Hop { url: &proxy.url, addresses }, proxy, url).await;
                Cause::Socks(seen.unwrap_or(SocksRefusal::Because("it does not speak SOCKS5".into(), false)))
            }
            (cause, None) if is_unclear(&cause) => {
                let tls = (self.origin.scheme() == "https").then(|| self.tls());
                let seen = second_look::first_bytes(Hop { url, addresses }, url, tls).await;
                seen.as_deref().and_then(Broken::by_first_bytes).map_or(cause, Cause::Broken)
            }
            (cause, _) => cause,
        }
    }
}

/// True if the first bytes of a response that is not HTTP/1 may explain it.
fn is_unclear(cause: &Cause) -> bool {
    matches!(cause, Cause::Broken(Broken::NotHttp(OTHER_PROTOCOL)))
}

async fn why_unreachable(proxy: &Proxy, addresses: &[IpAddr]) -> Cause {
    if addresses.is_empty()
        && second_look::literal_address(&proxy.url).is_none()
        && let Err(error) = look_up(proxy.url.host_str().unwrap_or_default()).await
    {
        return Cause::Lookup(error);
    }
    let connected = second_look::connect(Hop { url: &proxy.url, addresses }).await;
    Cause::Connect(connected.err().unwrap_or_else(|| io::Error::other("no connection")))
}

/// The most that a socket holds before it is read. The HTTP library empties the socket up to 128 times before the
/// deadline and signals are looked at, so with a larger buffer a flood of informational responses would delay them by a
/// second. A TLS record has up to 16 KiB.
const RECEIVE_BUFFER_BYTES: usize = 32 * 1024;

/// Wraps the connector: when it has finished, the connection is established (including TLS), and the request follows.
#[derive(Clone)]
struct Connecting<S> {
    connector: S,
    progress: Arc<Progress>,
}

impl<S, T> Service<T> for Connecting<S>
where
    S: Service<T>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let progress = Arc::clone(&self.progress);
        progress.begin(Phase::Connect, Vec::new());
        let connected = self.connector.call(target);
        Box::pin(async move {
            let connection = connected.await?;
            progress.connected(Phase::Answer);
            if !progress.has_tls() {
                bound_receive_buffers(RECEIVE_BUFFER_BYTES);
            }
            Ok(connection)
        })
    }
}
