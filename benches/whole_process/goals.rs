//! What a run may cost.
//!
//! The goals are shares of what m-lab's Go `monitoring-token` v0.17.6 takes for the same run. Where that is
//! not available, they are converted into multiples of the floor program, through what both took side by side
//! on a two-core machine when the goals were set.

use std::path::{Path, PathBuf};

/// CPU and wall time: milliseconds of a run, or shares.
#[derive(Clone, Copy)]
pub struct Times {
    pub cpu: f64,
    pub wall: f64,
}

/// One kind of run: what the original took for it in milliseconds, and the share of it that we may take.
#[derive(Clone, Copy)]
pub struct Goal {
    original: Times,
    share: Times,
}

/// What the floor program took, in milliseconds: 0.17 of the original's CPU without exchange, 0.19 of its wall.
const FLOOR: Times = Times { cpu: 0.17 * 7.2, wall: 0.19 * 6.6 };

pub const NO_EXCHANGE: Goal =
    Goal { original: Times { cpu: 7.2, wall: 6.6 }, share: Times { cpu: 0.28, wall: 0.33 } };
pub const HTTP: Goal =
    Goal { original: Times { cpu: 8.7, wall: 8.6 }, share: Times { cpu: 0.29, wall: 0.38 } };
pub const HTTPS: Goal =
    Goal { original: Times { cpu: 24.4, wall: 24.9 }, share: Times { cpu: 0.15, wall: 0.22 } };
/// What a long answer costs more than a short one: 2 ms of CPU, where the original takes 7.2 ms for a run.
pub const LONG_ANSWER: Goal = Goal { share: Times { cpu: 2.0 / 7.2, wall: f64::NAN }, ..NO_EXCHANGE };
/// With a key of another kind: faster than the original. What that takes was not measured for these; it is no
/// less than what it takes with an Ed25519 key, the cheapest.
pub const OTHER_KEY: Goal = Goal { share: Times { cpu: 1.0, wall: 1.0 }, ..NO_EXCHANGE };
/// As many runs at once over https, each of which waits for its command; the times are of one of them.
pub const AT_ONCE: usize = 300;
pub const ONE_OF_MANY: Goal = Goal {
    original: Times { cpu: 8800.0 / 300.0, wall: f64::NAN },
    share: Times { cpu: 0.13, wall: f64::NAN },
};

/// The program that we are compared with.
pub struct Peer {
    pub program: PathBuf,
    pub name: &'static str,
}

impl Peer {
    /// The original, if `ORIGINAL` names it or `make bench` could install it; else the floor program.
    pub fn find(floor: PathBuf) -> Peer {
        let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers/original/monitoring-token");
        let original = std::env::var_os("ORIGINAL").map_or(installed, PathBuf::from);
        if original.exists() {
            Peer { program: original, name: "original" }
        } else {
            Peer { program: floor, name: "floor" }
        }
    }

    fn is_original(&self) -> bool {
        self.name == "original"
    }

    /// The most that we may take, as a ratio to what this peer takes.
    pub fn most(&self, goal: Goal) -> Times {
        if self.is_original() {
            goal.share
        } else {
            Times {
                cpu: goal.share.cpu * goal.original.cpu / FLOOR.cpu,
                wall: goal.share.wall * goal.original.wall / FLOOR.wall,
            }
        }
    }

    /// Its command line for a run with these flags of the original's.
    pub fn line<'a>(&'a self, flags: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
        let program = self.program.to_str().expect("a path in UTF-8");
        let own: &[&str] = if self.is_original() { flags } else { &[] };
        let end: &[&str] = if self.is_original() { &["--"] } else { &[] };
        [&[program], own, end, command].concat()
    }
}
