//! How far a request has come. The HTTP library does not say; its resolver, its connector and its TLS
//! session store are ours to wrap, and each reports when it is reached.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

/// How far a request has come, for "timed out while …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Step {
    /// Looking the host name up.
    Lookup,
    /// Making the TCP connection (and the tunnel through a proxy).
    Connect,
    /// In the TLS handshake.
    Handshake,
    /// The request is on its way; no answer yet.
    Answer,
    /// The head of the answer is here, the body is not.
    Body,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Lookup => "looking the host name up",
            Step::Connect => "connecting",
            Step::Handshake => "in the TLS handshake",
            Step::Answer => "waiting for the answer",
            Step::Body => "reading the answer",
        })
    }
}

impl Step {
    /// What to look at when a request gets no further than here.
    pub fn advice(self) -> &'static str {
        match self {
            Step::Lookup => "check this machine's DNS",
            Step::Connect => "is a firewall in between, or the host down?",
            Step::Handshake => "is it an https port, and a proxy or firewall in between?",
            Step::Answer => "it accepts connections and does not answer; it may be overloaded",
            Step::Body => "the answer did not end in time",
        }
    }
}

/// The current [`Step`], shared with what the HTTP library calls back.
#[derive(Debug, Default)]
pub struct Progress {
    step: AtomicU8,
    handshakes: AtomicU8,
}

impl Progress {
    /// Notes that `step` has begun.
    pub fn reach(&self, step: Step) {
        self.step.store(step as u8, Ordering::Relaxed);
        match step {
            Step::Handshake => self.handshakes.fetch_add(1, Ordering::Relaxed),
            Step::Connect => self.handshakes.swap(0, Ordering::Relaxed),
            _ => 0,
        };
    }

    /// How many TLS handshakes have begun on this connection: with a proxy that speaks TLS, the first is with it.
    pub fn handshakes(&self) -> u8 {
        self.handshakes.load(Ordering::Relaxed)
    }

    /// The step that began last.
    pub fn step(&self) -> Step {
        match self.step.load(Ordering::Relaxed) {
            0 => Step::Lookup,
            1 => Step::Connect,
            2 => Step::Handshake,
            3 => Step::Answer,
            _ => Step::Body,
        }
    }
}

/// Wraps the connector: when it is done, the connection stands (TLS included), and what follows is the
/// request.
#[derive(Clone)]
pub struct WhenConnected(pub Arc<Progress>);

impl<S> Layer<S> for WhenConnected {
    type Service = Connecting<S>;

    fn layer(&self, connector: S) -> Connecting<S> {
        Connecting { connector, progress: Arc::clone(&self.0) }
    }
}

/// See [`WhenConnected`].
#[derive(Clone)]
pub struct Connecting<S> {
    connector: S,
    progress: Arc<Progress>,
}

impl<S, T> Service<T> for Connecting<S>
where
    S: Service<T>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let progress = Arc::clone(&self.progress);
        progress.reach(Step::Connect);
        let connected = self.connector.call(target);
        Box::pin(async move {
            let connection = connected.await?;
            progress.reach(Step::Answer);
            Ok(connection)
        })
    }
}
