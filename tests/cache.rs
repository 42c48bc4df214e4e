//! The result cache, including the cases in which a shell script around the program goes wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::filter;
use crate::support::job::Folder;
use crate::support::{Ended, Sandbox, eventually, file_line, finish, kill, namespace, run, start, token};

/// How many runs start together.
const TOGETHER: usize = 16;

/// A sandbox, a cache, and a log to which every run of the command appends a line.
struct Bench {
    sandbox: Sandbox,
    folder: Folder,
}

impl Bench {
    fn new() -> Bench {
        Bench { sandbox: Sandbox::start(&[]), folder: Folder::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// The binary with this cache and these flags; the command writes to the log and then runs `script`.
    fn token(&self, flags: &[&str], script: &str) -> Command {
        let mut command = self.sandbox.token();
        command.env("LOG", self.path("log")).arg(format!("-cache-dir={}", self.cache().display()));
        command.args(flags).args(["--", "sh", "-c"]).arg(format!("echo run >> \"$LOG\"; {script}"));
        command
    }

    fn run(&self, flags: &[&str], script: &str) -> Ended {
        run(&mut self.token(flags, script))
    }

    /// How many times the command ran.
    fn runs(&self) -> usize {
        fs::read_to_string(self.path("log")).unwrap_or_default().lines().count()
    }

    fn entries(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.cache()).into_iter().flatten().flatten().map(|file| file.path());
        files.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect()
    }

    #[track_caller]
    fn entry(&self) -> PathBuf {
        let mut entries = self.entries();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries.remove(0)
    }
}

const TTL: &[&str] = &["-cache-ttl=1h"];
const BOTH: &[&str] = &["-cache-ttl=1h", "-cache-failure-ttl=1h"];

#[test]
fn a_run_that_succeeded_is_not_made_again() {
    let bench = Bench::new();
    let metrics = bench.path("m.prom");
    let flags = ["-cache-ttl=1h", &format!("-metrics-textfile={}", metrics.display())];
    let written = || fs::read_to_string(&metrics).unwrap();
    let cached = || written().lines().find(|l| l.contains("_cached{")).unwrap().to_owned();
    bench.run(&flags, "exit 0").succeeded();
    assert!(cached().ends_with(" 0.0"));
    assert!(written().contains("_deadline_margin_seconds{"), "{}", written());
    // Even if Locate is down.
    bench.sandbox.misbehave(r#"{"status":403}"#);
    for _ in 0..3 {
        bench.run(&flags, "exit 0").succeeded();
    }
    assert_eq!(bench.runs(), 1);
    assert!(cached().ends_with(" 1.0"));
    // No run was made, so there is nothing to say about its time.
    assert!(!written().contains("_deadline_margin_seconds"), "{}", written());
    run(bench.token(TTL, "exit 0").arg("x")).failed_with(125, &["403"]);
    assert_eq!(bench.runs(), 1, "another argument is another run");
}

#[test]
fn debug_says_that_nothing_was_run() {
    let bench = Bench::new();
    let flags = ["-cache-ttl=1h", "-logx.debug", "-output=discard"];
    assert_eq!(bench.run(&flags, ":").status, 0);
    let second = bench.run(&flags, ":");
    assert!(second.status == 0 && second.stderr.contains("the command is not run"), "{second:?}");
    assert_eq!(bench.runs(), 1);
}

#[test]
fn without_the_flag_or_with_zero_nothing_is_kept() {
    let bench = Bench::new();
    for flags in [&[][..], &["-cache-ttl=0"], &["-cache-ttl=0s", "-cache-failure-ttl=0"]] {
        bench.run(flags, ":").succeeded();
    }
    assert_eq!(bench.runs(), 3);
    assert!(!bench.cache().exists());
}

#[test]
fn arguments_with_blanks_are_not_mixed_up() {
    let bench = Bench::new();
    let lines: [&[&str]; 8] =
        [&["a b"], &["a", "b"], &["ab"], &["a  b"], &["a", "b", ""], &["a b", ""], &["", "a b"], &["a\nb"]];
    for _ in 0..2 {
        for words in lines {
            run(bench.token(TTL, ":").args(words)).succeeded();
        }
    }
    assert_eq!(bench.runs(), lines.len());
}

#[test]
fn a_run_that_tests_or_shows_something_else_is_another_run() {
    let bench = Bench::new();
    let lines: [&[&str]; 9] = [
        &[],
        &["-machine=mlab2-lga0t.mlab-sandbox.measurement-lab.org"],
        &["-service=ndt/ndt7"],
        &["-env-name=OTHER"],
        &["-service-url"],
        &["-service-url-key-name=ws://:3001/ndt_protocol"],
        &["-exchange=false"],
        &["-output=on-failure"],
        &["-locate-url", &format!("{}?early_exit=250", bench.sandbox.var("LOCATE_URL"))],
    ];
    for _ in 0..2 {
        for flags in &lines {
            bench.run(&[TTL, flags].concat(), ":").succeeded();
        }
    }
    assert_eq!(bench.runs(), lines.len());
}

#[test]
fn how_the_target_is_reached_does_not_make_another_run() {
    let bench = Bench::new();
    for flags in
        [&[][..], &["-timeout=20s"], &["-retries=0"], &["-kill-after=1s"], &["-cache-failure-ttl=1h"]]
    {
        bench.run(&[TTL, flags].concat(), ":").succeeded();
    }
    // A variable works like a flag.
    run(bench.token(&[], ":").env("MONITORING_TOKEN_CACHE_TTL", "1h").env("SERVICE", "ndt/ndt5")).succeeded();
    assert_eq!(bench.runs(), 1);
}

#[test]
fn failures_are_kept_only_on_request_and_with_their_status() {
    let bench = Bench::new();
    for _ in 0..2 {
        assert_eq!(bench.run(TTL, "exit 7").status, 7);
    }
    assert_eq!((bench.runs(), bench.entries().len()), (2, 0));
    for status in [1, 2, 7, 124, 126, 127, 200, 255] {
        let before = bench.runs();
        for _ in 0..2 {
            let ended = bench.run(BOTH, &format!("exit {status}"));
            assert_eq!((ended.status, ended.stderr.as_str()), (status, ""));
        }
        assert_eq!(bench.runs(), before + 1, "{status}");
    }
    // Only failures.
    let before = bench.runs();
    for _ in 0..2 {
        bench.run(&["-cache-failure-ttl=1h"], ":").succeeded();
    }
    assert_eq!(bench.runs(), before + 2);
}

#[test]
fn a_timeout_of_the_command_is_kept_with_its_message() {
    let bench = Bench::new();
    let flags = [BOTH, &["-exchange=false", "-timeout=4s", "-kill-after=0"]].concat();
    bench.run(&flags, "sleep 60").failed_with(124, &["timed out", "sh"]);
    bench.run(&flags, "sleep 60").failed_with(124, &["timed out", "sh", "ago"]);
    assert_eq!(bench.runs(), 1);
    let missing = || {
        let mut command = bench.sandbox.token();
        command.arg(format!("-cache-dir={}", bench.cache().display())).args(BOTH).arg("/proc/nonexistent/x");
        run(&mut command)
    };
    missing().failed_with(127, &["/proc/nonexistent/x"]);
    missing().failed_with(127, &["/proc/nonexistent/x", "ago"]);
}

#[test]
fn results_that_say_nothing_about_the_target_are_never_cached() {
    let bench = Bench::new();
    // A failure of the exchange.
    bench.sandbox.misbehave(r#"{"status":403}"#);
    bench.run(BOTH, ":").failed_with(125, &["403"]);
    // A timeout of the exchange.
    bench.sandbox.misbehave(r#"{"delay_ms":30000}"#);
    bench.run(&[BOTH, &["-timeout=300ms"]].concat(), ":").failed_with(124, &["timed out"]);
    bench.sandbox.misbehave("{}");
    assert_eq!((bench.runs(), bench.entries().len()), (0, 0));
    bench.run(BOTH, ":").succeeded();
    assert_eq!(bench.runs(), 1);
    // A command that is this program, and that failed.
    for runs in 2..4 {
        assert_eq!((bench.run(BOTH, "exit 125").status, bench.runs()), (125, runs));
    }
    // A command that died of a signal.
    for runs in 4..6 {
        assert_eq!((bench.run(BOTH, "kill -9 $$").status, bench.runs()), (137, runs));
    }
}

#[test]
fn a_run_that_a_signal_ended_is_never_kept() {
    let bench = Bench::new();
    let ready = bench.path("ready");
    // The exit status of a command that got a signal says nothing about the target.
    for script in ["trap 'exit 0' TERM; ", "trap 'exit 3' TERM; ", ""] {
        let script = format!("{script}echo > {}; sleep 60 & wait", ready.display());
        for signal in [libc::SIGTERM, libc::SIGTERM] {
            let _ = fs::remove_file(&ready);
            let child = start(&mut bench.token(BOTH, &script));
            file_line(&ready);
            kill(child.id(), signal);
            finish(child);
        }
    }
    assert_eq!((bench.runs(), bench.entries().len()), (6, 0));
}

/// An entry as if it had been written so many seconds earlier.
fn aged(entry: &str, seconds: i64) -> String {
    let mut json: Value = serde_json::from_str(entry).unwrap();
    let ended = &mut json["kept"]["ended_unix_ms"];
    *ended = (ended.as_i64().unwrap() - seconds * 1000).into();
    json.to_string()
}

#[test]
fn an_expired_future_or_torn_entry_is_ignored() {
    let bench = Bench::new();
    bench.run(TTL, ":").succeeded();
    let entry = bench.entry();
    let sound = fs::read_to_string(&entry).unwrap();
    let with_age = |seconds| aged(&sound, seconds);
    let mut runs = 1;
    for (text, counts) in [
        (sound.clone(), true),
        (with_age(29 * 60), true),
        (with_age(3601), false),
        (with_age(-60), false),
        (with_age(-3600), false),
        (with_age(-100 * 24 * 3600), false),
        (String::new(), false),
        (sound[..1].to_owned(), false),
        (sound[..sound.len() / 2].to_owned(), false),
        (sound[..sound.len() - 1].to_owned(), false),
        (sound.replace("\"exit_status\":0", "\"exit_status\":-1"), false),
        ("[]".to_owned(), false),
        ("\0".repeat(100), false),
    ] {
        fs::write(&entry, &text).unwrap();
        bench.run(TTL, ":").succeeded();
        runs += usize::from(!counts);
        assert_eq!(bench.runs(), runs, "{text:?}");
    }
    // A shorter limit than the one it was written under.
    fs::write(&entry, with_age(120)).unwrap();
    bench.run(&["-cache-ttl=1m"], ":").succeeded();
    assert_eq!(bench.runs(), runs + 1);
    // The entry of another run, with this one's name.
    bench.run(TTL, "false; true").succeeded();
    let other = bench.entries().into_iter().find(|path| *path != entry).unwrap();
    fs::copy(&other, &entry).unwrap();
    bench.run(TTL, ":").succeeded();
    assert_eq!(bench.runs(), runs + 3);
    // Something that is not a file.
    fs::remove_file(&entry).unwrap();
    fs::create_dir(&entry).unwrap();
    bench.run(TTL, ":").said(0, &["warning: cannot keep results"]);
    assert_eq!(bench.runs(), runs + 4);
}

#[test]
fn a_success_does_not_count_again_after_a_run_that_failed() {
    let bench = Bench::new();
    let script = format!("! test -e {}", bench.path("broken").display());
    // It is from the future at first. Then it is older than the TTL of the run that fails.
    for (ahead, ttl_of_failed_run) in [(60, "1h"), (-60, "30s")] {
        let _ = fs::remove_file(bench.path("broken"));
        bench.run(TTL, &script).succeeded();
        let entry = bench.entry();
        let text = fs::read_to_string(&entry).unwrap();
        fs::write(&entry, aged(&text, -ahead)).unwrap();
        fs::write(bench.path("broken"), "").unwrap();
        assert_eq!(bench.run(&[&format!("-cache-ttl={ttl_of_failed_run}")], &script).status, 1);
        // The clock gets there.
        if entry.exists() {
            fs::write(&entry, &text).unwrap();
        }
        assert_eq!(bench.run(TTL, &script).status, 1, "{ahead}");
    }
}

#[track_caller]
fn statuses(children: Vec<Child>) -> Vec<i32> {
    children.into_iter().map(|child| finish(child).status).collect()
}

#[test]
fn if_runs_start_together_one_is_made_and_all_get_its_result() {
    for (script, status) in [("exit 0", 0), ("exit 9", 9)] {
        let bench = Bench::new();
        let gate = bench.path("gate");
        // The one that runs ends only when all others have begun.
        let script = format!("while ! test -e {}; do sleep 0.02; done; {script}", gate.display());
        let children: Vec<Child> = (0..TOGETHER).map(|_| start(&mut bench.token(TTL, &script))).collect();
        eventually("one run, and others that wait", || {
            (bench.runs() == 1 && children.iter().all(is_asleep)).then_some(())
        });
        fs::write(&gate, "").unwrap();
        assert_eq!(statuses(children), [status; TOGETHER]);
        assert_eq!(bench.runs(), 1);
        // It was for the runs that waited; a failure is not kept.
        bench.run(TTL, &script);
        assert_eq!(bench.runs(), if status == 0 { 1 } else { 2 });
    }
}

/// True if a run sleeps. Once it has caught its signals, it only sleeps while it waits for another run's result, its
/// exchange or its command.
fn is_asleep(child: &Child) -> bool {
    pid_is_asleep(child.id())
}

fn pid_is_asleep(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
    let has_signals = fs::read_dir(format!("/proc/{id}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|to| to == Path::new("anon_inode:[signalfd]"));
    has_signals && state == Some('S')
}

/// A run that holds the lock until it is stopped, and the message that another run must print.
fn holder(bench: &Bench) -> (Child, String) {
    let ready = bench.path("ready");
    let script = format!("echo > {}; exec sleep 60", ready.display());
    let child = start(&mut bench.token(TTL, &script));
    file_line(&ready);
    fs::remove_file(ready).unwrap();
    (child, script)
}

fn end(child: Child) {
    kill(child.id(), libc::SIGTERM);
    finish(child);
}

#[test]
fn a_run_waits_within_its_own_timeout() {
    let bench = Bench::new();
    let (child, script) = holder(&bench);
    let began = Instant::now();
    bench.run(&[TTL, &["-timeout=400ms"]].concat(), &script).failed_with(124, &["timed out", "waiting"]);
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(bench.runs(), 1);
    end(child);
}

#[test]
fn a_signal_ends_a_run_that_waits() {
    let bench = Bench::new();
    let (child, script) = holder(&bench);
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1] {
        let waiter = start(&mut bench.token(&[TTL, &["-logx.debug", "-output=discard"]].concat(), &script));
        eventually("the run waits", || is_asleep(&waiter).then_some(()));
        kill(waiter.id(), signal);
        let ended = finish(waiter);
        assert_eq!(ended.status, 128 + signal, "{ended:?}");
        assert!(ended.stderr.contains("waiting for another process to finish the same run"), "{ended:?}");
    }
    assert_eq!(bench.runs(), 1);
    end(child);
}

#[test]
fn the_death_of_the_parent_ends_a_run_that_waits() {
    let bench = Bench::new();
    let (child, script) = holder(&bench);
    let (id_file, errors) = (bench.path("pid"), bench.path("errors"));
    let waiter = bench.token(&[TTL, &["-die-with-parent"]].concat(), &script);
    let mut parent = Command::new("sh");
    parent
        .args(["-c", "\"$0\" \"$@\" 2> \"$ERRORS\" & echo $! > \"$PIDFILE\"; wait"])
        .arg(waiter.get_program());
    parent.args(waiter.get_args()).envs(waiter.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let parent = start(parent.env("PIDFILE", &id_file).env("ERRORS", &errors));
    let waiter: u32 = file_line(&id_file).trim().parse().unwrap();
    eventually("the run waits", || pid_is_asleep(waiter).then_some(()));
    kill(parent.id(), libc::SIGKILL);
    finish(parent);
    assert!(file_line(&errors).contains("the parent process died"));
    assert_eq!(bench.runs(), 1);
    end(child);
}

#[test]
fn a_waiting_run_starts_when_the_other_ends_or_dies() {
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let bench = Bench::new();
        let ready = bench.path("ready");
        let gate = bench.path("gate");
        let script =
            format!("test -e {0} || {{ echo > {1}; exec sleep 60; }}", gate.display(), ready.display());
        let holder = start(&mut bench.token(TTL, &script));
        file_line(&ready);
        let waiter = start(&mut bench.token(TTL, &script));
        eventually("the run waits", || is_asleep(&waiter).then_some(()));
        fs::write(&gate, "").unwrap();
        kill(holder.id(), signal);
        finish(holder);
        finish(waiter).succeeded();
        assert_eq!(bench.runs(), 2);
        bench.run(TTL, &script).succeeded();
        assert_eq!(bench.runs(), 2, "the result of the second was kept");
    }
}

/// The command has much less than the timeout, so its timeout must not be taken for the target's.
#[test]
fn the_timeout_of_a_run_that_had_waited_for_another_is_not_kept() {
    let bench = Bench::new();
    let (ready, gate) = (bench.path("ready"), bench.path("gate"));
    let script = format!("test -e {0} || {{ echo > {1}; exec sleep 60; }}", gate.display(), ready.display());
    let flags = [BOTH, &["-timeout=5s", "-kill-after=0"]].concat();
    let holder = start(&mut bench.token(TTL, &script));
    file_line(&ready);
    let waiter = start(&mut bench.token(&flags, &script));
    eventually("the run waits", || is_asleep(&waiter).then_some(()));
    std::thread::sleep(Duration::from_millis(1500));
    kill(holder.id(), libc::SIGKILL);
    finish(holder);
    finish(waiter).failed_with(124, &["timed out after 5s", "sh"]);
    fs::write(&gate, "").unwrap();
    bench.run(&flags, &script).succeeded();
    assert_eq!(bench.runs(), 3);
}

#[test]
fn the_timeout_of_a_command_after_a_slow_exchange_is_not_kept() {
    let bench = Bench::new();
    bench.sandbox.misbehave(r#"{"delay_ms":3000,"times":1}"#);
    let metrics = bench.path("metrics.prom");
    let textfile = format!("-metrics-textfile={}", metrics.display());
    let flags = [BOTH, &["-timeout=5s", "-kill-after=0", &textfile]].concat();
    bench
        .run(&flags, "sleep 2.5")
        .failed_with(124, &["timed out after 5s, of which sh had only ", "terminated sh"]);
    let text = fs::read_to_string(&metrics).unwrap();
    assert!(
        text.contains("stage=\"exchange\",reason=\"timeout-exchange\""),
        "the target is not to blame: {text}"
    );
    bench.run(&flags, "sleep 2.5").succeeded();
    assert_eq!(bench.runs(), 2);
}

/// Of two causes, the target is the likelier one.
#[test]
fn a_command_that_had_half_of_the_time_is_to_blame_for_the_timeout() {
    let bench = Bench::new();
    bench.sandbox.misbehave(r#"{"delay_ms":1000}"#);
    bench
        .run(&["-timeout=6s", "-kill-after=0"], "exec sleep 60")
        .failed_with(124, &["timed out after 6s; terminated sh"]);
}

/// The target was not to blame.
#[test]
fn a_run_that_had_waited_for_most_of_its_time_says_so() {
    let bench = Bench::new();
    let ready = bench.path("ready");
    let script = format!("echo > {}; exec sleep 60", ready.display());
    let holder = start(&mut bench.token(TTL, &script));
    file_line(&ready);
    let waiter = start(
        &mut bench.token(&[TTL, &["-timeout=6s", "-kill-after=0", "-log-format=json"]].concat(), &script),
    );
    eventually("the run waits", || is_asleep(&waiter).then_some(()));
    std::thread::sleep(Duration::from_secs(4));
    kill(holder.id(), libc::SIGKILL);
    finish(holder);
    let ended = finish(waiter);
    assert_eq!(ended.status, 124, "{ended:?}");
    assert!(ended.stderr.contains("\"reason\":\"timeout-cache\""), "{ended:?}");
}

#[test]
fn the_cache_is_private_and_holds_no_secret() {
    let bench = Bench::new();
    let mut sandbox_key = fs::read_to_string(bench.sandbox.var("MONITORING_SIGNER_KEY")).unwrap();
    let jwk: Value = serde_json::from_str(&sandbox_key).unwrap();
    jwk["d"].as_str().unwrap().clone_into(&mut sandbox_key);
    bench.run(TTL, ":").succeeded();
    bench.run(BOTH, "exit 4");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&bench.cache()), 0o700);
    let files: Vec<PathBuf> =
        fs::read_dir(bench.cache()).unwrap().flatten().map(|file| file.path()).collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        if !file.ends_with(".pruned") {
            assert_eq!(mode(&file), 0o600, "{file:?}");
        }
        let text = fs::read_to_string(&file).unwrap();
        for secret in ["eyJ", "access_token", &sandbox_key] {
            assert!(!text.contains(secret), "{file:?}: {text}");
        }
    }
}

#[test]
fn the_default_place_is_the_users_cache() {
    let bench = Bench::new();
    let (home, xdg) = (bench.path("home"), bench.path("xdg"));
    let mut line = bench.sandbox.token();
    line.args(["-cache-ttl=1h", "true"]).env("HOME", &home);
    run(&mut line).succeeded();
    assert!(home.join(".cache/monitoring-token").is_dir());
    run(line.env("XDG_CACHE_HOME", "relative")).succeeded();
    assert!(!Path::new("relative").exists());
    run(line.env("XDG_CACHE_HOME", &xdg)).succeeded();
    assert!(xdg.join("monitoring-token").is_dir());
    // systemd's CacheDirectory=, which may be several.
    let (first, second) = (bench.path("first"), bench.path("second"));
    line.env_remove("XDG_CACHE_HOME");
    run(line.env("CACHE_DIRECTORY", format!("{}:{}", first.display(), second.display()))).succeeded();
    assert!(first.join(".pruned").exists() && !second.exists());
    run(line.env_remove("HOME").env_remove("CACHE_DIRECTORY"))
        .said(0, &["warning: cannot keep results: none of XDG_CACHE_HOME", "-cache-dir"]);
}

#[test]
fn an_unusable_cache_is_one_warning_and_the_command_runs() {
    let bench = Bench::new();
    let file = bench.path("file");
    fs::write(&file, "").unwrap();
    for dir in ["/proc/nowhere", "/dev/null/x", &file.display().to_string()] {
        let mut line = bench.sandbox.token();
        line.args([&format!("-cache-dir={dir}"), "-cache-ttl=1h", "--", "sh", "-c"]);
        run(line.arg("exit 5"))
            .failed_with(5, &["warning: cannot keep results", dir, "the cache is off for this run"]);
    }
    assert!(run(token().args(["-cache-dir=", "-cache-ttl=1h", "true"])).status == 2);
}

#[test]
fn a_crash_in_the_middle_of_a_write_leaves_nothing_that_counts() {
    let bench = Bench::new();
    // Creating a directory is not a rename.
    let runs = bench.path("runs");
    fs::create_dir(&runs).unwrap();
    let script = format!("mkdir {}/$$", runs.display());
    let line = || {
        let mut line = bench.sandbox.token();
        line.arg(format!("-cache-dir={}", bench.cache().display())).args(TTL).args(["sh", "-c", &script]);
        line
    };
    let count = || fs::read_dir(&runs).unwrap().count();
    let mut killed = line();
    let renames = [libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2];
    filter::system_calls(&mut killed, &renames, libc::SECCOMP_RET_KILL_PROCESS);
    assert_eq!(run(&mut killed).status, -1, "it was killed");
    assert_eq!((count(), bench.entries().len()), (1, 0));
    run(&mut line()).succeeded();
    run(&mut line()).succeeded();
    assert_eq!(count(), 2);
}

#[test]
fn on_a_full_disk_the_command_runs_with_one_warning() {
    let bench = Bench::new();
    let disk = bench.path("disk");
    fs::create_dir(&disk).unwrap();
    // A separate file system, in a separate mount namespace: four pages, all of them full.
    let mut namespace = namespace(&["--mount"]);
    namespace.envs(bench.sandbox.env.iter().map(|(name, value)| (name, value)));
    namespace
        .env("LOG", bench.path("log"))
        .env("BIN", env!("CARGO_BIN_EXE_monitoring-token"))
        .env("DISK", &disk);
    namespace.args([
        "sh",
        "-c",
        "mount -t tmpfs -o size=16k tmpfs \"$DISK\" || exit 90
         mkdir \"$DISK/cache\"; cat /dev/zero > \"$DISK/filler\" 2>/dev/null
         for i in 1 2; do
             \"$BIN\" -cache-dir=\"$DISK/cache\" -cache-ttl=1h -- sh -c 'echo run >> \"$LOG\"'
             test $? = 0 || exit 91
         done
         rm \"$DISK/filler\"
         for i in 3 4; do
             \"$BIN\" -cache-dir=\"$DISK/cache\" -cache-ttl=1h -- sh -c 'echo run >> \"$LOG\"' || exit 92
         done",
    ]);
    let ended = run(&mut namespace);
    assert_eq!(ended.status, 0, "{ended:?}");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "one for each run on the full disk: {ended:?}");
    assert!(
        lines.iter().all(|l| l.contains("warning: cannot keep results") && l.contains("No space")),
        "{lines:?}"
    );
    assert_eq!(bench.runs(), 3, "the fourth is known");
}

#[test]
fn a_timeout_says_nothing_to_a_run_that_has_more_time() {
    let bench = Bench::new();
    // The first run takes longer than it may, the next is quick.
    let script = format!("test -e {0} || {{ echo > {0}; exec sleep 60; }}", bench.path("slow").display());
    let short = [BOTH, &["-exchange=false", "-timeout=4s", "-kill-after=0"]].concat();
    bench.run(&short, &script).failed_with(124, &["timed out"]);
    bench.run(&short, &script).failed_with(124, &["timed out", "ago"]);
    bench.run(&[BOTH, &["-exchange=false", "-timeout=20s"]].concat(), &script).succeeded();
    assert_eq!(bench.runs(), 2);
    bench.run(&short, &script).succeeded();
    assert_eq!(bench.runs(), 2, "a success holds for all");
}

#[test]
fn a_program_that_is_named_by_its_place_is_another_one_elsewhere() {
    let bench = Bench::new();
    for (place, status) in [("one", 0), ("two", 5)] {
        let folder = bench.path(place);
        fs::create_dir(&folder).unwrap();
        let probe = folder.join("probe");
        fs::write(&probe, format!("#!/bin/sh\nexit {status}\n")).unwrap();
        fs::set_permissions(&probe, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = bench.sandbox.token();
        command.arg(format!("-cache-dir={}", bench.cache().display())).args(TTL);
        assert_eq!(run(command.args(["--", "./probe"]).current_dir(&folder)).status, status);
    }
}
