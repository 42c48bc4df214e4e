//! The step `target`: whether the host of the service URL can be reached. No token is sent. It does not fail the check,
//! because the run would get as far as its command.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::Url;
use serde_json::Value;

use super::checklist::Checklist;
use crate::failure::{Failure, Stage, system_error};
use crate::go::duration;
use crate::http::{look_up, reach};
use crate::issuer::locate::Granted;
use crate::run::Run;
use crate::secret::ExposeSecret as _;

const PATIENCE: Duration = Duration::from_secs(5);

/// Adds the row `target`. Fails only if a signal ends the check.
pub(super) fn report(list: &mut Checklist, run: &Run<'_>, granted: &Granted) -> Result<(), Failure> {
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
