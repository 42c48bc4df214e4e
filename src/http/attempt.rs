//! One attempt to get a response, as plain data: the connector fills it in, messages and `check` read it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a request names itself as (RFC 9110, section 10.1.5).
pub(super) const PRODUCT: &str = concat!("monitoring-token/", env!("CARGO_PKG_VERSION"));

/// How far a request has come, for "timed out while …".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Resolving the name of the first hop: the proxy, or else the server.
    Lookup,
    /// Making the TCP connection to the first hop, and the tunnel through a proxy.
    #[default]
    Connect,
    /// In the TLS handshake with an `https://` proxy.
    ProxyHandshake,
    /// In the TLS handshake with the server.
    Handshake,
    /// The request is on its way.
    Answer,
    /// The head of the response has arrived, the body has not.
    Body,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Lookup => "resolving the host name",
            Phase::Connect => "connecting",
            Phase::ProxyHandshake => "in the TLS handshake with the proxy",
            Phase::Handshake => "in the TLS handshake",
            Phase::Answer => "waiting for the response",
            Phase::Body => "reading the response",
        })
    }
}

impl Phase {
    /// What to look at when a request gets no further than here.
    pub fn advice(self) -> &'static str {
        match self {
            Phase::Lookup => "check this machine's DNS",
            Phase::Connect => "check for a firewall in between, and that the host is up",
            Phase::ProxyHandshake => "check that the proxy speaks TLS on this port",
            Phase::Handshake => "check that this is an https port, and for a proxy or firewall in between",
            Phase::Answer => "the server accepts connections but does not respond; it may be overloaded",
            Phase::Body => "the response did not end in time",
        }
    }
}

/// What is known of one attempt.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// The phase that began last.
    pub phase: Phase,
    /// What the name of the first hop resolved to.
    pub addresses: Vec<IpAddr>,
    /// When the connection began: after the lookup.
    began: Option<Instant>,
    /// How long connecting took, once that is done.
    pub connected: Option<Duration>,
    /// The address of the first hop, once a response has arrived from it.
    pub peer: Option<SocketAddr>,
    /// How many TLS handshakes have begun.
    handshakes: u8,
    /// The status of the response, once its head has arrived.
    pub status: Option<u16>,
}

/// The current [`Attempt`], shared by those who take part in it.
#[derive(Debug, Default)]
pub struct Progress {
    attempt: Mutex<Attempt>,
    /// Whether the first TLS handshake of two, or the only one, is with the proxy.
    proxy_speaks_tls: bool,
}

impl Progress {
    pub(super) fn new(proxy_speaks_tls: bool) -> Progress {
        Progress { attempt: Mutex::default(), proxy_speaks_tls }
    }

    /// Notes that `phase` has begun.
    pub fn reach(&self, phase: Phase) {
        self.note(|attempt| attempt.phase = phase);
    }

    /// Begins a new attempt.
    pub(super) fn begin(&self, phase: Phase) {
        self.note(|attempt| *attempt = Attempt { phase, began: Some(Instant::now()), ..Attempt::default() });
    }

    /// Notes what the name of the first hop resolved to.
    pub(super) fn resolved(&self, addresses: Vec<IpAddr>) {
        self.note(|attempt| {
            *attempt = Attempt {
                phase: Phase::Connect,
                addresses,
                began: Some(Instant::now()),
                ..Attempt::default()
            };
        });
    }

    /// Notes that a connection stands, and what begins then.
    pub(super) fn connected(&self, phase: Phase) {
        self.note(|attempt| {
            attempt.phase = phase;
            attempt.connected = attempt.connected.or(attempt.began.map(|began| began.elapsed()));
        });
    }

    /// Notes that a TLS handshake begins.
    pub(super) fn handshake(&self) {
        let is_first = self.attempt().handshakes == 0;
        self.connected(if is_first && self.proxy_speaks_tls {
            Phase::ProxyHandshake
        } else {
            Phase::Handshake
        });
        self.note(|attempt| attempt.handshakes = attempt.handshakes.saturating_add(1));
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Attempt)) {
        change(&mut self.attempt.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The phase that began last.
    pub fn phase(&self) -> Phase {
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner).phase
    }

    pub(super) fn attempt(&self) -> Attempt {
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
