//! Observes a run, and reports each step.

use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};

use super::checklist::Checklist;
use super::network::report_connection;
use crate::failure::{Failure, Reason, Stage};
use crate::go::duration;
use crate::http::explain::origin;
use crate::http::{Client, LoadedHttp};
use crate::issuer::locate::{Granted, LocateConfig};
use crate::key::PrivateKey;
use crate::run::{Observer, noting_plain_http};
use crate::secret::scrub;

/// As in the alert `MonitoringTokenClockOffset`: a clock that drifts further will have its tokens rejected.
const NOTABLE_OFFSET_SECONDS: u64 = 10;

impl Observer for Checklist {
    fn step<T>(&mut self, step: &'static str, result: Result<T, Failure>) -> Result<T, Failure> {
        Checklist::step(self, step, result)
    }

    fn loaded(&mut self, locate: &LocateConfig, key: &PrivateKey) {
        let algorithm = key.alg();
        let detail = format!("{} ({algorithm})", locate.key.describe());
        self.ok_with("key", detail, json!({"algorithm": algorithm}));
        let key_id = match key.key_id.as_str() {
            "" => "none; Locate finds the key only if it is registered without one",
            key_id => key_id,
        };
        self.ok_with("key_id", key_id, json!({"key_id": key.key_id}));
    }

    fn signed(&mut self, locate: &LocateConfig, key: &PrivateKey) {
        let machine = match locate.machine.as_str() {
            "" => "no machine (-machine is not set)".to_owned(),
            machine => format!("the machine {machine:?}"),
        };
        self.ok("signing", format!("{}, for {machine}{}", key.alg(), key.remark()));
    }

    fn read_credential(&mut self, origin: &str) {
        self.ok("credential", format!("from {origin}"));
    }

    fn set_up(&mut self, http: &LoadedHttp, url: &Url) -> Result<(), Failure> {
        match http.trust.explain_empty().filter(|_| url.scheme() == "https") {
            Some(why) => self.warn("roots", why, Value::Null),
            None => self.ok("roots", http.trust.places.describe()),
        }
        let invalid = |why| Failure::failed(Stage::Exchange, Reason::ProxyInvalid, why);
        if self.step("proxy", http.proxies.proxy_for(url).map_err(invalid))?.is_none() {
            self.ok("proxy", "none");
        }
        Ok(())
    }

    fn answered<T>(
        &mut self,
        step: &'static str,
        client: &Client,
        url: &Url,
        fatal_lag: Option<Duration>,
        result: Result<T, Failure>,
    ) -> Result<T, Failure> {
        let insecure = client.plain_http_host(url);
        let result = result.map_err(|failure| noting_plain_http(failure, insecure.as_deref()));
        report_connection(self, url, client, result.as_ref().err())?;
        if result.is_err() {
            report_clock(self, client, fatal_lag);
        }
        self.step(step, result)
    }

    fn exchanged(&mut self, locate: &LocateConfig, client: &Client) {
        report_clock(self, client, None);
        let (url, service) = (&locate.endpoint.url, &locate.endpoint.service);
        let readable = match client.plain_http_host(url) {
            Some(_) => "; the tokens were sent over plain HTTP, where they can be read: use https",
            None => "",
        };
        self.ok("exchange", format!("locate at {} returned URLs for {service}{readable}", origin(url)));
    }

    fn chosen(&mut self, granted: &Granted) {
        let Granted { key, keys, hostname, .. } = granted;
        let others: Vec<&str> = keys.iter().map(String::as_str).filter(|other| other != key).collect();
        let others = if others.is_empty() { "none".to_owned() } else { scrub(&others.join(", ")) };
        self.ok_with(
            "url_keys",
            format!("{} (on {}); also available: {others}", scrub(key), scrub(hostname)),
            json!({"taken": key, "on_offer": keys, "hostname": hostname}),
        );
    }
}

/// Adds the row `clock`. The clock is at fault if the request failed and the local clock is behind by `fatal_lag` or
/// more: the token had then expired before the server got it. `None` is for a request that succeeded, or that does not
/// depend on the clock.
pub(super) fn report_clock(list: &mut Checklist, client: &Client, fatal_lag: Option<Duration>) {
    let Some(offset) = client.clock_offset_seconds() else {
        list.skip("clock", "no response had a Date");
        return;
    };
    let by = Duration::from_secs(offset.unsigned_abs());
    let is_fatal = offset < 0 && fatal_lag.is_some_and(|lag| by >= lag);
    let by = duration::show(by);
    let detail = match offset {
        0 => "in sync with the server".to_owned(),
        1.. => format!("{by} ahead of the server"),
        _ => format!("{by} behind the server"),
    };
    if is_fatal {
        let why = format!("{detail}: every token has expired when it arrives there");
        let _ = list.step("clock", Err::<(), _>(Failure::failed(Stage::Exchange, Reason::ClockSkew, why)));
    } else if offset.unsigned_abs() >= NOTABLE_OFFSET_SECONDS {
        list.warn("clock", format!("{detail}; set the clock"), json!({"offset_seconds": offset}));
    } else {
        list.ok_with("clock", detail, json!({"offset_seconds": offset}));
    }
}
