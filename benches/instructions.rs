//! The instructions that a run executes, counted by valgrind, against committed figures: unlike time, they are the same
//! on a busy machine, so a dependency that costs start-up cannot creep in unseen.
//!
//! If a change is intended, write the new figure here and the reason into the commit.
//!
//! With `PROFILES`, the name of a folder, callgrind's profiles are kept there (`make layout`).

mod release;
mod servers;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::Command;

use servers::https;
use support::Sandbox;
use support::tls::Authority;

/// How far a count may be from its figure, either way.
const TOLERANCE: f64 = 0.05;
/// Roots in the bundle, as in a typical distribution.
const ROOTS: usize = 140;
/// Each run is counted this often and the lowest count is used, because handshakes vary a little.
const RUNS: usize = 3;

const CACHE_HIT: u64 = 365_000;
const NO_EXCHANGE: u64 = 765_000;
const HTTP: u64 = 1_101_000;
const HTTPS: u64 = 4_152_000;

fn count(name: &str, args: &[&str], env: &[(String, String)]) -> u64 {
    let profile = std::env::var("PROFILES")
        .map_or_else(|_| "/dev/null".to_owned(), |folder| format!("{folder}/{}", name.replace(' ', "-")));
    let counts = (0..RUNS).map(|_| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--demangle=no", &format!("--callgrind-out-file={profile}")])
            .arg(release::program("monitoring-token"))
            .args(args)
            .args(["--", "/bin/true"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(env.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("valgrind runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        let collected = text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
        collected.unwrap_or_else(|| panic!("no count in {text}"))
    });
    counts.min().expect("at least one run")
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let sandbox = Sandbox::start(&[]);
    let roots: String = (0..ROOTS).map(|number| Authority::new(&format!("root {number}")).pem()).collect();
    let tls = https(folder.path(), &roots, 0);
    let exchange = ["-service=ndt/ndt7", "-service-url", "-service-url-key-name=wss:///ndt/v7/download"];
    // The first of its runs fills the cache.
    let results = format!("-cache-dir={}", folder.path().join("results").display());
    let cached = [&exchange[..], &["-cache-ttl=1h", &results]].concat();
    let counts = [
        ("cache hit", &cached[..], &sandbox.env, CACHE_HIT),
        ("no exchange", &["-exchange=false"], &sandbox.env, NO_EXCHANGE),
        ("exchange, http", &exchange, &sandbox.env, HTTP),
        ("exchange, https", &exchange, &tls, HTTPS),
    ];
    let mut held = true;
    for (name, args, env, figure) in counts {
        let counted = count(name, args, env);
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let change = counted as f64 / figure as f64 - 1.0;
        let ok = change.abs() <= TOLERANCE;
        println!(
            "{name:<16} {counted:>9} instructions, {:+.1} % of {figure}   {}",
            change * 100.0,
            if ok { "ok" } else { "CHANGED" }
        );
        held &= ok;
    }
    assert!(held, "a run costs more, or less, than the figures say");
}
