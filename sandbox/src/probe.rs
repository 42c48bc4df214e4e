//! `monitoring-sandbox probe URL`: a minimal client. It opens the WebSocket of a service URL, and succeeds if the
//! target accepts the token.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use url::Url;

const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes the handshake and returns the target's status line.
///
/// # Errors
/// Says why the handshake failed, or that the target did not accept the token.
pub fn probe(url: &str) -> Result<String, String> {
    let url = Url::parse(url).map_err(|error| format!("no URL: {error}"))?;
    if !matches!(url.scheme(), "ws" | "http") {
        return Err(format!("the probe speaks ws and http, not {}", url.scheme()));
    }
    let default_port = || Some(80);
    let address = url.socket_addrs(default_port).map_err(|error| error.to_string())?;
    let status = handshake(&url, &address).map_err(|error| format!("no answer: {error}"))?;
    let accepted = status.split(' ').nth(1).is_some_and(|code| code == "101" || code == "200");
    if accepted { Ok(status) } else { Err(format!("the target refused: {status}")) }
}

fn handshake(url: &Url, addresses: &[std::net::SocketAddr]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addresses)?;
    stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
    let host = url.host_str().unwrap_or_default();
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2FuZGJveC1wcm9iZS1rZXk=\r\n\
         Sec-WebSocket-Protocol: net.measurementlab.ndt.v7\r\n\r\n"
    )?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}
