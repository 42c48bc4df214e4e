//! `exec`: creates a token, runs the command with it, and deletes it however the run ends.

use std::cell::Cell;
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

use super::{Observer, Run, RunConfig, command};
use crate::failure::{ExitStatus, Failure, Reason, Stage, Warning};
use crate::go::duration;
use crate::issuer::api::{Access, Api};
use crate::issuer::credential::Credential;
use crate::issuer::{CreateError, Issuer, IssuerConfig, Leftover, Lifetime, PlannedCreation, Site};
use crate::log::Log;
use crate::secret::{SecretString, scrub_stack};
use crate::sys::signal::{Signal, Signals};
use crate::until::{Until, block_on};

pub(crate) struct TokenRun {
    pub site: Site,
    pub run: RunConfig,
    pub issuer: IssuerConfig,
    /// The variable that receives the token.
    pub env_name: OsString,
}

impl TokenRun {
    pub(crate) fn execute(self, signals: &Signals, log: Log) -> ExitStatus {
        let TokenRun { site, run: config, issuer, env_name } = self;
        Run::to_completion(&config, signals, log, |run| {
            let admin_file = site.credential.regular_file();
            let issuer = connect(run, site, issuer, &mut ());
            scrub_stack();
            with_token(run, issuer?.as_ref(), env_name, admin_file)
        })
    }
}

/// The issuer of the token, connected with the administrator's credential.
pub(crate) fn connect(
    run: &mut Run<'_>,
    Site { url, http, credential, flags }: Site,
    issuer: IssuerConfig,
    observer: &mut impl Observer,
) -> Result<Box<dyn Issuer>, Failure> {
    let began = Instant::now();
    let origin = credential.describe();
    let token = observer.step("credential", credential.read(&run.until()))?;
    observer.read_credential(&origin);
    let http = observer.step("roots", http.load(&run.until()))?;
    run.report.took(Stage::Sign, began.elapsed());
    observer.set_up(&http, &url)?;
    let access = Access { http: &http, url, credential: &token, deadline: run.timeline.term_at, flags };
    observer.step("token", issuer.connect(access, Lifetime::OfRun(needed(run))))
}

/// Plans the token, and checks that the issuer would create it and delete it again.
pub(crate) fn prepare(
    run: &Run<'_>,
    issuer: &dyn Issuer,
    observer: &mut impl Observer,
) -> Result<PlannedCreation, Failure> {
    let work = issuer.plan(&[], None);
    let result = run.attempt(Stage::Exchange, work, || while_checking(issuer.api()));
    observer.answered("token", &issuer.api().client, issuer.api().url(), None, result)
}

/// The time from now until the last request of this run.
pub(crate) fn needed(run: &Run<'_>) -> Duration {
    let timeline = &run.timeline;
    timeline.term_at.saturating_duration_since(Instant::now()) + timeline.kill_after + timeline.revoke_limit
}

/// The deadline for deleting the token after the command: the time reserved for it, or more if the command ended
/// early.
fn revoke_by(run: &Run<'_>) -> Instant {
    let now = Instant::now();
    let share = now + run.timeline.revoke_limit;
    let whole = now + run.config.limits.revoke_limit;
    run.timeline.report_by.map_or(share, |report_by| report_by.min(whole).max(share))
}

fn with_token(
    run: &mut Run<'_>,
    issuer: &dyn Issuer,
    env_name: OsString,
    admin_file: Option<PathBuf>,
) -> Result<ExitStatus, Failure> {
    let began = Instant::now();
    let token = token(run, issuer);
    run.report.took(Stage::Exchange, began.elapsed());
    run.report.figures.clock_offset_seconds = issuer.api().client.clock_offset_seconds();
    run.report.insecure = issuer.api().client.plain_http_host(issuer.api().url());
    let (token, planned, leftover) = token?;
    tracing::debug!("got a token");
    run.report.warnings.extend(issuer.clock_warning());
    let mut lease = issuer.lease(&token);
    // Comes last, so it wins if --env-name names one of the others.
    lease.set.push((env_name, token));
    let ended = command::run(run, &lease);
    // A slow reader of the last output does not keep the token alive.
    revoke(run, issuer, &planned, &leftover, revoke_by(run), admin_file);
    let result = ended.and_then(|ended| command::conclude(run, ended));
    remember_signal(run, result)
}

/// Creates a token after checking that it can be deleted again; also returns what is needed to delete it.
fn token(
    run: &mut Run<'_>,
    issuer: &dyn Issuer,
) -> Result<(SecretString, PlannedCreation, Leftover), Failure> {
    let planned = prepare(run, issuer, &mut ())?;
    let (CreateError { failure, leftover }, ended_at) = match create(run, issuer, &planned) {
        Ok((token, id)) => {
            let leftover = Leftover::Token(id, Some((token.clone(), Instant::now())));
            return Ok((token, planned, leftover));
        }
        Err(error) => error,
    };
    if let Some(leftover) = &leftover {
        // The time reserved for the deletion was used for waiting.
        if revoke(run, issuer, &planned, leftover, ended_at + run.timeline.revoke_limit, None) {
            return Err(failure.and("no token is left"));
        }
    }
    Err(failure)
}

/// Creates the token. If the run is ended while the request may be on its way, waits for the response for half of
/// the time of a revocation. The error includes when the run was ended, or the creation failed.
fn create(
    run: &Run<'_>,
    issuer: &dyn Issuer,
    planned: &PlannedCreation,
) -> Result<(SecretString, String), (CreateError, Instant)> {
    let (until, doing) = (run.until(), || format!("while {}", issuer.api().stuck()));
    let made = block_on(Stage::Exchange, async {
        // It must not start by waiting for its response.
        let begun = Cell::new(false);
        let mut create = pin!(async {
            begun.set(true);
            issuer.create(planned).await
        });
        let failure = tokio::select! {
            biased;
            ended = until.ended() => Run::ended_early(Stage::Exchange, &ended, doing),
            result = &mut create => return result.map_err(|error| (error, Instant::now())),
        };
        let ended_at = Instant::now();
        issuer.api().give_up();
        if !begun.get() || !issuer.api().maybe_sent() {
            return Err((CreateError { failure, leftover: None }, ended_at));
        }
        tracing::debug!("the creation is under way; waiting for its response");
        let answer = tokio::time::timeout(run.timeline.revoke_limit / 2, create).await;
        let leftover = match answer {
            Ok(Ok((token, id))) => Some(Leftover::Token(id, Some((token, Instant::now())))),
            Ok(Err(error)) => error.leftover,
            Err(_) => Leftover::of_interruption(issuer.api().client.attempt().phase),
        };
        Err((CreateError { failure, leftover }, ended_at))
    });
    made.unwrap_or_else(|failure| Err((CreateError { failure, leftover: None }, Instant::now())))
}

/// Deletes the token; if that fails, once more with the admin token that `admin_file` holds now. If it fails again, the
/// result of the run stays, and there is a warning. True if no token is left.
fn revoke(
    run: &mut Run<'_>,
    issuer: &dyn Issuer,
    planned: &PlannedCreation,
    leftover: &Leftover,
    by: Instant,
    admin_file: Option<PathBuf>,
) -> bool {
    let began = Instant::now();
    issuer.api().insist(by);
    let left = |why: String| Err(format!("{why}; {}", leftover.manual_cleanup_hint(issuer, planned)));
    let attempt = || {
        let result = block_on(Stage::Revoke, async {
            tokio::time::timeout_at(by.into(), leftover.revoke(issuer, planned)).await.unwrap_or_else(|_| {
                let after = duration::show(began.elapsed());
                left(format!("gave up after {after} while {}", issuer.api().doing()))
            })
        });
        result.unwrap_or_else(|failure| left(failure.message))
    };
    let mut result = attempt();
    // Kubernetes replaces the token of a service account before it expires.
    if let (Err(_), Some(path)) = (&result, admin_file.filter(|_| Instant::now() < by))
        && let Ok(admin) = Credential::File(path).read(&Until::at(by))
        && issuer.api().renew(&admin)
        && attempt().is_ok()
    {
        result = Ok(());
    }
    run.report.took(Stage::Revoke, began.elapsed());
    match result {
        Ok(()) => {
            tracing::debug!("the token is deleted");
            true
        }
        Err(why) => {
            run.report.revocation_failed = true;
            let warning = format!("could not delete the token: {why}");
            run.report.warnings.push(Warning::new(Reason::TokenNotDeleted, warning));
            false
        }
    }
}

/// If a signal to end the run came during the revocation, it replaces a success. A failure of the command says
/// more.
fn remember_signal(run: &Run<'_>, result: Result<ExitStatus, Failure>) -> Result<ExitStatus, Failure> {
    let came: Vec<Signal> = std::iter::from_fn(|| run.signals.take()).collect();
    // SIGCHLD comes in every run.
    let shown: Vec<String> = came.iter().filter(|&&s| s != Signal::CHLD).map(ToString::to_string).collect();
    if !shown.is_empty() {
        tracing::debug!(signals = shown.join(", "), "received while deleting the token");
    }
    match (&result, came.into_iter().find(|signal| signal.is_terminating())) {
        (Ok(status), Some(signal)) if status.is_success() => Err(Failure::signal(Stage::Revoke, signal)),
        _ => result,
    }
}

pub(crate) fn while_checking(api: &Api) -> String {
    format!("while checking the admin token, {}", api.stuck())
}
