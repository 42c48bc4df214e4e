//! Queries DNS servers over UDP and TCP (RFC 1035, section 4), and reads their responses as Go's resolver does
//! (`net/dnsclient_unix.go`): of a response, only what is needed has to be valid.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::config::{Config, MAX_NAME_BYTES};
use super::{any_port, has_route};
use crate::failure::{io_words, is_out_of_resources, system_error};

/// How long a lookup waits for one server, or for the other family, alone. The deletion of a token has five seconds.
const PATIENCE: Duration = Duration::from_secs(1);
const A: u16 = 1;
const AAAA: u16 = 28;
const HEADER_BYTES: usize = 12;
/// Flags in the third and fourth byte of the header.
const RESPONSE: u8 = 0x80;
const AUTHORITATIVE: u8 = 4;
const TRUNCATED: u8 = 2;
const RECURSION_AVAILABLE: u8 = 0x80;
const MAX_LABEL_BYTES: usize = 63;
/// An OPT record (RFC 6891) that announces room for 1232 bytes, as Go's does (dnsflagday.net/2020).
const EDNS: [u8; 11] = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
/// Some servers send more than was announced.
const MAX_UDP_BYTES: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    #[error("no such host")]
    NoSuchHost,
    /// It exists, but has no address.
    #[error("it has no IPv4 or IPv6 address")]
    NoAddress,
    #[error("it is not a valid host name")]
    NotAName,
    #[error("the DNS server {} did not respond", .0.ip())]
    NoAnswer(SocketAddr),
    #[error("the DNS server {} returned {}", .0.ip(), .1)]
    Refused(SocketAddr, &'static str),
    #[error("the DNS server {} sent an invalid response", .0.ip())]
    Garbled(SocketAddr),
    /// No server can be asked.
    #[error("the DNS server cannot be reached: {}", system_error(.0).to_lowercase())]
    Io(io::Error),
    /// This machine has no descriptor or memory left, so another name cannot help, either.
    #[error("{}", io_words(.0))]
    Exhausted(io::Error),
}

impl From<io::Error> for QueryError {
    fn from(error: io::Error) -> QueryError {
        if is_out_of_resources(&error) { QueryError::Exhausted(error) } else { QueryError::Io(error) }
    }
}

impl QueryError {
    /// True if another server cannot help.
    fn is_final(&self) -> bool {
        use QueryError::{Exhausted, NoAddress, NoSuchHost, NotAName};
        matches!(self, NoSuchHost | NoAddress | NotAName | Exhausted(_))
    }
}

/// The addresses of a fully qualified name: at least one, IPv4 or IPv6.
pub(super) async fn addresses(config: &Config, name: &str) -> Result<(Vec<IpAddr>, Vec<IpAddr>), QueryError> {
    let (mut v4, mut v6) = (pin!(ask_all(config, name, A)), pin!(ask_all(config, name, AAAA)));
    let (v4, v6) = tokio::select! {
        biased;
        v4 = &mut v4 => {
            let v6 = beside(&v4, v6).await;
            (v4, v6)
        }
        v6 = &mut v6, if !config.single_request => {
            let v4 = beside(&v6, v4).await;
            (v4, v6)
        }
    };
    match (v4, v6) {
        // One address family suffices. Some servers deny for the other that the name exists (RFC 4074, 4.2).
        (Ok(v4), v6) => Ok((v4, v6.unwrap_or_default())),
        (Err(_), Ok(v6)) => Ok((Vec::new(), v6)),
        (Err(QueryError::NoSuchHost), _) | (_, Err(QueryError::NoSuchHost)) => Err(QueryError::NoSuchHost),
        (Err(QueryError::NoAddress), Err(error)) | (Err(error), Err(_)) => Err(error),
    }
}

/// The other family. A server or firewall that ignores its queries does not hold up a lookup that has found an address
/// with a route (RFC 8305, section 3).
async fn beside(
    found: &Result<Vec<IpAddr>, QueryError>,
    mut other: Pin<&mut impl Future<Output = Result<Vec<IpAddr>, QueryError>>>,
) -> Result<Vec<IpAddr>, QueryError> {
    match timeout(PATIENCE, &mut other).await {
        Ok(other) => other,
        Err(_) if found.as_ref().is_ok_and(|found| found.iter().any(has_route)) => Err(QueryError::NoAddress),
        Err(_) => other.await,
    }
}

/// Asks the servers in turn, the next one after an error or [`PATIENCE`], and takes the first address. A server's denial
/// counts once those in front of it have failed: they may know names that it does not. All of them together have as
/// long as in Go, which waits for each.
async fn ask_all(config: &Config, name: &str, kind: u16) -> Result<Vec<IpAddr>, QueryError> {
    let servers = config.servers.len();
    let first = if config.rotate { fastrand::usize(..servers) } else { 0 };
    let tries = config.attempts.saturating_mul(servers);
    let whole = config.timeout.saturating_mul(u32::try_from(tries).unwrap_or(u32::MAX));
    let (mut asked, mut failure) = (JoinSet::new(), QueryError::NoSuchHost);
    let (began, tcp) = (Instant::now(), config.tcp);
    // The queries to each server that wait for a response, and the first server that denied the name.
    let (mut open, mut denier) = (vec![0; servers], None);
    for number in 0..tries {
        let is_last = number + 1 == tries;
        let place = number % servers;
        let server = config.servers[(first + place) % servers];
        // A few servers and home routers refuse or drop queries with EDNS.
        let query = Query::new(name, kind, number < servers)?;
        let limit = if is_last { whole.saturating_sub(began.elapsed()) } else { config.timeout };
        open[place] += 1;
        asked.spawn(async move {
            let answer = timeout(limit, query.ask(tcp, server)).await;
            (place, answer.unwrap_or(Err(QueryError::NoAnswer(server))))
        });
        let mut patience = if is_last { Duration::MAX } else { PATIENCE };
        while let Ok(Some(Ok((place, answer)))) = timeout(patience, asked.join_next()).await {
            open[place] -= 1;
            let error = match answer {
                Ok(addresses) => return Ok(addresses),
                Err(error) => error,
            };
            if error.is_final() && denier.is_none_or(|denier| place <= denier) {
                (denier, failure) = (Some(place), error);
            } else if denier.is_none() {
                failure = error;
            }
            match denier {
                Some(denier) if open[..denier].iter().all(|open| *open == 0) => return Err(failure),
                Some(_) => patience = Duration::MAX,
                None if is_last => {}
                None => break,
            }
        }
    }
    Err(failure)
}

struct Query {
    kind: u16,
    message: Vec<u8>,
    question_end: usize,
}

impl Query {
    /// A query with a random ID that asks for recursion.
    fn new(name: &str, kind: u16, has_edns: bool) -> Result<Query, QueryError> {
        let name = name.trim_end_matches('.');
        let is_label = |label: &str| (1..=MAX_LABEL_BYTES).contains(&label.len());
        if name.len() >= MAX_NAME_BYTES || !name.split('.').all(is_label) {
            return Err(QueryError::NotAName);
        }
        let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, has_edns.into()];
        crate::random::fill(&mut message[..2]).map_err(|why| QueryError::Io(io::Error::other(why)))?;
        for label in name.split('.').chain([""]) {
            message.extend(u8::try_from(label.len()));
            message.extend(label.bytes());
        }
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]); // class IN
        let question_end = message.len();
        if has_edns {
            message.extend(EDNS);
        }
        Ok(Query { kind, message, question_end })
    }

    async fn ask(&self, tcp: bool, server: SocketAddr) -> Result<Vec<IpAddr>, QueryError> {
        use io::ErrorKind::{ConnectionRefused, ConnectionReset, UnexpectedEof};
        let reach = |error: io::Error| match error.kind() {
            // The port is closed (over UDP, an ICMP message arrived), or the server does not serve this client.
            ConnectionRefused | ConnectionReset | UnexpectedEof => QueryError::NoAnswer(server),
            _ => error.into(),
        };
        if !tcp {
            let response = self.over_udp(server).await.map_err(reach)?;
            // A truncated response is not read any further: it may end anywhere.
            if response[2] & TRUNCATED == 0 {
                return self.read(&response, server);
            }
        }
        let response = self.over_tcp(server).await.map_err(reach)?;
        // A response that is truncated even here is used as it is.
        if self.is_answered_by(&response) {
            self.read(&response, server)
        } else {
            Err(QueryError::Garbled(server))
        }
    }

    async fn over_udp(&self, server: SocketAddr) -> io::Result<Vec<u8>> {
        let socket = UdpSocket::bind(any_port(server.ip())).await?;
        socket.connect(server).await?;
        socket.send(&self.message).await?;
        let mut buffer = vec![0; MAX_UDP_BYTES];
        loop {
            let length = socket.recv(&mut buffer).await?;
            // Anything else may be a forgery.
            if self.is_answered_by(&buffer[..length]) {
                buffer.truncate(length);
                return Ok(buffer);
            }
        }
    }

    async fn over_tcp(&self, server: SocketAddr) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(self.message.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &self.message].concat()).await?;
        let mut response = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut response).await?;
        Ok(response)
    }

    /// True for a response with the ID and the question of this query.
    fn is_answered_by(&self, message: &[u8]) -> bool {
        let (header, question) = self.message[..self.question_end].split_at(HEADER_BYTES);
        message.get(HEADER_BYTES..self.question_end).is_some_and(|it| it.eq_ignore_ascii_case(question))
            && (&message[..2], &message[4..6]) == (&header[..2], &header[4..6])
            && message[2] & RESPONSE != 0
    }

    /// The addresses in a response to this query.
    fn read(&self, response: &[u8], server: SocketAddr) -> Result<Vec<IpAddr>, QueryError> {
        let refused = |name| Err(QueryError::Refused(server, name));
        let answers = u16::from_be_bytes([response[6], response[7]]);
        match response[3] & 0xf {
            // The server neither knows the name nor looks it up, so another one may, as in Go and glibc.
            0 if answers == 0
                && response[2] & AUTHORITATIVE == 0
                && response[3] & RECURSION_AVAILABLE == 0 =>
            {
                return refused("a referral instead of an address");
            }
            0 => {}
            1 => return refused("FORMERR"),
            2 => return refused("SERVFAIL"),
            3 => return Err(QueryError::NoSuchHost),
            4 => return refused("NOTIMP"),
            5 => return refused("REFUSED"),
            _ => return refused("an error"),
        }
        let mut rest = &response[self.question_end..];
        let mut found: Vec<IpAddr> = Vec::new();
        for _ in 0..answers {
            let Some((kind, data)) = take_record(&mut rest) else {
                // The addresses before a broken record count.
                return if found.is_empty() { Err(QueryError::Garbled(server)) } else { Ok(found) };
            };
            match kind {
                A if self.kind == A => found.extend(data.first_chunk::<4>().map(|it| IpAddr::from(*it))),
                AAAA if self.kind == AAAA => {
                    found.extend(data.first_chunk::<16>().map(|it| IpAddr::from(*it)));
                }
                _ => {}
            }
        }
        if found.is_empty() { Err(QueryError::NoAddress) } else { Ok(found) }
    }
}

/// Takes a resource record from the front, and gives its type and its data.
fn take_record<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    // The name ends with an empty label or with a pointer of two bytes.
    loop {
        match usize::from(*rest.split_off_first()?) {
            0 => break,
            length @ 1..=MAX_LABEL_BYTES => drop(rest.split_off(..length)?),
            0xc0.. => {
                rest.split_off_first()?;
                break;
            }
            _ => return None,
        }
    }
    // Type, class and time to live.
    let fixed = rest.split_off(..8)?;
    let length = rest.split_off(..2)?;
    let data = rest.split_off(..u16::from_be_bytes([length[0], length[1]]).into())?;
    Some((u16::from_be_bytes([fixed[0], fixed[1]]), data))
}
