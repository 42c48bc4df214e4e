//! The only HTTP client. It handles limits, phases and causes, and knows nothing about the services.
//!
//! A [`Client`] makes one request for each connection with the HTTP library (reqwest): no cookies, no decompression, no
//! redirect to another origin (the token must not be sent there). The parts of the library that are replaced note in an
//! [`Attempt`] how far it came: the resolver (`resolve`), the verifier of certificates (`tls`), and a layer around the
//! connector (`connection`). A response is read whole, within limits, and becomes an [`Answer`]. Without one, `explain`
//! turns the library's error and the attempt into a [`TransportError`](explain::TransportError), after a second look at
//! the proxy or the server if the library says too little. The caller limits the time by dropping the request, and
//! repeats it with [`retry`].

mod answer;
mod attempt;
pub(crate) mod certificate;
mod chain;
mod client;
mod connection;
pub(crate) mod explain;
pub mod proxy;
mod resolve;
pub mod retry;
pub mod roots;
mod second_look;
mod tls;
pub(crate) mod trust;

use std::time::{Duration, Instant};

use reqwest::Url;

pub(crate) use answer::is_usable;
pub use answer::{Answer, clock_offset_seconds};
pub use attempt::{Attempt, Phase};
pub use client::{Client, Request};
pub use connection::Redirects;
use proxy::ProxyRules;
pub(crate) use resolve::look_up;
pub(crate) use second_look::reach;
pub use tls::verify_chain;
use trust::LoadedTrust;
pub use trust::TrustStore;

use crate::failure::Failure;
use crate::go::proxy::is_loopback;
use crate::until::Until;

#[derive(Clone, Default)]
pub struct HttpConfig<Trust = TrustStore> {
    pub trust: Trust,
    pub proxies: ProxyRules,
    pub retries: u32,
    /// The network interface of an IPv6 address with a zone.
    pub interface: Option<String>,
    /// The time limit for connecting, shared by all addresses of a host so that a dead one does not use all of it. Set by
    /// [`HttpConfig::load`].
    pub connect_within: Duration,
}

/// The same, once `-ca-file` has been read: what a [`Client`] is made of.
pub type LoadedHttp = HttpConfig<LoadedTrust>;

impl HttpConfig {
    /// Reads `-ca-file`, which may be a pipe. An invalid file is always an error, even if it would not be needed.
    pub fn load(self, until: &Until<'_>) -> Result<LoadedHttp, Failure> {
        let HttpConfig { trust, proxies, retries, interface, .. } = self;
        let trust = trust.load(until)?;
        // The event that ends the run is a better message than this time limit, which is reached a little later.
        let connect_within =
            until.deadline.saturating_duration_since(Instant::now()) + Duration::from_secs(1);
        Ok(HttpConfig { trust, proxies, retries, interface, connect_within })
    }
}

/// The host that gets a token over plain HTTP, unless it is this machine. Names below `localhost` should be, too (RFC
/// 6761, 6.3); the connection shows whether they are.
pub(crate) fn plain_http_host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let below_localhost = host.ends_with(".localhost");
    (url.scheme() == "http" && !is_loopback(url) && !below_localhost).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::plain_http_host;

    #[test]
    fn only_unencrypted_connections_to_other_machines_count() {
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
