//! Makes URLs safe to show, and finds the secrets in them.

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
    let mut shown = url.clone();
    if !url.username().is_empty() || url.password().is_some() {
        // Fails only for URLs that cannot have a user.
        let _ = shown.set_password(None);
        let _ = shown.set_username(REDACTED);
    }
    let query = url.query().map(|query| query.split('&').map(redact_pair).collect::<Vec<_>>().join("&"));
    shown.set_query(query.as_deref());
    shown.set_fragment(url.fragment().map(|_| REDACTED));
    scrub_own(shown.as_str())
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
    let header = STANDARD.encode(format!("{}:{}", decode(user), decode(password)));
    for secret in [password, &decode(password), &header] {
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
        ] {
            assert_eq!(redact_url(&url.parse().unwrap()), shown);
        }
    }
}
