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
//! # Extra tokens
//!
//! 1. A working token in FILE comes first.
//! 2. A token is deleted only if it was created for FILE, and never while FILE holds it. One that was in FILE is
//!    deleted only if FILE now holds another token of `FILE.state`: otherwise somebody may have moved it
//!    elsewhere and be using it there.
//! 3. As far as 1 and 2 allow, there is at most one extra token. While there may be N, another one is created
//!    only in the last 2^-N of `--renew-before` (or of the lifetime, if that is shorter). If FILE has no
//!    working token, one is created at once; but while a token of a failed creation is listed and cannot be
//!    deleted, there is a pause of a minute after it, which each further extra token doubles, up to an hour.

mod files;
mod state;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::output::json;
use super::{connect, wait};
use crate::cli::flags::TIMEOUT;
use crate::cli::{self, FORMAT, Format, LIFETIME, Line, RotateFlags};
use crate::config;
use crate::config::run::metrics_labels;
use crate::config::token::labels;
use crate::date::{time, unix_now};
use crate::failure::{ExitStatus, Failure, Reason, Stage, Warning};
use crate::issuer::{
    Found, Issuer, IssuerConfig, Known, Lifetime, Others, PlannedCreation, SETTLED_AFTER_SECONDS, Seen, Site,
};
use crate::log::Log;
use crate::metrics::{self, Figures, Labels};
use crate::secret::{SecretString, scrub};
use crate::sys::signal::Signals;
use crate::until::Until;
use files::{Files, LOCK_PAUSE, Lock, READ_LIMIT, Replacement, StateError};
use state::{State, fingerprint};

/// How much longer than the timeout, and than another timeout, tokens may be looked for and deleted.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(5);
/// While FILE has no working token: from a creation that may have left an extra token to the next one. Each further
/// extra token doubles it, up to an hour.
const PAUSE_SECONDS: u64 = 60;
const LONGEST_PAUSE_SECONDS: u64 = 3600;

/// The settings of `rotate`, from flags and environment.
pub(crate) struct Rotation {
    site: Site,
    issuer: IssuerConfig,
    flags: RotateFlags,
    format: Format,
    until: Until<'static>,
    labels: Labels,
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
    /// The new content of FILE, if it was replaced.
    holds: Option<String>,
    deleted: Vec<String>,
    undeleted: Vec<Extra>,
    /// Tokens that may be of a lost creation.
    unproven: Vec<Extra>,
}

/// A token of FILE that is left at the issuer.
struct Extra {
    id: String,
    expires: Option<u64>,
    why: String,
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

fn note(extras: &mut Vec<Extra>, new: Extra) {
    extras.retain(|extra| extra.id != new.id);
    extras.push(new);
}

/// The state of FILE at the end.
struct Done {
    rotated: bool,
    id: String,
    expires: Option<u64>,
}

impl Rotation {
    pub(crate) fn of_gafaelfawr(
        line: Line<cli::gafaelfawr::Rotate>,
        _: &Signals,
    ) -> Result<Rotation, Failure> {
        let cli::gafaelfawr::Rotate { gafaelfawr, rotation: flags, service, admin } = line.flags;
        let issuer = IssuerConfig::Gafaelfawr(config::gafaelfawr::new_token(service));
        let site = config::gafaelfawr::site(gafaelfawr, admin.http)?;
        Rotation::new(site, issuer, flags, admin.output, Until::in_time(TIMEOUT.or(admin.timeout)))
    }

    pub(crate) fn of_stackstate(
        line: Line<cli::stackstate::Rotate>,
        signals: &Signals,
    ) -> Result<Rotation, Failure> {
        let cli::stackstate::Rotate { stackstate, rotation: flags, name, subject, expiration, admin } =
            line.flags;
        if expiration.is_some() && flags.lifetime.is_some() {
            return Err(Failure::usage("--lifetime and --expiration cannot be used together; give one"));
        }
        let until = Until::in_time(TIMEOUT.or(admin.timeout));
        let new = config::stackstate::new_token(name, subject, expiration)?;
        let (site, api) = config::stackstate::site(stackstate, admin.http, &until.or_signal(signals))?;
        Rotation::new(site, IssuerConfig::StackState { new, api }, flags, admin.output, until)
    }

    fn new(
        site: Site,
        issuer: IssuerConfig,
        mut flags: RotateFlags,
        format: Option<Format>,
        until: Until<'static>,
    ) -> Result<Rotation, Failure> {
        let added = metrics_labels(std::mem::take(&mut flags.metrics.metrics_label))?;
        let labels = labels(added, issuer.service(), Some(&site.url), issuer.owner());
        let format = FORMAT.or(format);
        Ok(Rotation { site, issuer, flags, format, until, labels })
    }

    /// Returns the text for stdout, and what to do if it cannot be printed. Writes warnings and metrics.
    pub(crate) fn run(self, signals: &Signals, log: Log) -> Result<(String, Written), Failure> {
        let Rotation { site, issuer, flags, format, until, labels } = self;
        let until = until.or_signal(signals);
        let mut notes = Notes::default();
        let result = (|| {
            let files = Files::at(&flags.token_file)?;
            let url = site.url.as_str().trim_end_matches('/').to_owned();
            let lifetime = Lifetime::InFile(LIFETIME.or(flags.lifetime));
            let issuer = connect(&until, site, |access| issuer.connect(access, lifetime))?;
            let empty = State::new(url, issuer.user().map(str::to_owned));
            let overtime = CLEAN_UP_LIMIT.min(until.patience());
            let rotate = Rotate { issuer: issuer.as_ref(), files: &files, until, overtime, flags: &flags };
            let done = rotate.to_completion(empty, &mut notes)?;
            Ok((done, files.path().display().to_string()))
        })();
        let metrics_textfile = flags.metrics.metrics_textfile;
        if !notes.is_token_seen && metrics_textfile.is_some() {
            notes.expires = known_expiry(&flags.token_file);
        }
        let figures = figures(&result, &notes, until.deadline);
        let written = Written { metrics: metrics_textfile, labels, figures, holds: notes.holds.take() };
        notes.warnings.extend(written.write());
        let (done, path) =
            result.map_err(|failure| written.naming_new(failure).with_warnings(notes.warnings.drain(..)))?;
        for warning in &notes.warnings {
            log.warning(warning);
        }
        Ok((report(&done, &path, &notes, format), written))
    }
}

/// The metrics of a `rotate` whose result is still to be printed.
pub(crate) struct Written {
    metrics: Option<PathBuf>,
    labels: Labels,
    figures: Figures,
    holds: Option<String>,
}

impl Written {
    fn write(&self) -> Option<Warning> {
        metrics::write(self.metrics.as_ref()?, &self.labels, &self.figures).err()
    }

    /// Writes them again, with the failure to print the result.
    pub(crate) fn unprinted(mut self, failure: Failure) -> Failure {
        self.figures.exit_status = failure.status.code();
        self.figures.failed.push(failure.stage);
        self.figures.failures.push((failure.stage, failure.reason));
        self.naming_new(failure).with_warnings(self.write())
    }

    fn naming_new(&self, failure: Failure) -> Failure {
        self.holds.iter().fold(failure, |failure, holds| failure.and(holds))
    }
}

fn figures<T>(result: &Result<T, Failure>, notes: &Notes, deadline: Instant) -> Figures {
    let failure = result.as_ref().err();
    let mut figures = failure.map(Figures::of_failure).unwrap_or_default();
    if failure.is_some_and(|failure| failure.reason == Reason::Interrupted) {
        // It says nothing about the issuer.
        figures.failed.clear();
    }
    if notes.warnings.iter().any(|warning| warning.reason == Some(Reason::TokenNotDeleted)) {
        figures.failed.push(Stage::Revoke);
        figures.failures.push((Stage::Revoke, Reason::TokenNotDeleted));
    }
    let left = deadline.saturating_duration_since(Instant::now());
    Figures {
        clock_offset_seconds: notes.clock_offset_seconds,
        deadline_margin_seconds: Some(left.as_secs_f64()),
        token_expiry: notes.expires,
        ..figures
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
    issuer: &'a dyn Issuer,
    files: &'a Files,
    until: Until<'a>,
    /// How much longer than that tokens may be looked for and deleted.
    overtime: Duration,
    flags: &'a RotateFlags,
}

impl Rotate<'_> {
    fn to_completion(&self, empty: State, notes: &mut Notes) -> Result<Done, Failure> {
        let done = self.try_all(empty, notes);
        notes.clock_offset_seconds = self.issuer.api().client.clock_offset_seconds();
        self.warn_of_extras(notes);
        done
    }

    fn try_all(&self, empty: State, notes: &mut Notes) -> Result<Done, Failure> {
        let _lock = self.lock()?;
        let (before, damage) = match self.files.state(&self.until) {
            Ok(state) => (state, None),
            Err(StateError::Damaged(failure)) => {
                (None, Some(failure.and(&self.issuer.without_state(self.files.path()))))
            }
            Err(StateError::Unreadable(failure)) => return Err(failure),
        };
        if let Some(state) = before.as_ref().filter(|s| (&s.issuer, &s.user) != (&empty.issuer, &empty.user))
        {
            return Err(self.of_another(state));
        }
        let token = self.files.token(&self.until)?;
        self.files.tidy()?;
        let has_state = before.is_some();
        let mut state = before.unwrap_or_else(|| empty.clone());
        let at = token.as_ref().and_then(|token| state.position(token));
        if let Some(at) = at {
            state.tokens[at].installed = true;
        }
        let seen = match &token {
            None => Ok(Seen::Invalid),
            Some(token) => {
                let known = at.map(|at| &state.tokens[at]);
                self.wait(self.issuer.look_at(token, known)).map_err(|failure| self.naming_file(failure))
            }
        };
        if let Some(damage) = damage {
            return self.without_state(damage, seen, notes);
        }
        let seen = seen?;
        if let (Some(_), Seen::Invalid, false) = (&token, &seen, has_state) {
            let message = format!(
                "holds a token that {} does not accept and no .state file lists: it has expired, or belongs elsewhere; rotate left it unchanged; check --url, or move it away",
                self.issuer.api().origin()
            );
            return Err(self.naming_file(Failure::local(Reason::TokenFileRefused, message)));
        }
        notes.is_token_seen = true;
        let current = token.as_ref().map(fingerprint);
        let result = self.renew(&mut state, current, seen, notes);
        // Tokens that were cleaned up are removed from the state, whether or not the rest succeeded.
        let saved = self.files.state(&Until::in_time(READ_LIMIT)).map(|saved| saved.unwrap_or(empty));
        let is_saved = saved.is_ok_and(|saved| saved == state);
        if !is_saved && let Err(failure) = self.files.save(&state) {
            notes.warn(failure);
        }
        result
    }

    /// While the token in FILE is fresh, a damaged `FILE.state` does no harm.
    fn without_state(
        &self,
        damage: Failure,
        seen: Result<Seen, Failure>,
        notes: &mut Notes,
    ) -> Result<Done, Failure> {
        match seen {
            Ok(Seen::Valid { id, created, expires, .. }) => {
                (notes.is_token_seen, notes.expires) = (true, expires);
                if self.is_fresh(created, expires) {
                    notes.warn(damage);
                    return Ok(Done { rotated: false, id, expires });
                }
            }
            Err(failure) if failure.reason != Reason::TokenFileRefused => return Err(failure),
            _ => {}
        }
        Err(damage)
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
        let is_due = match seen {
            Seen::Valid { created, expires, .. } => {
                notes.expires = expires;
                !self.is_fresh(created, expires)
            }
            Seen::Invalid => true,
        };
        let gone = current.clone().filter(|_| matches!(seen, Seen::Invalid));
        let before = if is_due { &self.first_half() } else { self };
        before.clean_up(state, current.as_deref(), in_file, notes)?;
        // Once it has expired, only FILE.state can tell that it was this one's.
        if let (Seen::Valid { id, created, expires, .. }, Some(fingerprint)) = (&seen, current)
            && state.tokens.iter().all(|known| known.fingerprint != fingerprint)
        {
            let (id, created, expires) = (id.clone(), *created, *expires);
            state.tokens.push(Known { id, fingerprint, created, expires, installed: true, keep: false });
        }
        if is_due {
            self.hold_back(state, &seen, notes)?;
        }
        let mut valid_until = None;
        if let Seen::Valid { id, expires, other_scopes, .. } = seen {
            if !is_due {
                if let Some(scopes) = other_scopes {
                    let path = self.files.path().display();
                    notes.warn(format!(
                        "the token in {path} has the scopes {scopes}; --scopes applies to the next one: to replace it now, use a --renew-before longer than its lifetime"
                    ));
                }
                return Ok(Done { rotated: false, id, expires });
            }
            valid_until = expires;
        }
        let new = self.files.reserve()?;
        let (token, known, new_state) = self.create(state, valid_until, notes)?;
        let (id, expires) = (known.id.clone(), known.expires);
        let mut old = state.tokens.clone();
        for known in &mut state.tokens {
            known.keep = known.installed && self.flags.keep_old.unwrap_or_default();
        }
        state.tokens.push(known.clone());
        let saved = self.files.save_into(new_state, state);
        let unsynced = saved.and_then(|()| self.files.replace(new, &token)).map_err(|failure| {
            let not_listed =
                || Failure::failed(Stage::Revoke, Reason::TokenNotDeleted, "it is not listed yet");
            let deleted = self.clean_up_wait(self.issuer.delete(&id));
            let failure = match deleted.and_then(|deleted| deleted.then_some(()).ok_or_else(not_listed)) {
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
        notes.holds = Some(format!("{} holds the new token {id}", self.files.path().display()));
        notes.warnings.extend(self.issuer.clock_warning());
        if let Some(known) = state.tokens.last_mut() {
            known.installed = true;
        }
        if let Some(failure) = unsynced {
            // After a power failure, FILE may hold the old token again.
            notes.warn(failure);
        } else {
            let (new, old): (Vec<Known>, Vec<Known>) =
                state.tokens.drain(..).partition(|known| known.id == id);
            state.tokens = new;
            let mut old: Vec<Known> = old.into_iter().filter(|known| !known.keep).collect();
            for known in old.iter_mut().filter(|known| gone.as_ref() == Some(&known.fingerprint)) {
                // The issuer does not accept it any more, so it is not only listed late.
                known.created = None;
            }
            self.delete_all(state, old, notes)?;
        }
        Ok(Done { rotated: true, id, expires })
    }

    /// The first half of the time that is left: a server that does not respond to deletions leaves the other half for
    /// the creation.
    fn first_half(&self) -> Self {
        let now = Instant::now();
        let half = self.until.deadline.saturating_duration_since(now) / 2;
        Rotate { until: Until { deadline: now + half, ..self.until }, overtime: Duration::ZERO, ..*self }
    }

    /// Fails if there may be extra tokens and the next one has time.
    fn hold_back(&self, state: &State, seen: &Seen, notes: &Notes) -> Result<(), Failure> {
        let extras = notes.undeleted.len() + notes.unproven.len();
        let Some(doublings) = u32::try_from(extras).ok().and_then(|extras| extras.checked_sub(1)) else {
            return Ok(());
        };
        let (path, now) = (self.files.path().display(), self.issuer.now());
        let (until, file) = if let Seen::Valid { created, expires: Some(expires), .. } = *seen {
            let lifetime = expires.saturating_sub(created.unwrap_or_default());
            let due = self.renew_before(created, expires).min(lifetime);
            let until = expires.saturating_sub(due.checked_shr(doublings + 1).unwrap_or_default());
            (until, format!("the token in {path} is valid until {}", time(expires)))
        } else {
            let failed = state.tokens.iter().filter(|known| !known.installed);
            let began = state.attempts.iter().map(|attempt| attempt.began);
            let last = began.chain(failed.filter_map(|known| known.created)).max().unwrap_or_default();
            let pause = (PAUSE_SECONDS << doublings.min(u64::BITS / 2)).min(LONGEST_PAUSE_SECONDS);
            // The server's clock may have been ahead.
            let until = if last.abs_diff(now) < pause { last + pause } else { now };
            (until, format!("{path} holds no working token"))
        };
        if until <= now {
            return Ok(());
        }
        let message = format!(
            "did not rotate {path}: an earlier token may still be there; rotate creates no new one before {}, unless that one is gone; {file}",
            time(until)
        );
        Err(Failure::failed(Stage::Revoke, Reason::TokenNotDeleted, message))
    }

    fn is_fresh(&self, created: Option<u64>, expires: Option<u64>) -> bool {
        expires.is_none_or(|expires| {
            // One rotation too many does less harm than one too few.
            let now = self.clocks().into_iter().max().unwrap_or_default();
            expires > now.saturating_add(self.renew_before(created, expires))
        })
    }

    /// True if the token has expired by both clocks.
    fn has_expired(&self, expires: u64) -> bool {
        self.clocks().iter().all(|&now| expires <= now)
    }

    /// The time by the clock that counts, and by the issuer's, which differs only if the clocks are days apart.
    fn clocks(&self) -> [u64; 2] {
        let offset = self.issuer.api().client.clock_offset_seconds().unwrap_or_default();
        [self.issuer.now(), unix_now().saturating_add_signed(-offset)]
    }

    /// How many seconds before its expiry this token is due.
    fn renew_before(&self, created: Option<u64>, expires: u64) -> u64 {
        let renew_before = self.flags.renew_before.unwrap_or_else(|| {
            let lifetime = if self.issuer.has_fixed_expiry() {
                Duration::from_secs(created.map_or(0, |created| expires.saturating_sub(created)))
            } else {
                LIFETIME.or(self.flags.lifetime)
            };
            lifetime / 3
        });
        renew_before.as_secs()
    }

    /// Creates a token and reserves space for the state that includes it. If the response is lost, looks for the token
    /// and deletes it.
    fn create(
        &self,
        state: &mut State,
        valid_until: Option<u64>,
        notes: &mut Notes,
    ) -> Result<(SecretString, Known, Replacement), Failure> {
        let attempt = self
            .wait(self.issuer.plan(&state.attempts, valid_until))
            .map_err(|failure| self.naming_file(failure))?;
        state.attempts.push(attempt.clone());
        let reserved = self.files.save(state).and_then(|()| self.files.reserve_state(state));
        let new_state = reserved.inspect_err(|_| {
            state.attempts.pop();
        })?;
        let created = self.wait(async { Ok(self.issuer.create(&attempt).await) });
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
        if error.leftover.is_none() {
            state.attempts.pop();
        } else if let Err(failure) = self.settle(state, None, notes) {
            // The first failure is the one to report.
            notes.warn(failure);
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
        let (kept, others): (Vec<Known>, Vec<Known>) = state.tokens.drain(..).partition(is_current);
        state.tokens = kept;
        let mut old = Vec::new();
        for known in others {
            let is_over = known.expires.is_some_and(|expires| self.has_expired(expires));
            if is_over || known.keep {
                continue;
            }
            if !known.installed || holds_known {
                old.push(known);
                continue;
            }
            let warning = format!(
                "the token {} is no longer in {} and was left alone; {}",
                known.id,
                self.files.path().display(),
                self.issuer.manual_cleanup_hint(&known.id, known.expires)
            );
            notes.warn(Warning::new(Reason::TokenNotDeleted, warning));
        }
        self.delete_all(state, old, notes)?;
        self.settle(state, in_file, notes)
    }

    /// The message about a token in FILE, with the path.
    fn naming_file(&self, mut failure: Failure) -> Failure {
        let path = self.files.path().display();
        failure.message = if failure.reason == Reason::TokenFileRefused {
            format!("{path} {}", failure.message)
        } else {
            failure.message.replacen("the token in the file", &format!("the token in {path}"), 1)
        };
        failure
    }

    /// Looks for tokens whose creation was not confirmed.
    fn settle(&self, state: &mut State, in_file: Option<&str>, notes: &mut Notes) -> Result<(), Failure> {
        // Gafaelfawr lists a token for a while after it has expired.
        state.attempts.retain(|attempt| !self.has_expired(attempt.expires));
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
        match self.clean_up_wait(self.issuer.find(attempt, others))? {
            Found::Created(id) if others.ids.contains(&id) => Ok(self.is_recent(attempt.began)),
            Found::Created(id) => {
                let is_settled = !self.is_recent(attempt.began);
                Ok(!self.delete(&id, Some(attempt.expires), is_settled, notes)?)
            }
            Found::Unproven(ids) => {
                for id in ids {
                    let expires = Some(attempt.expires);
                    note(&mut notes.unproven, Extra { id, expires, why: String::new() });
                }
                Ok(true)
            }
            Found::NotListed => Ok(self.is_recent(attempt.began)),
        }
    }

    /// True if a token of this time may still appear in the list.
    fn is_recent(&self, began: u64) -> bool {
        self.issuer.now() <= began.saturating_add(SETTLED_AFTER_SECONDS)
    }

    /// Deletes these tokens. The ones that cannot be deleted stay in the state.
    fn delete_all(&self, state: &mut State, old: Vec<Known>, notes: &mut Notes) -> Result<(), Failure> {
        let mut old = old.into_iter();
        let result = old.by_ref().try_for_each(|known| {
            let is_settled = known.created.is_none_or(|at| !self.is_recent(at));
            let deleted = self.delete(&known.id, known.expires, is_settled, notes);
            if !matches!(deleted, Ok(true)) {
                state.tokens.push(known);
            }
            deleted.map(drop)
        });
        // Tokens that an interrupted run left.
        state.tokens.extend(old);
        result
    }

    /// Returns true if the token is gone. One that is not listed may be listed later, unless it `is_settled`. A failure
    /// is only a warning, unless a signal ends the run.
    fn delete(
        &self,
        id: &str,
        expires: Option<u64>,
        is_settled: bool,
        notes: &mut Notes,
    ) -> Result<bool, Failure> {
        let id = id.to_owned();
        if let Some(last) = notes.undeleted.last()
            && Instant::now() >= self.clean_up_deadline()
        {
            let why = last.why.clone();
            note(&mut notes.undeleted, Extra { id, expires, why });
            return Ok(false);
        }
        match self.clean_up_wait(self.issuer.delete(&id)) {
            Ok(is_deleted) => {
                notes.deleted.extend(is_deleted.then_some(id));
                Ok(is_deleted || is_settled)
            }
            Err(failure) => {
                if matches!(failure.status, ExitStatus::Signal(_)) {
                    let undeleted = self.undeleted(&id, expires, &failure);
                    return Err(Failure { stage: Stage::Revoke, ..failure }.and(&format!("and {undeleted}")));
                }
                note(&mut notes.undeleted, Extra { id, expires, why: failure.message });
                Ok(false)
            }
        }
    }

    /// One warning for all tokens that could not be deleted for the same reason: with each failed run there may be more.
    fn warn_of_extras(&self, notes: &mut Notes) {
        let whys: BTreeSet<String> = notes.undeleted.iter().map(|extra| extra.why.clone()).collect();
        for why in whys {
            let same = notes.undeleted.iter().filter(|extra| extra.why == why);
            let (tokens, hint) = self.listed(same);
            let warning = format!("could not delete {tokens}: {why}; the next rotate tries again; {hint}");
            notes.warn(Warning::new(Reason::TokenNotDeleted, warning));
        }
        if !notes.unproven.is_empty() {
            let (tokens, hint) = self.listed(notes.unproven.iter());
            let warning =
                format!("rotate may have created {tokens}, but cannot be sure and deleted nothing; {hint}");
            notes.warn(Warning::new(Reason::TokenNotDeleted, warning));
        }
    }

    /// The tokens in words, and when they expire and how to delete them.
    fn listed<'a>(&self, extras: impl Iterator<Item = &'a Extra>) -> (String, String) {
        let extras: Vec<&Extra> = extras.collect();
        if let [extra] = extras[..] {
            let id = scrub(&extra.id);
            return (format!("the token {id}"), self.issuer.manual_cleanup_hint(&extra.id, extra.expires));
        }
        let ids = extras.iter().map(|extra| scrub(&extra.id)).collect::<Vec<_>>().join(", ");
        let last = extras.iter().filter_map(|extra| extra.expires).max().map(time).unwrap_or_default();
        let how =
            extras.iter().map(|extra| self.issuer.delete_hint(&extra.id)).collect::<Vec<_>>().join("; ");
        (format!("the tokens {ids}"), format!("the last one expires at {last}; to delete them now: {how}"))
    }

    fn undeleted(&self, id: &str, expires: Option<u64>, why: &Failure) -> String {
        let why = if matches!(why.status, ExitStatus::Signal(_)) { "interrupted" } else { &why.message };
        let hint = self.issuer.manual_cleanup_hint(id, expires);
        format!("could not delete the token {id}: {why}; the next rotate tries again; {hint}")
    }

    fn clean_up_deadline(&self) -> Instant {
        let deadline = self.until.deadline;
        deadline.max((deadline + self.overtime).min(Instant::now() + CLEAN_UP_LIMIT))
    }

    fn clean_up_wait<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        wait(&Until { deadline: self.clean_up_deadline(), ..self.until }, self.issuer.api(), work)
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        wait(&self.until, self.issuer.api(), work)
    }

    /// Waits until no other `rotate` holds the lock of the same FILE.
    fn lock(&self) -> Result<Lock, Failure> {
        let doing = format!("while waiting for another rotate of {}", self.files.path().display());
        loop {
            if let Some(lock) = self.files.try_lock()? {
                return Ok(lock);
            }
            let ended = self.until.pause(LOCK_PAUSE);
            ended.map_err(|ended| ended.failure(Stage::Prepare, Reason::TimeoutLock, &doing))?;
        }
    }

    fn of_another(&self, state: &State) -> Failure {
        let path = self.files.path().display();
        let user = state.user.as_ref().map(|user| format!("user {user} of ")).unwrap_or_default();
        Failure::local(
            Reason::TokenFileRefused,
            format!(
                "{path} holds a token of {user}{}; rotate left it unchanged; use another --token-file, or remove it and {path}.state",
                state.issuer
            ),
        )
    }
}
