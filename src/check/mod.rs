//! `monitoring-token check`: what a run does before its command, step by step, for whoever looks for the
//! reason of a failure. No command is run.
//!
//! The request is the run's own, made by the same code with the same limits, so that `check` fails where
//! the run fails, with its status and its words.

mod checklist;
mod network;
mod observer;

use std::time::Duration;

pub(crate) use checklist::Check;
use serde_json::Value;

use checklist::Checklist;
use network::report_target;
use observer::report_clock;

use crate::child;
use crate::failure::{Failure, Reason, Stage, brief};
use crate::go::duration;
use crate::http::Client;
use crate::log::Log;
use crate::run::command::{refuse_command, shown};
use crate::run::locate::{LocateRun, credentials};
use crate::run::token::{TokenRun, connect, needed, prepare, while_checking};
use crate::run::{Run, RunConfig};
use crate::sys::signal::Signals;

/// The check of the main command.
pub(crate) static LOCATE: Check<LocateRun> = Check {
    names: &[
        "timeout", "command", "key", "key_id", "signing", "roots", "proxy", "dns", "tcp", "tls", "clock",
        "exchange", "url_keys", "target",
    ],
    steps: check_locate,
};

/// The check of `exec`. It makes the requests that a run makes before it creates a token.
pub(crate) static TOKEN: Check<TokenRun> = Check {
    names: &[
        "timeout",
        "command",
        "credential",
        "roots",
        "proxy",
        "dns",
        "tcp",
        "tls",
        "clock",
        "token",
        "server",
    ],
    steps: check_token,
};

fn check_locate(what: LocateRun, signals: &Signals, log: Log, list: &mut Checklist) -> Result<(), Failure> {
    let LocateRun { locate, http, run: config, .. } = what;
    let mut run = begin(list, &config, signals, log)?;
    let (_, granted) = credentials(&mut run, &locate, http, list)?;
    let Some(granted) = granted else {
        for &step in LOCATE.names.iter().skip_while(|step| **step != "roots") {
            list.skip(step, "no request is made (-exchange=false)");
        }
        return Ok(());
    };
    report_target(list, &run, &granted)
}

fn check_token(what: TokenRun, signals: &Signals, log: Log, list: &mut Checklist) -> Result<(), Failure> {
    let TokenRun { site, run: config, issuer, .. } = what;
    let mut run = begin(list, &config, signals, log)?;
    let issuer = connect(&mut run, site, issuer, list)?;
    prepare(&run, issuer.as_ref(), list)?;
    let told = run.attempt(Stage::Exchange, issuer.describe(), || while_checking(issuer.api()));
    check_clock(list, &issuer.api().client, &run)?;
    for (step, detail) in list.step("token", told)? {
        list.ok(step, detail);
    }
    Ok(())
}

/// Begins the run, and adds the rows `timeout` and `command`.
fn begin<'a>(
    list: &mut Checklist,
    config: &'a RunConfig,
    signals: &'a Signals,
    log: Log,
) -> Result<Run<'a>, Failure> {
    let run = list.step("timeout", Run::begin(config, signals, log))?;
    let limit = duration::show(run.timeline.term_at - run.timeline.start);
    let by = if run.timeline.report_by.is_some() { ", within SCRIPT_DEADLINE" } else { "" };
    list.ok("timeout", format!("{limit} for the requests and the command{by}"));
    match config.command.first().map(|word| (word, child::examine(word))) {
        None => list.skip("command", "no command was given"),
        Some((_, Ok(path))) => list.ok("command", brief(path.as_os_str())),
        Some((word, Err(error))) => {
            list.warn("command", refuse_command(&shown(word), &error).message, Value::Null);
        }
    }
    Ok(run)
}

/// A lag that is too long to be trusted does not shift the expiry of a token, which the server then sees as expired.
fn check_clock(list: &mut Checklist, client: &Client, run: &Run) -> Result<(), Failure> {
    let lag = client.clock_offset_seconds().filter(|offset| *offset < 0).map(i64::unsigned_abs);
    match lag.map(Duration::from_secs) {
        Some(lag) if client.usable_clock_offset_seconds().is_none() && lag >= needed(run) => {
            let message = format!(
                "the local clock is {} behind the server: a token for this run would already have expired there; \
                 correct the clock",
                duration::show(lag)
            );
            list.step("clock", Err(Failure::failed(Stage::Exchange, Reason::ClockSkew, message)))
        }
        _ => {
            report_clock(list, client, None);
            Ok(())
        }
    }
}
