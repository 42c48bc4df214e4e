//! The steps of `exec`, up to the creation of a token. No token is created.

use std::time::Duration;

use reqwest::Url;

use super::checklist::{Check, Checklist, report_clock, report_command, report_timeout};
use super::network::{report_connection, set_up};
use crate::failure::{Failure, Reason, Stage};
use crate::go::duration;
use crate::http::{Client, LoadedHttp};
use crate::log::Log;
use crate::run::token::{TokenRun, connect, needed, prepare, while_checking};
use crate::run::{Observer, Run, noting_plain_http};
use crate::sys::signal::Signals;

const STEPS: &[&str] =
    &["timeout", "command", "credential", "roots", "proxy", "dns", "tcp", "tls", "clock", "token", "server"];

/// The check of `exec`. It makes the requests that a run makes before it creates a token.
pub(crate) static TOKEN: Check<TokenRun> = Check { names: STEPS, steps };

fn steps(what: TokenRun, signals: &Signals, log: Log, list: &mut Checklist) -> Result<(), Failure> {
    let TokenRun { site, run: config, issuer, .. } = what;
    let mut run = list.step("timeout", Run::begin(&config, signals, log))?;
    let deadline = report_timeout(list, &run.timeline);
    report_command(list, &config.command);
    let mut steps = Steps { list, url: site.url.clone() };
    let issuer = connect(&mut run, site, issuer, &mut steps)?;
    prepare(&run, issuer.as_ref(), &mut steps)?;
    let describe = async { Ok(issuer.describe(deadline).await) };
    let told = run.attempt(Stage::Exchange, describe, || while_checking(issuer.api()));
    check_clock(list, issuer.api().client(), &run)?;
    for (step, detail) in list.step("token", told)? {
        list.ok(step, detail);
    }
    Ok(())
}

struct Steps<'a> {
    list: &'a mut Checklist,
    url: Url,
}

impl Observer for Steps<'_> {
    fn step<T>(&mut self, step: &'static str, result: Result<T, Failure>) -> Result<T, Failure> {
        self.list.step(step, result)
    }

    fn read_credential(&mut self, origin: &str) {
        self.list.ok("credential", format!("from {origin}"));
    }

    fn set_up(&mut self, http: &LoadedHttp, url: &Url) -> Result<(), Failure> {
        set_up(self.list, http, url)
    }

    fn answered<T>(&mut self, client: &Client, result: Result<T, Failure>) -> Result<T, Failure> {
        let insecure = client.plain_http_host(&self.url);
        let result = result.map_err(|failure| noting_plain_http(failure, insecure.as_deref()));
        report_connection(self.list, &self.url, client, result.as_ref().err())?;
        result.or_else(|failure| {
            report_clock(self.list, client, None);
            self.list.step("token", Err(failure))
        })
    }
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
