//! The connection to a server: proxy, name, TCP, TLS; and the target.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use reqwest::Url;
use serde_json::{Value, json};

use super::checklist::Checklist;
use crate::date::unix_now;
use crate::failure::{Failure, Stage, system_error};
use crate::go::duration;
use crate::http::{Client, Phase, certificate, look_up, reach};
use crate::issuer::locate::Granted;
use crate::run::Run;
use crate::secret::ExposeSecret as _;

const DAY_SECONDS: i64 = 24 * 3600;

/// Adds the rows `proxy`, `dns`, `tcp` and `tls` from the last attempt of a request, which may have ended with `failure`.
/// Fails if that belongs to one of these steps.
pub(super) fn report_connection(
    list: &mut Checklist,
    url: &Url,
    client: &Client,
    failure: Option<&Failure>,
) -> Result<(), Failure> {
    let reached = if failure.is_none() { Phase::Body } else { client.attempt().phase };
    if let Some(proxy) = client.proxy() {
        if let Some(failure) = failure.filter(|_| client.blames_proxy()) {
            report_hop(list, url, client, reached, None)?;
            return list.step("proxy", Err(failure.clone()));
        }
        list.ok("proxy", format!("{} (from {})", proxy.shown(), proxy.variable));
    }
    report_hop(list, url, client, reached, failure)?;
    if url.scheme() != "https" {
        list.skip("tls", "plain http");
        return Ok(());
    }
    if let Some(failure) = failure.filter(|_| reached <= Phase::Handshake) {
        return list.step("tls", Err(failure.clone()));
    }
    let trusted = client.trusted_certificate();
    match trusted.and_then(|der| certificate_row(&der)) {
        Some((text, data)) => list.ok_with("tls", text, data),
        None => list.ok("tls", "the certificate is trusted"),
    }
    Ok(())
}

/// Adds the rows `dns` and `tcp` of the first hop.
fn report_hop(
    list: &mut Checklist,
    url: &Url,
    client: &Client,
    reached: Phase,
    failure: Option<&Failure>,
) -> Result<(), Failure> {
    let (of, hop) = client.proxy().map_or(("", url), |proxy| ("the proxy ", &proxy.url));
    let host = hop.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let attempt = client.attempt();
    let address = host.parse::<IpAddr>().ok();
    let failure = failure.filter(|_| reached <= Phase::Connect);
    let found = match (address, failure) {
        (Some(address), _) => format!("{of}{address} is an address"),
        (None, Some(failure)) if attempt.addresses.is_empty() => {
            return list.step("dns", Err(failure.clone()));
        }
        (None, _) => {
            let found: Vec<String> = attempt.addresses.iter().map(|it| it.ip().to_string()).collect();
            format!("{of}{host} is {}", found.join(", "))
        }
    };
    list.ok("dns", found);
    if let Some(failure) = failure.filter(|_| attempt.connected.is_none()) {
        return list.step("tcp", Err(failure.clone()));
    }
    // The address is known if there was a response, or if there is only one.
    let only = match attempt.addresses[..] {
        [only] => only.ip().to_string(),
        _ => host.to_owned(),
    };
    let to = attempt.peer.map_or(only, |peer| peer.to_string());
    let after = attempt.connected.map(|after| format!(" in {}", duration::show(after)));
    list.ok("tcp", format!("connected to {of}{to}{}", after.unwrap_or_default()));
    Ok(())
}

/// Issuer and days left of a certificate, in words and as figures; `None` if it cannot be read.
fn certificate_row(der: &[u8]) -> Option<(String, Value)> {
    let (issuer, not_after) = certificate::issuer_and_expiry(der)?;
    let not_after = i64::try_from(not_after.as_secs()).ok()?;
    let days = (not_after - unix_now().cast_signed()).div_euclid(DAY_SECONDS);
    let data = json!({"issuer": issuer, "days_left": days, "not_after_unix_seconds": not_after});
    Some((format!("certificate by {issuer}, {days} days left"), data))
}

const PATIENCE: Duration = Duration::from_secs(5);

/// Adds the row `target`: whether the host of the service URL can be reached. No token is sent. It does not fail the
/// check, unless a signal ends it, because the run would get as far as its command.
pub(super) fn report_target(list: &mut Checklist, run: &Run<'_>, granted: &Granted) -> Result<(), Failure> {
    let port = Url::parse(granted.url.expose_secret()).ok().and_then(|url| url.port_or_known_default());
    let Some(port) = port else {
        list.skip("target", "the URL has no port");
        return Ok(());
    };
    // This step must not use up the time of the whole check: the request succeeded.
    let left = run.timeline.term_at.saturating_duration_since(Instant::now());
    let patience = PATIENCE.min(left / 2);
    let host = &granted.hostname;
    let work = async {
        let reached = tokio::time::timeout(patience, connect(host, port, patience)).await;
        Ok(reached.unwrap_or_else(|_| {
            Err(format!("cannot connect to {host} port {port} within {}", duration::show(patience)))
        }))
    };
    match list.step("target", run.attempt(Stage::Exchange, work, || format!("while connecting to {host}")))? {
        Ok(address) => list.ok("target", format!("connected to {address}")),
        Err(why) => list.warn("target", format!("{why}; the command will probably fail"), Value::Null),
    }
    Ok(())
}

async fn connect(host: &str, port: u16, patience: Duration) -> Result<SocketAddr, String> {
    let mut addresses = match host.parse() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => look_up(host).await.map_err(|error| format!("cannot resolve {host}: {error}"))?,
    };
    for address in &mut addresses {
        address.set_port(port);
    }
    match reach(addresses, patience).await {
        Ok((address, _)) => Ok(address),
        Err(None) => Err(format!("cannot resolve {host}: no address")),
        Err(Some((address, error))) => {
            Err(format!("cannot connect to {host} port {port} ({address}): {}", system_error(&error)))
        }
    }
}
