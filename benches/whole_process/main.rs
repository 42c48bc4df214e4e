//! What a run costs, whole process: against m-lab's Go program where it is available, else against the floor
//! program, interleaved in one run, so that a noisy machine slows both. Prints medians and ratios, and fails
//! if a goal is missed.

mod goals;
mod measure;
#[path = "../servers.rs"]
mod servers;
#[path = "../../tests/support/mod.rs"]
mod support;
mod waiting;

use goals::{HTTP, HTTPS, LONG_ANSWER, NO_EXCHANGE, OTHER_KEY};
use measure::{Bench, Env, verdict};
use servers::https;
use support::Sandbox;

/// The flags of a run without exchange; the original does not have this flag.
const OURS_ALONE: [&str; 1] = ["-exchange=false"];
/// The flags of a run with the exchange, for both programs.
const EXCHANGE: [&str; 3] =
    ["-service=ndt/ndt7", "-service-url", "-service-url-key-name=wss:///ndt/v7/download"];
const MOST_MEBIBYTES: f64 = 5.25;

/// The environment with a thousand variables more, of about 100 KiB.
fn with_many_variables(env: &Env) -> Env {
    let more = (0..1000).map(|number| (format!("VARIABLE_{number}"), "x".repeat(90)));
    env.iter().cloned().chain(more).collect()
}

fn main() {
    let bench = Bench::new();
    println!("compared with {} ({})", bench.peer.name, bench.peer.program.display());
    // Pages of a file that is not on disk yet count as dirty.
    let binary = std::fs::File::open(&bench.token).expect("the binary is there");
    binary.sync_all().expect("the binary can be synced");
    let sandbox = Sandbox::start(&[]);
    let plain = sandbox.env.clone();
    let folder = tempfile::tempdir().expect("a folder");
    let roots = std::fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    let tls = https(folder.path(), &roots, 0);
    let long = https(folder.path(), &roots, 500 * 1024);

    let mut met = vec![
        bench.compare("no exchange", &OURS_ALONE, &[], &plain, NO_EXCHANGE),
        bench.compare("with 100 KiB of env", &OURS_ALONE, &[], &with_many_variables(&plain), NO_EXCHANGE),
        bench.compare("exchange, http", &EXCHANGE, &EXCHANGE, &plain, HTTP),
        bench.compare("exchange, https", &EXCHANGE, &EXCHANGE, &tls, HTTPS),
        bench.difference("answer of 500 KiB", &EXCHANGE, &long, &tls, LONG_ANSWER),
    ];
    let results = format!("-cache-dir={}", folder.path().join("results").display());
    let cached = [&EXCHANGE[..], &["-cache-ttl=1h", &results]].concat();
    met.push(bench.compare("cache hit", &cached, &[], &plain, NO_EXCHANGE));
    for (alg, file) in [("ES256", "es256"), ("ES384", "es384"), ("RS256", "rs256")] {
        let key = support::testdata(&format!("keys/{file}.json"));
        let env = vec![("MONITORING_SIGNER_KEY".to_owned(), key.display().to_string())];
        met.push(bench.compare(&format!("no exchange, {alg}"), &OURS_ALONE, &[], &env, OTHER_KEY));
    }
    met.push(waiting::alone(&bench, "waiting after http", &EXCHANGE, &plain));
    met.push(waiting::alone(&bench, "waiting after https", &EXCHANGE, &tls));
    met.push(waiting::at_once(&bench, "at once, https", &EXCHANGE, &EXCHANGE, &tls));
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let mebibytes = binary.metadata().expect("its length").len() as f64 / 1_048_576.0;
    met.push(mebibytes <= MOST_MEBIBYTES);
    let ok = verdict(mebibytes <= MOST_MEBIBYTES);
    println!("{:<22} {mebibytes:.2} MiB (goal {MOST_MEBIBYTES})   {ok}", "binary");
    assert!(met.iter().all(|&met| met), "a goal was missed");
}
