//! Which proxy leads to a host: the rules of Go's `golang.org/x/net/http/httpproxy`, which the original
//! uses through net/http. Loopback is never proxied.

use std::net::IpAddr;

use reqwest::Url;

use super::loopback::is_loopback;

/// The proxy variables. They may hold a password, so that they have no `Debug`.
#[derive(Clone, Default)]
pub struct ProxyRules {
    /// `HTTP_PROXY` or `http_proxy`, for http URLs.
    pub http: Option<String>,
    /// `HTTPS_PROXY` or `https_proxy`, for https URLs.
    pub https: Option<String>,
    /// `NO_PROXY` or `no_proxy`.
    pub except: String,
}

impl ProxyRules {
    /// The proxy for `url`, if there is one.
    ///
    /// # Errors
    /// In words, when the variable holds no proxy URL (shown without its password).
    pub fn proxy_for(&self, url: &Url) -> Result<Option<Url>, String> {
        let (variable, value) = match url.scheme() {
            "https" => ("HTTPS_PROXY", &self.https),
            _ => ("HTTP_PROXY", &self.http),
        };
        let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else { return Ok(None) };
        if !self.uses_proxy(url) {
            return Ok(None);
        }
        let known =
            |url: &Url| matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") && url.has_host();
        // Go: what has no scheme is tried as http.
        let with_scheme = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
        let parsed = Url::parse(&with_scheme).ok().filter(known);
        parsed.map(Some).ok_or_else(|| format!("{variable} holds no proxy URL; set it to http://HOST:PORT"))
    }

    fn uses_proxy(&self, url: &Url) -> bool {
        if is_loopback(url) {
            return false;
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
        let port = url.port_or_known_default().unwrap_or_default();
        let address: Option<IpAddr> = host.parse().ok();
        !self
            .except
            .split(',')
            .map(|rule| rule.trim().to_ascii_lowercase())
            .any(|rule| matches_rule(&rule, &host, address, port))
    }
}

/// Whether one entry of `NO_PROXY` speaks of this host and port.
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
    if rule_port.is_some_and(|rule_port| rule_port != port.to_string()) {
        return false;
    }
    if let Ok(rule_address) = name.parse::<IpAddr>() {
        return address == Some(rule_address);
    }
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    match name.strip_prefix('.') {
        // ".example.org" is for hosts below it only.
        Some(_) => host.ends_with(name),
        None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
    }
}

/// Host and port, as Go's `net.SplitHostPort` takes them apart; `None` where that fails. An IPv6 address
/// needs its brackets here, and must not have them without a port.
fn split_port(rule: &str) -> Option<(&str, &str)> {
    let (name, port) = rule.rsplit_once(':')?;
    match name.strip_prefix('[') {
        Some(name) => Some((name.strip_suffix(']')?, port)),
        None => (!name.contains([':', '[', ']'])).then_some((name, port)),
    }
}

fn in_network(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        (IpAddr::V6(a), IpAddr::V6(n)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(except: &str, url: &str) -> bool {
        let rules =
            ProxyRules { http: Some("p:1".into()), https: Some("http://p:2".into()), except: except.into() };
        rules.proxy_for(&url.parse().unwrap()).unwrap().is_some()
    }

    #[test]
    fn loopback_is_never_proxied() {
        for url in ["http://localhost/", "http://127.0.0.9:1/", "https://[::1]/", "http://LOCALHOST/"] {
            assert!(!proxied("", url), "{url}");
        }
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
        ] {
            assert_eq!(proxied(except, url), expected, "{except} {url}");
        }
    }

    #[test]
    fn a_proxy_without_scheme_is_http() {
        let rules = ProxyRules { http: Some("p:3128".into()), ..ProxyRules::default() };
        let url = "http://a.example/".parse().unwrap();
        assert_eq!(rules.proxy_for(&url).unwrap().unwrap().as_str(), "http://p:3128/");
        let rules = ProxyRules { http: Some("http://a b".into()), ..ProxyRules::default() };
        assert_eq!(
            rules.proxy_for(&url).unwrap_err(),
            "HTTP_PROXY holds no proxy URL; set it to http://HOST:PORT"
        );
    }
}
