//! The steps of the main command.

use reqwest::Url;
use serde_json::json;

use super::checklist::{Check, Checklist, report_clock, report_command, report_timeout};
use super::network::{report_connection, set_up};
use super::target;
use crate::failure::Failure;
use crate::http::explain::origin;
use crate::http::{Client, LoadedHttp};
use crate::issuer::locate::{FATAL_CLOCK_LAG, Granted, LocateConfig};
use crate::key::PrivateKey;
use crate::log::Log;
use crate::run::locate::{LocateRun, credentials};
use crate::run::{Observer, Run, noting_plain_http};
use crate::secret::scrub;
use crate::sys::signal::Signals;

const STEPS: &[&str] = &[
    "timeout", "command", "key", "key_id", "signing", "roots", "proxy", "dns", "tcp", "tls", "clock",
    "exchange", "url_keys", "target",
];

/// The check of the main command.
pub(crate) static LOCATE: Check<LocateRun> = Check { names: STEPS, steps };

fn steps(what: LocateRun, signals: &Signals, log: Log, list: &mut Checklist) -> Result<(), Failure> {
    let LocateRun { locate, http, run: config, .. } = what;
    let mut run = list.step("timeout", Run::begin(&config, signals, log))?;
    report_timeout(list, &run.timeline);
    report_command(list, &config.command);
    let (_, granted) = credentials(&mut run, &locate, http, &mut Steps { list, locate: &locate })?;
    let Some(granted) = granted else {
        for &step in STEPS.iter().skip_while(|step| **step != "roots") {
            list.skip(step, "no request is made (-exchange=false)");
        }
        return Ok(());
    };
    target::report(list, &run, &granted)
}

struct Steps<'a> {
    list: &'a mut Checklist,
    locate: &'a LocateConfig,
}

impl Observer for Steps<'_> {
    fn step<T>(&mut self, step: &'static str, result: Result<T, Failure>) -> Result<T, Failure> {
        self.list.step(step, result)
    }

    fn loaded(&mut self, locate: &LocateConfig, key: &PrivateKey) {
        let algorithm = key.alg();
        let detail = format!("{} ({algorithm})", locate.key.describe());
        self.list.ok_with("key", detail, json!({"algorithm": algorithm}));
        let key_id = match key.key_id.as_str() {
            "" => "none; Locate finds the key only if it is registered without one",
            key_id => key_id,
        };
        self.list.ok_with("key_id", key_id, json!({"key_id": key.key_id}));
    }

    fn signed(&mut self, locate: &LocateConfig, key: &PrivateKey) {
        let machine = match locate.machine.as_str() {
            "" => "no machine (-machine is not set)".to_owned(),
            machine => format!("the machine {machine:?}"),
        };
        self.list.ok("signing", format!("{}, for {machine}{}", key.alg(), key.remark()));
    }

    fn set_up(&mut self, http: &LoadedHttp, url: &Url) -> Result<(), Failure> {
        set_up(self.list, http, url)
    }

    fn answered<T>(&mut self, client: &Client, result: Result<T, Failure>) -> Result<T, Failure> {
        let LocateConfig { endpoint, .. } = self.locate;
        let insecure = client.plain_http_host(&endpoint.url);
        let result = result.map_err(|failure| noting_plain_http(failure, insecure.as_deref()));
        report_connection(self.list, &endpoint.url, client, result.as_ref().err())?;
        report_clock(self.list, client, result.as_ref().err().map(|_| FATAL_CLOCK_LAG));
        let answer = self.list.step("exchange", result)?;
        let readable = match insecure {
            Some(_) => "; the tokens were sent over plain HTTP, where they can be read: use https",
            None => "",
        };
        let (at, service) = (origin(&endpoint.url), &endpoint.service);
        self.list.ok("exchange", format!("locate at {at} returned URLs for {service}{readable}"));
        Ok(answer)
    }

    fn chosen(&mut self, granted: &Granted) {
        let Granted { key, keys, hostname, .. } = granted;
        let others: Vec<&str> = keys.iter().map(String::as_str).filter(|other| other != key).collect();
        let others = if others.is_empty() { "none".to_owned() } else { scrub(&others.join(", ")) };
        self.list.ok_with(
            "url_keys",
            format!("{} (on {}); also available: {others}", scrub(key), scrub(hostname)),
            json!({"taken": key, "on_offer": keys, "hostname": hostname}),
        );
    }
}
