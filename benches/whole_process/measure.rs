//! Runs two commands in turn and compares what the kernel says they cost.

use std::path::PathBuf;
use std::process::Command;

use crate::goals::{Goal, Peer, Times};

/// Runs of each command that count; those before warm the caches.
const RUNS: usize = 60;
const WARM_UP: usize = 5;

pub type Env = Vec<(String, String)>;

/// One run's cost: times in microseconds.
#[derive(Clone, Copy)]
struct Cost {
    cpu: f64,
    wall: f64,
    peak_kib: f64,
}

/// What is compared: our program with the peer, started by the launcher.
pub struct Bench {
    pub token: PathBuf,
    launcher: PathBuf,
    pub peer: Peer,
}

impl Bench {
    pub fn new() -> Bench {
        let token = PathBuf::from(env!("CARGO_BIN_EXE_monitoring-token"));
        Bench {
            launcher: token.with_file_name("bench-launch"),
            peer: Peer::find(token.with_file_name("bench-floor")),
            token,
        }
    }

    /// Our command line for a run with these flags.
    pub fn line<'a>(&'a self, flags: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
        [&[self.token.to_str().expect("a path in UTF-8")], flags, &["--"], command].concat()
    }

    fn launch(&self, line: &[&str], env: &Env) -> Cost {
        let mut command = Command::new(&self.launcher);
        let env = env.iter().map(|(name, value)| (name, value));
        let output = command.args(line).env_clear().env("PATH", "/usr/bin:/bin").envs(env).output();
        let text = String::from_utf8(output.expect("the launcher runs").stdout).expect("a text");
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [status, cpu, wall, peak_kib] = numbers[..] else { panic!("the launcher said {text:?}") };
        assert!(status == 0.0, "{line:?} ended with wait status {status}");
        Cost { cpu, wall, peak_kib }
    }

    /// The CPU time of a run in microseconds.
    pub fn cpu(&self, line: &[&str], env: &Env) -> f64 {
        self.launch(line, env).cpu
    }

    /// Compares a run of ours with the same of the peer; says whether the goal is met.
    pub fn compare(&self, name: &str, ours: &[&str], theirs: &[&str], env: &Env, goal: Goal) -> bool {
        let ours = self.line(ours, &["/bin/true"]);
        let theirs = self.peer.line(theirs, &["/bin/true"]);
        let costs = in_turn(|| (self.launch(&ours, env), self.launch(&theirs, env)));
        let of = |figure: fn(&(Cost, Cost)) -> f64| median(costs.iter().map(figure).collect());
        let ratio = Times {
            cpu: of(|(ours, theirs)| ours.cpu / theirs.cpu),
            wall: of(|(ours, theirs)| ours.wall / theirs.wall),
        };
        let most = self.peer.most(goal);
        let met = ratio.cpu <= most.cpu && ratio.wall <= most.wall;
        println!(
            "{name:<22} cpu {:>5.2} ms = {:.2} x {peer} (goal {:.2})   wall {:>5.2} ms = {:.2} x {peer} (goal {:.2})   peak {:.1} MiB   {}",
            of(|(ours, _)| ours.cpu) / 1000.0,
            ratio.cpu,
            most.cpu,
            of(|(ours, _)| ours.wall) / 1000.0,
            ratio.wall,
            most.wall,
            of(|(ours, _)| ours.peak_kib) / 1024.0,
            verdict(met),
            peer = self.peer.name,
        );
        met
    }

    /// Compares what a run costs more in one environment than in another with a whole run of the peer's; says
    /// whether the goal is met.
    pub fn difference(&self, name: &str, flags: &[&str], more: &Env, less: &Env, goal: Goal) -> bool {
        let ours = self.line(flags, &["/bin/true"]);
        let theirs = self.peer.line(&[], &["/bin/true"]);
        let costs = in_turn(|| (self.cpu(&ours, more) - self.cpu(&ours, less), self.cpu(&theirs, less)));
        let ratio = median(costs.iter().map(|(difference, theirs)| difference / theirs).collect());
        let most = self.peer.most(goal).cpu;
        println!(
            "{name:<22} cpu {:>5.2} ms more = {ratio:.2} x {} (goal {most:.2})   {}",
            median(costs.iter().map(|(difference, _)| *difference).collect()) / 1000.0,
            self.peer.name,
            verdict(ratio <= most)
        );
        ratio <= most
    }
}

fn in_turn<T>(mut both: impl FnMut() -> T) -> Vec<T> {
    (0..WARM_UP).for_each(|_| drop(both()));
    (0..RUNS).map(|_| both()).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
