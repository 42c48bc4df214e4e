//! Chooses one of the service URLs that Locate offers.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::failure::{Failure, Reason, Stage};
use crate::issuer::quote::{quoted_name, shown};
use crate::secret::{SecretString, protect};

/// The default of the original (`-service-url-key-name`).
pub const ORIGINAL_DEFAULT_KEY: &str = "wss://:3010/ndt_protocol";
const NDT7_DEFAULT_KEY: &str = "wss:///ndt/v7/download";
/// How many of the available keys are shown.
const SHOWN_KEYS: usize = 20;
/// The kernel accepts at most 128 KiB for a variable (execve(2), MAX_ARG_STRLEN); real URLs are far smaller.
const MAX_SERVICE_URL_BYTES: usize = 32 * 1024;
/// A client uses one. Each is searched for in all output, so many would take too long.
const MAX_ACCESS_TOKENS: usize = 8;

/// The service URLs from Locate by key: `target.urls`.
pub struct Offer(pub(super) BTreeMap<String, String>);

#[derive(Debug)]
pub struct Granted {
    /// The URL with its access token, as Locate wrote it.
    pub url: SecretString,
    pub hostname: String,
    pub keys: Vec<String>,
    pub key: String,
}

impl Offer {
    /// Takes the service URL of `service` under the key that is `named`, or else the usual one.
    pub(super) fn choose(self, at: &str, service: &str, named: Option<&str>) -> Result<Granted, Failure> {
        let Offer(mut urls) = self;
        let keys: Vec<String> = urls.keys().cloned().collect();
        let key = choose_key(&keys, named, service)
            .ok_or_else(|| {
                let more = if keys.len() > SHOWN_KEYS { ", …" } else { "" };
                let available = keys.iter().take(SHOWN_KEYS).map(|key| shown(key));
                let available = available.collect::<Vec<_>>().join(", ") + more;
                let (reason, message) = match named {
                    Some(named) => (
                        Reason::UnknownUrlKey,
                        format!(
                            "locate at {at} has no URL key {} for {service}; set -service-url-key-name to one of the keys it has: {available}",
                            quoted_name(named)
                        ),
                    ),
                    None => (
                        Reason::AmbiguousUrlKey,
                        format!(
                            "locate at {at} offers several URLs for {service}; choose one with -service-url-key-name: {available}"
                        ),
                    ),
                };
                Failure::failed(Stage::Exchange, reason, message)
            })?
            .to_owned();
        let url = urls.remove(&key).unwrap_or_default();
        let hostname = usable_host(&url).map_err(|why| {
            let key = shown(&key);
            let message = format!(
                "locate at {at} returned an unusable URL under the key {key} for {service}: {why}; the command was not run"
            );
            Failure::failed(Stage::Exchange, Reason::UnusableServiceUrl, message)
        })?;
        access_tokens(&url).for_each(protect_token);
        Ok(Granted { url: SecretString::from(url), hostname, keys, key })
    }
}

/// The key to use: the one in `named`; otherwise the original's default, ndt7's default, or the only key.
pub fn choose_key<'a>(keys: &'a [String], named: Option<&str>, service: &str) -> Option<&'a str> {
    let has = |wanted: &str| keys.iter().map(String::as_str).find(|&key| key == wanted);
    if let Some(named) = named {
        return has(named);
    }
    let only = || match keys {
        [only] => Some(only.as_str()),
        _ => None,
    };
    let ndt7 = || (service == "ndt/ndt7").then(|| has(NDT7_DEFAULT_KEY)).flatten();
    has(ORIGINAL_DEFAULT_KEY).or_else(ndt7).or_else(only)
}

/// The host of a service URL, if a command can use that URL.
fn usable_host(url: &str) -> Result<String, String> {
    if url.is_empty() {
        return Err("it is empty".to_owned());
    }
    if url.len() > MAX_SERVICE_URL_BYTES {
        return Err(format!("it is longer than {} KiB ({} bytes)", MAX_SERVICE_URL_BYTES / 1024, url.len()));
    }
    let tokens = access_tokens(url).count();
    if tokens > MAX_ACCESS_TOKENS {
        return Err(format!("it has {tokens} access tokens"));
    }
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("it contains spaces or control characters".to_owned());
    }
    if url.contains(char::REPLACEMENT_CHARACTER) {
        return Err("it contains bytes that are not UTF-8".to_owned());
    }
    // By the rules of browsers, `wss:///ndt/v7` has the host `ndt`; the supported clients read it differently.
    if url
        .split_once("://")
        .is_none_or(|(_, rest)| rest.is_empty() || rest.starts_with(['/', '\\', '?', '#']))
    {
        return Err("it names no host".to_owned());
    }
    let parsed = Url::parse(url).map_err(|error| format!("it is not a valid URL ({error})"))?;
    if !matches!(parsed.scheme(), "ws" | "wss" | "http" | "https") {
        return Err(format!("its scheme is {}, not ws, wss, http or https", parsed.scheme()));
    }
    let sound = |label: &str| {
        // A client would mistake a host that begins with a dash for a flag.
        !label.starts_with('-')
            && label.bytes().any(|b| b.is_ascii_alphanumeric())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    match parsed.host_str() {
        Some(host)
            if host.starts_with('[') || host.strip_suffix('.').unwrap_or(host).split('.').all(sound) =>
        {
            Ok(host.trim_matches(['[', ']']).to_owned())
        }
        Some(host) if host.split('.').any(|label| label.starts_with('-')) => {
            Err("a part of its host begins with a dash".to_owned())
        }
        Some(_) => Err("its host is not a valid name".to_owned()),
        None => Err("it names no host".to_owned()),
    }
}

/// The tokens in a service URL, as written.
fn access_tokens(url: &str) -> impl Iterator<Item = &str> {
    let query = url.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or_default());
    query.split('&').filter_map(|pair| pair.strip_prefix("access_token")?.strip_prefix('='))
}

/// Protects a token as written, and without escapes, which is how a client may show it.
fn protect_token(written: &str) {
    protect(written);
    protect(&percent_decode_str(written).decode_utf8_lossy());
}
