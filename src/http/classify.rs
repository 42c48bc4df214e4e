//! Maps errors of the HTTP library to a [`Cause`]. Some of them are types; of others, only the text is public.

use std::error::Error as StdError;
use std::io;

use super::attempt::Phase;
use super::cause::{Broken, Cause, OTHER_PROTOCOL, SocksRefusal};
use super::proxy::Proxy;
use super::redirect::RefusedRedirect;
use super::resolve::LookupError;

pub(super) fn classify(
    error: &reqwest::Error,
    phase: Phase,
    proxy: Option<&Proxy>,
    max_headers: usize,
) -> Cause {
    if let Some(refused) = cause::<RefusedRedirect>(error) {
        return Cause::Redirect(refused.clone());
    }
    if let Some(lookup) = cause::<LookupError>(error) {
        return Cause::Lookup(lookup.clone());
    }
    // The outermost error shows the URL, which may contain any words.
    let texts: Vec<String> = chain(error).skip(1).map(ToString::to_string).collect();
    if !error.is_connect() {
        return Cause::Broken(broken(error, &texts, max_headers));
    }
    let said = |prefix: &str| texts.iter().find_map(|text| text.strip_prefix(prefix));
    if let Some(socks) = said("SOCKS error: ") {
        return of_socks(socks, proxy);
    }
    let with_proxy = phase == Phase::ProxyHandshake;
    let in_handshake = with_proxy || phase == Phase::Handshake;
    if let Some(tls) = cause::<rustls::Error>(error) {
        return Cause::Tls { with_proxy, error: tls.clone() };
    }
    let is_made = |text: &&str| *text != "failed to create underlying connection";
    // When the tunnel is requested, the handshake with an https proxy is over.
    if let Some(tunnel) = said("tunnel error: ").filter(is_made) {
        return of_tunnel(tunnel, error);
    }
    match cause::<io::Error>(error) {
        Some(io) if in_handshake => Cause::Handshake { with_proxy, error: copied(io) },
        Some(io) => Cause::Connect(copied(io)),
        None if error.is_timeout() => Cause::Connect(io::ErrorKind::TimedOut.into()),
        None if texts.iter().any(|text| text.to_lowercase().contains("invalid server name")) => {
            Cause::Connect(io::Error::other("a certificate cannot have this host name"))
        }
        None => Cause::Connect(io::Error::other("no connection")),
    }
}

fn of_tunnel(text: &str, error: &reqwest::Error) -> Cause {
    match text {
        "proxy authorization required" => Cause::TunnelRefused(Some(407)),
        "proxy response headers too long" => Cause::Tunnel(Broken::TunnelHeadTooLarge),
        "unexpected end of file" => Cause::Tunnel(Broken::Closed),
        "io error establishing tunnel" => {
            Cause::Tunnel(cause::<io::Error>(error).map_or(Broken::Closed, |io| Broken::Io(copied(io))))
        }
        _ => Cause::TunnelRefused(None),
    }
}

/// The errors of the HTTP library's SOCKS client, and the replies of a server to the request itself (RFC 1928, section
/// 6): the text for a message, and whether another try may succeed.
const SOCKS: [(&str, &str, bool); 11] = [
    ("io error during SOCKS handshake", "it closed the connection", true),
    ("failed serialize request", "the user name or the password is longer than 255 bytes", false),
    ("host address is more than 255 characters", "the host name is longer than 255 bytes", false),
    ("connection not allowed", "its rules do not allow that", false),
    ("network unreachable", "network unreachable", true),
    ("host unreachable", "host unreachable", true),
    ("connection refused", "connection refused", true),
    ("ttl expired", "TTL expired", true),
    ("command not supported", "it does not support connections", false),
    ("address type not supported", "it does not support this kind of address", false),
    ("general server failure", "general SOCKS server failure", true),
];

fn of_socks(text: &str, proxy: Option<&Proxy>) -> Cause {
    let has_credentials = proxy.is_some_and(Proxy::has_socks_credentials);
    Cause::Socks(match text {
        "failed to create underlying connection" => return Cause::SocksUnreachable,
        "failed parsing server response" => SocksRefusal::Unknown,
        // It mentions a password even if none was offered.
        "server does not support user/pass authentication"
        | "server implements authentication incorrectly"
            if has_credentials =>
        {
            SocksRefusal::TakesNoCredentials
        }
        "server does not support user/pass authentication"
        | "server implements authentication incorrectly"
        | "credentials not accepted" => SocksRefusal::WantsCredentials,
        text => {
            let known = SOCKS.iter().find(|(known, ..)| *known == text);
            let (_, why, retryable) = known.unwrap_or(&("", "it did not respond as a SOCKS5 server", false));
            SocksRefusal::Because((*why).into(), *retryable)
        }
    })
}

fn broken(error: &reqwest::Error, texts: &[String], max_headers: usize) -> Broken {
    if let Some(tls) = cause::<rustls::Error>(error) {
        return Broken::Io(io::Error::new(io::ErrorKind::InvalidData, tls.clone()));
    }
    if let Some(io) = cause::<io::Error>(error) {
        return Broken::Io(copied(io));
    }
    let says = |words: &str| texts.iter().any(|text| text.contains(words));
    for (words, why) in [
        ("invalid HTTP version", OTHER_PROTOCOL),
        ("unexpected message", OTHER_PROTOCOL),
        ("content-length", "its Content-Length is invalid"),
        ("transfer-encoding", "it has a Transfer-Encoding that HTTP/1.0 does not allow"),
        ("status-code", "its status line is invalid"),
        ("invalid HTTP header", "a header is invalid"),
        ("invalid HTTP", "its status line is invalid"),
        ("switch protocols", "it switches to another protocol"),
    ] {
        if says(words) {
            return Broken::NotHttp(why);
        }
    }
    if says("message head is too large") {
        return Broken::HeadTooLarge(max_headers);
    }
    if says("end of file before message length reached") {
        return Broken::Io(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "end of file before message length reached",
        ));
    }
    Broken::Closed
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // An io::Error that wraps another error reports that error's source as its own.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

/// The innermost error of this type.
pub(super) fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    chain(error).filter_map(|error| error.downcast_ref::<T>()).last()
}

/// An `io::Error` has no `Clone`.
fn copied(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
