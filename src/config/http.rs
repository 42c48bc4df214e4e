//! The flags and variables that say how connections are made.

use std::path::PathBuf;

use reqwest::Url;

use super::{clean_variable, variable};
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
    let cgi = std::env::var_os("REQUEST_METHOD").is_some_and(|method| !method.is_empty());
    let http = if cgi { None } else { clean_variable("HTTP_PROXY")? };
    let proxies = ProxyRules {
        http: http.map_or_else(|| clean_variable("http_proxy"), |url| Ok(Some(url)))?,
        https: clean_variable("HTTPS_PROXY")?
            .map_or_else(|| clean_variable("https_proxy"), |url| Ok(Some(url)))?,
        except: variable("NO_PROXY")?
            .map_or_else(|| variable("no_proxy"), |list| Ok(Some(list)))?
            .unwrap_or_default(),
    };
    for proxy in [&proxies.http, &proxies.https].into_iter().flatten().filter(|proxy| proxy.contains('@')) {
        let with_scheme = if proxy.contains("://") { proxy.clone() } else { format!("http://{proxy}") };
        if let Ok(url) = Url::parse(&with_scheme) {
            protect_url(&url);
        }
    }
    Ok(HttpConfig { trust, proxies, retries: values.number("retries")?.unwrap_or(DEFAULT_RETRIES) })
}
