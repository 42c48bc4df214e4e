//! Queries a proxy or a server once more when the HTTP library does not explain its refusal. The query requests
//! nothing, and only the beginning of the response is inspected. It happens after a failure, so it does not slow down
//! successful runs.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;
use reqwest::Url;
use reqwest::header::HeaderValue;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::attempt::PRODUCT;
use super::proxy::Proxy;

/// More than any proxy offers. A longer list would take too long to compare.
const MAX_SCHEMES: usize = 16;
const PATIENCE: Duration = Duration::from_secs(1);
/// After this time, the next address is tried, too.
const STAGGER: Duration = Duration::from_millis(250);
/// How many bytes of a response suffice to detect its status or protocol.
pub(super) const ENOUGH_BYTES: usize = 64;
/// The most bytes of headers in a proxy's response to CONNECT, as in the HTTP library.
pub(super) const MAX_TUNNEL_HEAD_BYTES: usize = 8 * 1024;

/// The proxy or the server.
pub(super) struct Hop<'a> {
    pub url: &'a Url,
    /// The addresses that it resolved to, with any port.
    pub addresses: &'a [SocketAddr],
    pub tls: Option<ClientConfig>,
}

impl Hop<'_> {
    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        let literal = literal_address(self.url).map(|address| SocketAddr::new(address, 0));
        let mut addresses: Vec<_> = literal.iter().chain(self.addresses).copied().collect();
        for address in &mut addresses {
            address.set_port(port_of(self.url));
        }
        match tokio::time::timeout(PATIENCE, reach(addresses, PATIENCE)).await {
            Ok(Ok((_, stream))) => Ok(stream),
            Ok(Err(failure)) => Err(failure.map_or(io::ErrorKind::NotFound.into(), |(_, error)| error)),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Sends a request, perhaps over TLS, and gives the beginning of what comes back: nothing if that fails. A server may
    /// respond even to an empty one.
    pub(super) async fn ask(self, request: &[u8], enough: usize) -> Vec<u8> {
        let Ok(stream) = self.connect().await else { return Vec::new() };
        let Some(tls) = self.tls else { return exchange(stream, request, enough).await };
        let name = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let Ok(name) = ServerName::try_from(name) else { return Vec::new() };
        let handshake = TlsConnector::from(Arc::new(tls)).connect(name, stream);
        match tokio::time::timeout(PATIENCE, handshake).await {
            Ok(Ok(stream)) => exchange(stream, request, enough).await,
            _ => Vec::new(),
        }
    }
}

/// Connects to the first of these addresses that answers. The attempts go on beside each other, because an address may
/// lead nowhere (RFC 8305, section 5); all of them have begun after half of `patience`. Fails with the error of the last
/// attempt, or with `None` if `addresses` is empty.
pub(crate) async fn reach(
    addresses: Vec<SocketAddr>,
    patience: Duration,
) -> Result<(SocketAddr, TcpStream), Option<(SocketAddr, io::Error)>> {
    first(addresses, patience, TcpStream::connect).await
}

async fn first<C: Send + 'static, F: Future<Output = io::Result<C>> + Send>(
    addresses: Vec<SocketAddr>,
    patience: Duration,
    connect: impl Fn(SocketAddr) -> F + Copy + Send + 'static,
) -> Result<(SocketAddr, C), Option<(SocketAddr, io::Error)>> {
    let stagger = STAGGER.min(patience / 2 / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1));
    let mut attempts = JoinSet::new();
    for (address, before) in addresses.into_iter().zip(0..) {
        attempts.spawn(async move {
            tokio::time::sleep(stagger * before).await;
            (address, connect(address).await)
        });
    }
    let mut failure = None;
    while let Some(ended) = attempts.join_next().await {
        match ended {
            Ok((address, Ok(connection))) => return Ok((address, connection)),
            Ok((address, Err(error))) => failure = Some((address, error)),
            Err(_) => {}
        }
    }
    Err(failure)
}

/// The address in a URL without a host name. (The hosts of `socks5://` are not parsed.)
pub(super) fn literal_address(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

fn port_of(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or(if url.scheme().starts_with("socks5") { 1080 } else { 80 })
}

/// The schemes of authentication that an HTTP proxy offers. The credentials that it rejected are not sent again: that
/// might lock the account.
pub(super) async fn offered_schemes(hop: Hop<'_>, target: &Url) -> Vec<String> {
    let head = tunnel(hop, target, None, MAX_TUNNEL_HEAD_BYTES).await;
    let head = String::from_utf8_lossy(&head);
    let headers = head.lines().skip(1).take_while(|line| !line.is_empty());
    let fields = headers.filter_map(|line| line.split_once(':'));
    schemes(
        fields.filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authenticate")).map(|(_, value)| value),
    )
}

/// The schemes in the values of a Proxy-Authenticate (RFC 9110, 11.6.1): the words before a space, a comma or the end that
/// do not begin a parameter.
pub(super) fn schemes<'a>(values: impl Iterator<Item = &'a str>) -> Vec<String> {
    // Commas in quoted texts separate nothing.
    let unquoted = values.map(|value| value.split('"').step_by(2).collect::<Vec<_>>().join("\"\""));
    let mut schemes: Vec<String> = Vec::new();
    for value in unquoted {
        for part in value.split(',') {
            let word = part.trim().split([' ', '\t']).next().unwrap_or_default();
            let is_scheme = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if schemes.len() == MAX_SCHEMES {
                return schemes;
            }
            if is_scheme && !schemes.iter().any(|known| known.eq_ignore_ascii_case(word)) {
                schemes.push(word.to_owned());
            }
        }
    }
    schemes
}

/// Requests a tunnel once more to learn how the proxy refuses. Nothing is sent through the tunnel.
pub(super) async fn tunnel(
    hop: Hop<'_>,
    target: &Url,
    authorization: Option<HeaderValue>,
    enough: usize,
) -> Vec<u8> {
    let authorization = authorization.as_ref().and_then(|value| value.to_str().ok());
    let authorization = authorization.map(|it| format!("Proxy-Authorization: {it}\r\n")).unwrap_or_default();
    let (host, port) = (target.host_str().unwrap_or_default(), port_of(target));
    let request = format!(
        "CONNECT {host}:{port} HTTP/1.1\r\nUser-Agent: {PRODUCT}\r\nHost: {host}:{port}\r\n{authorization}\r\n"
    );
    hop.ask(request.as_bytes(), enough).await
}

/// Asks a SOCKS proxy once more, to learn what it responds where that is nothing that the HTTP library knows.
pub(super) async fn socks(hop: Hop<'_>, proxy: &Proxy, target: &Url) -> Vec<u8> {
    // RFC 1928, section 3: the only method that is offered.
    if proxy.has_socks_credentials() {
        return hop.ask(&[5, 1, 2], 2).await;
    }
    let (host, port) = (target.host_str().unwrap_or_default(), port_of(target).to_be_bytes());
    let Ok(length) = u8::try_from(host.len()) else { return Vec::new() };
    // Section 4: the request to connect.
    hop.ask(&[&[5, 1, 0, 5, 1, 0, 3, length], host.as_bytes(), &port].concat(), 4).await
}

/// The beginning of a server's response.
pub(super) async fn first_bytes(hop: Hop<'_>, url: &Url) -> Vec<u8> {
    let (host, port) = (url.host_str().unwrap_or_default(), port_of(url));
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: {PRODUCT}\r\nConnection: close\r\n\r\n"
    );
    hop.ask(request.as_bytes(), ENOUGH_BYTES).await
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8], enough: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let work = async {
        let _ = stream.write_all(request).await;
        let mut buffer = [0; ENOUGH_BYTES];
        while bytes.len() < enough
            && memmem::find(&bytes, b"\r\n\r\n").is_none()
            && let Ok(read) = stream.read(&mut buffer).await
            && read > 0
        {
            bytes.extend_from_slice(&buffer[..read]);
        }
    };
    let _ = tokio::time::timeout(PATIENCE, work).await;
    bytes
}

pub(super) fn status(bytes: &[u8]) -> Option<u16> {
    let text = bytes.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(text.get(2..5)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use super::{first, schemes, status};

    /// Each of many addresses had an equal part of the time: too little for a slow one.
    #[test]
    fn a_slow_address_among_many_dead_ones_is_reached() {
        const PATIENCE: Duration = Duration::from_secs(4);
        let addresses: Vec<_> = (1..=8).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).collect();
        let slow = addresses[0];
        let connect = move |address| async move {
            if address != slow {
                pending::<()>().await;
            }
            tokio::time::sleep(PATIENCE / 6).await;
            Ok(())
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let reached = runtime
            .block_on(async { tokio::time::timeout(PATIENCE, first(addresses, PATIENCE, connect)).await });
        assert_eq!(reached.unwrap().unwrap(), (slow, ()));
    }

    #[test]
    fn the_schemes_of_a_challenge_are_told_from_its_parameters() {
        for (values, expected) in [
            (&["Negotiate", "NTLM"][..], &["Negotiate", "NTLM"][..]),
            (&["Negotiate, NTLM , negotiate"], &["Negotiate", "NTLM"]),
            (&["Digest realm=\"a, Basic b\", qop=\"auth,auth-int\", stale=false"], &["Digest"]),
            (&["Digest realm=\"x\", Basic realm=\"y\""], &["Digest", "Basic"]),
            (&["Negotiate YII=", "basic"], &["Negotiate", "basic"]),
            (&["", ", ,", "\"", "a b/c", "x="], &["a"]),
        ] {
            assert_eq!(schemes(values.iter().copied()), expected, "{values:?}");
        }
    }

    #[test]
    fn a_status_line_is_read() {
        for (bytes, expected) in [
            ("HTTP/1.1 403 Forbidden\r\n", Some(403)),
            ("HTTP/1.0 502\r\n", Some(502)),
            ("HTTP/1.1 4", None),
            ("HTTP/2 403", None),
            ("", None),
        ] {
            assert_eq!(status(bytes.as_bytes()), expected, "{bytes}");
        }
    }
}
