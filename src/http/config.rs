//! How connections are made.

use std::time::{Duration, Instant};

use super::proxy::ProxyRules;
use super::trust::{LoadedTrust, TrustStore};
use crate::failure::Failure;
use crate::read::Until;

/// How connections are made; from flags and environment.
#[derive(Clone, Default)]
pub struct HttpConfig {
    /// Whom we trust.
    pub trust: TrustStore,
    /// Which proxy leads where.
    pub proxies: ProxyRules,
    /// Further tries after the first.
    pub retries: u32,
    /// The network interface of an IPv6 address with a zone.
    pub interface: Option<String>,
}

/// The same, once `-ca-file` has been read: what a [`Client`](super::Client) is made of.
#[derive(Clone, Default)]
pub struct LoadedHttp {
    /// Whom we trust.
    pub trust: LoadedTrust,
    /// Which proxy leads where.
    pub proxies: ProxyRules,
    /// Further tries after the first.
    pub retries: u32,
    /// The network interface of an IPv6 address with a zone.
    pub interface: Option<String>,
    /// The time that the addresses of a host share, so that one that is dead does not take all of it.
    pub connect_within: Duration,
}

impl HttpConfig {
    /// Reads `-ca-file`, which may be a pipe, so that a wrong one is an error also where it would not have
    /// been needed.
    pub fn load(self, until: &Until<'_>) -> Result<LoadedHttp, Failure> {
        let HttpConfig { trust, proxies, retries, interface } = self;
        let trust = trust.load(until)?;
        // What ends the run says more than the end of this time, which comes a little later.
        let connect_within =
            until.deadline.saturating_duration_since(Instant::now()) + Duration::from_secs(1);
        Ok(LoadedHttp { trust, proxies, retries, interface, connect_within })
    }
}
