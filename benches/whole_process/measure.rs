//! Runs commands in turn, so that a noisy machine slows all of them, and reads the cost of each from the kernel.

use std::path::PathBuf;
use std::process::Command;

use crate::release::program;

/// Measured rounds; the rounds before them warm the caches.
const ROUNDS: usize = 60;
const WARM_UP: usize = 5;

pub type Env = Vec<(String, String)>;

/// A command line and its environment.
#[derive(Clone)]
pub struct Contender {
    pub line: Vec<String>,
    pub env: Env,
}

/// The cost of one run; times in milliseconds.
#[derive(Clone, Copy)]
pub struct Cost {
    pub cpu: f64,
    pub wall: f64,
    pub peak_kib: f64,
}

/// Copies of the programs, as an installation makes them. The page cache holds a file that the linker has just written in
/// single pages. It holds a copy, and a file that was read from disk, in larger pieces, and one page fault maps more of
/// them. Before it is copied, the program takes 19 more page faults and 40 % more CPU time without exchange.
pub struct Bench {
    pub token: PathBuf,
    pub floor: PathBuf,
    pub original: Option<PathBuf>,
    launcher: PathBuf,
}

impl Bench {
    pub fn new(original: Option<PathBuf>) -> Bench {
        let folder = program("monitoring-token").with_file_name("bench-installed");
        std::fs::create_dir_all(&folder).expect("a folder beside the program");
        let installed = |program: PathBuf| {
            let copy = folder.join(program.file_name().expect("the name of a program"));
            let _ = std::fs::remove_file(&copy);
            std::fs::copy(&program, &copy).expect("the program can be copied");
            // Pages of a file that is not on disk yet count as dirty.
            std::fs::File::open(&copy).and_then(|file| file.sync_all()).expect("the copy can be synced");
            copy
        };
        Bench {
            token: installed(program("monitoring-token")),
            floor: installed(program("bench-floor")),
            launcher: installed(program("bench-launch")),
            original: original.map(installed),
        }
    }

    /// A run of monitoring-token.
    pub fn ours(&self, flags: &[&str], command: &[&str], env: &Env) -> Contender {
        Contender { line: line(&self.token, &[flags, &["--"], command]), env: env.clone() }
    }

    /// The same run with the floor program.
    pub fn floor(&self, command: &[&str], env: &Env) -> Contender {
        Contender { line: line(&self.floor, &[command]), env: env.clone() }
    }

    /// The same run with the original.
    pub fn original(&self, flags: &[&str], command: &[&str], env: &Env) -> Option<Contender> {
        let program = self.original.as_ref()?;
        Some(Contender { line: line(program, &[flags, &["--"], command]), env: env.clone() })
    }

    pub fn cost(&self, contender: &Contender) -> Cost {
        let mut command = Command::new(&self.launcher);
        let env = contender.env.iter().map(|(name, value)| (name, value));
        let output =
            command.args(&contender.line).env_clear().env("PATH", "/usr/bin:/bin").envs(env).output();
        let text = String::from_utf8(output.expect("the launcher runs").stdout).expect("a text");
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [status, cpu, wall, peak_kib] = numbers[..] else { panic!("the launcher said {text:?}") };
        assert!(status == 0.0, "{:?} ended with wait status {status}", contender.line);
        Cost { cpu: cpu / 1000.0, wall: wall / 1000.0, peak_kib }
    }

    /// The costs of these runs, round by round. The order within a round is random, because a run after an expensive
    /// program finds less in the processor's caches.
    pub fn in_turn<const N: usize>(&self, contenders: [&Contender; N]) -> Rounds<N> {
        let round = || {
            let mut order: [usize; N] = std::array::from_fn(|index| index);
            fastrand::shuffle(&mut order);
            let mut costs = [Cost { cpu: 0.0, wall: 0.0, peak_kib: 0.0 }; N];
            for index in order {
                costs[index] = self.cost(contenders[index]);
            }
            costs
        };
        Rounds((0..WARM_UP + ROUNDS).map(|_| round()).skip(WARM_UP).collect())
    }
}

fn line(program: &std::path::Path, words: &[&[&str]]) -> Vec<String> {
    let program = program.to_str().expect("a path in UTF-8");
    [&[program], words.concat().as_slice()].concat().iter().map(ToString::to_string).collect()
}

/// The costs by round and contender.
pub struct Rounds<const N: usize>(Vec<[Cost; N]>);

impl<const N: usize> Rounds<N> {
    /// The median over all rounds.
    pub fn median(&self, of: impl Fn(&[Cost; N]) -> f64) -> f64 {
        let mut values: Vec<f64> = self.0.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }
}
