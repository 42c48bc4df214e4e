//! Why a request got no response, as plain data: what stopped it, and all that is known of it. [`super::explain`] says
//! it in words.

use std::io;

use reqwest::Url;

use super::attempt::Attempt;
use super::proxy::Proxy;
use super::redirect::RefusedRedirect;
use super::resolve::LookupError;
use super::trust::{Seen, TrustStore};

/// What is said of a response that is not HTTP/1.
pub(super) const OTHER_PROTOCOL: &str = "it does not begin with HTTP/1";

/// What stopped a request.
#[derive(Debug)]
pub(super) enum Cause {
    /// The first hop's name has no address.
    Lookup(LookupError),
    /// The first hop cannot be reached.
    Connect(io::Error),
    /// A TLS handshake failed, with the proxy or with the server.
    Tls {
        /// Whether it was the proxy's.
        with_proxy: bool,
        /// Why.
        error: rustls::Error,
    },
    /// The connection broke in a TLS handshake.
    Handshake {
        /// Whether it was the proxy's.
        with_proxy: bool,
        /// Why.
        error: io::Error,
    },
    /// The proxy broke the connection that was to become a tunnel.
    Tunnel(Broken),
    /// The proxy refused a tunnel, with this status if that is known.
    TunnelRefused(Option<u16>),
    /// A SOCKS proxy cannot be reached.
    SocksUnreachable,
    /// A SOCKS proxy refused, or spoke something else.
    Socks(SocksRefusal),
    /// A redirect that is not followed.
    Redirect(RefusedRedirect),
    /// The connection failed, or the response is not HTTP.
    Broken(Broken),
}

/// Why a SOCKS proxy refused.
#[derive(Debug)]
pub(super) enum SocksRefusal {
    /// It accepts no user and password, or none of what was offered.
    TakesNoCredentials,
    /// It requires a user and a password, or others.
    WantsCredentials,
    /// In words, and whether another try may help.
    Because(&'static str, bool),
}

/// Why there is no (whole) response on a connection that was made.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection failed.
    Io(io::Error),
    /// It was closed.
    Closed,
    /// What came is HTTP/2.
    Http2,
    /// What came is TLS.
    Tls,
    /// There are more headers than this, or they are larger than what is read of them.
    HeadTooLarge(usize),
    /// The headers of the response to CONNECT are larger than what is read of them.
    TunnelHeadTooLarge,
    /// The response is not HTTP, and why.
    NotHttp(&'static str),
}

impl Broken {
    /// Which protocol is spoken instead of HTTP/1, by how the response begins.
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
    /// Whether the proxy is to blame, once it was reached.
    pub(super) fn is_of_proxy(&self) -> bool {
        match self {
            Cause::Tls { with_proxy, .. } | Cause::Handshake { with_proxy, .. } => *with_proxy,
            Cause::Tunnel(_) | Cause::TunnelRefused(_) | Cause::Socks(_) => true,
            _ => false,
        }
    }
}

/// What is known of a request that got no response.
pub(super) struct Circumstances<'a> {
    /// What was asked for.
    pub url: &'a Url,
    /// The proxy in between.
    pub proxy: Option<&'a Proxy>,
    /// How far it came.
    pub attempt: Attempt,
    /// The last certificate that TLS has seen, of the proxy or of the server.
    pub seen: Option<Seen>,
    /// Where roots were looked for.
    pub places: &'a TrustStore,
}
