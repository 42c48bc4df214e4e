//! The flags and variables that control connections.

use reqwest::Url;

use super::{clean_variable, variable};
use crate::cli::flags::{HttpFlags, RETRIES};
use crate::cli::values::path;
use crate::failure::Failure;
use crate::http::HttpConfig;
use crate::http::proxy::{ProxyRules, Setting};
use crate::http::trust::TrustStore;
use crate::secret::protect_url;

pub(super) fn http(flags: HttpFlags) -> Result<HttpConfig, Failure> {
    let refuse = |name| Failure::usage(format!("{name}: expected a path, not a URL; it is not shown"));
    let mut trust = TrustStore { extra: flags.ca_file, ..TrustStore::default() };
    // As in Go, SSL_CERT_FILE replaces the default files, and SSL_CERT_DIR the default directories.
    if let Some(file) = clean_variable("SSL_CERT_FILE")? {
        trust.files = vec![path(file.as_ref()).map_err(|_| refuse("SSL_CERT_FILE"))?];
    }
    if let Some(dirs) = clean_variable("SSL_CERT_DIR")? {
        if Url::parse(&dirs).is_ok_and(|url| url.has_host()) {
            return Err(refuse("SSL_CERT_DIR"));
        }
        trust.dirs = std::env::split_paths(&dirs).collect();
    }
    let proxies = ProxyRules {
        http: first_set(["HTTP_PROXY", "http_proxy"], clean_variable)?,
        https: first_set(["HTTPS_PROXY", "https_proxy"], clean_variable)?,
        except: first_set(["NO_PROXY", "no_proxy"], variable)?,
        is_cgi: std::env::var_os("REQUEST_METHOD").is_some_and(|method| !method.is_empty()),
    };
    protect_credentials(&proxies);
    Ok(HttpConfig { trust, proxies, retries: RETRIES.or(flags.retries), ..HttpConfig::default() })
}

fn first_set(
    names: [&'static str; 2],
    read: fn(&str) -> Result<Option<String>, Failure>,
) -> Result<Option<Setting>, Failure> {
    for name in names {
        if let Some(value) = read(name)? {
            return Ok(Some(Setting { name, value }));
        }
    }
    Ok(None)
}

/// Keeps the credentials of a proxy out of all messages.
fn protect_credentials(proxies: &ProxyRules) {
    for Setting { value, .. } in [&proxies.http, &proxies.https].into_iter().flatten() {
        let with_scheme = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
        if let Some(url) = value.contains('@').then(|| Url::parse(&with_scheme).ok()).flatten() {
            protect_url(&url);
        }
    }
}
