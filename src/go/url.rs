//! The part of Go's `net/url` (Go 1.26: `Parse`, `String`, `ParseQuery`, `Values.Encode`) that the monitoring URL
//! needs: the command gets exactly the bytes that the original would give it. (`url::Url` would drop default ports,
//! resolve dot segments and change letters.)

use std::borrow::Cow;

use percent_encoding::percent_encode_byte;

/// An http or https URL, split as Go does it. Parts are unescaped bytes.
#[derive(Clone)]
pub(crate) struct GoUrl {
    scheme: String,
    user: Option<User>,
    /// The host with its port; an IPv6 address in brackets, with a zone after `%`.
    host: Vec<u8>,
    path: Vec<u8>,
    /// The path as written, if the usual escaping would change it.
    raw_path: Option<String>,
    query: Vec<Parameter>,
    fragment: Option<String>,
}

/// User name, and the password if there is a colon.
type User = (Vec<u8>, Option<Vec<u8>>);
/// Name and value, unescaped.
type Parameter = (Vec<u8>, Vec<u8>);

/// The part of a URL, which decides how it is escaped (Go: `encoding`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    User,
    Host,
    Zone,
    Path,
    QueryComponent,
    Fragment,
}

impl Part {
    /// True if Go escapes this byte here (`shouldEscape`).
    fn escapes(self, byte: u8) -> bool {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            return false;
        }
        match self {
            Part::Host | Part::Zone => !b"!$&'()*+,;=:[]<>\"".contains(&byte),
            Part::User => !b"$&+,;=".contains(&byte),
            Part::Path => !b"$&+,/:;=@".contains(&byte),
            Part::QueryComponent => true,
            Part::Fragment => !b"$&+,/:;=?@!()*".contains(&byte),
        }
    }

    /// True if `text` is valid here without further escapes (`validEncoded`).
    fn may_hold(self, text: &str) -> bool {
        text.bytes().all(|byte| b"!$&'()*+,;=:@[]%".contains(&byte) || !self.escapes(byte))
    }

    fn escape(self, bytes: &[u8]) -> String {
        // The longest part is a token, which needs no escapes.
        if !bytes.iter().any(|&byte| self.escapes(byte)) {
            return String::from_utf8_lossy(bytes).into_owned();
        }
        let mut out = String::with_capacity(bytes.len());
        for &byte in bytes {
            if !self.escapes(byte) {
                out.push(char::from(byte));
            } else if byte == b' ' && self == Part::QueryComponent {
                out.push('+');
            } else {
                out.push_str(percent_encode_byte(byte));
            }
        }
        out
    }

    /// Removes escapes. Fails for an invalid escape, and for a byte that a host must not contain.
    fn unescape(self, text: &str) -> Result<Vec<u8>, String> {
        let bytes = text.as_bytes();
        let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
        while at < bytes.len() {
            let byte = bytes[at];
            at += 1;
            match byte {
                b'%' => {
                    let digit = |at: usize| bytes.get(at).and_then(|&byte| char::from(byte).to_digit(16));
                    let value = digit(at).zip(digit(at + 1)).and_then(|(a, b)| u8::try_from(a * 16 + b).ok());
                    let allowed = value.filter(|&value| match self {
                        // RFC 6874: in a host, only non-ASCII bytes and the percent sign of a zone may be escaped.
                        Part::Host => value >= 0x80 || value == b'%',
                        Part::Zone => value == b' ' || value == b'%' || !Part::Host.escapes(value),
                        _ => true,
                    });
                    let Some(value) = allowed else {
                        let hint = if text.starts_with('[') { "; write a zone as %25ZONE" } else { "" };
                        return Err(format!("it contains an invalid escape{hint}"));
                    };
                    out.push(value);
                    at += 2;
                }
                b'+' if self == Part::QueryComponent => out.push(b' '),
                _ if matches!(self, Part::Host | Part::Zone) && byte < 0x80 && self.escapes(byte) => {
                    return Err(format!(
                        "the host name contains the invalid character {:?}",
                        char::from(byte)
                    ));
                }
                _ => out.push(byte),
            }
        }
        Ok(out)
    }
}

impl GoUrl {
    /// Parses an http or https URL with a host. The error is a clause that shows nothing of the URL except one
    /// character of its host.
    pub(crate) fn parse(text: &str) -> Result<GoUrl, String> {
        let (text, fragment) = text.split_once('#').map_or((text, ""), |(text, after)| (text, after));
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err("it contains a control character".to_owned());
        }
        let whole = || "expected a URL that begins with http:// or https://".to_owned();
        let (scheme, rest) = text.split_once(':').ok_or_else(whole)?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            return Err(whole());
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let no_host = || format!("it has no host; expected {scheme}://HOST/…");
        let rest = rest.strip_prefix("//").ok_or_else(no_host)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = parse_authority(authority)?;
        if host.is_empty() || host.starts_with(b":") {
            return Err(no_host());
        }
        let decoded = Part::Path.unescape(path)?;
        let raw_path = (Part::Path.escape(&decoded) != path).then(|| path.to_owned());
        let query = parse_query(query)?;
        let fragment = parse_fragment(fragment)?;
        Ok(GoUrl { scheme, user, host, path: decoded, raw_path, query, fragment })
    }

    /// The URL with `service` appended to its path, with a slash between them if needed. A service that begins with a
    /// slash or is empty simply continues the path, because users split it anywhere.
    #[must_use]
    pub(crate) fn join(mut self, service: &str) -> GoUrl {
        if service.is_empty() {
            return self;
        }
        self.raw_path = None;
        if !self.path.ends_with(b"/") && !service.starts_with('/') {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(service.as_bytes());
        self
    }

    /// The URL with this parameter in place of all parameters of that name, and the query in Go's order.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> GoUrl {
        self.query.retain(|(other, _)| other != name.as_bytes());
        self.query.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        self.query.sort_by(|(a, _), (b, _)| a.cmp(b));
        self
    }

    pub(crate) fn text(&self) -> String {
        self.written(&self.host)
    }

    /// The URL without its IPv6 zone, which has a meaning only on this machine. `None` if it has no zone.
    pub(crate) fn text_without_zone(&self) -> Option<String> {
        let (from, to) = self.zone_range()?;
        Some(self.written(&[&self.host[..from], &self.host[to..]].concat()))
    }

    /// The IPv6 zone: the name of a network interface.
    pub(crate) fn zone(&self) -> Option<Cow<'_, str>> {
        self.zone_range().map(|(from, to)| String::from_utf8_lossy(&self.host[from + 1..to]))
    }

    fn zone_range(&self) -> Option<(usize, usize)> {
        let end = self.host.iter().rposition(|&byte| byte == b']').filter(|_| self.host[0] == b'[')?;
        let from = self.host[..end].iter().position(|&byte| byte == b'%')?;
        Some((from, end))
    }

    fn written(&self, host: &[u8]) -> String {
        let mut text = format!("{}://", self.scheme);
        if let Some((name, password)) = &self.user {
            text += &Part::User.escape(name);
            if let Some(password) = password {
                text.push(':');
                text += &Part::User.escape(password);
            }
            text.push('@');
        }
        text += &Part::Host.escape(host);
        if !self.path.is_empty() && !self.path.starts_with(b"/") {
            text.push('/');
        }
        match self.raw_path.as_deref().filter(|raw| Part::Path.may_hold(raw)) {
            Some(raw) => text += raw,
            None => text += &Part::Path.escape(&self.path),
        }
        for (number, (name, value)) in self.query.iter().enumerate() {
            text.push(if number == 0 { '?' } else { '&' });
            text += &Part::QueryComponent.escape(name);
            text.push('=');
            text += &Part::QueryComponent.escape(value);
        }
        if let Some(fragment) = &self.fragment {
            text.push('#');
            text += fragment;
        }
        text
    }

    /// The end of the path as a server reads it (dot segments and empty elements are removed): the last two elements,
    /// such as `ndt/ndt7`, or less if these are part of Locate's own `/platform/monitoring/`.
    pub(crate) fn service(&self) -> String {
        let path = String::from_utf8_lossy(&self.path);
        let mut elements: Vec<&str> = Vec::new();
        for element in path.split('/') {
            match element {
                "" | "." => {}
                ".." => drop(elements.pop()),
                element => elements.push(element),
            }
        }
        let own = match elements[..] {
            [.., "platform", "monitoring"] => 0,
            [.., "platform", "monitoring", _] => 1,
            _ => 2,
        };
        elements[elements.len().saturating_sub(own)..].join("/")
    }
}

fn parse_user(user: &str) -> Result<User, String> {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    if !user.bytes().all(sound) {
        return Err("its user name or password contains an invalid character; write it as %XX".to_owned());
    }
    let part = |text| Part::User.unescape(text);
    match user.split_once(':') {
        Some((name, password)) => Ok((part(name)?, Some(part(password)?))),
        None => Ok((part(user)?, None)),
    }
}

/// User and host (`parseAuthority`, `parseHost`).
fn parse_authority(authority: &str) -> Result<(Option<User>, Vec<u8>), String> {
    let (user, host) = match authority.rsplit_once('@') {
        None => (None, authority),
        Some((user, host)) => (Some(parse_user(user)?), host),
    };
    let port = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("its IPv6 address lacks the closing ]")?;
        &host[end + 1..]
    } else {
        host.rfind(':').map_or("", |at| &host[at..])
    };
    let is_port = port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    if !port.is_empty() && !is_port {
        return Err("its port is not a number".to_owned());
    }
    let end = host.len() - port.len();
    let host = match host[..end].find("%25").filter(|_| host.starts_with('[')) {
        Some(zone) => [
            Part::Host.unescape(&host[..zone])?,
            Part::Zone.unescape(&host[zone..end])?,
            Part::Host.unescape(&host[end..])?,
        ]
        .concat(),
        None => Part::Host.unescape(host)?,
    };
    Ok((user, host))
}

/// The parameters in Go's order: sorted by name, values in their order.
fn parse_query(query: &str) -> Result<Vec<Parameter>, String> {
    let mut parameters = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if pair.contains(';') {
            return Err("its query contains a semicolon; separate parameters with &".to_owned());
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let part = |text| Part::QueryComponent.unescape(text);
        parameters.push((part(name)?, part(value)?));
    }
    parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(parameters)
}

fn parse_fragment(fragment: &str) -> Result<Option<String>, String> {
    let decoded = Part::Fragment.unescape(fragment)?;
    let text =
        if Part::Fragment.may_hold(fragment) { fragment.to_owned() } else { Part::Fragment.escape(&decoded) };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::GoUrl;

    #[track_caller]
    fn refused(text: &str, why: &str) {
        let said = GoUrl::parse(text).err().unwrap_or_else(|| panic!("{text} is accepted"));
        assert!(said.contains(why), "{text}: {said}");
    }

    #[test]
    fn a_path_without_a_service_stays_as_it_was_written() {
        for path in ["/a%2Fb/", "/%41%c3%a9!", "/'()*", "/a;b=c"] {
            assert_eq!(GoUrl::parse(&format!("http://h{path}")).unwrap().text(), format!("http://h{path}"));
        }
        assert_eq!(GoUrl::parse("http://h/%2fa b").unwrap().text(), "http://h//a%20b");
        for (prefix, service, expected) in [
            ("http://h/a%2Fb/", "x", "http://h/a/b/x"),
            ("http://h", "ndt/ndt7", "http://h/ndt/ndt7"),
            ("http://h/p/", "ndt/a?b#c%d", "http://h/p/ndt/a%3Fb%23c%25d"),
        ] {
            assert_eq!(GoUrl::parse(prefix).unwrap().join(service).text(), expected);
        }
    }

    #[test]
    fn hosts_are_written_as_in_go() {
        for (text, expected) in [
            ("HTTP://H.Example:80/P", "http://H.Example:80/P"),
            ("https://h:443/", "https://h:443/"),
            ("http://h:/", "http://h:/"),
            ("http://é.example/", "http://%C3%A9.example/"),
            ("http://%c3%a9.example/", "http://%C3%A9.example/"),
            ("http://[fe80::1%25eth0]:8080/", "http://[fe80::1%25eth0]:8080/"),
            ("http://a@b:c%20@h/", "http://a%40b:c%20@h/"),
            ("http://:@h/", "http://:@h/"),
            ("http://h/#a b", "http://h/#a%20b"),
        ] {
            assert_eq!(GoUrl::parse(text).unwrap().text(), expected);
        }
        let url = GoUrl::parse("http://[fe80::1%25eth0]:8080/p").unwrap();
        assert_eq!(url.zone().as_deref(), Some("eth0"));
        assert_eq!(url.text_without_zone().as_deref(), Some("http://[fe80::1]:8080/p"));
        assert_eq!(GoUrl::parse("http://[::1]/").unwrap().zone(), None);
    }

    #[test]
    fn a_url_without_a_host_is_refused() {
        for text in
            ["http:///v2/", "https:///", "http://", "http:/x", "http:x", "http:", "http://:80/", "http://u@/"]
        {
            refused(text, "no host");
        }
        for text in ["", "h/p", "/p", "//h/p", "ftp://h/", "h:80/p", " http://h/", "\"http://h/\""] {
            refused(text, "expected a URL");
        }
        refused("https://locate-dot-${PROJECT}.appspot.com/", "invalid character '{'");
        refused("http://a b/", "invalid character ' '");
        refused("http://h\\p", "invalid character '\\\\'");
        refused("http://a%41/", "invalid escape");
        refused("http://h:abc/", "not a number");
        refused("http://[::1/", "closing ]");
        refused("http://h/\n", "control character");
        refused("http://h/?a=1;b=2", "semicolon");
        refused("http://h/?a=%zz", "invalid escape");
    }

    #[test]
    fn the_query_is_sorted_and_escaped_as_in_go() {
        let query = |query: &str| GoUrl::parse(&format!("http://h/?{query}")).unwrap().with("m", "T").text();
        for (given, expected) in [
            ("z=1&a=2&m=3", "a=2&m=T&z=1"),
            ("b=2&b=1&a=", "a=&b=2&b=1&m=T"),
            ("a=x+y&c=%2b&&y&=z", "=z&a=x+y&c=%2B&m=T&y="),
            ("q='\"<>~*%ff", "m=T&q=%27%22%3C%3E~%2A%FF"),
        ] {
            assert_eq!(query(given), format!("http://h/?{expected}"));
        }
    }
}
