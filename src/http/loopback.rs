//! Whether a host is this machine.

use std::net::IpAddr;

use reqwest::Url;

/// Whether a URL leads to this machine: what Go never sends through a proxy.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The host that gets a token over plain HTTP, unless it is this machine. Names below `localhost` should be, too
/// (RFC 6761, 6.3); whether they are is known once a connection is made.
pub fn plain_http_host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let below_localhost = host.ends_with(".localhost");
    (url.scheme() == "http" && !is_loopback(url) && !below_localhost).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::plain_http_host;

    #[test]
    fn only_what_leaves_this_machine_unencrypted_counts() {
        for (url, expected) in [
            ("http://a.example/", Some("a.example")),
            ("http://10.0.0.1:8080/", Some("10.0.0.1")),
            ("http://[2001:db8::1]/", Some("[2001:db8::1]")),
            ("http://notlocalhost/", Some("notlocalhost")),
            ("https://a.example/", None),
            ("http://LOCALHOST:1/", None),
            ("http://localhost./", None),
            ("http://sandbox.localhost/", None),
            ("http://127.0.0.9/", None),
            ("http://[::1]/", None),
            ("http://[::ffff:127.0.0.1]/", None),
        ] {
            assert_eq!(plain_http_host(&url.parse().unwrap()).as_deref(), expected, "{url}");
        }
    }
}
