//! Chooses the proxy for a host from the proxy variables, by Go's rules.

use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::go::proxy::{parse, uses_proxy};
use crate::secret::{basic_credentials, redact_url};

/// A proxy variable. It has no `Debug`, because its value may hold a password.
#[derive(Clone)]
pub struct Setting {
    /// The variable's name, in the case in which it was set.
    pub name: &'static str,
    /// The value, not empty.
    pub value: String,
}

/// The proxy variables. They have no `Debug`, because they may hold a password.
#[derive(Clone, Default)]
pub struct ProxyRules {
    pub http: Option<Setting>,
    pub https: Option<Setting>,
    pub except: Option<Setting>,
    /// `REQUEST_METHOD` is set: in a CGI program, a client may have set `HTTP_PROXY` (golang.org/s/cgihttpproxy).
    pub is_cgi: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// May hold a password.
    pub url: Url,
    pub variable: &'static str,
}

impl Proxy {
    /// The URL without its password.
    pub fn shown(&self) -> String {
        redact_url(&self.url)
    }

    /// User and password, decoded; `None` if neither is given.
    pub(super) fn credentials(&self) -> Option<(String, String)> {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = (self.url.username(), self.url.password());
        (!user.is_empty() || password.is_some()).then(|| (decode(user), decode(password.unwrap_or_default())))
    }

    pub(super) fn has_socks_credentials(&self) -> bool {
        self.url.scheme().starts_with("socks5") && !self.url.username().is_empty()
    }

    /// The URL for the HTTP library. As in Go, the proxy resolves host names, even for `socks5://`, and a SOCKS
    /// password without a user is ignored.
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

    /// The value of Proxy-Authorization, for an HTTP proxy. The library would alter bytes that are not UTF-8.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        if self.url.scheme().starts_with("socks5") { None } else { authorization(&self.url) }
    }
}

/// The value of a header with the credentials in a URL.
pub(super) fn authorization(url: &Url) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Basic {}", basic_credentials(url)?)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl ProxyRules {
    /// The same proxy for both schemes, and exceptions.
    pub fn new(proxy: &str, except: &str) -> ProxyRules {
        let setting = |name, value: &str| (!value.is_empty()).then(|| Setting { name, value: value.into() });
        ProxyRules {
            http: setting("HTTP_PROXY", proxy),
            https: setting("HTTPS_PROXY", proxy),
            except: setting("NO_PROXY", except),
            is_cgi: false,
        }
    }

    /// The proxy for `url`, if there is one. The error does not show the variable's value, which may hold a password.
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

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
