//! The flags and variables that say how connections are made.

use std::path::PathBuf;

use reqwest::Url;

use super::variable;
use crate::cli::Values;
use crate::error::Failure;
use crate::http::HttpConfig;
use crate::http::proxy::ProxyRules;
use crate::http::trust::TrustStore;
use crate::secret::protect_url;

const DEFAULT_RETRIES: u32 = 2;

/// How connections are made.
pub fn http(values: &Values<'_>) -> Result<HttpConfig, Failure> {
    let mut trust = TrustStore { extra: values.path("ca-file")?, ..TrustStore::default() };
    // Go: SSL_CERT_FILE takes the place of the files, SSL_CERT_DIR that of the directories.
    let path_variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(file) = path_variable("SSL_CERT_FILE") {
        trust.files = vec![PathBuf::from(file)];
    }
    if let Some(dirs) = path_variable("SSL_CERT_DIR") {
        trust.dirs = std::env::split_paths(&dirs).collect();
    }
    // Go: in a CGI program HTTP_PROXY may come from a request's header.
    let cgi = variable("REQUEST_METHOD").is_some();
    let proxies = ProxyRules {
        http: variable("HTTP_PROXY").filter(|_| !cgi).or_else(|| variable("http_proxy")),
        https: variable("HTTPS_PROXY").or_else(|| variable("https_proxy")),
        except: variable("NO_PROXY").or_else(|| variable("no_proxy")).unwrap_or_default(),
    };
    for proxy in [&proxies.http, &proxies.https].into_iter().flatten().filter(|proxy| proxy.contains('@')) {
        let with_scheme = if proxy.contains("://") { proxy.clone() } else { format!("http://{proxy}") };
        if let Ok(url) = Url::parse(&with_scheme) {
            protect_url(&url);
        }
    }
    Ok(HttpConfig { trust, proxies, retries: values.number("retries")?.unwrap_or(DEFAULT_RETRIES) })
}
