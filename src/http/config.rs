//! How connections are made.

use std::time::{Duration, Instant};

use super::proxy::ProxyRules;
use super::trust::{LoadedTrust, TrustStore};
use crate::failure::Failure;
use crate::read::Until;

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

/// The same, once `-ca-file` has been read: what a [`Client`](super::Client) is made of.
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
