//! What a run costs, whole process: against the floor program, interleaved in one run, so that a noisy
//! machine slows both. Prints medians and ratios, and fails if a goal is missed.
//!
//! The goals were set against m-lab's Go `monitoring-token` v0.17.6, which took 5.9 times the CPU and 5.3
//! times the wall time of the floor program; they are given here as ratios to the floor.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod servers;
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use servers::https;
use support::{Sandbox, eventually};

/// Runs of each command that count; those before warm the caches.
const RUNS: usize = 60;
const WARM_UP: usize = 5;
/// How many runs wait at once in the test of that.
const AT_ONCE: usize = 300;

/// One run's cost.
#[derive(Clone, Copy)]
struct Cost {
    cpu: f64,
    wall: f64,
    peak_kib: f64,
}

/// The most that a run may cost, as ratios to the floor.
struct Goal {
    cpu: f64,
    wall: f64,
}

fn launch(bin: &Bins, words: &[&str], env: &[(String, String)]) -> Cost {
    let mut command = Command::new(&bin.launch);
    command.args(words).env_clear().env("PATH", "/usr/bin:/bin").envs(env.iter().map(|(n, v)| (n, v)));
    let output = command.output().expect("the launcher runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [status, cpu, wall, peak_kib] = numbers[..] else { panic!("the launcher said {text:?}") };
    assert!(status == 0.0, "{words:?} ended with wait status {status}");
    Cost { cpu, wall, peak_kib }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Bins {
    token: PathBuf,
    launch: PathBuf,
    floor: PathBuf,
}

impl Bins {
    fn find() -> Bins {
        let token = PathBuf::from(env!("CARGO_BIN_EXE_monitoring-token"));
        let examples = token.parent().expect("a folder").join("examples");
        Bins { launch: examples.join("bench-launch"), floor: examples.join("bench-floor"), token }
    }
}

/// Measures one kind of run against the floor; gives its CPU time in microseconds, and whether the goal is
/// met.
fn compare(
    bin: &Bins,
    name: &str,
    args: &[&str],
    env: &[(String, String)],
    goal: Option<&Goal>,
) -> (f64, bool) {
    let ours: Vec<&str> = std::iter::once(bin.token.to_str().unwrap())
        .chain(args.iter().copied())
        .chain(["--", "/bin/true"])
        .collect();
    let floor = [bin.floor.to_str().unwrap(), "/bin/true"];
    let mut costs: Vec<(Cost, Cost)> =
        (0..RUNS + WARM_UP).map(|_| (launch(bin, &ours, env), launch(bin, &floor, env))).collect();
    costs.drain(..WARM_UP);
    let of = |figure: fn(&(Cost, Cost)) -> f64| median(costs.iter().map(figure).collect());
    let cpu_ratio = of(|(ours, floor)| ours.cpu / floor.cpu);
    let wall_ratio = of(|(ours, floor)| ours.wall / floor.wall);
    let met = goal.is_none_or(|goal| cpu_ratio <= goal.cpu && wall_ratio <= goal.wall);
    let limit =
        |limit: fn(&Goal) -> f64| goal.map(|goal| format!(" (goal {:.2})", limit(goal))).unwrap_or_default();
    let cpu = of(|(ours, _)| ours.cpu);
    println!(
        "{name:<22} cpu {:>5.2} ms = {cpu_ratio:.2} x floor{}   wall {:>5.2} ms = {wall_ratio:.2} x floor{}   peak {:>4.1} MiB   {}",
        cpu / 1000.0,
        limit(|goal| goal.cpu),
        of(|(ours, _)| ours.wall) / 1000.0,
        limit(|goal| goal.wall),
        of(|(ours, _)| ours.peak_kib) / 1024.0,
        if goal.is_some() { verdict(met) } else { "" },
    );
    (cpu, met)
}

/// A field of a `/proc` file in KiB.
fn field(path: &Path, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// What a run holds while its command runs.
fn waiting(
    bin: &Bins,
    name: &str,
    env: &[(String, String)],
    most_dirty_kib: u64,
    most_peak_kib: u64,
) -> bool {
    let mut child = Command::new(&bin.token)
        .args(["-service=ndt/ndt7", "--", "sleep", "30"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(env.iter().map(|(n, v)| (n, v)))
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
    support::kill(child.id(), libc::SIGTERM);
    let _ = child.wait();
    let met = dirty <= most_dirty_kib && threads == 1 && peak <= most_peak_kib;
    println!(
        "{name:<22} Private_Dirty {dirty} KiB (goal {most_dirty_kib})   threads {threads} (goal 1)   peak {peak} KiB (goal {most_peak_kib})   {}",
        verdict(met)
    );
    met
}

/// The system's roots, as PEM.
fn system_roots() -> String {
    std::fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default()
}

/// Many runs that wait at once: every one succeeds, at a total cost that is a small multiple of as many
/// floor programs.
fn at_once(bin: &Bins, env: &[(String, String)], most: f64) -> bool {
    let all = |words: &[&str]| -> f64 {
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(|| launch(bin, words, env).cpu)).collect();
            runs.into_iter().map(|run| run.join().expect("every run succeeds")).sum()
        })
    };
    let floor = all(&[bin.floor.to_str().unwrap(), "sleep", "2"]);
    let ours = all(&[bin.token.to_str().unwrap(), "-service=ndt/ndt7", "--", "sleep", "2"]);
    let met = ours / floor <= most;
    println!(
        "{:<22} {AT_ONCE} succeeded, cpu {:.2} s = {:.2} x floor (goal {most:.2})   {}",
        "at once, https",
        ours / 1e6,
        ours / floor,
        verdict(met)
    );
    met
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

fn main() {
    let bin = Bins::find();
    // Pages of a file that is not on disk yet count as dirty.
    std::fs::File::open(&bin.token).and_then(|file| file.sync_all()).expect("the binary can be synced");
    let sandbox = Sandbox::start(&[]);
    let plain = sandbox.env.clone();
    let folder = tempfile::tempdir().expect("a folder");
    let tls = https(folder.path(), &system_roots(), 0);
    let large = https(folder.path(), &system_roots(), 500 * 1024);
    let exchange = ["-service=ndt/ndt7"];
    let mut met = vec![
        compare(&bin, "no exchange", &["-exchange=false"], &plain, Some(&Goal { cpu: 1.65, wall: 1.74 })).1,
        compare(&bin, "exchange, http", &exchange, &plain, Some(&Goal { cpu: 1.71, wall: 2.61 })).1,
    ];
    let (small_cpu, small_met) =
        compare(&bin, "exchange, https", &exchange, &tls, Some(&Goal { cpu: 2.99, wall: 4.37 }));
    let (large_cpu, _) = compare(&bin, "https, 500 KiB answer", &exchange, &large, None);
    met.push(small_met);
    met.push(large_cpu - small_cpu < 2000.0);
    println!(
        "{:<22} {:.2} ms of CPU (goal 2)   {}",
        "500 KiB more",
        (large_cpu - small_cpu) / 1000.0,
        verdict(met[3])
    );
    for alg in ["ES256", "RS256"] {
        let key = folder.path().join(alg);
        let made =
            Command::new(&bin.token).args(["key", "generate", "--alg", alg, "--out"]).arg(&key).output();
        assert!(made.is_ok_and(|made| made.status.success()), "no {alg} key");
        let env = vec![("MONITORING_SIGNER_KEY".to_owned(), key.display().to_string())];
        compare(&bin, &format!("no exchange, {alg}"), &["-exchange=false"], &env, None);
    }
    met.push(waiting(&bin, "waiting after http", &plain, 260, 4096));
    met.push(waiting(&bin, "waiting after https", &tls, 260, 4096));
    met.push(at_once(&bin, &tls, 3.1));
    let mebibytes = std::fs::metadata(&bin.token).map_or(f64::MAX, |file| file.len() as f64 / 1_048_576.0);
    met.push(mebibytes <= 4.0);
    println!("{:<22} {mebibytes:.2} MiB (goal 4)   {}", "binary", verdict(mebibytes <= 4.0));
    assert!(met.iter().all(|&met| met), "a goal was missed");
}
