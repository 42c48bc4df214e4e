//! Explains a request without a response to an on-call engineer, from the error of the HTTP library and the
//! [`Circumstances`].
//!
//! Some of the library's errors are types; of others, only the text is public. Where that says too little, the proxy or
//! the server is asked once more ([`super::second_look`]).

use std::io;
use std::net::IpAddr;

use reqwest::Url;
use reqwest::header::PROXY_AUTHENTICATE;
use rustls::ClientConfig;

use crate::failure::{Failure, Reason, Stage, io_words, is_out_of_resources, or_list};
use crate::secret;

use super::answer::{Answer, chain, find};
use super::attempt::{Attempt, Phase};
use super::connection::RefusedRedirect;
use super::proxy::Proxy;
use super::resolve::{LookupError, QueryError, look_up};
use super::retry::is_retryable;
use super::second_look::{self, ENOUGH_BYTES, Hop, MAX_TUNNEL_HEAD_BYTES};
use super::tls::{self, ONLY_HTTP2};

/// How many bytes of headers the HTTP library reads.
const MAX_HEAD_BYTES: usize = 408 * 1024;

const NOT_HTTP1: &str = "it does not begin with HTTP/1";
const CLOSED: &str = "it closed the connection";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportError {
    /// One clause, such as `cannot connect to http://h:1: connection refused; check that …`
    pub message: String,
    pub reason: Reason,
    pub retryable: bool,
    /// The server may have received the request.
    pub maybe_sent: bool,
    /// The proxy is to blame, and it was reached.
    pub blames_proxy: bool,
}

impl TransportError {
    /// A problem before the request was sent.
    pub(super) fn unsent(reason: Reason, message: String, retryable: bool) -> TransportError {
        TransportError { message, reason, retryable, maybe_sent: false, blames_proxy: false }
    }

    fn sent(self) -> TransportError {
        TransportError { maybe_sent: true, ..self }
    }

    fn blaming_proxy(self, blames_proxy: bool) -> TransportError {
        TransportError { blames_proxy, ..self }
    }

    /// The response cannot be used.
    pub(super) fn answer(url: &Url, message: &str) -> TransportError {
        let message = format!("{} {message}", origin(url));
        TransportError::unsent(Reason::UnexpectedResponse, message, false).sent()
    }

    pub fn into_failure(self) -> Failure {
        Failure::failed(Stage::Exchange, self.reason, self.message)
    }
}

/// All that is known of a request without a response, beside the error.
pub(super) struct Circumstances<'a> {
    pub url: &'a Url,
    pub proxy: Option<&'a Proxy>,
    pub attempt: Attempt,
    pub max_headers: usize,
    /// For a second look.
    pub tls: ClientConfig,
}

impl Circumstances<'_> {
    pub(super) async fn explain(&self, error: &reqwest::Error) -> TransportError {
        if let Some(refused) = find::<RefusedRedirect>(error) {
            let message = format!("{} {refused}", origin(self.url));
            return TransportError::unsent(Reason::RedirectRefused, message, false).sent();
        }
        if let Some(lookup) = find::<LookupError>(error) {
            return self.lookup(lookup);
        }
        if !error.is_connect() {
            return self.broken(error).await.sent();
        }
        let said = |prefix: &str| texts(error).find_map(|text| Some(text.strip_prefix(prefix)?.to_owned()));
        let proxy_said = |prefix: &str| Some((self.proxy?, said(prefix)?));
        if let Some((proxy, text)) = proxy_said("SOCKS error: ") {
            return self.socks(proxy, &text).await;
        }
        let with_proxy = self.attempt.has_tls_with_proxy();
        if let Some(tls) = find::<rustls::Error>(error) {
            return self.tls(with_proxy, tls);
        }
        // When the tunnel is requested, the handshake with an https proxy is over.
        if let Some((proxy, text)) = proxy_said("tunnel error: ")
            && text != "failed to create underlying connection"
        {
            return self.tunnel(proxy, &text, error).await;
        }
        match find::<io::Error>(error) {
            Some(io) if with_proxy || self.attempt.phase == Phase::Handshake => {
                self.handshake(with_proxy, io)
            }
            Some(io) => self.connect(io),
            None if error.is_timeout() => self.connect(&io::ErrorKind::TimedOut.into()),
            // The second text comes from a connection through a proxy.
            None if texts(error).any(|it| it.contains("invalid dns name") || it == "Invalid Server Name") => {
                let at = origin(self.url);
                let message = format!("cannot connect to {at}: a certificate cannot have this host name");
                TransportError::unsent(Reason::ConnectionFailed, message, false)
            }
            None => self.connect(&io::Error::other("no connection")),
        }
    }

    fn at(&self) -> String {
        origin(self.url) + &via(self.proxy)
    }

    /// The first hop, to be asked once more.
    fn hop(&self) -> Hop<'_> {
        let url = self.proxy.map_or(self.url, |proxy| &proxy.url);
        let mut tls = (url.scheme() == "https").then(|| self.tls.clone());
        if let (Some(tls), Some(_)) = (&mut tls, self.proxy) {
            tls.alpn_protocols.clear();
        }
        Hop { url, addresses: &self.attempt.addresses, tls }
    }

    fn lookup(&self, error: &LookupError) -> TransportError {
        let (whose, variable) = match self.proxy {
            Some(proxy) => ("the proxy ", proxy.variable),
            None => ("", "the host name"),
        };
        let LookupError { host, why } = error;
        if let QueryError::Exhausted(error) = why {
            return out_of_resources(&format!("cannot resolve {whose}{host}"), &io_words(error));
        }
        // As deployment files have it, in lower case.
        let advice = if host.starts_with("locate-dot-project.") {
            "replace PROJECT in the host name with the name of a Google Cloud project".to_owned()
        } else {
            format!("check {variable} and DNS")
        };
        let message = format!("cannot resolve {whose}{host}: {why}; {advice}");
        TransportError::unsent(Reason::Dns, message, true)
    }

    fn connect(&self, error: &io::Error) -> TransportError {
        let at = origin(self.url);
        let destination =
            self.proxy.map_or(at.clone(), |proxy| format!("the proxy {} for {at}", proxy.shown()));
        let (failed, why) = (format!("cannot connect to {destination}"), io_words(error));
        if is_out_of_resources(error) {
            return out_of_resources(&failed, &why);
        }
        let check_proxy = self.proxy.map(|proxy| format!("; check {} and NO_PROXY", proxy.variable));
        let (reason, advice) = match (&check_proxy, error.kind()) {
            (Some(check), _) => (Reason::ProxyFailed, check.as_str()),
            (None, io::ErrorKind::ConnectionRefused) => {
                (Reason::ConnectionRefused, "; check that the server is running and the port is correct")
            }
            (None, io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
                (Reason::ConnectionFailed, "; check the network of this machine")
            }
            (None, io::ErrorKind::TimedOut) => {
                (Reason::ConnectionFailed, "; check for a firewall on the path")
            }
            (None, _) if self.is_link_local() => (
                Reason::ConnectionFailed,
                "; name this machine's network interface in the URL: http://[fe80::1%25eth0]/",
            ),
            (None, _) => (Reason::ConnectionFailed, ""),
        };
        TransportError::unsent(reason, format!("{failed}: {why}{advice}"), true)
    }

    /// True if the host is a link-local IPv6 address, which every network has (RFC 4291, 2.5.6).
    fn is_link_local(&self) -> bool {
        let address = second_look::literal_address(self.url);
        matches!(address, Some(IpAddr::V6(address)) if address.is_unicast_link_local())
    }

    fn peer(&self, with_proxy: bool) -> String {
        match self.proxy {
            Some(proxy) if with_proxy => format!("the proxy {}", origin(&proxy.url)),
            _ => self.at(),
        }
    }

    fn tls(&self, with_proxy: bool, error: &rustls::Error) -> TransportError {
        let (reason, message) = tls::explain(error, &self.peer(with_proxy), self.attempt.wants_certificate);
        TransportError::unsent(reason, message, false).blaming_proxy(with_proxy)
    }

    /// The connection broke in a TLS handshake.
    fn handshake(&self, with_proxy: bool, error: &io::Error) -> TransportError {
        let at = self.peer(with_proxy);
        let what = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
            _ => io_words(error),
        };
        let advice = self.client_certificate().unwrap_or("; check that this is an https port".to_owned());
        let message = format!("the TLS handshake with {at} failed: {what}{advice}");
        TransportError::unsent(Reason::TlsFailed, message, true).blaming_proxy(with_proxy)
    }

    /// A clause for a connection that breaks after the server has asked for a client certificate.
    fn client_certificate(&self) -> Option<String> {
        self.attempt.wants_certificate.then(|| format!("; {}", tls::WANTS_CERTIFICATE))
    }

    /// A SOCKS proxy refused: the error of the library's SOCKS client, or the reply of the proxy (RFC 1928, section 6).
    async fn socks(&self, proxy: &Proxy, text: &str) -> TransportError {
        let (why, retryable) = match text {
            "failed to create underlying connection" => return self.unreachable(proxy).await,
            // It mentions a password even if none was offered.
            "server does not support user/pass authentication"
            | "server implements authentication incorrectly"
            | "credentials not accepted" => return unauthenticated(proxy, "SOCKS5", &[]),
            "failed parsing server response" => {
                let why = other_socks(&second_look::socks(self.hop(), proxy, self.url).await);
                return self.not_connected(proxy, &why, false);
            }
            "io error during SOCKS handshake" => (CLOSED, true),
            "failed serialize request" | "host address is more than 255 characters" => {
                return self.not_connected(proxy, &self.too_long_for_socks(proxy), false);
            }
            "connection not allowed" => ("its rules do not allow that", false),
            "network unreachable" | "host unreachable" | "connection refused" => (text, true),
            "ttl expired" => ("TTL expired", true),
            "command not supported" => ("it does not support connections", false),
            "address type not supported" => ("it does not support this kind of address", false),
            "general server failure" => ("general SOCKS server failure", true),
            _ => ("it did not respond as a SOCKS5 server", false),
        };
        self.not_connected(proxy, why, retryable)
    }

    /// The HTTP library's messages to a SOCKS proxy have at most 262 bytes together.
    fn too_long_for_socks(&self, proxy: &Proxy) -> String {
        /// With and without credentials, beside the address.
        const MAX_BYTES: (usize, usize) = (253, 256);
        /// Of a host name, beside its letters.
        const NAME_BYTES: usize = 4;
        let host = self.url.host_str().unwrap_or_default().len();
        let address = match second_look::literal_address(self.url) {
            Some(IpAddr::V4(_)) => 7,
            Some(IpAddr::V6(_)) => 19,
            None => host + NAME_BYTES,
        };
        match proxy.credentials().filter(|_| proxy.has_socks_credentials()) {
            Some((user, password)) if address < MAX_BYTES.0 => {
                let (length, limit) = (user.len() + password.len(), MAX_BYTES.0 - address);
                format!(
                    "the user name and password have {length} bytes together, and with this host name at most {limit} are supported"
                )
            }
            _ => {
                let limit = MAX_BYTES.1 - NAME_BYTES;
                format!("the host name has {host} bytes, and at most {limit} are supported")
            }
        }
    }

    /// A SOCKS proxy was not reached, which is all that the library says.
    async fn unreachable(&self, proxy: &Proxy) -> TransportError {
        if self.attempt.addresses.is_empty()
            && second_look::literal_address(&proxy.url).is_none()
            && let Err(error) = look_up(proxy.url.host_str().unwrap_or_default()).await
        {
            return self.lookup(&error);
        }
        let error = self.hop().connect().await.err();
        self.connect(&error.unwrap_or_else(|| io::Error::other("no connection")))
    }

    /// An HTTP proxy did not open a tunnel.
    async fn tunnel(&self, proxy: &Proxy, text: &str, error: &reqwest::Error) -> TransportError {
        match text {
            "proxy authorization required" => return self.unauthenticated_tunnel(proxy).await,
            "proxy response headers too long" => {
                let limit = MAX_TUNNEL_HEAD_BYTES / 1024;
                let why = format!("its response has more than {limit} KiB of headers");
                return self.not_connected(proxy, &why, false);
            }
            "unexpected end of file" => return self.not_connected(proxy, CLOSED, true),
            "io error establishing tunnel" => {
                let why = find::<io::Error>(error).map_or(CLOSED.to_owned(), io_words);
                return self.not_connected(proxy, &why, true);
            }
            _ => {}
        }
        let reply = second_look::tunnel(self.hop(), self.url, proxy.authorization(), ENOUGH_BYTES).await;
        if let Some((it_speaks, _)) = other_protocol(&reply) {
            return self.not_connected(proxy, it_speaks, false);
        }
        let status = second_look::status(&reply);
        if status == Some(407) {
            return self.unauthenticated_tunnel(proxy).await;
        }
        match status {
            // Or it refused only at first.
            Some(200) => return self.not_connected(proxy, "its response to CONNECT cannot be read", true),
            Some(status @ 201..=299) => {
                let why = format!("it responded to CONNECT with {} instead of 200", named_status(status));
                return self.not_connected(proxy, &why, false);
            }
            _ => {}
        }
        let (shown, at, variable) = (proxy.shown(), origin(self.url), proxy.variable);
        let label = status.map(|status| format!(" ({})", named_status(status))).unwrap_or_default();
        let message = match status {
            Some(502..=504) => format!(
                "the proxy {shown} could not connect to {at}{label}; check that the server is up and that the proxy can reach it"
            ),
            _ => format!(
                "the proxy {shown} refused to connect to {at}{label}; check its rules, {variable} and NO_PROXY"
            ),
        };
        let retryable = status.is_none_or(is_retryable);
        TransportError::unsent(Reason::ProxyFailed, message, retryable).blaming_proxy(true)
    }

    async fn unauthenticated_tunnel(&self, proxy: &Proxy) -> TransportError {
        unauthenticated(proxy, "HTTP 407", &second_look::offered_schemes(self.hop(), self.url).await)
    }

    /// The proxy was reached, but did not connect to the server.
    fn not_connected(&self, proxy: &Proxy, why: &str, retryable: bool) -> TransportError {
        let (shown, at, variable) = (proxy.shown(), origin(self.url), proxy.variable);
        let message =
            format!("the proxy {shown} did not connect to {at}: {why}; check {variable} and NO_PROXY");
        TransportError::unsent(Reason::ProxyFailed, message, retryable).blaming_proxy(true)
    }

    /// The request was sent, but no complete response came back.
    async fn broken(&self, error: &reqwest::Error) -> TransportError {
        if let Some(tls) = find::<rustls::Error>(error) {
            return self.tls(false, tls);
        }
        let at = self.at();
        let during = match self.attempt.phase {
            Phase::Body => "in the middle of its response",
            _ => "before it responded",
        };
        let asked = self.client_certificate();
        let says = |words: &str| texts(error).any(|text| text.contains(words));
        let cut = "end of file before message length reached";
        let io = find::<io::Error>(error).map(io_words).or_else(|| says(cut).then(|| cut.to_owned()));
        if let Some(why) = io {
            let check = "; check the server, and any proxy or load balancer on the path";
            let advice = asked.as_deref().unwrap_or(check);
            let message = format!("the connection to {at} broke {during}: {why}{advice}");
            return TransportError::unsent(Reason::ConnectionBroken, message, true);
        }
        if says("unexpected message") && self.proxy.is_none() {
            return self.early().await;
        }
        let invalid = [
            ("invalid HTTP version", NOT_HTTP1),
            ("unexpected message", NOT_HTTP1),
            ("content-length", "its Content-Length is invalid"),
            ("transfer-encoding", "it has a Transfer-Encoding that HTTP/1.0 does not allow"),
            ("status-code", "its status line is invalid"),
            ("invalid HTTP header", "a header is invalid"),
            ("invalid HTTP", "its status line is invalid"),
            ("switch protocols", "it switches to another protocol"),
        ];
        if let Some((_, why)) = invalid.iter().find(|(words, _)| says(words)) {
            let begin = match *why {
                NOT_HTTP1 if self.proxy.is_none() => second_look::first_bytes(self.hop(), self.url).await,
                _ => Vec::new(),
            };
            let message = match other_protocol(&begin) {
                Some((_, speaks)) => format!("{at} {speaks}"),
                None => {
                    format!(
                        "{at} did not respond with valid HTTP: {why}; check the scheme and port of the URL"
                    )
                }
            };
            return TransportError::unsent(Reason::NotHttp, message, false);
        }
        if is_head_too_large(error) {
            let (max, limit) = (self.max_headers, MAX_HEAD_BYTES / 1024);
            let message = format!(
                "{at} did not respond with valid HTTP: it sent more than {max} headers or {limit} KiB of them"
            );
            return TransportError::unsent(Reason::UnexpectedResponse, message, false);
        }
        let is_plain = self.url.scheme() == "http" && self.proxy.is_none();
        let advice = if is_plain { "; check that this is not an https port" } else { "" };
        let message = format!("{at} closed the connection {during}{advice}{}", asked.unwrap_or_default());
        TransportError::unsent(Reason::ConnectionBroken, message, true)
    }

    /// The response began before the request was sent, as of a gateway without room for another connection. The HTTP
    /// library does not read it.
    async fn early(&self) -> TransportError {
        let (at, begin) = (self.at(), self.hop().ask(b"", ENOUGH_BYTES).await);
        if let Some((_, speaks)) = other_protocol(&begin) {
            return TransportError::unsent(Reason::NotHttp, format!("{at} {speaks}"), false);
        }
        let Some(status) = second_look::status(&begin) else {
            let message = format!(
                "{at} did not respond with valid HTTP: {NOT_HTTP1}; check the scheme and port of the URL"
            );
            return TransportError::unsent(Reason::NotHttp, message, false);
        };
        let (reason, what) = match status {
            408 => (Reason::ConnectionBroken, "timed out waiting for the request"),
            429 => (Reason::RateLimited, "is rate limiting requests"),
            500.. => (Reason::ServerError, "returned a server error"),
            _ => (Reason::UnexpectedResponse, "did not respond with valid HTTP: it responded"),
        };
        let message = format!("{at} {what} ({}) before it received the request", named_status(status));
        TransportError::unsent(reason, message, is_retryable(status))
    }
}

/// The protocol that is spoken instead of HTTP/1, judged by its first bytes: a clause for a proxy, and one for a server.
fn other_protocol(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    match bytes {
        // A SETTINGS or GOAWAY frame on stream 0 (RFC 9113, 4.1): 24 bits of length, type, flags, stream.
        [0, _, _, 4 | 7, _, 0, 0, 0, 0, ..] => Some(("it speaks only HTTP/2", ONLY_HTTP2)),
        // An alert or a handshake record.
        [0x15 | 0x16, 3, ..] => {
            Some(("it speaks TLS on this port", "speaks TLS on this port; use https in its URL"))
        }
        [b'S', b'S', b'H', b'-', ..] => Some((
            "it speaks SSH",
            "did not respond with valid HTTP: it speaks SSH; check the scheme and port of the URL",
        )),
        _ => None,
    }
}

/// The beginning of a SOCKS proxy's response, if the HTTP library does not know it.
fn other_socks(reply: &[u8]) -> String {
    match reply {
        [b'H', b'T', ..] => "it speaks HTTP, not SOCKS5".to_owned(),
        [5, 1, ..] => "it requires GSSAPI authentication, which is not supported".to_owned(),
        [5, 3..=0xfe, ..] => "it requires an authentication method that is not supported".to_owned(),
        [5, 0, 5, 0, ..] => "its reply has an address that is not supported".to_owned(),
        [5, 0, 5, code @ 9..=0xff, ..] => format!("it refused with the unknown SOCKS5 reply code {code}"),
        _ => "it does not speak SOCKS5".to_owned(),
    }
}

/// The SOCKS proxy does not accept a user and password, or not the ones offered.
pub(super) fn is_without_credentials(error: &reqwest::Error) -> bool {
    texts(error).any(|text| {
        text == "SOCKS error: server does not support user/pass authentication"
            || text == "SOCKS error: server implements authentication incorrectly"
    })
}

/// The response has too many headers, or too large ones.
pub(super) fn is_head_too_large(error: &reqwest::Error) -> bool {
    texts(error).any(|text| text.contains("message head is too large"))
}

/// The error's causes. It shows the URL itself, which may contain any words.
fn texts(error: &reqwest::Error) -> impl Iterator<Item = String> {
    chain(error).skip(1).map(ToString::to_string)
}

fn unauthenticated(proxy: &Proxy, protocol: &str, offered: &[String]) -> TransportError {
    let message = authentication(proxy, protocol, offered);
    TransportError::unsent(Reason::ProxyAuthentication, message, false).blaming_proxy(true)
}

/// Why a proxy did not accept a request without credentials, or with those of its URL. `offered` are the schemes that it
/// accepts, if it says so.
fn authentication(proxy: &Proxy, protocol: &str, offered: &[String]) -> String {
    const MAX_NAMES_CHARS: usize = 60;
    let (shown, variable) = (proxy.shown(), proxy.variable);
    if !offered.is_empty() && !offered.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic")) {
        let names: Vec<&str> = offered.iter().map(String::as_str).collect();
        let names = secret::shown(&or_list(&names), MAX_NAMES_CHARS);
        return format!(
            "the proxy {shown} requires {names} authentication ({protocol}), which is not supported; let it accept Basic authentication or this machine's address, or use another proxy in {variable}"
        );
    }
    if proxy.credentials().is_some() {
        format!(
            "the proxy {shown} rejected the credentials in {variable} ({protocol}); correct the user name and password, and percent-encode special characters in them"
        )
    } else {
        format!(
            "the proxy {shown} requires authentication ({protocol}), but {variable} has no credentials; put USER:PASSWORD@ before the host in it"
        )
    }
}

/// A 407 in a response that came through a proxy.
pub(crate) fn proxy_authentication(proxy: &Proxy, answer: &Answer) -> String {
    let values = answer.headers.get_all(PROXY_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    authentication(proxy, "HTTP 407", &second_look::schemes(values))
}

/// The proxy on the path, as a clause for messages; empty without one.
pub(super) fn via(proxy: Option<&Proxy>) -> String {
    proxy.map(|proxy| format!(" through the proxy {}", proxy.shown())).unwrap_or_default()
}

/// Scheme, host and port of `url`.
pub(crate) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// A status with its usual name, such as `HTTP 503 Service Unavailable`.
pub(crate) fn named_status(status: u16) -> String {
    let name = reqwest::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    name.map_or_else(|| format!("HTTP {status}"), |name| format!("HTTP {status} {name}"))
}

fn out_of_resources(failed: &str, why: &str) -> TransportError {
    let message = format!("{failed}: this machine is out of resources: {why}; raise the limit or free some");
    TransportError::unsent(Reason::System, message, false)
}
