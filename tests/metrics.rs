//! The metrics file is complete, readable by Prometheus and true, and never affects the run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::job::Folder;
use crate::support::{MACHINE, Sandbox, eventually, file_line, finish, kill, run, start, token};

/// A sample: name, labels, value.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// Parses the text format of Prometheus (exposition_formats.md, version 0.0.4). Refuses anything that is invalid or
/// that promtool would report.
#[track_caller]
fn parse(text: &str) -> Samples {
    assert!(text.ends_with('\n') && !text.contains("\n\n") && !text.contains("# EOF"), "{text}");
    let (mut samples, mut helped, mut typed) = (Samples::new(), BTreeSet::new(), BTreeSet::new());
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            assert!(helped.insert(name.to_owned()) && help.len() > 5, "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert!(helped.contains(name) && typed.insert(name.to_owned()) && kind == "gauge", "{line}");
            name.clone_into(&mut current);
        } else {
            let (name, labels, value) = sample(line).unwrap_or_else(|| panic!("{line:?}"));
            assert_eq!(name, current, "samples stand below their own TYPE");
            assert!(samples.insert((name, labels), value).is_none(), "twice: {line}");
        }
    }
    assert_eq!(helped, typed);
    samples
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let (name, mut rest) = line.split_once('{')?;
    let mut labels = BTreeMap::new();
    loop {
        let (label, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    _ => return None,
                }),
                (_, '\n') => return None,
                (_, c) => value.push(c),
            }
        };
        if !is_name(label) || labels.insert(label.to_owned(), value).is_some() {
            return None;
        }
        rest = &after[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => break,
        }
    }
    let value = rest.strip_prefix("} ")?.parse().ok()?;
    is_name(name).then(|| (name.to_owned(), labels, value))
}

/// The metrics of one run, and their common labels.
struct Metrics {
    samples: Samples,
}

impl Metrics {
    #[track_caller]
    fn read(path: &Path, machine: &str, service: &str) -> Metrics {
        let samples = parse(&fs::read_to_string(path).expect("the metrics are written"));
        let is_build = |(name, labels): &&(String, BTreeMap<String, String>)| {
            name == "monitoring_token_build_info" && labels["version"] == env!("CARGO_PKG_VERSION")
        };
        assert!(
            samples.keys().any(|sample| is_build(&sample) && sample.1.contains_key("commit")),
            "{samples:?}"
        );
        for (name, labels) in samples.keys() {
            assert!(name.starts_with("monitoring_token_"), "{name}");
            assert_eq!(
                (labels["machine"].as_str(), labels["service"].as_str()),
                (machine, service),
                "{name}"
            );
        }
        Metrics { samples }
    }

    /// The value of `monitoring_token_NAME`, or of its sample for a stage (`NAME:STAGE`).
    fn get(&self, name: &str) -> Option<f64> {
        let (name, stage) = name.split_once(':').unwrap_or((name, ""));
        let name = format!("monitoring_token_{name}");
        let is_it = |labels: &BTreeMap<String, String>| labels.get("stage").map_or("", |s| s) == stage;
        self.samples.iter().find(|((n, labels), _)| *n == name && is_it(labels)).map(|(_, &value)| value)
    }

    /// Asserts these values, and that only this stage failed.
    #[track_caller]
    fn say(&self, exit_status: f64, failed: Option<&str>) -> &Metrics {
        assert_eq!(self.get("exit_status"), Some(exit_status), "{:?}", self.samples);
        assert_eq!(self.get("run_success"), Some(f64::from(exit_status == 0.0)), "{:?}", self.samples);
        for stage in ["prepare", "sign", "exchange", "command", "revoke", "output"] {
            let expected = f64::from(failed == Some(stage));
            assert_eq!(self.get(&format!("failed_stage:{stage}")), Some(expected), "{stage}");
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let last = self.get("last_run_timestamp_seconds").unwrap();
        assert!((now - 60.0..=now).contains(&last), "{last}, and it is {now}");
        self
    }

    #[track_caller]
    fn is_between(&self, name: &str, low: f64, high: f64) -> &Metrics {
        let value = self.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.samples));
        assert!((low..=high).contains(&value), "{name} is {value}, not in {low}..={high}");
        self
    }
}

fn folder() -> (Folder, PathBuf) {
    let folder = Folder::new();
    let file = folder.path("probe.prom");
    (folder, file)
}

fn flag(file: &Path) -> String {
    format!("-metrics-textfile={}", file.display())
}

#[test]
fn a_successful_run_has_all_metrics() {
    let sandbox = Sandbox::start(&[]);
    let (folder, file) = folder();
    fs::write(&file, "what stood there before").unwrap();
    run(sandbox.token().args([&flag(&file), "-service=ndt/ndt7", "-timeout=20s", "true"])).succeeded();
    let metrics = Metrics::read(&file, MACHINE, "ndt/ndt7");
    metrics.say(0.0, None).is_between("deadline_margin_seconds", 1.0, 20.0).is_between("cached", 0.0, 0.0);
    // The sandbox uses the same clock.
    metrics.is_between("clock_offset_seconds", -1.0, 2.0);
    for stage in ["sign", "exchange", "command"] {
        metrics.is_between(&format!("stage_duration_seconds:{stage}"), 0.000_001, 20.0);
    }
    assert_eq!(metrics.get("stage_duration_seconds:revoke"), None, "nothing was revoked");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o644);
    assert_eq!(fs::read_dir(folder.root()).unwrap().count(), 1, "nothing else is left behind");
}

#[test]
fn the_mode_does_not_depend_on_the_umask_and_the_file_is_replaced_not_rewritten() {
    let sandbox = Sandbox::start(&[]);
    let (_folder, file) = folder();
    fs::write(&file, "").unwrap();
    let before = fs::metadata(&file).unwrap().ino();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "umask 077; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_monitoring-token")]);
    shell.args([&flag(&file), "true"]).envs(sandbox.env.iter().map(|(name, value)| (name, value)));
    run(&mut shell).succeeded();
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o644);
    assert_ne!(metadata.ino(), before, "renamed into place");
}

#[test]
fn the_status_of_the_command_is_reported_with_its_stage() {
    let sandbox = Sandbox::start(&[]);
    let (_folder, file) = folder();
    for (script, status) in [("exit 3", 3), ("kill -KILL $$", 137)] {
        let ended = run(sandbox.token().args([&flag(&file), "--", "sh", "-c", script]));
        assert_eq!(ended.status, status);
        Metrics::read(&file, MACHINE, "ndt/ndt5").say(f64::from(status), Some("command"));
    }
}

#[test]
fn failures_are_reported_with_their_stage() {
    let sandbox = Sandbox::start(&["--fault", r#"{"status":403}"#]);
    let (_folder, file) = folder();
    run(sandbox.token().args([&flag(&file), "true"])).failed_with(125, &["403"]);
    let metrics = Metrics::read(&file, MACHINE, "ndt/ndt5");
    metrics.say(125.0, Some("exchange"));
    assert_eq!(metrics.get("stage_duration_seconds:command"), None, "the command was not run");

    fs::remove_file(&file).unwrap();
    run(sandbox.token().args([&flag(&file), "-monitoring-signer-key=/proc/nonexistent/key", "true"]))
        .failed_with(125, &["/proc/nonexistent/key"]);
    Metrics::read(&file, MACHINE, "ndt/ndt5").say(125.0, Some("sign"));

    fs::remove_file(&file).unwrap();
    run(token().args([&flag(&file), "true"])).failed_with(125, &["MONITORING_SIGNER_KEY"]);
    Metrics::read(&file, "", "ndt/ndt5").say(125.0, Some("sign"));

    fs::remove_file(&file).unwrap();
    sandbox.misbehave("{}");
    run(sandbox.token().args([&flag(&file), "/proc/nonexistent/command"])).failed_with(127, &["not found"]);
    Metrics::read(&file, MACHINE, "ndt/ndt5").say(127.0, Some("command"));
}

#[test]
fn a_timeout_has_no_margin_left() {
    let sandbox = Sandbox::start(&[]);
    let (_folder, file) = folder();
    run(sandbox.token().args([&flag(&file), "-timeout=500ms", "sleep", "60"]))
        .failed_with(124, &["timed out"]);
    Metrics::read(&file, MACHINE, "ndt/ndt5")
        .say(124.0, Some("command"))
        .is_between("deadline_margin_seconds", -30.0, 0.0)
        .is_between("stage_duration_seconds:command", 0.0, 30.0);
    // A scrape that ended before the run began.
    fs::remove_file(&file).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let past = (now - 100).to_string();
    run(sandbox.token().env("SCRIPT_DEADLINE", past).args([&flag(&file), "true"]))
        .failed_with(124, &["SCRIPT_DEADLINE"]);
    Metrics::read(&file, MACHINE, "ndt/ndt5").say(124.0, Some("prepare")).is_between(
        "deadline_margin_seconds",
        -160.0,
        -100.0,
    );
}

#[test]
fn a_wrong_clock_is_reported_even_if_the_token_is_rejected_because_of_it() {
    let sandbox = Sandbox::start(&[]);
    let (_folder, file) = folder();
    let an_hour_ago = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(3600));
    sandbox.misbehave(&format!(r#"{{"status":401,"header":["Date","{an_hour_ago}"]}}"#));
    run(sandbox.token().args([&flag(&file), "true"])).failed_with(125, &["401", "ahead"]);
    Metrics::read(&file, MACHINE, "ndt/ndt5").say(125.0, Some("exchange")).is_between(
        "clock_offset_seconds",
        3590.0,
        3660.0,
    );
}

#[test]
fn a_run_that_is_told_to_stop_says_so() {
    let sandbox = Sandbox::start(&[]);
    let (folder, file) = folder();
    let ready = folder.path("ready");
    let script = format!("echo > {}; exec sleep 60", ready.display());
    let child = start(sandbox.token().args([&flag(&file), "--", "sh", "-c", &script]));
    file_line(&ready);
    kill(child.id(), libc::SIGTERM);
    assert_eq!(finish(child).status, 143);
    // A command that was told to stop says nothing about the target.
    Metrics::read(&file, MACHINE, "ndt/ndt5").say(143.0, None);

    // A command that goes on after SIGHUP fails by itself.
    let (again, reloaded) = (folder.path("again"), folder.path("reloaded"));
    let script = format!(
        "trap 'echo >{1}' HUP; echo >{0}; until [ -e {1} ]; do sleep 0.02; done; sleep 2; exit 4",
        again.display(),
        reloaded.display()
    );
    let child = start(sandbox.token().args([&flag(&file), "-kill-after=10ms", "--", "sh", "-c", &script]));
    file_line(&again);
    kill(child.id(), libc::SIGHUP);
    assert_eq!(finish(child).status, 4);
    Metrics::read(&file, MACHINE, "ndt/ndt5").say(4.0, Some("command"));

    // In the exchange.
    fs::remove_file(&file).unwrap();
    let (reached, wait) = std::sync::mpsc::channel();
    let silent = crate::support::serve(move |mut stream| {
        crate::support::read_head(&mut stream);
        let _ = reached.send(());
        std::thread::sleep(crate::support::PATIENCE);
    });
    let child =
        start(sandbox.token().args([&flag(&file), &format!("-locate-url=http://{silent}/"), "--", "true"]));
    wait.recv_timeout(crate::support::PATIENCE).expect("the request arrives");
    kill(child.id(), libc::SIGINT);
    finish(child).failed_with(130, &["SIGINT"]);
    Metrics::read(&file, MACHINE, "ndt/ndt5").say(130.0, Some("exchange"));
}

#[test]
fn label_values_are_escaped() {
    let (_folder, file) = folder();
    let machine = "a\"b\\c d\\\\n é";
    run(token().args([&flag(&file), "-machine", machine, "true"]))
        .failed_with(125, &["MONITORING_SIGNER_KEY"]);
    Metrics::read(&file, machine, "ndt/ndt5").say(125.0, Some("sign"));
}

#[test]
fn metrics_that_cannot_be_written_are_one_warning_and_change_nothing() {
    let sandbox = Sandbox::start(&[]);
    let (folder, _) = folder();
    let folder_itself = folder.root().display().to_string();
    for path in ["/proc/nonexistent/dir/probe.prom", "/dev/null", &folder_itself] {
        for (command, status) in [("true", 0), ("false", 1)] {
            let ended = run(sandbox.token().args([&format!("-metrics-textfile={path}"), command]));
            ended.said(status, &["warning: cannot write the metrics to", path]);
        }
    }
    assert!(!fs::symlink_metadata("/dev/null").unwrap().is_file(), "a device stays a device");
    assert_eq!(fs::read_dir(folder.root()).unwrap().count(), 0);
}

#[test]
fn a_link_stays_a_link() {
    let sandbox = Sandbox::start(&[]);
    let (folder, file) = folder();
    let link = folder.path("link.prom");
    std::os::unix::fs::symlink(file.file_name().unwrap(), &link).unwrap();
    // First to a file that is not there yet, then to one that is.
    for _ in 0..2 {
        run(sandbox.token().args([&flag(&link), "true"])).succeeded();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        Metrics::read(&file, MACHINE, "ndt/ndt5").say(0.0, None);
    }
}

/// Otherwise the file goes on showing the success of the last run, and no alert fires.
#[test]
fn a_line_that_cannot_be_run_replaces_the_metrics_of_the_last_run() {
    let (folder, file) = folder();
    let t = format!("--token-file={}", folder.path("t").display());
    let url = "--url=http://127.0.0.1:1";
    let main = ["-machine=m", "-service=ndt/ndt7", "-metrics-label=job=a"];
    let gafaelfawr = [url, "--username=bot-a", "--scopes=a", "-metrics-label=job=a"];
    let stackstate = [url, "--name=n", "--roles=r", "-metrics-label=job=a"];
    let of = |verb: &[&'static str], flags: &[&str], more: &[&str]| {
        [verb, flags, more].concat().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let cases = [
        (of(&[], &main, &["-timeout=never", "--", "true"]), 2, "usage"),
        (of(&[], &main, &["-nope", "--", "true"]), 2, "usage"),
        (of(&[], &main, &[]), 2, "usage"),
        (of(&[], &main, &["--", "true"]), 125, "key-missing"),
        (of(&[], &main, &["-monitoring-signer-key=file:///k.json", "--", "true"]), 125, "key-unreadable"),
        (of(&["gafaelfawr", "exec"], &gafaelfawr, &["--", "true"]), 125, "credential-missing"),
        (of(&["gafaelfawr", "exec"], &gafaelfawr, &[]), 2, "usage"),
        (of(&["gafaelfawr", "rotate"], &gafaelfawr, &[&t]), 125, "credential-missing"),
        (of(&["gafaelfawr", "rotate"], &gafaelfawr, &[]), 2, "usage"),
        (of(&["stackstate", "exec"], &stackstate, &["--", "true"]), 125, "credential-missing"),
        (of(&["stackstate", "exec"], &stackstate, &["-c=zz", "--", "true"]), 125, "sts-config-invalid"),
        (of(&["stackstate", "rotate"], &stackstate, &[&t]), 125, "credential-missing"),
    ];
    for (mut line, status, reason) in cases {
        fs::write(&file, "the last run").unwrap();
        let at = usize::from(!line[0].starts_with('-')) * 2;
        line.insert(at, flag(&file));
        run(token().args(&line)).failed_with(status, &[]);
        let samples = parse(&fs::read_to_string(&file).unwrap());
        let find = |name: &str| samples.iter().find(|((n, _), _)| n == &format!("monitoring_token_{name}"));
        let ((_, labels), _) = find("failure_info").unwrap();
        assert_eq!(labels["reason"], reason, "{line:?}");
        let value = |name: &str| format!("{}", find(name).unwrap().1);
        assert_eq!(
            (value("exit_status"), value("run_success")),
            (status.to_string(), "0".to_owned()),
            "{line:?}"
        );
        let own = match line[0].as_str() {
            "gafaelfawr" => [("service", "gafaelfawr"), ("issuer", "http://127.0.0.1:1"), ("user", "bot-a")],
            "stackstate" => [("service", "stackstate"), ("issuer", "http://127.0.0.1:1"), ("name", "n")],
            _ => [("service", "ndt/ndt7"), ("machine", "m"), ("job", "a")],
        };
        for (name, value) in own.into_iter().chain([("job", "a")]) {
            assert_eq!(labels[name], value, "{line:?}");
        }
    }
    fs::write(&file, "the last run").unwrap();
    let mut other = token();
    other.env("MONITORING_TOKEN_METRICS_TEXTFILE", &file);
    run(other.args(["gafaelfawr", "list", url, "--username=bot-a"])).failed_with(125, &["no admin token"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "the last run", "list has no metrics");
}

#[test]
fn a_failure_says_in_its_one_line_that_the_metrics_are_missing() {
    let sandbox = Sandbox::start(&[]);
    let args = ["-metrics-textfile=/proc/no/m.prom", "-service-url-key-name=nope", "--", "true"];
    run(sandbox.token().args(args))
        .failed_with(125, &["no URL key \"nope\"", "; and cannot write the metrics to"]);
}

#[test]
fn a_signal_that_is_passed_on_and_kills_the_command_is_an_interruption() {
    let sandbox = Sandbox::start(&[]);
    let (folder, file) = folder();
    let script = format!("echo >{}; exec sleep 60", folder.path("started").display());
    let metrics = flag(&file);
    let line = [metrics.as_str(), "-exchange=false", "--", "/bin/sh", "-c", &script];
    let child = start(sandbox.token().args(line));
    eventually("the command", || folder.path("started").exists().then_some(()));
    kill(child.id(), libc::SIGUSR1);
    assert_eq!(finish(child).status, 128 + libc::SIGUSR1);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("reason=\"interrupted\"") && !text.contains("command-killed"), "{text}");
}

/// Two jobs on one host wrote the same labels, and node_exporter dropped one of them.
#[test]
fn the_files_of_two_token_runs_never_hold_the_same_sample() {
    let sandbox = Sandbox::start(&[]);
    let (_folder, file) = folder();
    let samples = |args: &[&str]| {
        run(sandbox.token().args(args).arg(flag(&file)).args(["--", "true"])).succeeded();
        parse(&fs::read_to_string(&file).unwrap())
    };
    let gafaelfawr = ["gafaelfawr", "exec", "--scopes=read:all"];
    let one = samples(&[&gafaelfawr[..], &["--username=bot-one"]].concat());
    let labels = &one.keys().next().unwrap().1;
    let url = sandbox.var("GAFAELFAWR_URL");
    for (name, value) in [("machine", ""), ("service", "gafaelfawr"), ("issuer", url), ("user", "bot-one")] {
        assert_eq!(labels[name], value, "{labels:?}");
    }
    let others = [
        samples(&[&gafaelfawr[..], &["--username=bot-two"]].concat()),
        samples(&[&gafaelfawr[..], &["--username=bot-one", "-metrics-label=job=b"]].concat()),
        samples(&["stackstate", "exec", "--roles=r", "--name=one"]),
        samples(&[
            "stackstate",
            "exec",
            "--roles=r",
            "--name=two",
            "-metrics-label",
            "job=b",
            "-metrics-label",
            "a=1,c=2",
        ]),
    ];
    let mut seen: BTreeSet<_> = one.keys().cloned().collect();
    for key in others.iter().flat_map(BTreeMap::keys) {
        assert!(seen.insert(key.clone()), "twice: {key:?}");
    }
    let last = &others[3].keys().next().unwrap().1;
    assert_eq!((&last["name"][..], &last["job"][..], &last["a"][..], &last["c"][..]), ("two", "b", "1", "2"));
}

#[test]
fn an_added_label_is_on_the_main_job_too_and_a_wrong_one_is_refused() {
    let sandbox = Sandbox::start(&[]);
    let (_folder, file) = folder();
    let mut command = sandbox.token();
    command
        .env("MONITORING_TOKEN_METRICS_LABEL", "\"site=a,b\",team=x")
        .arg(flag(&file))
        .args(["--", "true"]);
    run(&mut command).succeeded();
    let samples = parse(&fs::read_to_string(&file).unwrap());
    assert!(
        samples.keys().all(|(_, labels)| labels["site"] == "a,b" && labels["team"] == "x"),
        "{samples:?}"
    );
    for (label, why) in [
        ("job", "expected NAME=VALUE"),
        ("=x", "letters, digits and underscores"),
        ("1a=x", "letters, digits and underscores"),
        ("a-b=x", "letters, digits and underscores"),
        ("__a=x", "reserved"),
        ("machine=x", "reserved"),
        ("stage=x", "reserved"),
        ("version=x", "reserved"),
        ("a=x,a=y", "given twice"),
        ("a=x\ny", "control characters"),
        ("a=\"x", "quotation mark"),
        ("", "empty value for -metrics-label"),
    ] {
        run(sandbox.token().arg("-metrics-label").arg(label).args(["--", "true"])).failed_with(2, &[why]);
    }
}
