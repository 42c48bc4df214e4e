//! Resolves host names from `/etc/hosts`, then from DNS as configured in `/etc/resolv.conf`, by the rules of Go's
//! resolver.
//!
//! The C library's resolver is not used: in a static binary it loads the NSS modules of the system, and modules built
//! for another glibc crash the process (SIGFPE, SIGABRT). It also blocks a thread, whereas this resolver can be dropped
//! as soon as a signal comes or the time is up.

mod config;
mod query;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;

pub(super) use config::interface_name;
use config::{Config, address};
pub(super) use query::QueryError;

use super::attempt::{Phase, Progress};
use crate::failure::is_out_of_resources;

const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct LookupError {
    pub host: String,
    pub why: QueryError,
}

pub(super) struct Resolver(pub Arc<Progress>);

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let progress = Arc::clone(&self.0);
        Box::pin(async move {
            let mut addresses = progress.take_known();
            if addresses.is_empty() {
                progress.note(|attempt| attempt.phase = Phase::Lookup);
                addresses = look_up(name.as_str()).await?;
            }
            progress.begin(Phase::Connect, addresses.clone());
            Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// The addresses of `host` with the port 0, the preferred ones first.
pub(crate) async fn look_up(host: &str) -> Result<Vec<SocketAddr>, LookupError> {
    resolve(host).await.map_err(|why| LookupError { host: host.to_owned(), why })
}

async fn resolve(host: &str) -> Result<Vec<SocketAddr>, QueryError> {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let known = listed(&read(Path::new("/etc/hosts"))?, &name);
    if !known.is_empty() {
        return Ok(known);
    }
    // Special names (RFC 6761, sections 6.3 and 6.4; RFC 7686) are never queried.
    match name.rsplit('.').next().unwrap_or_default() {
        "localhost" => {
            let local: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            return Ok(local.map(without_port).into());
        }
        "invalid" | "onion" | "" => return Err(QueryError::NoSuchHost),
        _ => {}
    }
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let config = Config::parse(&read(Path::new("/etc/resolv.conf"))?, &hostname);
    let mut failure = None;
    for name in config.names(host) {
        match query::addresses(&config, &name).await {
            Ok((v4, v6)) => return Ok(ordered(v4, v6).into_iter().map(without_port).collect()),
            // The error of the original name says more than the one with a search domain.
            Err(error @ QueryError::Exhausted(_)) => return Err(error),
            Err(error) => {
                let is_given = name.trim_end_matches('.') == host.trim_end_matches('.');
                if failure.is_none() || is_given {
                    failure = Some(error);
                }
            }
        }
    }
    Err(failure.unwrap_or(QueryError::NoSuchHost))
}

fn without_port(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, 0)
}

/// The addresses of `name` in `/etc/hosts` (hosts(5)); the name must be in lower case without a trailing dot.
fn listed(file: &str, name: &str) -> Vec<SocketAddr> {
    let lists = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        words.any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name))
    };
    let lines = file.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.filter(lists).filter_map(|line| address(line.split_whitespace().next()?, 0)).collect()
}

/// Reads a file that may be missing.
fn read(path: &Path) -> Result<String, QueryError> {
    use io::Read as _;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
    match read {
        Err(error) if is_out_of_resources(&error) => Err(error.into()),
        // As in Go, an unreadable file counts as empty.
        _ => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// True if this machine has a route to the address. Nothing is sent.
fn has_route(address: &IpAddr) -> bool {
    UdpSocket::bind(any_port(*address)).and_then(|socket| socket.connect((*address, 53))).is_ok()
}

/// Any port of this machine, for a socket that talks to `peer`.
fn any_port(peer: IpAddr) -> SocketAddr {
    let any: IpAddr = match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(any, 0)
}

/// IPv6 comes first if this machine has a route for it (RFC 6724, rule 1).
fn ordered(v4: Vec<IpAddr>, v6: Vec<IpAddr>) -> Vec<IpAddr> {
    match v6.first() {
        Some(first) if v4.is_empty() || has_route(first) => v6.into_iter().chain(v4).collect(),
        _ => v4.into_iter().chain(v6).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn all_lines_with_the_name_count() {
        let file = "127.0.0.1\tlocalhost # loopback\n10.0.0.1 a.example A\n#10.0.0.2 a\nnonsense a\n\
                    2001:db8::1 b a.\r\n10.0.0.3\n10.0.0.4 ab";
        let found = |name| listed(file, name).iter().map(|it| it.ip().to_string()).collect::<Vec<_>>();
        assert_eq!(found("a"), ["10.0.0.1", "2001:db8::1"]);
        assert_eq!(found("localhost"), ["127.0.0.1"]);
        assert_eq!(found("loopback"), Vec::<String>::new());
    }
}
