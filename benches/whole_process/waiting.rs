//! Memory and CPU time of runs while their command runs: one alone, and many at once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::goals::Row;
use crate::measure::{Bench, Contender, Env};
use crate::support::{eventually, kill};

/// A field of a `/proc` file.
fn field(path: &Path, name: &str) -> f64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let value =
        text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.unwrap_or(f64::NAN)
}

/// Memory and threads of a run that waits after the exchange.
pub fn alone(bench: &Bench, name: &str, flags: &[&str], command: &[&str], env: &Env) -> [Row; 3] {
    let mut child = Command::new(&bench.token)
        .args(flags)
        .arg("--")
        .args(command)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let children = proc.join(format!("task/{}/children", child.id()));
    eventually("the command", || {
        let pid = std::fs::read_to_string(&children).ok()?.trim().to_owned();
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (name == "sleep\n").then_some(())
    });
    std::thread::sleep(Duration::from_millis(50));
    let dirty = field(&proc.join("smaps_rollup"), "Private_Dirty:");
    let threads = field(&proc.join("status"), "Threads:");
    let peak = field(&proc.join("status"), "VmHWM:") / 1024.0;
    kill(child.id(), libc::SIGTERM);
    let _ = child.wait();
    [
        Row::new(&format!("{name}: Private_Dirty"), "KiB", dirty, 260.0),
        Row::new(&format!("{name}: threads"), "threads", threads, 1.0),
        Row::new(&format!("{name}: peak resident"), "MiB", peak, 5.5),
    ]
}

/// The same of one that has passed on much output: it may hold 128 KiB more.
pub fn masked(bench: &Bench, flags: &[&str], env: &Env) -> [Row; 2] {
    let command = ["sh", "-c", "yes | head -c 20000000; exec sleep 30"];
    let flags = [flags, &["-output=masked"]].concat();
    let [dirty, threads, _] = alone(bench, "waiting after masked output", &flags, &command, env);
    [Row { goal: dirty.goal + 128.0, ..dirty }, threads]
}

/// The CPU time of one of `many` concurrent runs, in milliseconds. All must succeed.
pub fn at_once(bench: &Bench, contender: &Contender, many: usize) -> f64 {
    let total: f64 = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..many).map(|_| scope.spawn(|| bench.cost(contender).cpu)).collect();
        runs.into_iter().map(|run| run.join().expect("every run succeeds")).sum()
    });
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let many = many as f64;
    total / many
}
