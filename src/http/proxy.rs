//! Which proxy leads to a host: the rules of Go's `golang.org/x/net/http/httpproxy`, which the original
//! uses through net/http. Loopback is never proxied.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::Url;

use super::loopback::is_loopback;
use crate::secret::redact_url;

/// A variable as it was found. It may hold a password, so that it has no `Debug`.
#[derive(Clone)]
pub struct Setting {
    /// The variable's name, in the case in which it was set.
    pub name: &'static str,
    /// Its value, not empty.
    pub value: String,
}

/// The proxy variables. They may hold a password, so that they have no `Debug`.
#[derive(Clone, Default)]
pub struct ProxyRules {
    /// `HTTP_PROXY` or `http_proxy`, for http URLs.
    pub http: Option<Setting>,
    /// `HTTPS_PROXY` or `https_proxy`, for https URLs.
    pub https: Option<Setting>,
    /// `NO_PROXY` or `no_proxy`.
    pub except: Option<Setting>,
    /// Whether `REQUEST_METHOD` is set: in a CGI program the client may have set `HTTP_PROXY`
    /// (golang.org/s/cgihttpproxy).
    pub is_cgi: bool,
}

/// A proxy, and where its URL comes from.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its URL, which may hold a password.
    pub url: Url,
    /// The variable that holds the URL.
    pub variable: &'static str,
}

impl Proxy {
    /// The URL as it may be shown.
    pub fn shown(&self) -> String {
        redact_url(&self.url)
    }

    /// User and password, decoded; `None` if neither is given.
    pub(super) fn credentials(&self) -> Option<(String, String)> {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = (self.url.username(), self.url.password());
        (!user.is_empty() || password.is_some()).then(|| (decode(user), decode(password.unwrap_or_default())))
    }

    /// Whether it speaks SOCKS and its URL has a user and a password.
    pub(super) fn has_socks_credentials(&self) -> bool {
        let has = |text: &str| !text.is_empty();
        self.url.scheme().starts_with("socks5")
            && has(self.url.username())
            && self.url.password().is_some_and(has)
    }

    /// The URL for the HTTP library. As in Go, the proxy looks names up, also with `socks5://`, and a SOCKS user
    /// without a password is none.
    pub(super) fn for_library(&self, with_credentials: bool) -> Url {
        let mut url = self.url.clone();
        if url.scheme().starts_with("socks5") {
            if url.scheme() == "socks5" {
                let _ = url.set_scheme("socks5h");
            }
            if !with_credentials || !self.has_socks_credentials() {
                let _ = url.set_username("");
                let _ = url.set_password(None);
            }
        }
        url
    }

    /// The header with the credentials of an HTTP proxy, as one line.
    pub(super) fn authorization(&self) -> Option<String> {
        let (user, password) = self.credentials()?;
        Some(format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}"))))
    }

    /// What to do about a proxy that wants a user and a password.
    pub fn credentials_advice(&self) -> String {
        let variable = self.variable;
        match self.credentials() {
            Some(_) => format!("it rejected the user name and password in {variable}; correct them"),
            None => format!("no credentials were sent; put USER:PASSWORD@ before the host in {variable}"),
        }
    }
}

impl ProxyRules {
    /// The same proxy for both schemes, and the hosts without one.
    pub fn new(proxy: &str, except: &str) -> ProxyRules {
        let setting = |name, value: &str| (!value.is_empty()).then(|| Setting { name, value: value.into() });
        ProxyRules {
            http: setting("HTTP_PROXY", proxy),
            https: setting("HTTPS_PROXY", proxy),
            except: setting("NO_PROXY", except),
            is_cgi: false,
        }
    }

    /// The proxy for `url`, if there is one.
    ///
    /// # Errors
    /// In words, when a variable cannot be used (its value is not shown: it may hold a password).
    pub fn proxy_for(&self, url: &Url) -> Result<Option<Proxy>, String> {
        let is_https = url.scheme() == "https";
        let Some(setting) = (if is_https { &self.https } else { &self.http }) else { return Ok(None) };
        if self.is_cgi && !is_https {
            return Err(format!(
                "refusing to use {} because REQUEST_METHOD is set, as in a CGI program, whose clients can set HTTP_PROXY; unset one of them",
                setting.name
            ));
        }
        let except = self.except.as_ref().map_or("", |setting| setting.value.as_str());
        let value = setting.value.as_str();
        if !uses_proxy(url, except) {
            return Ok(None);
        }
        if let Some(url) = parse(value) {
            return Ok(Some(Proxy { url, variable: setting.name }));
        }
        let hint = if value.contains(['$', '{', '}']) && !value.contains('@') {
            "; a variable in it was not expanded"
        } else if value.contains('@') {
            "; percent-encode special characters in the user name and password (# as %23, / as %2F, ? as %3F, \\ as %5C)"
        } else {
            ""
        };
        Err(format!("{} is not a valid proxy URL: expected http://HOST:PORT{hint}", setting.name))
    }
}

/// The URL of a proxy; as in Go, what has no scheme is tried as http.
fn parse(value: &str) -> Option<Url> {
    // The parser would drop these silently.
    if value.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return None;
    }
    let with_scheme = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    let url = Url::parse(&with_scheme).ok()?;
    let is_known = matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") && has_sound_host(&url);
    // What stands before this `@` was meant as the user and the password; `#`, `/`, `?` or `\` ended them.
    let rest = [Some(url.path()), url.query(), url.fragment()];
    let is_cut = rest.into_iter().flatten().any(|part| part.contains('@'));
    (is_known && !is_cut).then_some(url)
}

/// Whether a resolver can know the host of `url`. The URL standard takes more, such as a variable that a configuration
/// file did not expand; the HTTP library would then connect elsewhere.
pub(crate) fn has_sound_host(url: &Url) -> bool {
    let is_sound = |host: &str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    // An address is not a domain.
    url.has_host() && url.domain().is_none_or(is_sound)
}

fn uses_proxy(url: &Url, except: &str) -> bool {
    if is_loopback(url) {
        return false;
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
    let port = url.port_or_known_default().unwrap_or_default();
    let address: Option<IpAddr> = host.parse().ok();
    !except
        .split(',')
        .map(|rule| rule.trim().to_ascii_lowercase())
        .any(|rule| matches_rule(&rule, &host, address, port))
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
        let rules = ProxyRules::new("p:1", except);
        rules.proxy_for(&url.parse().unwrap()).unwrap_or_default().is_some()
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
    fn proxy_urls_are_read_as_in_go_or_refused_by_name() {
        let url = "http://a.example/".parse().unwrap();
        let read = |value: &str| {
            let rules = ProxyRules::new(value, "");
            rules.proxy_for(&url).map(|proxy| proxy.map(|proxy| proxy.url.to_string()).unwrap_or_default())
        };
        for (value, expected) in [
            ("p:3128", "http://p:3128/"),
            ("u:p%23w@p:3128", "http://u:p%23w@p:3128/"),
            ("socks5://u:p@p", "socks5://u:p@p"),
            ("http://u:p@w@p:3128", "http://u:p%40w@p:3128/"),
        ] {
            assert_eq!(read(value).as_deref(), Ok(expected), "{value}");
        }
        for value in ["http://a b", "ftp://p", "http://", "http://p:1\r"] {
            let wrong = "HTTP_PROXY is not a valid proxy URL: expected http://HOST:PORT";
            assert_eq!(read(value).unwrap_err(), wrong, "{value}");
        }
        for value in ["http://u:p#w@p:1", "http://u:1/w@p:1", "u:1?w@p:1", "http://DOMAIN\\u:w@p:1"] {
            let wrong = read(value).unwrap_err();
            assert!(wrong.starts_with("HTTP_PROXY is not") && wrong.contains("%23"), "{value}: {wrong}");
        }
    }
}
