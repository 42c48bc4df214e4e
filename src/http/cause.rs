//! Why a request got no response, as plain data: what stopped it, and all that is known of it. [`super::explain`] says
//! it in words.

use std::borrow::Cow;
use std::io;

use reqwest::Url;

use super::attempt::Attempt;
use super::proxy::Proxy;
use super::redirect::RefusedRedirect;
use super::resolve::LookupError;
use super::trust::{Seen, TrustStore};

pub(super) const OTHER_PROTOCOL: &str = "it does not begin with HTTP/1";

#[derive(Debug)]
pub(super) enum Cause {
    /// The name of the first hop has no address.
    Lookup(LookupError),
    Connect(io::Error),
    Tls {
        with_proxy: bool,
        error: rustls::Error,
    },
    /// The connection broke in a TLS handshake.
    Handshake {
        with_proxy: bool,
        error: io::Error,
    },
    /// The proxy closed the connection instead of opening a tunnel.
    Tunnel(Broken),
    TunnelRefused(Option<u16>),
    SocksUnreachable,
    Socks(SocksRefusal),
    Redirect(RefusedRedirect),
    Broken(Broken),
}

#[derive(Debug)]
pub(super) enum SocksRefusal {
    /// It does not accept a user and password, or not the ones offered.
    TakesNoCredentials,
    /// It requires a user and password, or other ones.
    WantsCredentials,
    /// The text, and whether another try may succeed.
    Because(Cow<'static, str>, bool),
    /// By what the HTTP library does not know.
    Unknown,
}

#[derive(Debug)]
pub(super) enum Broken {
    Io(io::Error),
    Closed,
    Http2,
    Tls,
    /// There are more headers than this, or they are larger than the limit.
    HeadTooLarge(usize),
    /// The headers of the response to CONNECT are larger than the limit.
    TunnelHeadTooLarge,
    NotHttp(&'static str),
}

impl Broken {
    /// The protocol that is spoken instead of HTTP/1, judged by the first bytes of the response.
    pub(super) fn by_first_bytes(bytes: &[u8]) -> Option<Broken> {
        match bytes {
            // A SETTINGS or GOAWAY frame on stream 0 (RFC 9113, 4.1): 24 bits of length, type, flags, stream.
            [0, _, _, 4 | 7, _, 0, 0, 0, 0, ..] => Some(Broken::Http2),
            // An alert or a handshake record.
            [0x15 | 0x16, 3, ..] => Some(Broken::Tls),
            [b'S', b'S', b'H', b'-', ..] => Some(Broken::NotHttp("it speaks SSH")),
            _ => None,
        }
    }
}

impl Cause {
    /// True if the proxy is to blame, once it was reached.
    pub(super) fn is_of_proxy(&self) -> bool {
        match self {
            Cause::Tls { with_proxy, .. } | Cause::Handshake { with_proxy, .. } => *with_proxy,
            Cause::Tunnel(_) | Cause::TunnelRefused(_) | Cause::Socks(_) => true,
            _ => false,
        }
    }
}

pub(super) struct Circumstances<'a> {
    pub url: &'a Url,
    pub proxy: Option<&'a Proxy>,
    pub attempt: Attempt,
    /// The last certificate of a TLS handshake, of the proxy or of the server.
    pub seen: Option<Seen>,
    pub places: &'a TrustStore,
}
