//! The proxy variables: rules that nobody wrote on purpose.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitoring_token::http::proxy::ProxyRules;
use reqwest::Url;

fuzz_target!(|input: (&str, &str, &str)| {
    let (proxy, except, url) = input;
    let rules =
        ProxyRules { http: Some(proxy.to_owned()), https: Some(proxy.to_owned()), except: except.to_owned() };
    if let Ok(Some(proxy)) = Url::parse(url).map_or(Ok(None), |url| rules.proxy_for(&url)) {
        assert!(proxy.has_host());
    }
    for local in ["http://localhost/", "http://127.0.0.1:8080/", "https://[::1]/"] {
        assert_eq!(rules.proxy_for(&local.parse().expect("a URL")), Ok(None));
    }
});
