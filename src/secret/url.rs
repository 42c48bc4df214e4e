//! Makes URLs safe to show, and finds the secrets in them.

use std::borrow::Cow;
use std::ffi::OsStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::Url;

use super::{REDACTED, protect, scrub_own};

/// Query parameters whose values may be shown.
const PUBLIC_PARAMETERS: [&str; 2] = ["early_exit", "monitoring"];
/// A shorter value of a parameter is not treated as a credential.
const MIN_VALUE_CHARS: usize = 8;
/// Suffixes of the names of parameters that hold a credential.
const SECRET_NAMES: [&str; 8] = ["token", "key", "secret", "password", "passwd", "auth", "signature", "sig"];

/// `url` without user and password, and without the values of query parameters, except those that are known to be
/// public.
pub fn redact_url(url: &Url) -> String {
    scrub_own(&redact_reference(url.as_str()))
}

/// The same of a text that should be a URL or a relative one. The scheme may be missing, and the text may not be valid:
/// the parser would take the user in `user:password@host` for a scheme.
pub(crate) fn redact_reference(text: &str) -> String {
    let (text, fragment) = text.split_once('#').map_or((text, ""), |(text, _)| (text, "#"));
    let (address, query) = text.split_once('?').map_or((text, None), |(text, query)| (text, Some(query)));
    let mut shown = without_user(address).split('/').map(redact_segment).collect::<Vec<_>>().join("/");
    if let Some(query) = query {
        shown.push('?');
        shown += &query.split('&').map(redact_pair).collect::<Vec<_>>().join("&");
    }
    if fragment.is_empty() { shown } else { shown + fragment + REDACTED }
}

/// The same of a value that a user gave as a URL, valid or not; `None` if it may be another secret. No token has a dot or
/// a colon and no capital letter.
pub(crate) fn shown_url(text: &OsStr) -> Option<String> {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".:/-_".contains(&b);
    let is_shown = |text: &&str| {
        Url::parse(text).is_ok_and(|url| url.has_host())
            || (text.contains(['.', ':']) && text.bytes().all(is_plain))
    };
    text.to_str().filter(is_shown).map(|text| scrub_own(&redact_reference(text)))
}

/// Redacts the URLs in a text from others.
pub(crate) fn redact_links(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>');
    let redact = |word: &str| {
        let has = |before, after| word.split_once(before).is_some_and(|(_, rest)| rest.contains(after));
        if word.contains("://") || has('?', '=') || has(':', '@') {
            let end = word.len() - word.chars().next_back().filter(|c| ends(*c)).map_or(0, char::len_utf8);
            redact_reference(&word[..end]) + &word[end..]
        } else {
            word.to_owned()
        }
    };
    text.split_inclusive(ends).map(redact).collect()
}

/// `address` without the text before its last `@`, unless that `@` must be part of the path. A password may hold a slash
/// that should have been escaped.
fn without_user(address: &str) -> Cow<'_, str> {
    let escaped = address.rfind("%40").map(|at| at + "%40".len());
    let Some(end) = address.rfind('@').map(|at| at + 1).max(escaped) else { return address.into() };
    let scheme = address.split_once("//").map(|(scheme, _)| scheme);
    let is_scheme = |scheme: &&str| scheme.is_empty() || scheme.find(':') == Some(scheme.len() - 1);
    let begin = scheme.filter(is_scheme).map_or(0, |scheme| scheme.len() + "//".len());
    let authority = address[begin..].split('/').next().unwrap_or_default();
    if begin > 0 && !authority.is_empty() && !authority.contains(['@', ':', '%']) {
        return address.into();
    }
    format!("{}{REDACTED}@{}", &address[..begin.min(end)], &address[end..]).into()
}

/// A part of the path, whose parameters may hold a session: `login;jsessionid=…`.
fn redact_segment(segment: &str) -> String {
    let mut parts = segment.split(';');
    let name = parts.next().unwrap_or_default().to_owned();
    parts.fold(name, |shown, parameter| shown + ";" + &redact_pair(parameter))
}

fn redact_pair(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, value)) if value.is_empty() || PUBLIC_PARAMETERS.contains(&name) => pair.to_owned(),
        Some((name, _)) => format!("{name}={REDACTED}"),
        // It may be a token without a name.
        None if pair.is_empty() || PUBLIC_PARAMETERS.contains(&pair) => pair.to_owned(),
        None => REDACTED.to_owned(),
    }
}

/// The user and password in a URL as in a header (RFC 7617), byte for byte; `None` if neither is given.
pub(crate) fn basic_credentials(url: &Url) -> Option<String> {
    let bytes = |text| percent_decode_str(text).collect::<Vec<u8>>();
    let (user, password) = (url.username(), url.password());
    let is_given = !user.is_empty() || password.is_some();
    is_given.then(|| STANDARD.encode([bytes(user), bytes(password.unwrap_or_default())].join(&b':')))
}

/// Protects the credentials in a URL: user and password as written, decoded, and as the header made from them; and the
/// values of parameters whose name says token or key.
pub fn protect_url(url: &Url) {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    for (name, value) in url.query_pairs() {
        let name = name.to_ascii_lowercase();
        if value.chars().count() >= MIN_VALUE_CHARS && SECRET_NAMES.iter().any(|end| name.ends_with(end)) {
            protect(&value);
        }
    }
    let (user, password) = (url.username(), url.password().unwrap_or_default());
    if user.is_empty() && password.is_empty() {
        return;
    }
    for secret in [password, &decode(password), &basic_credentials(url).unwrap_or_default()] {
        protect(secret);
    }
    // A short name is not a credential, and may be a word in a message, such as `proxy`.
    if user.chars().count() >= MIN_VALUE_CHARS {
        protect(user);
        protect(&decode(user));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_users_and_with_known_parameters_only() {
        for (url, shown) in [
            (
                "https://u:pw@h/p?monitoring=true&a=1&access_token=s3cret&b=&early_exit=250",
                "https://REDACTED@h/p?monitoring=true&a=REDACTED&access_token=REDACTED&b=&early_exit=250",
            ),
            ("http://token@h/?token#token", "http://REDACTED@h/?REDACTED#REDACTED"),
            ("http://h/p", "http://h/p"),
            ("https://h/@scope/p", "https://h/@scope/p"),
            (
                "https://h/login;jsessionid=1A53;v=2/x;y",
                "https://h/login;jsessionid=REDACTED;v=REDACTED/x;REDACTED",
            ),
            // Without a scheme, or with a damaged one.
            ("user:pw@h/p?a=1", "REDACTED@h/p?a=REDACTED"),
            ("user:p/w@h:443/p", "REDACTED@h:443/p"),
            ("user:p@w@h", "REDACTED@h"),
            ("user:pw%40h/p", "REDACTED@h/p"),
            ("unix:///user:pw@h/p", "unix://REDACTED@h/p"),
            ("htps:/user:pw@h/p", "REDACTED@h/p"),
            ("h:80/p", "h:80/p"),
            // The password begins like a port.
            ("http://user:12/pw@h/p", "http://REDACTED@h/p"),
        ] {
            assert_eq!(redact_url(&url.parse().unwrap()), shown);
        }
        for (text, shown) in [
            ("//u:pw@h/p", "//REDACTED@h/p"),
            ("/login?state=x", "/login?state=REDACTED"),
            ("/\\u:pw@h", "REDACTED@h"),
            ("//@", "//REDACTED@"),
            ("@//", "REDACTED@//"),
        ] {
            assert_eq!(redact_reference(text), shown);
        }
    }

    #[test]
    fn urls_in_a_text_are_redacted() {
        for (text, shown) in [
            ("Found. Redirecting to /login?state=x now", "Found. Redirecting to /login?state=REDACTED now"),
            (
                "{\"url\":\"https://u:pw@h/?a=1\",\"b\":2}",
                "{\"url\":\"https://REDACTED@h/?a=REDACTED\",\"b\":2}",
            ),
            ("see https://h/p: why? a=b", "see https://h/p: why? a=b"),
            ("no user:pw@h/p?x, or a@b", "no REDACTED@h/p?REDACTED or a@b"),
        ] {
            assert_eq!(redact_links(text), shown);
        }
    }
}
