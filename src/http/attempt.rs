//! One attempt to get a response, as plain data: the connector records it, messages and `check` read it.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::sys::descriptors::is_connected_to;

/// The User-Agent (RFC 9110, section 10.1.5).
pub(super) const PRODUCT: &str = concat!("monitoring-token/", env!("CARGO_PKG_VERSION"));

/// How far a request has come, for "timed out while …".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Resolving the name of the first hop: the proxy, or else the server.
    Lookup,
    /// Making the TCP connection to the first hop, and the tunnel through a proxy.
    #[default]
    Connect,
    ProxyHandshake,
    Handshake,
    Answer,
    Body,
}

impl Phase {
    /// Advice for a request that stops here.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Phase::Lookup => "check this machine's DNS",
            Phase::Connect => "check that the host is up, and look for a firewall on the path",
            Phase::ProxyHandshake => "check that the proxy speaks TLS on this port",
            Phase::Handshake => {
                "check that this is an https port, and look for a proxy or firewall on the path"
            }
            Phase::Answer => "the server accepts connections but does not respond; it may be overloaded",
            Phase::Body => "the response did not end in time",
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Attempt {
    pub phase: Phase,
    /// The addresses of the first hop, with the port 0.
    pub addresses: Vec<SocketAddr>,
    /// When connecting began, after the lookup.
    began: Option<Instant>,
    pub connected: Option<Duration>,
    /// The address of the first hop, if a response has arrived from it.
    pub peer: Option<SocketAddr>,
    /// A TLS handshake has begun.
    has_tls: bool,
    pub(super) wants_certificate: bool,
    pub status: Option<u16>,
    /// This attempt, or one before it, was connected, so the request may have been sent.
    pub(super) has_sent: bool,
    /// The addresses for the next attempt, in place of a lookup.
    known: Vec<SocketAddr>,
}

impl Attempt {
    /// The last TLS handshake was with the proxy.
    pub(super) fn has_tls_with_proxy(&self) -> bool {
        self.has_tls && self.phase < Phase::Handshake
    }
}

/// The current [`Attempt`], shared by resolver, connector and client.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) attempt: Mutex<Attempt>,
    /// If there are two TLS handshakes, the first is with the proxy; this says whether an only one is.
    pub(super) proxy_speaks_tls: bool,
}

impl Progress {
    pub(super) fn begin(&self, phase: Phase, addresses: Vec<SocketAddr>) {
        let began = Some(Instant::now());
        self.note(|attempt| {
            let Attempt { has_sent, known, .. } = std::mem::take(attempt);
            *attempt = Attempt { phase, addresses, began, has_sent, known, ..Attempt::default() };
        });
    }

    /// Addresses of the first hop that need no lookup.
    pub(super) fn take_known(&self) -> Vec<SocketAddr> {
        self.note(|attempt| std::mem::take(&mut attempt.known))
    }

    /// True if the first hop has further addresses, and its first one has not accepted the connection for so long. The
    /// next attempt begins with the second one. A proxy that still opens the tunnel has accepted it.
    pub(super) fn begins_elsewhere(&self, patience: Duration, rounds: usize) -> bool {
        self.note(|attempt| {
            let waits = attempt.phase == Phase::Connect && attempt.connected.is_none();
            let is_stuck = waits && attempt.began.is_some_and(|began| began.elapsed() >= patience);
            let has_others = is_stuck && attempt.addresses.len() > rounds.max(1);
            let others = has_others && !is_connected_to(&attempt.addresses);
            if others {
                attempt.known = std::mem::take(&mut attempt.addresses);
                attempt.known.rotate_left(1);
            }
            others
        })
    }

    pub(super) fn connected(&self, phase: Phase) {
        self.note(|attempt| {
            attempt.phase = phase;
            attempt.has_sent |= phase == Phase::Answer;
            attempt.connected = attempt.connected.or(attempt.began.map(|began| began.elapsed()));
        });
    }

    pub(super) fn handshake(&self) {
        let is_with_proxy = self.proxy_speaks_tls && !self.has_tls();
        self.connected(if is_with_proxy { Phase::ProxyHandshake } else { Phase::Handshake });
        self.note(|attempt| attempt.has_tls = true);
    }

    /// From now on, the request waits for the tunnel.
    pub(super) fn end_proxy_handshake(&self) {
        self.note(|attempt| {
            if attempt.phase == Phase::ProxyHandshake {
                attempt.phase = Phase::Connect;
            }
        });
    }

    pub(super) fn has_tls(&self) -> bool {
        self.note(|attempt| attempt.has_tls)
    }

    pub(super) fn note<T>(&self, change: impl FnOnce(&mut Attempt) -> T) -> T {
        change(&mut self.attempt.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
