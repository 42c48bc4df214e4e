//! Queries a proxy or a server once more when the HTTP library does not explain its refusal. The query requests
//! nothing, and the response is only inspected. It happens after a failure, so it does not slow down successful runs.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::attempt::PRODUCT;
use super::cause::{Broken, Cause, SocksRefusal};
use super::proxy::Proxy;

const PATIENCE: Duration = Duration::from_secs(1);
/// How many bytes of a response suffice to detect its status or protocol.
const ENOUGH_BYTES: usize = 64;

#[derive(Clone, Copy)]
pub(super) struct Hop<'a> {
    pub url: &'a Url,
    /// The addresses that it resolved to.
    pub addresses: &'a [IpAddr],
}

/// The address in a URL without a host name. (The hosts of `socks5://` are not parsed.)
pub(super) fn literal_address(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

fn port_of(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or(if url.scheme().starts_with("socks5") { 1080 } else { 80 })
}

pub(super) async fn connect(hop: Hop<'_>) -> io::Result<TcpStream> {
    let literal = literal_address(hop.url);
    let addresses = literal.iter().chain(hop.addresses).map(|ip| SocketAddr::new(*ip, port_of(hop.url)));
    let addresses: Vec<SocketAddr> = addresses.collect();
    let timed_out = || io::Error::from(io::ErrorKind::TimedOut);
    tokio::time::timeout(PATIENCE, TcpStream::connect(&addresses[..])).await.unwrap_or(Err(timed_out()))
}

/// Requests a tunnel once more to learn how the proxy refuses. Nothing is sent through the tunnel.
pub(super) async fn ask_for_tunnel(
    hop: Hop<'_>,
    proxy: &Proxy,
    target: &Url,
    tls: Option<ClientConfig>,
) -> Option<Cause> {
    let authority = format!("{}:{}", target.host_str()?, port_of(target));
    let authorization = proxy.authorization().unwrap_or_default();
    let request = format!(
        "CONNECT {authority} HTTP/1.1\r\nUser-Agent: {PRODUCT}\r\nHost: {authority}\r\n{authorization}\r\n"
    );
    let bytes = ask(hop, tls, request.as_bytes(), ENOUGH_BYTES).await?;
    if let Some(broken) = Broken::by_first_bytes(&bytes) {
        return Some(Cause::Tunnel(broken));
    }
    status(&bytes).map(|status| Cause::TunnelRefused(Some(status)))
}

/// Asks a SOCKS proxy once more, to learn what it responds where that is nothing that the HTTP library knows.
pub(super) async fn ask_socks(hop: Hop<'_>, proxy: &Proxy, target: &Url) -> Option<SocksRefusal> {
    let (host, port) = (target.host_str()?, port_of(target).to_be_bytes());
    // RFC 1928, sections 3 and 4: the only method that is offered, and the request to connect.
    let (greeting, connect) = ([5, 1], [5, 1, 0, 3, u8::try_from(host.len()).ok()?]);
    let (request, enough) = if proxy.has_socks_credentials() {
        ([&greeting[..], &[2]].concat(), 2)
    } else {
        ([&greeting[..], &[0], &connect, host.as_bytes(), &port].concat(), 4)
    };
    let why = match ask(hop, None, &request, enough).await?[..] {
        [b'H', b'T', ..] => "it speaks HTTP, not SOCKS5",
        [5, 1, ..] => "it requires GSSAPI authentication, which is not supported",
        [5, 3..=0xfe, ..] => "it requires an authentication method that is not supported",
        [5, 0, 5, code @ 9..=0xff, ..] => {
            let why = format!("it refused with the unknown SOCKS5 reply code {code}");
            return Some(SocksRefusal::Because(why.into(), false));
        }
        _ => return None,
    };
    Some(SocksRefusal::Because(why.into(), false))
}

pub(super) async fn first_bytes(hop: Hop<'_>, url: &Url, tls: Option<ClientConfig>) -> Option<Vec<u8>> {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {}:{}\r\nUser-Agent: {PRODUCT}\r\nConnection: close\r\n\r\n",
        url.host_str()?,
        port_of(url)
    );
    ask(hop, tls, request.as_bytes(), ENOUGH_BYTES).await
}

/// Sends a request, perhaps over TLS, and gives the beginning of what comes back.
async fn ask(hop: Hop<'_>, tls: Option<ClientConfig>, request: &[u8], enough: usize) -> Option<Vec<u8>> {
    let stream = connect(hop).await.ok()?;
    let Some(tls) = tls else { return Some(exchange(stream, request, enough).await) };
    let name = hop.url.host_str()?.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(name).ok()?;
    let handshake = TlsConnector::from(Arc::new(tls)).connect(name, stream);
    let stream = tokio::time::timeout(PATIENCE, handshake).await.ok()?.ok()?;
    Some(exchange(stream, request, enough).await)
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8], enough: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let work = async {
        let _ = stream.write_all(request).await;
        let mut buffer = [0; ENOUGH_BYTES];
        while bytes.len() < enough
            && let Ok(read) = stream.read(&mut buffer).await
            && read > 0
        {
            bytes.extend_from_slice(&buffer[..read]);
        }
    };
    let _ = tokio::time::timeout(PATIENCE, work).await;
    bytes
}

fn status(bytes: &[u8]) -> Option<u16> {
    let text = bytes.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(text.get(2..5)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::status;

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
