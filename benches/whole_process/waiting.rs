//! What a run holds while its command runs, alone and as one of many.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::goals::{AT_ONCE, ONE_OF_MANY};
use crate::measure::{Bench, Env, verdict};
use crate::support::{eventually, kill};

/// The most memory, in KiB, that is ours alone while we wait, and the most that was resident at any time.
const MOST_DIRTY: u64 = 260;
const MOST_PEAK: u64 = 4096;

/// A field of a `/proc` file.
fn field(path: &Path, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// Whether one that waits after the exchange keeps within the limits.
pub fn alone(bench: &Bench, name: &str, flags: &[&str], env: &Env) -> bool {
    let mut child = Command::new(&bench.token)
        .args(flags)
        .args(["--", "sleep", "30"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
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
    let dirty = field(&proc.join("smaps_rollup"), "Private_Dirty:").unwrap_or(u64::MAX);
    let threads = field(&proc.join("status"), "Threads:").unwrap_or(u64::MAX);
    let peak = field(&proc.join("status"), "VmHWM:").unwrap_or(u64::MAX);
    kill(child.id(), libc::SIGTERM);
    let _ = child.wait();
    let met = dirty <= MOST_DIRTY && threads == 1 && peak <= MOST_PEAK;
    println!(
        "{name:<22} Private_Dirty {dirty} KiB (goal {MOST_DIRTY})   threads {threads} (goal 1)   peak {peak} KiB (goal {MOST_PEAK})   {}",
        verdict(met)
    );
    met
}

/// Whether many that wait at once all succeed, at a total cost that is small beside as many of the peer.
pub fn at_once(bench: &Bench, name: &str, flags: &[&str], theirs: &[&str], env: &Env) -> bool {
    let all = |line: &[&str]| -> f64 {
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(|| bench.cpu(line, env))).collect();
            runs.into_iter().map(|run| run.join().expect("every run succeeds")).sum()
        })
    };
    let peer = all(&bench.peer.line(theirs, &["sleep", "2"]));
    let ours = all(&bench.line(flags, &["sleep", "2"]));
    let most = bench.peer.most(ONE_OF_MANY).cpu;
    let met = ours / peer <= most;
    println!(
        "{name:<22} {AT_ONCE} succeeded, cpu {:.2} s = {:.2} x {} (goal {most:.2})   {}",
        ours / 1e6,
        ours / peer,
        bench.peer.name,
        verdict(met)
    );
    met
}
