//! `gafaelfawr rotate` and `stackstate rotate`: keep a working token in FILE.
//!
//! # Theory of operation
//!
//! One process at a time holds `FILE.lock`. Each change at the issuer is first written to `FILE.state`, with fsync:
//!
//! 1. note the creation (its expiry, and what identifies its token), and reserve the room for the token
//! 2. create the token
//! 3. note the new token, by its fingerprint, beside the old one
//! 4. rename the new token to FILE
//! 5. delete the old token
//! 6. forget it
//!
//! A crash after any step leaves a working token in FILE, because 4 is atomic and 5 comes after it. It
//! leaves at most one token that is not in FILE: the new one (after 2 or 3) or the old one (after 4). Each
//! has an expiry and is in `FILE.state`, where the next `rotate` finds it.
//!
//! A token is deleted only if it was created for FILE, and never while FILE holds it. One that was in FILE is
//! deleted only if FILE now holds another token of `FILE.state`: otherwise somebody may have moved it
//! elsewhere and be using it there.

mod files;
pub(crate) mod gafaelfawr;
mod issuer;
pub(crate) mod stackstate;
mod state;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::output::{Format, json};
use super::{Administration, Session};
use crate::date::time;
use crate::failure::{ExitStatus, Failure, Reason, Stage, Warning, system_error};
use crate::go::duration;
use crate::issuer::Leftover;
use crate::log::Log;
use crate::metrics::{self, Figures, Labels};
use crate::read::Until;
use crate::secret::{SecretString, scrub};
use crate::sys::signal::Signals;
use files::{Files, LOCK_PAUSE, Lock, READ_LIMIT, Replacement};
use issuer::{Found, Others, Rotates, SETTLED_AFTER_SECONDS, Seen};
use state::{Known, PlannedCreation, State, fingerprint};

/// Minimum time to delete a token or look for one when less of the timeout is left.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(5);

/// The settings of `rotate`, from flags and environment.
pub(crate) struct Rotation {
    pub administration: Administration,
    /// `--token-file`.
    pub file: PathBuf,
    pub renew_before: Option<Duration>,
    pub keep_old: bool,
    pub metrics_textfile: Option<PathBuf>,
    pub labels: Labels,
    pub issuer: IssuerConfig,
}

pub(crate) enum IssuerConfig {
    Gafaelfawr(gafaelfawr::Config),
    StackState(stackstate::Config),
}

/// When the token in FILE expires, according to `FILE.state`.
pub(crate) fn known_expiry(file: &Path) -> Option<u64> {
    Files::at(file).ok()?.known_expiry()
}

/// Results that are reported at the end, whether the run succeeded or not.
#[derive(Default)]
struct Notes {
    warnings: Vec<Warning>,
    /// The issuer has confirmed what the token in FILE is.
    is_token_seen: bool,
    /// The expiry of that token, if it is valid.
    expires: Option<u64>,
    clock_offset_seconds: Option<i64>,
    revocation_failed: bool,
    deleted: Vec<String>,
}

impl Notes {
    /// A step that is tried twice may fail twice in the same way.
    fn warn(&mut self, warning: impl Into<Warning>) {
        let warning = warning.into();
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// The state of FILE at the end.
struct Done {
    rotated: bool,
    id: String,
    expires: Option<u64>,
}

impl Rotation {
    /// Returns the text for stdout. Writes warnings and metrics.
    pub(crate) fn run(self, signals: &Signals, log: Log) -> Result<String, Failure> {
        let Rotation { administration, file, renew_before, keep_old, metrics_textfile, labels, issuer } =
            self;
        let Administration { url, format, timeout, http, credential } = administration;
        let session = Session::begin(timeout, signals);
        let mut notes = Notes::default();
        let result = (|| {
            let files = Files::at(&file)?;
            let (http, credential) = session.read(http, credential)?;
            let issuer_name = url.as_str().trim_end_matches('/').to_owned();
            let (issuer, user): (Box<dyn Rotates>, _) = match issuer {
                IssuerConfig::Gafaelfawr(config) => {
                    let user = config.new.username.clone();
                    (Box::new(config.connect(http, url, &credential)?), Some(user))
                }
                IssuerConfig::StackState(config) => (Box::new(config.connect(http, url, &credential)?), None),
            };
            let empty = State::new(issuer_name, user);
            let issuer = issuer.as_ref();
            let rotate = Rotate { issuer, files: &files, session, renew_before, keep_old };
            let done = rotate.to_completion(empty, &mut notes);
            notes.clock_offset_seconds = issuer.clock_offset();
            Ok((done?, files.path().display().to_string()))
        })();
        if let Some(path) = &metrics_textfile {
            if !notes.is_token_seen {
                notes.expires = known_expiry(&file);
            }
            let written = metrics::write(path, &labels, &figures(&result, &notes, session));
            notes.warnings.extend(written.err().map(Warning::from));
        }
        let (done, path) = result.map_err(|failure| failure.with_warnings(notes.warnings.drain(..)))?;
        for warning in &notes.warnings {
            log.warning(warning);
        }
        Ok(report(&done, &path, &notes, format))
    }
}

fn figures<T>(result: &Result<T, Failure>, notes: &Notes, session: Session<'_>) -> Figures {
    let failure = result.as_ref().err();
    let left = session.deadline.saturating_duration_since(Instant::now());
    // An interruption says nothing about the issuer.
    let failed = failure.filter(|failure| failure.reason != Reason::Interrupted);
    let mut failed: Vec<Stage> = failed.and_then(|failure| failure.stage).into_iter().collect();
    if notes.revocation_failed && !failed.contains(&Stage::Revoke) {
        failed.push(Stage::Revoke);
    }
    let mut failures: Vec<_> = failure.map(|failure| (failure.stage, failure.reason)).into_iter().collect();
    if notes.revocation_failed {
        failures.push((Some(Stage::Revoke), Reason::TokenNotDeleted));
    }
    Figures {
        exit_status: failure.map_or(ExitStatus::SUCCESS, |failure| failure.status).code(),
        failed,
        failures,
        clock_offset_seconds: notes.clock_offset_seconds,
        deadline_margin_seconds: left.as_secs_f64(),
        token_expiry: notes.expires,
        ..Figures::default()
    }
}

/// Cron mails whatever is printed, so nothing is printed about a token that stays.
fn report(done: &Done, path: &str, notes: &Notes, format: Format) -> String {
    let Done { rotated, id, expires } = done;
    match format {
        Format::Json => json(&json!({
            "rotated": rotated, "token_file": path, "token": id, "expires": expires, "deleted": notes.deleted
        })),
        Format::Text if *rotated => {
            format!(
                "{path} holds the new token {id}; expires: {}\n",
                expires.map_or("never".to_owned(), time)
            )
        }
        Format::Text => String::new(),
    }
}

/// One `rotate`, connected to its issuer.
struct Rotate<'a> {
    issuer: &'a dyn Rotates,
    files: &'a Files,
    session: Session<'a>,
    renew_before: Option<Duration>,
    keep_old: bool,
}

impl Rotate<'_> {
    fn to_completion(&self, empty: State, notes: &mut Notes) -> Result<Done, Failure> {
        let _lock = self.lock()?;
        let until = Until { signals: Some(self.session.signals), ..Until::at(self.session.deadline) };
        let before = self.files.state(&until)?;
        if let Some(state) = before.as_ref().filter(|s| (&s.issuer, &s.user) != (&empty.issuer, &empty.user))
        {
            return Err(self.of_another(state));
        }
        let token = self.files.token(&until)?;
        self.files.tidy()?;
        let mut state = before.unwrap_or_else(|| empty.clone());
        let at = token.as_ref().and_then(|token| state.position(token));
        if let Some(at) = at {
            state.tokens[at].installed = true;
        }
        let seen = match &token {
            None => Seen::Invalid,
            Some(token) => {
                let known = at.map(|at| &state.tokens[at]);
                self.wait(self.issuer.look_at(token, known, self.session.deadline))
                    .map_err(|failure| self.naming_file(failure))?
            }
        };
        notes.is_token_seen = true;
        let current = token.as_ref().map(fingerprint);
        let result = self.renew(&mut state, current, seen, notes);
        // Tokens that were cleaned up are removed from the state, whether or not the rest succeeded.
        let saved = self.files.state(&Until::in_time(READ_LIMIT)).map(|saved| saved.unwrap_or(empty));
        let is_saved = saved.is_ok_and(|saved| saved == state);
        if !is_saved && let Err(failure) = self.files.save(&state) {
            notes.warn(failure.message);
        }
        result
    }

    fn renew(
        &self,
        state: &mut State,
        current: Option<String>,
        seen: Seen,
        notes: &mut Notes,
    ) -> Result<Done, Failure> {
        let in_file = match &seen {
            Seen::Valid { id, .. } => Some(id.as_str()),
            Seen::Invalid => None,
        };
        self.clean_up(state, current.as_deref(), in_file, notes)?;
        let mut valid_until = None;
        if let (Seen::Valid { id, created, expires }, Some(fingerprint)) = (seen, current) {
            notes.expires = expires;
            if self.is_fresh(created, expires) {
                return Ok(Done { rotated: false, id, expires });
            }
            valid_until = expires;
            let is_known = state.tokens.iter().any(|known| known.fingerprint == fingerprint);
            if !is_known {
                state.tokens.push(Known { id, fingerprint, created, expires, installed: true, keep: false });
            }
        }
        let new = self.files.reserve()?;
        let (token, known, new_state) = self.create(state, valid_until, notes)?;
        let (id, expires) = (known.id.clone(), known.expires);
        let mut old = state.tokens.clone();
        for known in &mut state.tokens {
            known.keep = self.keep_old;
        }
        state.tokens.push(known.clone());
        let saved = self.files.save_into(new_state, state);
        let unsynced = saved.and_then(|()| self.files.replace(new, &token)).map_err(|failure| {
            let deleted = self.clean_up_wait(self.issuer.delete(&id, self.clean_up_deadline()));
            let failure = match deleted {
                Ok(()) => failure,
                Err(why) => {
                    old.push(known);
                    failure.and(&format!("and {}", self.undeleted(&id, expires, &why)))
                }
            };
            state.tokens = old;
            failure
        })?;
        notes.expires = expires;
        if let Some(known) = state.tokens.last_mut() {
            known.installed = true;
        }
        match unsynced {
            // After a power failure, FILE may hold the old token again.
            Some(failure) => notes.warn(failure.message),
            None => self.delete_old(state, &id, notes)?,
        }
        Ok(Done { rotated: true, id, expires })
    }

    fn is_fresh(&self, created: Option<u64>, expires: Option<u64>) -> bool {
        expires.is_none_or(|expires| {
            let renew_before =
                self.renew_before.unwrap_or_else(|| self.issuer.renew_before(created, expires));
            expires > self.issuer.now().saturating_add(renew_before.as_secs())
        })
    }

    /// Creates a token and reserves space for the state that includes it. If the response is lost, looks for the token
    /// and deletes it.
    fn create(
        &self,
        state: &mut State,
        valid_until: Option<u64>,
        notes: &mut Notes,
    ) -> Result<(SecretString, Known, Replacement), Failure> {
        let deadline = self.session.deadline;
        let attempt = self.wait(self.issuer.plan(&state.attempts, valid_until, deadline))?;
        state.attempts.push(attempt.clone());
        let reserved = self.files.save(state).and_then(|()| self.files.reserve_state(state));
        let new_state = reserved.inspect_err(|_| {
            state.attempts.pop();
        })?;
        let created = self.wait(async { Ok(self.issuer.create(&attempt, deadline).await) });
        let error = match created {
            Ok(Ok((token, id))) => {
                state.attempts.pop();
                let (fingerprint, expires) = (fingerprint(&token), Some(attempt.expires));
                let created = Some(attempt.began);
                let known = Known { id, fingerprint, created, expires, installed: false, keep: false };
                return Ok((token, known, new_state));
            }
            Ok(Err(error)) => error,
            // The next rotate looks for it.
            Err(failure) if self.issuer.api().maybe_sent() => {
                return Err(failure.and(&format!(
                    "a token may have been created, which the next rotate looks for; see: {}",
                    self.issuer.list_hint()
                )));
            }
            Err(failure) => {
                state.attempts.pop();
                return Err(failure);
            }
        };
        match error.leftover {
            None => {
                state.attempts.pop();
            }
            Some(leftover) => {
                if let (Leftover::Answered(_), Some(attempt)) = (leftover, state.attempts.last_mut()) {
                    attempt.answered = true;
                }
                // The first failure is the one to report.
                if let Err(failure) = self.settle(state, None, notes) {
                    notes.warn(failure.message);
                }
            }
        }
        Err(error.failure)
    }

    /// Deletes the tokens that earlier runs left.
    fn clean_up(
        &self,
        state: &mut State,
        current: Option<&str>,
        in_file: Option<&str>,
        notes: &mut Notes,
    ) -> Result<(), Failure> {
        let is_current = |known: &Known| Some(known.fingerprint.as_str()) == current;
        let holds_known = state.tokens.iter().any(is_current);
        let (mut kept, others): (Vec<Known>, Vec<Known>) = state.tokens.drain(..).partition(is_current);
        let mut interrupted = None;
        for known in others {
            let is_over = known.expires.is_some_and(|expires| expires <= self.issuer.now());
            if is_over || known.keep || interrupted.is_some() {
                kept.extend(interrupted.is_some().then_some(known));
                continue;
            }
            if known.installed && !holds_known {
                notes.warn(format!(
                    "the token {} is no longer in {} and was left alone: {}",
                    known.id,
                    self.files.path().display(),
                    self.manual_cleanup_hint(&known.id, known.expires)
                ));
                continue;
            }
            match self.delete(&known.id, known.expires, notes) {
                Ok(true) => {}
                Ok(false) => kept.push(known),
                Err(failure) => {
                    interrupted = Some(failure);
                    kept.push(known);
                }
            }
        }
        state.tokens = kept;
        match interrupted {
            Some(failure) => Err(failure),
            None => self.settle(state, in_file, notes),
        }
    }

    /// The message about a token in FILE, with the path.
    fn naming_file(&self, failure: Failure) -> Failure {
        match failure.reason {
            Reason::TokenFileRefused => {
                let message = format!("{} {}", self.files.path().display(), failure.message);
                Failure { message, ..failure }
            }
            _ => failure,
        }
    }

    /// Looks for tokens whose creation was not confirmed.
    fn settle(&self, state: &mut State, in_file: Option<&str>, notes: &mut Notes) -> Result<(), Failure> {
        let mut open = Vec::new();
        let mut attempts = std::mem::take(&mut state.attempts).into_iter();
        let known = state.tokens.iter().map(|known| known.id.as_str());
        let others = Others {
            ids: known.chain(in_file).map(str::to_owned).collect(),
            expiries: attempts.as_slice().iter().map(|attempt| attempt.expires).collect(),
        };
        let result = attempts.by_ref().try_for_each(|attempt| {
            if self.settle_one(&attempt, &others, notes).inspect_err(|_| open.push(attempt.clone()))? {
                open.push(attempt);
            }
            Ok(())
        });
        state.attempts = open.into_iter().chain(attempts).collect();
        result
    }

    /// Returns true if the attempt is still unresolved.
    fn settle_one(
        &self,
        attempt: &PlannedCreation,
        others: &Others,
        notes: &mut Notes,
    ) -> Result<bool, Failure> {
        let is_recent = || self.issuer.now() <= attempt.began.saturating_add(SETTLED_AFTER_SECONDS);
        match self.clean_up_wait(self.issuer.find(attempt, others, self.clean_up_deadline()))? {
            Found::Created(id) if others.ids.contains(&id) => Ok(is_recent()),
            Found::Created(id) => Ok(!self.delete(&id, Some(attempt.expires), notes)?),
            Found::Unproven(ids) => {
                let expires = time(attempt.expires);
                notes.warn(format!(
                    "rotate may have created one of these tokens, but cannot tell and left them alone: {}; it expires at {expires}; see: {}",
                    scrub(&ids.join(", ")),
                    self.issuer.list_hint()
                ));
                Ok(true)
            }
            Found::NotListed => Ok(is_recent()),
        }
    }

    fn delete_old(&self, state: &mut State, new: &str, notes: &mut Notes) -> Result<(), Failure> {
        let (kept, old): (Vec<Known>, Vec<Known>) = state.tokens.drain(..).partition(|known| known.id == new);
        state.tokens = kept;
        let mut old = old.into_iter().filter(|known| !known.keep);
        let result = old.by_ref().try_for_each(|known| {
            let deleted = self.delete(&known.id, known.expires, notes);
            if !matches!(deleted, Ok(true)) {
                state.tokens.push(known);
            }
            deleted.map(drop)
        });
        // Tokens that an interrupted run left.
        state.tokens.extend(old);
        result
    }

    /// Returns true if the token is gone. A failure is only a warning, unless a signal ends the run.
    fn delete(&self, id: &str, expires: Option<u64>, notes: &mut Notes) -> Result<bool, Failure> {
        match self.clean_up_wait(self.issuer.delete(id, self.clean_up_deadline())) {
            Ok(()) => {
                notes.deleted.push(id.to_owned());
                Ok(true)
            }
            Err(failure) => {
                let undeleted = self.undeleted(id, expires, &failure);
                if matches!(failure.status, ExitStatus::Signal(_)) {
                    return Err(
                        Failure { stage: Some(Stage::Revoke), ..failure }.and(&format!("and {undeleted}"))
                    );
                }
                notes.revocation_failed = true;
                notes.warn(Warning::new(Reason::TokenNotDeleted, undeleted));
                Ok(false)
            }
        }
    }

    fn undeleted(&self, id: &str, expires: Option<u64>, why: &Failure) -> String {
        let why = if matches!(why.status, ExitStatus::Signal(_)) { "interrupted" } else { &why.message };
        format!(
            "could not delete the token: {why}; the next rotate tries again; {}",
            self.manual_cleanup_hint(id, expires)
        )
    }

    fn manual_cleanup_hint(&self, id: &str, expires: Option<u64>) -> String {
        let expires =
            expires.map_or_else(|| "never expires".to_owned(), |at| format!("expires at {}", time(at)));
        format!("it {expires}, or delete it: {}", self.issuer.delete_hint(id))
    }

    fn clean_up_deadline(&self) -> Instant {
        self.session.deadline.max(Instant::now() + CLEAN_UP_LIMIT)
    }

    fn clean_up_wait<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let session = Session { deadline: self.clean_up_deadline(), ..self.session };
        session.wait(self.issuer.api(), work)
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.session.wait(self.issuer.api(), work)
    }

    /// Waits until no other `rotate` holds the lock of the same FILE.
    fn lock(&self) -> Result<Lock, Failure> {
        let path = self.files.path().display();
        let Session { timeout, deadline, signals } = self.session;
        let waiting = format!("while waiting for another rotate of {path}");
        loop {
            match self.files.try_lock() {
                Ok(Some(lock)) => return Ok(lock),
                Ok(None) => {}
                Err(error) => {
                    return Err(Failure::local(
                        Reason::OutputFailed,
                        format!("cannot lock {path}.lock: {}; check --token-file", system_error(&error)),
                    ));
                }
            }
            if Instant::now() >= deadline {
                let after = duration::show(timeout);
                return Err(Failure {
                    stage: None,
                    reason: Reason::TimeoutLock,
                    status: ExitStatus::Timeout,
                    message: format!("timed out after {after} {waiting}"),
                });
            }
            if let Some(signal) = signals.take_interrupt() {
                let message = format!("interrupted by {signal} {waiting}");
                return Err(Failure { message, stage: None, ..Failure::signal(Stage::Sign, signal) });
            }
            std::thread::sleep(LOCK_PAUSE.min(deadline.saturating_duration_since(Instant::now())));
        }
    }

    fn of_another(&self, state: &State) -> Failure {
        let path = self.files.path().display();
        let user = state.user.as_ref().map(|user| format!("user {user} of ")).unwrap_or_default();
        Failure::local(
            Reason::TokenFileRefused,
            format!(
                "{path} holds a token of {user}{}, and is left alone; use another --token-file, or remove it and {path}.state",
                state.issuer
            ),
        )
    }
}
