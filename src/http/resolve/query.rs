//! Queries DNS servers over UDP and TCP (RFC 1035, section 4.2).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::config::Config;
use crate::failure::{io_words, is_out_of_resources, system_error};

/// More than servers send over UDP to a client that does not announce a larger buffer; some send more than 512 bytes
/// anyway.
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
    let (v4, v6) = if config.single_request {
        (ask_all(config, name, TYPE::A).await, ask_all(config, name, TYPE::AAAA).await)
    } else {
        tokio::join!(ask_all(config, name, TYPE::A), ask_all(config, name, TYPE::AAAA))
    };
    match (v4, v6) {
        // One address family suffices. Some servers deny for the other that the name exists (RFC 4074, 4.2).
        (Ok(v4), v6) => Ok((v4, v6.unwrap_or_default())),
        (Err(_), Ok(v6)) => Ok((Vec::new(), v6)),
        (Err(QueryError::NoSuchHost), _) | (_, Err(QueryError::NoSuchHost)) => Err(QueryError::NoSuchHost),
        (Err(QueryError::NoAddress), Err(error)) | (Err(error), Err(_)) => Err(error),
    }
}

async fn ask_all(config: &Config, name: &str, kind: TYPE) -> Result<Vec<IpAddr>, QueryError> {
    let first = if config.rotate { fastrand::usize(..config.servers.len()) } else { 0 };
    let mut failure = QueryError::NoSuchHost;
    for _ in 0..config.attempts {
        for at in 0..config.servers.len() {
            let server = config.servers[(first + at) % config.servers.len()];
            let answer = tokio::time::timeout(config.timeout, ask(config.tcp, server, name, kind));
            match answer.await.unwrap_or(Err(QueryError::NoAnswer(server))) {
                Ok(addresses) => return Ok(addresses),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => failure = error,
            }
        }
    }
    Err(failure)
}

async fn ask(tcp: bool, server: SocketAddr, name: &str, kind: TYPE) -> Result<Vec<IpAddr>, QueryError> {
    let mut id = [0; 2];
    crate::random::fill(&mut id).map_err(|why| QueryError::Io(io::Error::other(why)))?;
    let id = u16::from_be_bytes(id);
    let question = question(id, name, kind).ok_or(QueryError::NotAName)?;
    let reach = |error: io::Error| match error.kind() {
        // The port is closed: an ICMP message arrived.
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => QueryError::NoAnswer(server),
        _ => error.into(),
    };
    if !tcp {
        let answer = over_udp(server, id, &question).await.map_err(reach)?;
        if let Some(addresses) = read(&answer, server, id, kind)? {
            return Ok(addresses);
        }
    }
    let answer = over_tcp(server, &question).await.map_err(reach)?;
    // A response that is truncated even here is used as it is.
    read(&answer, server, id, kind)?.ok_or(QueryError::Garbled(server))
}

fn question(id: u16, name: &str, kind: TYPE) -> Option<Vec<u8>> {
    let name = Name::new(name.trim_end_matches('.')).ok()?;
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec().ok()
}

async fn over_udp(server: SocketAddr, id: u16, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; MAX_UDP_BYTES];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // A response to another query is ignored.
        if buffer[..length].starts_with(&id.to_be_bytes()) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], question].concat()).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// The addresses in a response; `None` if it is truncated.
fn read(answer: &[u8], server: SocketAddr, id: u16, kind: TYPE) -> Result<Option<Vec<IpAddr>>, QueryError> {
    let packet = Packet::parse(answer).map_err(|_| QueryError::Garbled(server))?;
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) {
        return Err(QueryError::Garbled(server));
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Ok(None);
    }
    let refused = |name| Err(QueryError::Refused(server, name));
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Err(QueryError::NoSuchHost),
        RCODE::ServerFailure => return refused("SERVFAIL"),
        RCODE::Refused => return refused("REFUSED"),
        RCODE::FormatError => return refused("FORMERR"),
        RCODE::NotImplemented => return refused("NOTIMP"),
        _ => return refused("an error"),
    }
    let found: Vec<IpAddr> = packet
        .answers
        .iter()
        .filter_map(|record| match &record.rdata {
            RData::A(a) if kind == TYPE::A => Some(IpAddr::V4(a.address.into())),
            RData::AAAA(aaaa) if kind == TYPE::AAAA => Some(IpAddr::V6(aaaa.address.into())),
            _ => None,
        })
        .collect();
    // The server neither knows the name nor looks it up, so another one may, as in Go and glibc.
    let is_referral = packet.answers.is_empty()
        && packet.additional_records.is_empty()
        && packet.opt().is_none()
        && !packet.has_flags(PacketFlag::AUTHORITATIVE_ANSWER)
        && !packet.has_flags(PacketFlag::RECURSION_AVAILABLE);
    if is_referral {
        return refused("a referral instead of an address");
    }
    if found.is_empty() { Err(QueryError::NoAddress) } else { Ok(Some(found)) }
}
