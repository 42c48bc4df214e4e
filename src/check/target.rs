//! The step `target`: whether the host of the service URL can be reached. No token is sent. It does not fail the check,
//! because the run would get as far as its command.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::Url;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::checklist::Checklist;
use crate::failure::{Failure, Stage, system_error};
use crate::go::duration;
use crate::http::look_up;
use crate::issuer::locate::Granted;
use crate::run::Run;
use crate::secret::ExposeSecret as _;

const PATIENCE: Duration = Duration::from_secs(5);
/// After this time, the next address of the host is tried, too (RFC 8305, section 5): one family may lead nowhere.
const STAGGER: Duration = Duration::from_millis(250);

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
        let reached = tokio::time::timeout(patience, reach(host, port)).await;
        Ok(reached.unwrap_or_else(|_| {
            Err(format!("cannot connect to {host} port {port} within {}", duration::show(patience)))
        }))
    };
    match list.step("target", run.attempt(Stage::Exchange, work, || format!("while connecting to {host}")))? {
        Ok(address) => list.ok("target", format!("connected to {address}")),
        Err(why) => list.warn("target", format!("{why}; the command will probably fail")),
    }
    Ok(())
}

async fn reach(host: &str, port: u16) -> Result<SocketAddr, String> {
    let addresses = match host.parse() {
        Ok(address) => vec![address],
        Err(_) => look_up(host).await.map_err(|error| format!("cannot resolve {host}: {error}"))?,
    };
    let mut attempts = JoinSet::new();
    for (address, before) in addresses.into_iter().zip(0..) {
        let address = SocketAddr::new(address, port);
        attempts.spawn(async move {
            tokio::time::sleep(STAGGER * before).await;
            TcpStream::connect(address).await.map(|_| address).map_err(|error| (address, error))
        });
    }
    let mut last = format!("cannot resolve {host}: no address");
    while let Some(ended) = attempts.join_next().await {
        match ended {
            Ok(Ok(address)) => return Ok(address),
            Ok(Err((address, error))) => {
                last = format!("cannot connect to {host} port {port} ({address}): {}", system_error(&error));
            }
            Err(_) => {}
        }
    }
    Err(last)
}
