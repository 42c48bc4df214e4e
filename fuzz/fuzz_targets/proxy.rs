//! The proxy variables, with arbitrary values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitoring_token::http::proxy::ProxyRules;
use reqwest::Url;

fuzz_target!(|input: (&str, &str, &str)| {
    let (proxy, except, url) = input;
    let rules = ProxyRules::new(proxy, except);
    if let Ok(Some(proxy)) = Url::parse(url).map_or(Ok(None), |url| rules.proxy_for(&url)) {
        assert!(proxy.url.has_host());
    }
    for local in ["http://localhost/", "http://127.0.0.1:8080/", "https://[::1]/"] {
        assert!(matches!(rules.proxy_for(&local.parse().expect("a URL")), Ok(None) | Err(_)));
    }
});
