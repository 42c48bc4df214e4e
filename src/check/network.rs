//! The way to a server: roots, proxy, name, connection, TLS.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use reqwest::Url;

use super::{Checklist, certificate};
use crate::duration;
use crate::error::{Failure, Stage};
use crate::http::{Client, HttpConfig, LoadedHttp, Step, look_up};
use crate::run::Run;
use crate::secret::redact_url;

/// Writes the rows `roots` and `proxy`: what is read and decided before any connection to `url`, in the run's
/// order. Gives what was read, and the proxy. `noting` adds to a failure what the run adds.
pub fn tell_setup(
    list: &mut Checklist,
    http: HttpConfig,
    url: &Url,
    run: &Run<'_>,
    noting: impl Fn(Failure) -> Failure,
) -> Result<(LoadedHttp, Option<Url>), Failure> {
    let http = list.step("roots", http.load(&run.until()).map_err(&noting))?;
    list.ok("roots", http.trust.places().describe());
    let proxy = http.proxies.proxy_for(url).map_err(|why| noting(Failure::ours(Stage::Exchange, why)));
    let proxy = list.step("proxy", proxy)?;
    list.ok("proxy", proxy.as_ref().map_or_else(|| "none".to_owned(), redact_url));
    Ok((http, proxy))
}

/// What a look-up and a connection of our own show, before the request is made.
///
/// They only tell details. Whether a step has failed is for the request to say: it may try again, or
/// find another address.
pub struct Probe {
    host: String,
    port: u16,
    via_proxy: bool,
    address: Option<IpAddr>,
    step: Cell<Option<Step>>,
    found: RefCell<Vec<IpAddr>>,
    connected: Cell<Option<(SocketAddr, Duration)>>,
}

impl Probe {
    /// A probe of the first hop to `url`: its host, or the proxy.
    pub fn new(url: &Url, proxy: Option<&Url>) -> Probe {
        let hop = proxy.unwrap_or(url);
        let host = hop.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = hop.port_or_known_default().unwrap_or(match hop.scheme() {
            "socks5" | "socks5h" => 1080,
            _ => 80,
        });
        Probe {
            address: host.parse().ok(),
            host,
            port,
            via_proxy: proxy.is_some(),
            step: Cell::new(Some(Step::Lookup)),
            found: RefCell::default(),
            connected: Cell::new(None),
        }
    }

    /// Looks the name up and connects. It has no time limit of its own.
    pub async fn go(&self) {
        let found = match self.address {
            Some(address) => vec![address],
            None => match look_up(self.host.clone()).await {
                Ok(found) => found.iter().map(SocketAddr::ip).collect(),
                Err(_) => Vec::new(),
            },
        };
        self.found.borrow_mut().clone_from(&found);
        self.step.set(Some(Step::Connect));
        for address in found {
            let (to, began) = (SocketAddr::new(address, self.port), Instant::now());
            // The request may get through where one address hangs; the others are tried, too.
            let connecting = tokio::net::TcpStream::connect(to);
            if let Ok(Ok(_)) = tokio::time::timeout(CONNECT_PATIENCE, connecting).await {
                self.connected.set(Some((to, began.elapsed())));
                break;
            }
        }
        self.step.set(None);
    }

    /// What it is doing, while it is not done.
    pub fn step(&self) -> Option<Step> {
        self.step.get()
    }

    /// Writes the rows `dns`, `tcp` and `tls` when the request has ended with `failure`, or without.
    /// Gives the failure back if it belongs to a later step.
    pub fn tell(
        &self,
        list: &mut Checklist,
        url: &Url,
        client: &Client,
        failure: Option<Failure>,
    ) -> Result<Option<Failure>, Failure> {
        let of = if self.via_proxy { "the proxy " } else { "" };
        let reached = if failure.is_none() { Step::Body } else { self.step().unwrap_or(client.step()) };
        let found = self.found.borrow();
        let failure = match failure {
            Some(failure) if found.is_empty() && reached <= Step::Connect => {
                return list.step("dns", Err(failure));
            }
            other => other,
        };
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        list.ok(
            "dns",
            match self.address {
                Some(address) => format!("{of}{address} is an address"),
                None => format!("{of}{} is {}", self.host, found.join(", ")),
            },
        );
        let connected = self.connected.get();
        let failure = match failure {
            Some(failure) if connected.is_none() && reached <= Step::Connect => {
                return list.step("tcp", Err(failure));
            }
            other => other,
        };
        list.ok(
            "tcp",
            match connected {
                Some((to, after)) => format!("connected to {of}{to} in {}", duration::show(after)),
                None => format!("the request came through to {of}{}", self.host),
            },
        );
        let failure = match failure {
            Some(failure) if reached == Step::Handshake && client.is_handshake_with_proxy() => {
                return list.step_again("proxy", failure);
            }
            other => other,
        };
        if url.scheme() != "https" {
            list.skip("tls", "plain http");
            return Ok(failure);
        }
        match failure {
            Some(failure) if reached <= Step::Handshake => list.step("tls", Err(failure)),
            failure => {
                let seen = client.verifier().seen().filter(|seen| seen.trusted);
                match seen.and_then(|seen| certificate::describe(&seen.certificate, SystemTime::now())) {
                    Some((text, data)) => list.ok_with("tls", text, data),
                    None => list.ok("tls", "the certificate is trusted"),
                }
                Ok(failure)
            }
        }
    }
}

/// How long one address gets.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
