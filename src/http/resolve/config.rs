//! `/etc/resolv.conf` (resolv.conf(5)), as Go reads it (`net/dnsconfig_unix.go`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, netdevice, socket};

const MAX_SERVERS: usize = 3;
const MAX_NDOTS: usize = 15;
/// The longest name, with its trailing dot.
pub(super) const MAX_NAME_BYTES: usize = 254;
const PORT: u16 = 53;

#[derive(Default)]
pub(super) struct Config {
    pub servers: Vec<SocketAddr>,
    /// Search domains, each with a trailing dot.
    search: Vec<String>,
    ndots: usize,
    /// The time limit for one response of one server.
    pub timeout: Duration,
    /// How often all servers are queried.
    pub attempts: usize,
    /// Do not always start with the first server.
    pub rotate: bool,
    /// Query A and AAAA one after the other.
    pub single_request: bool,
    pub tcp: bool,
}

impl Config {
    pub(super) fn parse(file: &str, hostname: &str) -> Config {
        let mut config =
            Config { ndots: 1, timeout: Duration::from_secs(5), attempts: 2, ..Config::default() };
        let mut search: Option<Vec<String>> = None;
        for line in file.lines().filter(|line| !line.starts_with([';', '#'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if config.servers.len() < MAX_SERVERS => {
                    config.servers.extend(words.next().and_then(|server| address(server, PORT)));
                }
                Some("domain") => search = words.next().map(|domain| vec![rooted(domain)]),
                Some("search") => search = Some(words.map(rooted).filter(|domain| domain != ".").collect()),
                Some("options") => words.for_each(|option| config.set(option)),
                _ => {}
            }
        }
        if config.servers.is_empty() {
            let local: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            config.servers = local.map(|address| SocketAddr::new(address, PORT)).into();
        }
        let own_domain = || hostname.split_once('.').map(|(_, domain)| rooted(domain)).into_iter().collect();
        config.search = search.unwrap_or_else(own_domain);
        config
    }

    fn set(&mut self, option: &str) {
        let (name, value) = option.split_once(':').unwrap_or((option, ""));
        let number = value.parse::<u32>().ok();
        match (name, number) {
            ("ndots", Some(n)) => self.ndots = usize::try_from(n).unwrap_or(MAX_NDOTS).min(MAX_NDOTS),
            ("timeout", Some(n)) => self.timeout = Duration::from_secs(n.max(1).into()),
            ("attempts", Some(n)) => self.attempts = usize::try_from(n).unwrap_or(usize::MAX).max(1),
            ("rotate", _) => self.rotate = true,
            ("single-request" | "single-request-reopen", _) => self.single_request = true,
            ("use-vc" | "usevc" | "tcp", _) => self.tcp = true,
            _ => {}
        }
    }

    /// The fully qualified names to query for `host`, in order.
    pub(super) fn names(&self, host: &str) -> Vec<String> {
        if host.ends_with('.') {
            return vec![host.to_owned()];
        }
        let given = rooted(host);
        let has_enough_dots = host.bytes().filter(|byte| *byte == b'.').count() >= self.ndots;
        let searched = self.search.iter().map(|domain| format!("{given}{domain}"));
        let mut names: Vec<String> = searched.filter(|name| name.len() <= MAX_NAME_BYTES).collect();
        names.insert(if has_enough_dots { 0 } else { names.len() }, given);
        names
    }
}

fn rooted(domain: &str) -> String {
    format!("{}.", domain.trim_end_matches('.'))
}

/// An address; a link-local one has its interface after `%`.
pub(super) fn address(text: &str, port: u16) -> Option<SocketAddr> {
    let Some((address, interface)) = text.split_once('%') else {
        return Some(SocketAddr::new(text.parse().ok()?, port));
    };
    let scope_id = scope_id(interface)?;
    Some(SocketAddrV6::new(address.parse().ok()?, port, 0, scope_id).into())
}

/// The index of a network interface that is given by its name or, as in Go, by this index.
fn scope_id(interface: &str) -> Option<u32> {
    let by_name = || netdevice::name_to_index(any_socket()?, interface).ok();
    by_name().or_else(|| interface.parse().ok())
}

/// The name of such an interface; what was given if there is none.
pub(in crate::http) fn interface_name(given: &str) -> String {
    let name = || netdevice::index_to_name(any_socket()?, scope_id(given)?).ok();
    name().unwrap_or_else(|| given.to_owned())
}

fn any_socket() -> Option<OwnedFd> {
    socket(AddressFamily::INET6, SocketType::DGRAM, None).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_means_the_local_servers_and_the_own_domain() {
        let config = Config::parse("", "me.corp.example");
        assert_eq!(config.servers, ["127.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
        assert_eq!(config.names("a"), ["a.corp.example.", "a."]);
        assert_eq!((config.timeout.as_secs(), config.attempts), (5, 2));
    }

    #[test]
    fn options_and_search_domains_count() {
        let file = "# comment\nnameserver 10.0.0.1\nnameserver fe80::1%lo\nnameserver nonsense\n\
                    domain old.example\nsearch a.example b.example.\n\
                    options ndots:2 timeout:0 attempts:3 rotate use-vc edns0\nnonsense\n";
        let config = Config::parse(file, "");
        assert_eq!(config.servers.len(), 2);
        assert_eq!(config.names("x.y"), ["x.y.a.example.", "x.y.b.example.", "x.y."]);
        assert_eq!(config.names("x.y.z"), ["x.y.z.", "x.y.z.a.example.", "x.y.z.b.example."]);
        assert_eq!(config.names("x."), ["x."]);
        assert_eq!((config.timeout.as_secs(), config.attempts), (1, 3));
        assert!(config.rotate && config.tcp && !config.single_request);
    }
}
