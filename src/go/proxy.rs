//! Chooses the proxy for a host like `httpproxy/proxy.go` of `golang.org/x/net/http` v0.62.0, which the original uses
//! through `net/http`.

use std::borrow::Cow;
use std::net::IpAddr;

use reqwest::Url;

/// True if the host of the URL is this machine. Go never uses a proxy for such a host.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// True if a resolver can accept the host of `url`. The URL standard allows more, such as a variable that a
/// configuration file did not expand, or nothing between two dots; the HTTP library would then connect elsewhere.
pub(crate) fn has_sound_host(url: &Url) -> bool {
    let is_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(is_byte);
    let is_sound = |host: &str| host.strip_suffix('.').unwrap_or(host).split('.').all(is_label);
    // An address is not a domain.
    url.has_host() && url.domain().is_none_or(is_sound)
}

/// Parses the URL of a proxy (`parseProxy`). http is assumed if there is no scheme.
pub(crate) fn parse(value: &str) -> Option<Url> {
    // The parser would drop them silently.
    if value.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return None;
    }
    let with_scheme = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    let url = Url::parse(&with_scheme).ok()?;
    let is_known = matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") && has_sound_host(&url);
    // The text before this `@` was meant to be the user and password; `#`, `/`, `?` or `\` ended it early.
    let rest = [Some(url.path()), url.query(), url.fragment()];
    let is_cut = rest.into_iter().flatten().any(|part| part.contains('@'));
    (is_known && !is_cut).then_some(url)
}

/// True if a proxy is used for `url` with this `NO_PROXY` (`useProxy`).
pub(crate) fn uses_proxy(url: &Url, except: &str) -> bool {
    if is_loopback(url) {
        return false;
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
    let port = url.port_or_known_default().unwrap_or_default();
    // For Go, an IPv4 address is the same however it is written (`net.IP.Equal`).
    let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    !except
        .split(',')
        .map(|rule| rule.trim().to_ascii_lowercase())
        .any(|rule| matches_rule(&rule, &host, address, port))
}

/// True if an entry of `NO_PROXY` matches this host and port (`config.init` and its matchers).
fn matches_rule(rule: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if rule.is_empty() {
        return false;
    }
    if rule == "*" {
        return true;
    }
    if let Some((network, bits)) = rule.split_once('/')
        && let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>())
    {
        return address.is_some_and(|address| in_network(address, network, bits));
    }
    let (name, rule_port) = match split_port(rule) {
        Some(("", _)) => return false,
        Some((name, rule_port)) => (name, Some(rule_port)),
        None => (rule, None),
    };
    if rule_port.is_some_and(|rule_port| !rule_port.is_empty() && rule_port != port.to_string()) {
        return false;
    }
    let rule_address = name.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    // A rule for names matches no address: ".9" is not for 10.9.9.9.
    if address.is_some() || rule_address.is_some() {
        return address == rule_address;
    }
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    // ".example.org" matches only hosts below it.
    let (is_for_host, name) = name.strip_prefix('.').map_or((true, name), |below| (false, below));
    let name = in_ascii(name);
    (is_for_host && host == name) || host.strip_suffix(name.as_ref()).is_some_and(|rest| rest.ends_with('.'))
}

/// An international host name as the parser of URLs writes it (`idnaASCII`).
fn in_ascii(name: &str) -> Cow<'_, str> {
    let parsed = || Url::parse(&format!("http://{name}/")).ok()?.host_str().map(str::to_owned);
    if name.is_ascii() { name.into() } else { parsed().map_or(name.into(), Cow::Owned) }
}

/// Host and port, split as by `net.SplitHostPort`; `None` if that fails. An IPv6 address needs brackets if there is a
/// port, and must not have any without one.
fn split_port(rule: &str) -> Option<(&str, &str)> {
    let (name, port) = rule.rsplit_once(':')?;
    match name.strip_prefix('[') {
        Some(name) => Some((name.strip_suffix(']')?, port)),
        None => (!name.contains([':', '[', ']'])).then_some((name, port)),
    }
}

fn in_network(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (network, bits) = match network.to_canonical() {
        // The bits of the IPv6 form count the 96 in front, too.
        v4 @ IpAddr::V4(_) if network.is_ipv6() => (v4, bits.checked_sub(96).unwrap_or(u32::MAX)),
        _ => (network, bits),
    };
    let (width, differing) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (u32::BITS, u128::from(a.to_bits() ^ n.to_bits())),
        (IpAddr::V6(a), IpAddr::V6(n)) => (u128::BITS, a.to_bits() ^ n.to_bits()),
        _ => return false,
    };
    bits <= width && differing.checked_shr(width - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses_proxy_for(except: &str, url: &str) -> bool {
        uses_proxy(&url.parse().unwrap(), except)
    }

    #[test]
    fn no_proxy_has_the_meaning_it_has_in_go() {
        for (except, url, expected) in [
            ("", "http://a.example/", true),
            ("*", "http://a.example/", false),
            ("example", "http://a.example/", false),
            ("example", "http://example/", false),
            (".example", "http://example/", true),
            ("*.example", "http://a.example/", false),
            ("ample", "http://a.example/", true),
            ("a.example:81", "http://a.example/", true),
            ("a.example:80", "http://a.example/", false),
            ("a.example:443, b", "https://a.example/", false),
            ("10.0.0.0/8", "http://10.1.2.3/", false),
            ("10.0.0.0/8", "http://11.1.2.3/", true),
            ("0.0.0.0/0", "http://11.1.2.3/", false),
            ("10.1.2.3", "http://10.1.2.3/", false),
            ("[2001:db8::1]:80", "http://[2001:db8::1]/", false),
            ("2001:db8::/32", "http://[2001:db8::1]/", false),
            ("bücher.example", "http://bücher.example/", false),
            (".bücher.example", "http://bücher.example/", true),
            ("*.bücher.example", "http://a.bücher.example/", false),
            ("10.1.2.3:", "http://10.1.2.3/", false),
            ("2.3", "http://10.1.2.3/", true),
            (".3", "http://10.1.2.3/", true),
            ("a.example:", "https://a.example/", false),
            ("::ffff:10.0.0.0/104", "http://10.1.2.3/", false),
            ("::ffff:10.0.0.0/104", "http://11.1.2.3/", true),
            ("::ffff:10.0.0.0/80", "http://10.1.2.3/", true),
            ("::ffff:10.1.2.3", "http://10.1.2.3/", false),
            ("10.0.0.0/8", "http://[::ffff:10.1.2.3]/", false),
        ] {
            assert_eq!(uses_proxy_for(except, url), expected, "{except} {url}");
        }
    }
}
