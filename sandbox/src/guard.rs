//! Rejects requests from web pages: only programs on this machine may use the sandbox. A page in a browser could
//! otherwise use the sandbox's credentials, through its own name (DNS rebinding) or the sandbox's.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::uri::{Authority, Uri};

/// The reason to reject a request, if there is one.
pub(crate) fn refusal(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    if let Some(origin) = headers.get("origin") {
        return Some(format!("it has an Origin ({origin:?}): web pages are not allowed to use the sandbox"));
    }
    let mut hosts: Vec<&str> =
        headers.get_all("host").iter().map(|host| host.to_str().unwrap_or("?")).collect();
    hosts.extend(uri.authority().map(Authority::as_str));
    if hosts.is_empty() {
        return Some("it has no Host".to_owned());
    }
    let foreign = hosts.into_iter().find(|host| !is_loopback(host))?;
    Some(format!("its Host {foreign:?} is not a name or address of loopback"))
}

/// True for `localhost`, a name below it, or a loopback address, with or without a port.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => {
            if !port.bytes().all(|b| b.is_ascii_digit()) {
                return false;
            }
            name
        }
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if let Ok(address) = address.parse::<IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_names_and_addresses_of_loopback_are_accepted() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.9.8.7:1",
            "[::1]",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            "localhost",
            "LOCALHOST:80",
            "localhost.:80",
            "locate.localhost:1234",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            ":80",
            "x",
            "example.org",
            "127.0.0.1.example.org",
            "localhost.example.org",
            "notlocalhost",
            "10.0.0.1",
            "0.0.0.0",
            "[::]:80",
            "[2001:db8::1]",
            "127.0.0.1:80@example.org",
            "127.1",
            "2130706433",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
