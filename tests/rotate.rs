//! `rotate`: FILE always holds a working token, whatever happens; tokens of others are left alone; and the next run
//! cleans up after a crash.

mod crash;
mod faults;
mod trust;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::{Gate, ask, relay};
use crate::support::issuer::{GAFAELFAWR, ISSUERS, Issuer, STACKSTATE};
use crate::support::job::Folder;
use crate::support::{Ended, Sandbox, eventually, finish, http, kill, run, start, token};

/// Tokens are valid for 24 hours by default, so this makes one due at any time.
const DUE: &str = "--renew-before=25h";

/// A FILE, and the issuer of its token.
struct Rotated {
    issuer: Issuer,
    sandbox: Sandbox,
    folder: Folder,
}

impl Rotated {
    /// FILE does not exist yet.
    fn missing(issuer: Issuer) -> Rotated {
        Rotated { issuer, sandbox: Sandbox::start(&[]), folder: Folder::new() }
    }

    /// FILE holds a token that `rotate` has created.
    fn fresh(issuer: Issuer) -> Rotated {
        let rotated = Rotated::missing(issuer);
        rotated.rotate(&[]).rotated();
        rotated
    }

    fn file(&self) -> PathBuf {
        self.folder.path("token")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.issuer.command(&self.sandbox, &[&["rotate"], self.issuer.new].concat());
        command.arg("--token-file").arg(self.file()).args(args);
        command
    }

    fn rotate(&self, args: &[&str]) -> Ended {
        run(&mut self.command(args))
    }

    #[track_caller]
    fn token(&self) -> String {
        let text = fs::read_to_string(self.file()).expect("FILE is there");
        text.strip_suffix('\n').expect("a whole line").to_owned()
    }

    /// The tokens at the issuer.
    fn tokens(&self) -> Vec<Value> {
        self.sandbox.made_tokens(self.issuer.control)
    }

    /// Asserts that FILE holds a token that the issuer accepts.
    #[track_caller]
    fn works(&self) {
        self.accepts(&self.token());
    }

    #[track_caller]
    fn accepts(&self, token: &str) {
        assert_eq!(self.status_for(token), 200, "{token}");
    }

    fn status_for(&self, token: &str) -> u16 {
        let (path, header) = match self.issuer.name {
            "gafaelfawr" => ("/auth/api/v1/token-info", ("Authorization", format!("bearer {token}"))),
            _ => ("/api/server/info", ("X-API-Key", token.to_owned())),
        };
        ask(&self.sandbox, "GET", path, &[(header.0.to_owned(), header.1)], None).status
    }

    /// Asserts that FILE holds a working token, and that nothing else is left.
    #[track_caller]
    fn is_settled(&self) {
        self.works();
        assert_eq!(self.tokens().len(), 1, "{:?}", self.tokens());
        assert_eq!(self.names(), ["token", "token.lock", "token.state"]);
        assert_eq!(mode(&self.file()), 0o600);
    }

    /// Deletes the token in FILE, and no other, as somebody else would.
    fn delete_at_issuer(&self) {
        let state = fs::read_to_string(self.folder.path("token.state")).unwrap();
        let state: Value = serde_json::from_str(&state).unwrap();
        // The one in FILE comes first.
        let id = state["tokens"][0]["id"].as_str().unwrap().to_owned();
        let tokens = self.tokens();
        let token = tokens.iter().find(|token| token["token"] == id || token["name"] == id).unwrap();
        let (path, header) = if self.issuer.name == "gafaelfawr" {
            let admin = format!("bearer {}", self.sandbox.var("GAFAELFAWR_ADMIN_TOKEN"));
            (format!("/auth/api/v1/users/bot-x/tokens/{id}"), ("Authorization", admin))
        } else {
            let admin = self.sandbox.var("STS_CLI_API_TOKEN").to_owned();
            (format!("/api/security/tokens/{}", token["id"]), ("X-API-Token", admin))
        };
        let deleted = ask(&self.sandbox, "DELETE", &path, &[(header.0.to_owned(), header.1)], None);
        assert_eq!(deleted.status, 204);
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.root()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

trait Outcome {
    fn rotated(&self);
    fn did_nothing(&self);
}

impl Outcome for Ended {
    #[track_caller]
    fn rotated(&self) {
        assert!(self.succeeded().stdout.contains("holds the new token"), "{self:?}");
    }

    #[track_caller]
    fn did_nothing(&self) {
        assert_eq!(self.succeeded().stdout, "");
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn expiry(token: &Value) -> Option<i64> {
    token["expires"].as_i64().or_else(|| Some(token["expiration"].as_i64()? / 1000))
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

#[test]
fn a_token_is_created_kept_while_it_is_fresh_and_replaced_when_it_is_due() {
    for issuer in ISSUERS {
        let rotated = Rotated::missing(issuer);
        rotated.rotate(&[]).rotated();
        let first = rotated.token();
        rotated.is_settled();
        let lifetime = expiry(&rotated.tokens()[0]).unwrap() - now();
        assert!((22 * 3600..=24 * 3600).contains(&lifetime), "{lifetime}");

        let before = rotated.rotate(&["-logx.debug=false"]);
        before.did_nothing();
        assert_eq!(rotated.token(), first);

        rotated.rotate(&[DUE]).rotated();
        assert_ne!(rotated.token(), first);
        assert_eq!(rotated.status_for(&first), 401);
        rotated.is_settled();
        // No secret is printed or kept beside FILE.
        let state = fs::read_to_string(rotated.folder.path("token.state")).unwrap();
        let ended = rotated.rotate(&[DUE, "-o", "json", "-logx.debug"]);
        for text in [&state, &ended.stdout, &ended.stderr] {
            let secret = rotated.token();
            let secret = &secret[secret.len() - 12..];
            assert!(!text.contains(secret), "{text}");
        }
        let shown: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(shown["rotated"], true);
        assert_eq!(shown["expires"].as_i64(), expiry(&rotated.tokens()[0]));
        assert_eq!(shown["deleted"].as_array().unwrap().len(), 1, "{shown}");
    }
}

/// A note in FILE.state of a creation that may still arrive, whose token would expire at `expires`.
fn open_attempt(expires: i64) -> Value {
    json!({
        "began": now(), "expires": expires, "scopes": ["write:sasquatch"], "spread": 3600, "answered": false,
    })
}

impl Rotated {
    fn note(&self, attempts: &[Value]) {
        let path = self.folder.path("token.state");
        let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        state["attempts"] = json!(attempts);
        fs::write(path, state.to_string()).unwrap();
    }
}

#[test]
fn the_token_in_the_file_is_never_taken_for_one_whose_creation_was_lost() {
    let rotated = Rotated::fresh(GAFAELFAWR);
    rotated.note(&[open_attempt(expiry(&rotated.tokens()[0]).unwrap())]);
    rotated.rotate(&[]).did_nothing();
    rotated.works();
}

#[test]
fn a_new_token_never_has_the_expiry_of_a_creation_that_may_still_arrive() {
    const LIFETIME_SECONDS: i64 = 7 * 60;
    let rotated = Rotated::fresh(GAFAELFAWR);
    // The expiry is drawn from 17 seconds; every other one is taken.
    let since = now() + LIFETIME_SECONDS - 20;
    let taken: Vec<i64> = (since..since + 80).filter(|second| second % 2 == 1).collect();
    for _ in 0..5 {
        rotated.note(&taken.iter().copied().map(open_attempt).collect::<Vec<_>>());
        rotated.rotate(&["--lifetime=7m", DUE]).rotated();
        let expires = expiry(&rotated.tokens()[0]).unwrap();
        assert_eq!(expires % 2, 0, "{expires}");
    }
    rotated.works();
}

#[test]
fn by_default_a_third_of_the_lifetime_is_left_when_a_token_is_replaced() {
    for issuer in ISSUERS {
        let rotated = Rotated::missing(issuer);
        rotated.rotate(&["--lifetime=10h"]).rotated();
        // At most 10 hours are left: more than 26/3, less than 31/3.
        rotated.rotate(&["--lifetime=26h"]).did_nothing();
        rotated.rotate(&["--lifetime=31h"]).rotated();
        rotated.rotate(&["--lifetime=31h"]).did_nothing();
        rotated.is_settled();
    }
}

#[test]
fn the_old_token_is_kept_on_request_and_expires() {
    for issuer in ISSUERS {
        let rotated = Rotated::fresh(issuer);
        let first = rotated.token();
        rotated.rotate(&[DUE, "--keep-old"]).rotated();
        for _ in 0..2 {
            rotated.accepts(&first);
            rotated.works();
            assert!(rotated.tokens().iter().all(|token| expiry(token).is_some()));
            // It also stays in the next rotate.
            rotated.rotate(&[]).did_nothing();
        }
        rotated.rotate(&[DUE]).rotated();
        rotated.accepts(&first);
        assert_eq!(rotated.tokens().len(), 2);
    }
}

#[test]
fn if_many_rotate_one_file_one_creates_a_token_and_the_others_find_it() {
    for issuer in ISSUERS {
        let rotated = Rotated::missing(issuer);
        let running: Vec<_> = (0..5).map(|_| start(&mut rotated.command(&[]))).collect();
        let stdout: String =
            running.into_iter().map(|child| finish(child).succeeded().stdout.clone()).collect();
        assert_eq!(stdout.lines().count(), 1, "{stdout}");
        assert_eq!(rotated.issuer.creations(&rotated.sandbox), 1);
        rotated.is_settled();
        // All of them replace it, one after the other.
        let running: Vec<_> = (0..3).map(|_| start(&mut rotated.command(&[DUE]))).collect();
        for child in running {
            finish(child).rotated();
        }
        rotated.is_settled();
    }
}

#[test]
fn a_rotate_that_waits_for_another_one_can_be_interrupted() {
    for issuer in ISSUERS {
        let rotated = Rotated::fresh(issuer);
        let gate = Gate::start(rotated.sandbox.var(rotated.issuer.url), rotated.issuer.create, false);
        let holder = start(rotated.command(&[DUE]).env(rotated.issuer.url, &gate.url).arg("--timeout=25s"));
        // Another base URL is another issuer.
        finish(holder).failed_with(125, &["holds a token of", "left it unchanged"]);
        fs::remove_file(rotated.folder.path("token.state")).unwrap();
        fs::remove_file(rotated.file()).unwrap();
        let holder = start(rotated.command(&[]).env(rotated.issuer.url, &gate.url).arg("--timeout=25s"));
        gate.holds();
        let metrics = rotated.folder.path("m.prom");
        rotated
            .rotate(&["-timeout=300ms", "-metrics-textfile", metrics.to_str().unwrap()])
            .failed_with(124, &["timed out after 300ms while waiting for another rotate of "]);
        let written = fs::read_to_string(metrics).unwrap();
        assert!(written.contains(r#"stage="prepare",reason="timeout-lock"} 1"#), "{written}");
        let line = rotated.rotate(&["-timeout=300ms", "-log-format=json"]).stderr;
        assert!(line.contains(r#""reason":"timeout-lock","stage":"prepare","exit_status":124"#), "{line}");
        let waiting = start(&mut rotated.command(&[]));
        let status = format!("/proc/{}/status", waiting.id());
        eventually("signals are caught", || {
            let status = fs::read_to_string(&status).ok()?;
            let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
            (u64::from_str_radix(blocked.trim(), 16).ok()? & (1 << 14) != 0).then_some(())
        });
        kill(waiting.id(), libc::SIGTERM);
        finish(waiting).failed_with(143, &["interrupted by SIGTERM while waiting for another rotate of "]);
        gate.let_go();
        finish(holder).rotated();
    }
}

#[test]
fn a_token_written_by_create_is_accepted_if_the_issuer_identifies_it() {
    for issuer in ISSUERS {
        let rotated = Rotated::missing(issuer);
        run(rotated.issuer.create(&rotated.sandbox).arg("--out").arg(rotated.file())).succeeded();
        let first = rotated.token();
        if rotated.issuer.name == "gafaelfawr" {
            rotated.rotate(&[]).did_nothing();
            rotated.rotate(&[DUE]).rotated();
            rotated.is_settled();
        } else {
            rotated.rotate(&[DUE]).failed_with(125, &["holds a token that its .state file does not list"]);
            assert_eq!(rotated.token(), first);
            rotated.works();
        }
    }
}

/// The story: such a token expired while Gafaelfawr could not be reached, and no later `rotate` replaced it.
#[test]
fn a_token_written_by_create_is_replaced_when_it_is_not_valid_any_more() {
    let rotated = Rotated::missing(GAFAELFAWR);
    run(rotated.issuer.create(&rotated.sandbox).arg("--out").arg(rotated.file())).succeeded();
    rotated.rotate(&[]).did_nothing();
    rotated.delete_at_issuer();
    rotated.rotate(&[]).rotated();
    rotated.is_settled();
}

#[test]
fn a_token_that_is_not_valid_any_more_is_replaced() {
    for issuer in ISSUERS {
        let rotated = Rotated::fresh(issuer);
        rotated.delete_at_issuer();
        assert_eq!(rotated.status_for(&rotated.token()), 401);
        rotated.rotate(&[]).rotated();
        rotated.is_settled();
        // An empty file is treated like a missing one.
        fs::write(rotated.file(), "").unwrap();
        let ended = rotated.rotate(&[]);
        ended.said(0, &["is no longer in", "was left alone", "to delete it now: monitoring-token"]);
        rotated.works();
        assert_eq!(rotated.tokens().len(), 2);
    }
}

#[test]
fn a_file_with_nothing_but_a_newline_counts_as_empty() {
    for blank in ["\n", " \r\n", "\u{feff}\n", &" \n".repeat(100)] {
        let rotated = Rotated::missing(GAFAELFAWR);
        fs::write(rotated.file(), blank).unwrap();
        rotated.rotate(&[]).rotated();
        rotated.is_settled();
    }
}

/// The story: a damaged FILE.state failed every run, and the message did not say what to do.
#[test]
fn a_damaged_state_matters_only_when_the_token_is_due() {
    for damage in ["", "junk", "{}"] {
        for issuer in ISSUERS {
            let rotated = Rotated::fresh(issuer);
            let (first, state) = (rotated.token(), rotated.folder.path("token.state"));
            fs::write(&state, damage).unwrap();
            if rotated.issuer.name == "gafaelfawr" {
                let ended = rotated.rotate(&["--log-format=json"]);
                assert_eq!(ended.status, 0, "{ended:?}");
                for words in
                    ["token.state is damaged", "remove it, and rotate", r#""reason":"token-file-refused""#]
                {
                    assert!(ended.stderr.contains(words), "{ended:?}");
                }
            } else {
                rotated
                    .rotate(&[])
                    .failed_with(125, &["token.state is damaged", "away, and run rotate at once"]);
            }
            let advice = if rotated.issuer.name == "gafaelfawr" { "remove it, and" } else { "move it and " };
            rotated.rotate(&[DUE]).failed_with(125, &["token.state is damaged", advice, " list"]);
            assert_eq!(rotated.token(), first);
            assert_eq!(fs::read_to_string(&state).unwrap(), damage);
            rotated.works();
            // The advice helps.
            fs::remove_file(&state).unwrap();
            if rotated.issuer.name == "gafaelfawr" {
                rotated.rotate(&[DUE]).rotated();
                rotated.is_settled();
            } else {
                fs::rename(rotated.file(), rotated.folder.path("moved")).unwrap();
                rotated.rotate(&[]).rotated();
                rotated.works();
            }
        }
    }
}

#[test]
fn a_changed_scope_is_a_warning_until_the_token_is_replaced() {
    let rotated = Rotated::fresh(GAFAELFAWR);
    let with = |args: &[&str]| {
        let line = [&["rotate", "--username=bot-x", "--scopes=read:all"], args].concat();
        run(GAFAELFAWR.command(&rotated.sandbox, &line).arg("--token-file").arg(rotated.file()))
    };
    with(&[]).said(0, &["has the scopes write:sasquatch; --scopes applies to the next one"]);
    with(&[DUE]).rotated();
    with(&[]).did_nothing();
}

#[test]
fn a_token_of_someone_else_is_left_alone() {
    for issuer in ISSUERS {
        let rotated = Rotated::missing(issuer);
        for (text, words) in [
            ("two words\n", "not a token"),
            ("-----BEGIN-PRIVATE-KEY-----\n", "left it unchanged"),
            ("http://example.org/a.b\n", "left it unchanged"),
        ] {
            fs::write(rotated.file(), text).unwrap();
            let ended = rotated.rotate(&[DUE]);
            assert_eq!((ended.status, ended.stderr.lines().count()), (125, 1), "{ended:?}");
            assert!(ended.stderr.contains(words) || ended.stderr.contains("left it unchanged"), "{ended:?}");
            assert_eq!(fs::read_to_string(rotated.file()).unwrap(), text);
        }
        assert_eq!(rotated.tokens(), Vec::<Value>::new());
        fs::remove_file(rotated.file()).unwrap();
        fs::remove_file(rotated.folder.path("token.lock")).unwrap();
        fs::create_dir(rotated.file()).unwrap();
        rotated.rotate(&[]).failed_with(125, &["not a regular file"]);
        assert_eq!(rotated.names(), ["token"]);
    }
    // Another user's token, with and without FILE.state.
    let rotated = Rotated::fresh(GAFAELFAWR);
    let first = rotated.token();
    let other = ["rotate", "--username=bot-y", "--scopes=write:sasquatch", DUE];
    let as_other = || {
        let mut command = GAFAELFAWR.command(&rotated.sandbox, &other);
        run(command.arg("--token-file").arg(rotated.file()))
    };
    as_other().failed_with(125, &["holds a token of user bot-x", "left it unchanged"]);
    fs::remove_file(rotated.folder.path("token.state")).unwrap();
    as_other().failed_with(125, &["a service token of bot-x, not a service token of bot-y"]);
    // The administrator's own.
    fs::write(rotated.file(), rotated.sandbox.var("GAFAELFAWR_ADMIN_TOKEN")).unwrap();
    rotated.rotate(&[DUE]).failed_with(125, &["a user token of admin"]);
    rotated.accepts(&first);
    assert_eq!(rotated.tokens().len(), 1);
    // If only the key of a token is right, nothing is deleted.
    let wrong = format!("{}.AAAAAAAAAAAAAAAAAAAAAA", first.split('.').next().unwrap());
    fs::write(rotated.file(), &wrong).unwrap();
    rotated.rotate(&[DUE]).failed_with(125, &["does not accept and no .state file lists"]);
    fs::remove_file(rotated.file()).unwrap();
    rotated.rotate(&[]).rotated();
    fs::write(rotated.file(), &wrong).unwrap();
    let ended = rotated.rotate(&[DUE]);
    assert!(ended.said(0, &["was left alone"]).stdout.contains("holds the new token"), "{ended:?}");
    rotated.accepts(&first);
    rotated.works();
}

/// The story: a `rotate` with the URL of another environment replaced the only copy of a valid token.
#[test]
fn a_token_of_another_environment_is_left_alone() {
    for issuer in ISSUERS {
        let (rotated, elsewhere) = (Rotated::missing(issuer), Sandbox::start(&[]));
        run(issuer.create(&elsewhere).arg("--out").arg(rotated.file())).succeeded();
        let first = rotated.token();
        for _ in 0..2 {
            rotated.rotate(&[DUE]).failed_with(
                125,
                &[
                    "holds a token that ",
                    " does not accept and no .state file lists",
                    "check --url, or move it away",
                ],
            );
            assert_eq!((rotated.token(), rotated.tokens().len()), (first.clone(), 0));
        }
        fs::rename(rotated.file(), rotated.folder.path("moved")).unwrap();
        rotated.rotate(&[]).rotated();
        rotated.works();
    }
}

/// The story: `token.new` was removed, whatever it was.
#[test]
fn other_files_beside_it_stay() {
    let rotated = Rotated::missing(GAFAELFAWR);
    let others = ["token.new", "token.state.new"].map(|name| rotated.folder.write(name, "another"));
    for args in [&[][..], &[], &[DUE]] {
        rotated.rotate(args).succeeded();
        for path in &others {
            assert_eq!(fs::read_to_string(path).unwrap(), "another");
        }
    }
}

#[test]
fn a_link_stays_a_link_and_has_the_lock_of_its_target() {
    let rotated = Rotated::fresh(GAFAELFAWR);
    let elsewhere = Folder::new();
    let link = elsewhere.path("link");
    symlink(rotated.file(), &link).unwrap();
    let mut command = GAFAELFAWR.command(&rotated.sandbox, &[&["rotate", DUE], GAFAELFAWR.new].concat());
    run(command.arg("--token-file").arg(&link)).rotated();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(fs::read_dir(elsewhere.root()).unwrap().count(), 1);
    rotated.is_settled();
}

/// A response whose `Date` is this many seconds later, or earlier.
pub fn later(answer: &str, seconds: i64) -> String {
    let lines = answer.split_inclusive("\r\n").map(|line| match line.strip_prefix("date: ") {
        None => line.to_owned(),
        Some(date) => {
            let date = httpdate::parse_http_date(date.trim()).expect("a date");
            let by = Duration::from_secs(seconds.unsigned_abs());
            format!("date: {}\r\n", httpdate::fmt_http_date(if seconds < 0 { date - by } else { date + by }))
        }
    });
    lines.collect()
}

/// A FILE whose Gafaelfawr has another time, and can lose the responses to creations.
struct Timed {
    rotated: Rotated,
    ahead: Arc<AtomicU64>,
    loses: Arc<AtomicBool>,
    url: String,
}

impl Timed {
    fn new() -> Timed {
        let rotated = Rotated::missing(GAFAELFAWR);
        let (ahead, loses) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (seconds, is_lost) = (ahead.clone(), loses.clone());
        let url = relay(rotated.sandbox.var("GAFAELFAWR_URL"), move |request, pass_on| {
            let answer = later(&pass_on(request), seconds.load(Ordering::Relaxed).cast_signed());
            let is_lost = request.starts_with("POST") && is_lost.load(Ordering::Relaxed);
            if is_lost { http("502 Bad Gateway", "", "") } else { answer }
        });
        Timed { rotated, ahead, loses, url }
    }

    fn rotate_at(&self, seconds: u64, args: &[&str]) -> Ended {
        self.ahead.store(seconds, Ordering::Relaxed);
        self.rotated.sandbox.change_gafaelfawr(&format!(r#"{{"clock_ahead_seconds":{seconds}}}"#));
        run(self.rotated.command(args).env("GAFAELFAWR_URL", &self.url))
    }

    fn loses_creations(&self, loses: bool) {
        self.loses.store(loses, Ordering::Relaxed);
    }
}

#[test]
fn the_issuers_clock_decides() {
    let timed = Timed::new();
    let rotated = &timed.rotated;
    let rotate_at = |seconds: u64| timed.rotate_at(seconds, &["--lifetime=6h"]);
    rotate_at(0).rotated();
    // Two hours before the expiry, a third is left.
    rotate_at(13_000).did_nothing();
    rotate_at(15_000).rotated();
    rotated.is_settled();
    let lifetime = expiry(&rotated.tokens()[0]).unwrap() - now() - 15_000;
    assert!((5 * 3600..=6 * 3600).contains(&lifetime), "{lifetime}");
    rotate_at(15_000).did_nothing();
    // One that has expired is replaced.
    rotate_at(80_000).rotated();
    rotated.works();
}

/// The story: by a local clock that was days behind, the token was fresh until it had expired.
#[test]
fn if_the_clocks_are_days_apart_the_later_one_says_that_a_token_is_due() {
    const DAY: u64 = 24 * 3600;
    let timed = Timed::new();
    let rotate_at = |seconds: u64| timed.rotate_at(seconds, &["--lifetime=3d"]);
    rotate_at(0).rotated();
    rotate_at(3 * DAY / 2).did_nothing();
    rotate_at(5 * DAY / 2).rotated();
    timed.rotated.works();
}

/// The story: by a local clock that was days ahead, the previous token had expired, and was forgotten while it was valid.
#[test]
fn a_token_has_expired_only_if_both_clocks_say_so() {
    let timed = Timed::new();
    let rotated = &timed.rotated;
    let rotate = |args: &[&str]| run(rotated.command(args).env("GAFAELFAWR_URL", &timed.url));
    rotate(&[]).rotated();
    rotated.sandbox.misbehave(&format!(r#"{{"status":403,"body":"","only":"{}"}}"#, GAFAELFAWR.delete));
    assert_eq!(rotate(&[DUE]).status, 0);
    rotated.sandbox.misbehave("{}");
    let path = rotated.folder.path("token.state");
    let mut state: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let in_file = rotated.token();
    let is_old = |token: &&mut Value| !in_file.contains(token["id"].as_str().unwrap());
    let mut tokens = state["tokens"].as_array_mut().unwrap().iter_mut();
    // By the local clock.
    tokens.find(is_old).unwrap()["expires"] = (now() - 60).into();
    fs::write(&path, state.to_string()).unwrap();
    timed.ahead.store((-2 * 24 * 3600_i64).cast_unsigned(), Ordering::Relaxed);
    rotate(&[]);
    rotated.is_settled();
}

#[test]
fn a_day_of_expiration_works_until_it_is_near() {
    let rotated = Rotated::missing(STACKSTATE);
    let days = |days: i64| {
        let day = Command::new("date").args(["-u", "-d", &format!("+{days} days"), "+%F"]).output().unwrap();
        format!("--expiration={}", String::from_utf8(day.stdout).unwrap().trim())
    };
    rotated.rotate(&[&days(9)]).rotated();
    rotated.rotate(&[&days(9)]).did_nothing();
    let first = rotated.token();
    rotated
        .rotate(&[&days(9), "--renew-before=30d"])
        .failed_with(125, &["choose a later day, or use --lifetime"]);
    assert_eq!(rotated.token(), first);
    rotated.rotate(&[&days(90), "--renew-before=30d"]).rotated();
    rotated.is_settled();
}

#[test]
fn a_dedicated_subject_is_not_shared_by_two_tokens() {
    let rotated = Rotated::missing(STACKSTATE);
    let subject = || rotated.tokens()[0]["dedicatedSubject"].as_str().unwrap().to_owned();
    rotated.rotate(&["--dedicated-subject=s"]).rotated();
    let first = subject();
    rotated.rotate(&["--dedicated-subject=s", DUE]).rotated();
    assert!(first.starts_with("s-") && subject().starts_with("s-"), "{first}");
    assert_ne!(first, subject());
}

#[test]
fn the_metrics_say_when_the_token_expires() {
    for issuer in ISSUERS {
        let rotated = Rotated::missing(issuer);
        let metrics = Folder::new();
        let path = metrics.path("rotate.prom");
        let flag = format!("-metrics-textfile={}", path.display());
        let value = |name: &str| {
            let text = fs::read_to_string(&path).unwrap();
            let line = text.lines().find(|line| line.starts_with(&format!("monitoring_token_{name}{{")));
            line.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        };
        for args in [&[][..], &[], &[DUE]] {
            rotated.rotate(&[&[flag.as_str()], args].concat()).succeeded();
            #[expect(clippy::cast_precision_loss, reason = "a time")]
            let expires = expiry(&rotated.tokens()[0]).unwrap() as f64;
            assert_eq!(value("token_expiry_timestamp_seconds"), Some(expires));
            assert_eq!(value("run_success"), Some(1.0));
        }
        // The expiry of a token that is not replaced is known, too.
        rotated
            .sandbox
            .misbehave(&format!(r#"{{"status":403,"body":"","only":"{}"}}"#, rotated.issuer.create));
        assert_eq!(rotated.rotate(&[&flag, DUE]).status, 125);
        assert_eq!((value("run_success"), value("exit_status")), (Some(0.0), Some(125.0)));
        let expires = value("token_expiry_timestamp_seconds");
        assert!(expires.is_some());
        // It is known even if the issuer cannot be asked: the alert must not go silent.
        rotated.sandbox.misbehave(r#"{"status":503,"body":""}"#);
        assert_eq!(rotated.rotate(&[&flag, "-retries=0"]).status, 125);
        assert_eq!((value("exit_status"), value("token_expiry_timestamp_seconds")), (Some(125.0), expires));
    }
}

#[test]
fn a_result_that_cannot_be_printed_is_a_failure_in_the_metrics() {
    let rotated = Rotated::missing(GAFAELFAWR);
    let metrics = Folder::new();
    let path = metrics.path("rotate.prom");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = rotated.command(&["-metrics-textfile", path.to_str().unwrap()]);
    finish(command.stdout(full).stderr(std::process::Stdio::piped()).spawn().unwrap())
        .failed_with(125, &["cannot write to stdout: No space left on device", "token holds the new token "]);
    let written = fs::read_to_string(&path).unwrap();
    for line in [r#"stage="output",reason="output-failed"} 1"#, r#"stage="output"} 1"#] {
        assert!(written.contains(line), "{written}");
    }
    assert!(written.contains("monitoring_token_token_expiry_timestamp_seconds{"), "{written}");
    rotated.works();
}

#[test]
fn the_lock_can_be_used_again_whatever_the_umask_was() {
    let rotated = Rotated::missing(GAFAELFAWR);
    let command = rotated.command(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 777; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(&mut shell).rotated();
    assert_eq!(mode(&rotated.folder.path("token.lock")), 0o600);
}

#[test]
fn bad_usage_is_refused() {
    for (args, words) in [
        (&["gafaelfawr", "rotate", "--username=bot-x", "--scopes=a"][..], "missing --token-file"),
        (&["gafaelfawr", "rotate", "--token-file=f", "--scopes=a"], "missing --username"),
        (&["gafaelfawr", "rotate", "--token-file=f", "--username=bot-x"], "missing --scopes"),
        (
            &["gafaelfawr", "rotate", "--token-file=f", "--username=bot-x", "--scopes=a", "--no-expiry"],
            "--no-expiry",
        ),
        (
            &["gafaelfawr", "rotate", "--token-file=f", "--username=bot-x", "--scopes=a", "--lifetime=1m"],
            "at least 5m",
        ),
        (
            &[
                "gafaelfawr",
                "rotate",
                "--token-file=f",
                "--username=bot-x",
                "--scopes=a",
                "--renew-before=soon",
            ],
            "--renew-before",
        ),
        (&["gafaelfawr", "rotate", "--token-file=f", "word"], "takes only flags"),
        (&["gafaelfawr", "rotate", "--token-file="], "--token-file: the path is empty"),
        (&["stackstate", "rotate", "--token-file=f", "--roles=a"], "missing --name"),
        (&["stackstate", "rotate", "--token-file=f", "-n=a"], "missing --roles"),
        (
            &[
                "stackstate",
                "rotate",
                "--token-file=f",
                "-n=a",
                "--roles=a",
                "--lifetime=1h",
                "--expiration=2040-01-01",
            ],
            "--lifetime and --expiration cannot be used together; give one",
        ),
    ] {
        let mut command = token();
        command.env("GAFAELFAWR_URL", "http://127.0.0.1:1").env("STS_CLI_URL", "http://127.0.0.1:1");
        command.env("GAFAELFAWR_ADMIN_TOKEN", "x").env("STS_CLI_API_TOKEN", "x").current_dir("/proc");
        run(command.args(args)).failed_with(2, &[words]);
    }
}
