//! The steps of `exec`, up to the creation of a token: none is made.

use std::time::Duration;

use super::network::{tell_setup, tell_way};
use super::{Checked, Checklist, tell_clock, tell_command, tell_timeout};
use crate::duration;
use crate::error::{Failure, Reason, Stage};
use crate::http::{Client, plain_http_host};
use crate::log::Log;
use crate::run::token::{TokenRun, while_checking};
use crate::run::{Run, noting_plain_http};
use crate::secret::scrub_stack;
use crate::signal::Signals;

const STEPS: &[&str] =
    &["timeout", "command", "credential", "roots", "proxy", "dns", "tcp", "tls", "clock", "token", "server"];

/// Asks the issuer what a run asks before it makes a token, and says how each step went.
pub fn token(what: TokenRun, signals: &Signals, log: Log) -> Checked {
    let mut list = Checklist::new(STEPS);
    let failure = steps(what, signals, log, &mut list).err();
    scrub_stack();
    Checked { rows: list.rows(), failure }
}

fn steps(what: TokenRun, signals: &Signals, log: Log, list: &mut Checklist) -> Result<(), Failure> {
    let TokenRun { credential, http, url, run: config, issuer } = what;
    let run = list.step("timeout", Run::begin(&config, signals, log))?;
    let until = tell_timeout(list, run.timeline());
    tell_command(list, &config.command);
    let admin = list.step("credential", credential.read(&run.until()))?;
    list.ok("credential", "read");
    let http = tell_setup(list, http, &url, &run, |failure| failure)?;
    let issuer = list.step("token", issuer.connect(&http, url.clone(), &admin, run.needed()))?;
    drop(admin);

    let insecure = plain_http_host(&url);
    let work = async {
        issuer.prepare(until).await?;
        Ok(issuer.describe(until).await)
    };
    let api = issuer.api();
    let doing = || while_checking(api);
    let (told, failure) = match run.attempt(Stage::Exchange, work, doing) {
        Ok(told) => (told, None),
        Err(failure) => (Vec::new(), Some(noting_plain_http(failure, insecure.as_deref()))),
    };
    let client = api.client();
    let failure = tell_way(list, &url, client, failure)?;
    let Some(failure) = failure else {
        check_clock(list, client, &run)?;
        for (step, detail) in told {
            list.ok(step, detail);
        }
        return Ok(());
    };
    tell_clock(list, client, None);
    list.step("token", Err(failure))
}

/// A lag that is too long to be believed does not shift the expiry of a token, which has then passed for the server.
fn check_clock(list: &mut Checklist, client: &Client, run: &Run) -> Result<(), Failure> {
    let lag = client.clock_offset_seconds().filter(|offset| *offset < 0).map(i64::unsigned_abs);
    match lag.map(Duration::from_secs) {
        Some(lag) if client.usable_clock_offset_seconds().is_none() && lag >= run.needed() => {
            let message = format!(
                "the local clock is {} behind the server: a token for this run would already have expired there; \
                 correct the clock",
                duration::show(lag)
            );
            list.step("clock", Err(Failure::failed(Stage::Exchange, Reason::ClockSkew, message)))
        }
        _ => {
            tell_clock(list, client, None);
            Ok(())
        }
    }
}
