//! A run whose result may be in the cache.

use std::time::SystemTime;

use super::Run;
use crate::cache::{Cache, CacheKey, CachedResult, Lookup};
use crate::failure::{ExitStatus, Failure, Reason, Stage, Warning, system_error};
use crate::go::duration;

/// Returns the cached result for `key`, or makes the run and stores its result.
pub(super) fn through_cache(
    run: &mut Run<'_>,
    cache: &Cache,
    key: &CacheKey,
    make: impl FnOnce(&mut Run<'_>) -> Result<ExitStatus, Failure>,
) -> Result<ExitStatus, Failure> {
    let timeout = run.config.limits.timeout;
    let found = match cache.look_up(key, timeout, |at_most| run.until().pause(at_most)) {
        Ok(found) => found.map_err(|ended| {
            let doing = "while waiting for another process to finish the same run";
            ended.failure(Stage::Prepare, Reason::TimeoutCache, doing)
        })?,
        Err(error) => {
            warn_of(run, cache, &error);
            return make(run);
        }
    };
    let claim = match found {
        Lookup::Miss(claim) => claim,
        Lookup::Hit(known) => {
            run.report.figures.cached = true;
            run.report.figures.ended = SystemTime::now().checked_sub(known.age());
            let age = duration::show(known.age());
            let exit_status = known.exit_status;
            tracing::debug!(exit_status, age, "using the cached result; the command is not run");
            return replay(known, &age);
        }
    };
    let result = make(run);
    if let Err(error) = claim.finish(worth_keeping(run, &result)) {
        warn_of(run, cache, &error);
    }
    result
}

fn warn_of(run: &mut Run<'_>, cache: &Cache, error: &std::io::Error) {
    let place = match &cache.dir {
        Some(dir) => format!(" in {}", dir.display()),
        None => String::new(),
    };
    let error = system_error(error);
    let warning = format!(
        "cannot keep results{place}: {error}; the cache is off for this run, so correct the directory or set -cache-dir"
    );
    run.report.warnings.push(Warning::new(Reason::OutputFailed, warning));
}

/// The result for the cache. `None` if it says nothing about the target: a failure of this program, a timeout of
/// the exchange, a run that a signal ended.
fn worth_keeping(run: &Run<'_>, result: &Result<ExitStatus, Failure>) -> Option<CachedResult> {
    let timeout = run.config.limits.timeout;
    // Waiting for another process, a slow exchange and SCRIPT_DEADLINE take time from the command: then its timeout says
    // nothing about runs that can give it all of theirs.
    let had_its_time = || {
        let began = run.report.command_began;
        began.is_some_and(|began| run.timeline.term_at.saturating_duration_since(began) >= timeout / 10 * 9)
    };
    let (code, message, timed_out) = match result {
        _ if run.report.interruption.is_some() => return None,
        // If the command is this program, 125 means that the target was not tested.
        Ok(ExitStatus::Command(code)) if *code != ExitStatus::Failed.code() => (*code, None, None),
        Err(Failure { stage: Stage::Command, status, message, .. }) => {
            let timed_out = match status {
                ExitStatus::CannotRun | ExitStatus::NotFound => None,
                ExitStatus::Timeout if had_its_time() => Some(timeout),
                _ => return None,
            };
            (status.code(), Some(message.as_str()), timed_out)
        }
        _ => return None,
    };
    Some(CachedResult::now(code, message, timed_out))
}

fn replay(known: CachedResult, age: &str) -> Result<ExitStatus, Failure> {
    let (reason, status) = match known.exit_status {
        code if known.message.is_none() => return Ok(ExitStatus::Command(code)),
        code if code == ExitStatus::Timeout.code() => (Reason::TimeoutCommand, ExitStatus::Timeout),
        code if code == ExitStatus::CannotRun.code() => (Reason::CommandNotExecutable, ExitStatus::CannotRun),
        code if code == ExitStatus::NotFound.code() => (Reason::CommandNotFound, ExitStatus::NotFound),
        code => (Reason::CommandFailed, ExitStatus::Command(code)),
    };
    let message = format!("{} (the result of {age} ago)", known.message.unwrap_or_default());
    Err(Failure { stage: Stage::Command, reason, status, message })
}
