//! The steps of the main command.

use serde_json::json;

use super::network::{tell_setup, tell_way};
use super::target;
use super::{Checked, Checklist, tell_clock, tell_command, tell_timeout};
use crate::error::{Failure, Stage};
use crate::http::explain::origin;
use crate::http::{Client, Redirects, plain_http_host};
use crate::key::PrivateKey;
use crate::log::Log;
use crate::read::Until;
use crate::run::locate::{LocateRun, while_asking};
use crate::run::{Run, noting_plain_http};
use crate::secret::scrub_stack;
use crate::signal::Signals;
use crate::source::locate::{Exchange, FATAL_CLOCK_LAG, Locate, LocateConfig, Signed};

const STEPS: &[&str] = &[
    "timeout", "command", "key", "key_id", "signing", "roots", "proxy", "dns", "tcp", "tls", "clock",
    "exchange", "url_keys", "target",
];

/// Makes the request of a run, and says how each step went.
pub fn locate(what: LocateRun, signals: &Signals, log: Log) -> Checked {
    let mut list = Checklist::new(STEPS);
    let failure = steps(what, signals, log, &mut list).err();
    scrub_stack();
    Checked { rows: list.rows(), failure }
}

fn steps(what: LocateRun, signals: &Signals, log: Log, list: &mut Checklist) -> Result<(), Failure> {
    let LocateRun { locate, http, run: config, .. } = what;
    let run = list.step("timeout", Run::begin(&config, signals, log))?;
    let term_at = tell_timeout(list, run.timeline());
    tell_command(list, &config.command);

    let (key, signed) = sign(&locate, &run.until(), list)?;
    if locate.exchange == Exchange::No {
        for &step in STEPS.iter().skip_while(|step| **step != "roots") {
            list.skip(step, "no request is made (-exchange=false)");
        }
        return Ok(());
    }

    let insecure = plain_http_host(&locate.endpoint.url);
    let noting = |failure| noting_plain_http(failure, insecure.as_deref());
    let http = tell_setup(list, http, &locate.endpoint.url, &run, noting)?;
    let client = Client::new(&http, &locate.endpoint.url, Redirects::SameOrigin);
    let client = list.step("exchange", client.map_err(|error| noting(error.into_failure())))?;
    let at = origin(&locate.endpoint.url);
    let asked = Locate { config: &locate, client: &client, key: &key };
    let work = asked.ask(signed, http.retries, term_at);
    let doing = || while_asking(&locate, &client);
    let (offer, failure) = match run.attempt(Stage::Exchange, work, doing) {
        Ok((_, offer)) => (Some(offer), None),
        Err(failure) => (None, Some(noting(failure))),
    };
    let insecure = client.plain_http_host(&locate.endpoint.url);
    let failure = tell_way(list, &locate.endpoint.url, &client, failure)?;
    tell_clock(list, &client, failure.as_ref().map(|_| FATAL_CLOCK_LAG));
    if let Some(failure) = failure {
        return list.step("exchange", Err(failure));
    }
    let Some(offer) = offer else { return Ok(()) };
    let readable = match &insecure {
        Some(_) => "; the tokens were sent over plain HTTP, where they can be read: use https",
        None => "",
    };
    list.ok("exchange", format!("locate at {at} gave URLs for {}{readable}", locate.endpoint.service));
    let granted = list.step("url_keys", locate.choose(offer).map_err(noting))?;
    let others: Vec<&str> =
        granted.keys.iter().map(String::as_str).filter(|key| *key != granted.key).collect();
    let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
    list.ok_with(
        "url_keys",
        format!("{} (on {}); also available: {others}", granted.key, granted.hostname),
        json!({"taken": granted.key, "on_offer": granted.keys, "hostname": granted.hostname}),
    );
    target::tell(list, &run, &granted)
}

/// The steps that need no network. The key is for the tries that come after the first.
fn sign(
    locate: &LocateConfig,
    until: &Until<'_>,
    list: &mut Checklist,
) -> Result<(PrivateKey, Signed), Failure> {
    let key = list.step("key", locate.key.load(until))?;
    let algorithm = key.algorithm.name();
    list.ok_with("key", format!("{} ({algorithm})", locate.key.describe()), json!({"algorithm": algorithm}));
    let key_id = match key.key_id.as_str() {
        "" => "none; Locate finds the key only if it is registered without one",
        key_id => key_id,
    };
    list.ok_with("key_id", key_id, json!({"key_id": key.key_id}));
    let signed = list.step("signing", locate.sign(&key))?;
    let remark = key.algorithm.refused_by().map(|refused| format!("; {refused}")).unwrap_or_default();
    let machine = match locate.machine.as_str() {
        "" => "no machine (-machine is not set)".to_owned(),
        machine => format!("the machine {machine:?}"),
    };
    list.ok("signing", format!("{algorithm}, for {machine}{remark}"));
    Ok((key, signed))
}
