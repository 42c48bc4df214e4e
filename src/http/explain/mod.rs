//! Explains a request without a response to an on-call engineer: a function of plain data, [`Circumstances`] and
//! [`Cause`].

mod tls;

use std::fmt;
use std::io;
use std::net::IpAddr;

use reqwest::Url;

use crate::failure::{Failure, Reason, Stage, io_words, is_out_of_resources};

use super::attempt::Phase;
use super::cause::{Broken, Cause, Circumstances, SocksRefusal};
use super::proxy::Proxy;
use super::resolve::LookupError;
use super::retry::is_retryable;
use super::second_look::literal_address;

/// How many headers the HTTP library accepts in a response. Go has no such limit.
pub(super) const USUAL_MAX_HEADERS: usize = 100;
/// How many bytes of headers the HTTP library reads.
const MAX_HEAD_BYTES: usize = 408 * 1024;
/// The same for a proxy's response to CONNECT.
const MAX_TUNNEL_HEAD_BYTES: usize = 8 * 1024;
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportError {
    /// One clause, such as `cannot connect to http://h:1: connection refused; check that …`
    pub message: String,
    pub reason: Reason,
    pub retryable: bool,
    /// The server may have received the request.
    pub maybe_sent: bool,
}

impl TransportError {
    /// A problem on this machine, before any connection.
    pub fn setup(reason: Reason, message: String) -> TransportError {
        TransportError { message, reason, retryable: false, maybe_sent: false }
    }

    /// The response cannot be used.
    pub fn answer(url: &Url, message: &str) -> TransportError {
        TransportError {
            message: format!("{} {message}", origin(url)),
            reason: Reason::UnexpectedResponse,
            retryable: false,
            maybe_sent: true,
        }
    }

    pub fn into_failure(self) -> Failure {
        Failure::failed(Stage::Exchange, self.reason, self.message)
    }
}

/// The reason, the message, and whether another try may succeed.
type Explained = (Reason, String, bool);

impl Circumstances<'_> {
    pub(super) fn explain(&self, cause: &Cause) -> TransportError {
        let (reason, message, retryable) = match cause {
            Cause::Lookup(error) => self.lookup(error),
            Cause::Connect(error) => self.connect(error),
            Cause::Tls { with_proxy, error } => (tls::reason(error), self.tls(*with_proxy, error), false),
            Cause::Handshake { with_proxy, error } => {
                (Reason::TlsFailed, self.handshake(*with_proxy, error), true)
            }
            Cause::Tunnel(broken) => {
                let (why, retryable) = why_no_tunnel(broken);
                (Reason::ProxyFailed, self.not_connected(&why), retryable)
            }
            Cause::TunnelRefused(Some(407)) => self.unauthenticated("HTTP 407"),
            Cause::TunnelRefused(status) => {
                (Reason::ProxyFailed, self.tunnel_refused(*status), status.is_none_or(is_retryable))
            }
            Cause::SocksUnreachable => self.connect(&io::Error::other("no connection")),
            Cause::Socks(SocksRefusal::TakesNoCredentials | SocksRefusal::WantsCredentials) => {
                self.unauthenticated("SOCKS5")
            }
            Cause::Socks(SocksRefusal::Because(why, retryable)) => {
                (Reason::ProxyFailed, self.not_connected(why), *retryable)
            }
            Cause::Socks(SocksRefusal::Unknown) => {
                (Reason::ProxyFailed, self.not_connected("it does not speak SOCKS5"), false)
            }
            Cause::Redirect(refused) => {
                (Reason::RedirectRefused, format!("{} {refused}", origin(self.url)), false)
            }
            Cause::Broken(broken) => self.broken(broken),
        };
        let maybe_sent = matches!(cause, Cause::Broken(_) | Cause::Redirect(_));
        TransportError { message, reason, retryable, maybe_sent }
    }

    fn at(&self) -> String {
        origin(self.url) + &via(self.proxy)
    }

    fn lookup(&self, error: &LookupError) -> Explained {
        let (whose, variable) = match self.proxy {
            Some(proxy) => ("the proxy ", proxy.variable),
            None => ("", "the host name"),
        };
        let LookupError { host, why, .. } = error;
        if error.is_exhausted {
            let why = out_of_resources(why);
            return (Reason::System, format!("cannot resolve {whose}{host}: {why}"), false);
        }
        (Reason::Dns, format!("cannot resolve {whose}{host}: {why}; check {variable} and DNS"), true)
    }

    fn connect(&self, error: &io::Error) -> Explained {
        let at = origin(self.url);
        let destination = match self.proxy {
            Some(proxy) => format!("the proxy {} for {at}", proxy.shown()),
            None => at,
        };
        let why = io_words(error);
        if is_out_of_resources(error) {
            let why = out_of_resources(&why);
            return (Reason::System, format!("cannot connect to {destination}: {why}"), false);
        }
        let advice = match (self.proxy, error.kind()) {
            (Some(proxy), _) => {
                let message =
                    format!("cannot connect to {destination}: {why}; check {} and NO_PROXY", proxy.variable);
                return (Reason::ProxyFailed, message, true);
            }
            (None, io::ErrorKind::ConnectionRefused) => {
                "; check that the server is running and the port is correct"
            }
            (None, io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
                "; check the network of this machine"
            }
            (None, io::ErrorKind::TimedOut) => "; check for a firewall in between",
            (None, _) if self.is_link_local() => {
                "; name this machine's network interface in the URL: http://[fe80::1%25eth0]/"
            }
            _ => "",
        };
        let reason = match error.kind() {
            io::ErrorKind::ConnectionRefused => Reason::ConnectionRefused,
            _ => Reason::ConnectionFailed,
        };
        (reason, format!("cannot connect to {destination}: {why}{advice}"), true)
    }

    /// True if the host is a link-local IPv6 address, which every network has (RFC 4291, 2.5.6).
    fn is_link_local(&self) -> bool {
        matches!(literal_address(self.url), Some(IpAddr::V6(address)) if address.is_unicast_link_local())
    }

    fn peer(&self, with_proxy: bool) -> String {
        match self.proxy {
            Some(proxy) if with_proxy => format!("the proxy {}", origin(&proxy.url)),
            _ => self.at(),
        }
    }

    fn tls(&self, with_proxy: bool, error: &rustls::Error) -> String {
        let at = self.peer(with_proxy);
        if *error == rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol) {
            return only_http2(&at);
        }
        tls::explain(error, &at, self)
    }

    fn handshake(&self, with_proxy: bool, error: &io::Error) -> String {
        let at = self.peer(with_proxy);
        let what = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
            _ => io_words(error),
        };
        let advice = self.client_certificate().unwrap_or("; check that this is an https port".to_owned());
        format!("the TLS handshake with {at} failed: {what}{advice}")
    }

    /// A clause for a connection that breaks after the server has asked for a client certificate.
    fn client_certificate(&self) -> Option<String> {
        self.attempt.wants_certificate.then(|| format!("; {}", tls::WANTS_CERTIFICATE))
    }

    /// The message for a proxy that was reached, but did not connect to the server. Without a proxy, there is none.
    fn not_connected(&self, why: &str) -> String {
        let Some(proxy) = self.proxy else { return String::new() };
        let (shown, at, variable) = (proxy.shown(), origin(self.url), proxy.variable);
        format!("the proxy {shown} did not connect to {at}: {why}; check {variable} and NO_PROXY")
    }

    fn tunnel_refused(&self, status: Option<u16>) -> String {
        let Some(proxy) = self.proxy else { return String::new() };
        let (shown, at, variable) = (proxy.shown(), origin(self.url), proxy.variable);
        let status = status.map(|status| format!(" (HTTP {})", Status(status))).unwrap_or_default();
        format!(
            "the proxy {shown} refused to connect to {at}{status}; check its rules, {variable} and NO_PROXY"
        )
    }

    fn unauthenticated(&self, protocol: &str) -> Explained {
        let message = self.proxy.map(|proxy| authentication(proxy, protocol)).unwrap_or_default();
        (Reason::ProxyAuthentication, message, false)
    }

    fn broken(&self, broken: &Broken) -> Explained {
        let at = self.at();
        let during = match self.attempt.phase {
            Phase::Body => "in the middle of its response",
            _ => "before it responded",
        };
        let asked = self.client_certificate().unwrap_or_default();
        match broken {
            Broken::Io(error) => {
                if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
                    return (tls::reason(tls), tls::explain(tls, &at, self), false);
                }
                let why = io_words(error);
                let check = "; check the server, and any proxy or load balancer in between";
                let advice = if asked.is_empty() { check } else { &asked };
                (
                    Reason::ConnectionBroken,
                    format!("the connection to {at} broke {during}: {why}{advice}"),
                    true,
                )
            }
            Broken::Closed => {
                let is_plain = self.url.scheme() == "http" && self.proxy.is_none();
                let advice = if is_plain { "; check that this is not an https port" } else { "" };
                let message = format!("{at} closed the connection {during}{advice}{asked}");
                (Reason::ConnectionBroken, message, true)
            }
            Broken::Http2 => (Reason::NotHttp, only_http2(&at), false),
            Broken::Tls => {
                (Reason::NotHttp, format!("{at} speaks TLS on this port; use https in its URL"), false)
            }
            Broken::HeadTooLarge(max_headers) => {
                let why = head_too_large(*max_headers);
                let message = format!("{at} did not respond with valid HTTP: {why}");
                (Reason::UnexpectedResponse, message, false)
            }
            Broken::TunnelHeadTooLarge => {
                (Reason::UnexpectedResponse, format!("{at} sent too many headers"), false)
            }
            Broken::NotHttp(why) => {
                let check = "check the scheme and port of the URL";
                let message = format!("{at} did not respond with valid HTTP: {why}; {check}");
                (Reason::NotHttp, message, false)
            }
        }
    }
}

fn why_no_tunnel(broken: &Broken) -> (String, bool) {
    match broken {
        Broken::Io(error) => (io_words(error), true),
        Broken::Closed => ("it closed the connection".to_owned(), true),
        Broken::Http2 => ("it speaks only HTTP/2".to_owned(), false),
        Broken::Tls => ("it speaks TLS on this port".to_owned(), false),
        Broken::HeadTooLarge(max_headers) => (head_too_large(*max_headers), false),
        Broken::TunnelHeadTooLarge => {
            (format!("its response has more than {} KiB of headers", MAX_TUNNEL_HEAD_BYTES / 1024), false)
        }
        Broken::NotHttp(why) => ((*why).to_owned(), false),
    }
}

fn head_too_large(max_headers: usize) -> String {
    format!("it sent more than {max_headers} headers or {} KiB of them", MAX_HEAD_BYTES / 1024)
}

fn only_http2(at: &str) -> String {
    format!("{at} speaks only HTTP/2, which is not supported; use an endpoint that speaks HTTP/1.1")
}

pub(crate) fn authentication(proxy: &Proxy, protocol: &str) -> String {
    let (shown, variable) = (proxy.shown(), proxy.variable);
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

/// The proxy in between, as a clause for messages; empty without one.
pub(super) fn via(proxy: Option<&Proxy>) -> String {
    proxy.map(|proxy| format!(" through the proxy {}", proxy.shown())).unwrap_or_default()
}

/// Scheme, host and port of `url`.
pub(crate) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// A status with its usual name, such as `503 Service Unavailable`.
pub(crate) struct Status(pub u16);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = reqwest::StatusCode::from_u16(self.0).ok().and_then(|status| status.canonical_reason());
        match name {
            Some(name) => write!(f, "{} {name}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

fn out_of_resources(why: &str) -> String {
    format!("this machine is out of resources: {why}; raise the limit or free some")
}
