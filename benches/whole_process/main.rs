//! Compares the cost of whole runs with a bare program that only starts the command ("floor"), with m-lab's Go program
//! if it is available, and with the scripts that monitoring-token replaces.
//!
//! The compared runs take turns, so that a noisy machine slows both. Prints medians and ratios, writes them into
//! `docs/performance.md`, and fails if a goal is missed.

mod chart;
mod goals;
mod masked;
mod measure;
#[path = "../release.rs"]
mod release;
#[path = "../servers.rs"]
mod servers;
#[path = "../../tests/support/mod.rs"]
mod support;
mod waiting;

use std::path::Path;
use std::time::Duration;

use goals::{ORIGINAL_HTTP_MS, ORIGINAL_HTTPS_MS, ORIGINAL_OF_MANY_MS, ORIGINAL_PLAIN_MS, Row, in_floors};
use measure::{Bench, Contender, Env};
use servers::{https, https_after};
use support::Sandbox;

/// The flags of a run without exchange; the original needs none.
const ALONE: [&str; 1] = ["-exchange=false"];
/// The flags of a run with exchange, for both programs.
const EXCHANGE: [&str; 3] =
    ["-service=ndt/ndt7", "-service-url", "-service-url-key-name=wss:///ndt/v7/download"];
const TRUE: [&str; 1] = ["/bin/true"];
const SLEEP: [&str; 2] = ["sleep", "30"];
const MANY: usize = 300;
/// How many of 60 starts are cache hits.
const HITS: f64 = 59.0;

/// The environment with a thousand more variables, about 100 KiB.
fn with_many_variables(env: &Env) -> Env {
    let more = (0..1000).map(|number| (format!("VARIABLE_{number}"), "x".repeat(90)));
    env.iter().cloned().chain(more).collect()
}

/// Compares a run of monitoring-token with the same run of the floor program and of the original.
fn run(
    bench: &Bench,
    name: &str,
    flags: [&[&str]; 2],
    env: &Env,
    of_floor: Option<f64>,
    (share, original_ms): (f64, f64),
) -> Vec<Row> {
    let [ours, theirs] = flags;
    let ours = bench.ours(ours, &TRUE, env);
    let floor = bench.floor(&TRUE, env);
    let original = bench.original(theirs, &TRUE, env);
    let rounds = bench.in_turn([&ours, &floor, original.as_ref().unwrap_or(&floor)]);
    let note = format!(
        "{:.2} ms of CPU, {:.2} ms in all, peak {:.1} MiB",
        rounds.median(|[ours, ..]| ours.cpu),
        rounds.median(|[ours, ..]| ours.wall),
        rounds.median(|[ours, ..]| ours.peak_kib) / 1024.0
    );
    let of_the_floor = rounds.median(|[ours, floor, _]| ours.cpu / floor.cpu);
    let mut rows = Vec::new();
    if original.is_some() {
        let ratio = rounds.median(|[ours, _, original]| ours.cpu / original.cpu);
        rows.push(Row::new(name, "original", ratio, share));
    } else if of_floor.is_none() {
        // The goal in floors.
        rows.push(Row::new(name, "floor", of_the_floor, share * in_floors(original_ms)));
    }
    rows.extend(of_floor.map(|goal| Row::new(name, "floor", of_the_floor, goal)));
    if let Some(last) = rows.pop() {
        rows.push(last.with_note(note));
    }
    rows
}

/// Compares cache hits, alone and in the production mix, with a script that keeps results.
fn cached(bench: &Bench, folder: &Path, http: &Env, tls: &Env) -> Vec<Row> {
    let results = format!("-cache-dir={}", folder.join("results").display());
    let hit = bench.ours(&[&EXCHANGE[..], &["-cache-ttl=1h", &results]].concat(), &TRUE, http);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/whole_process/cache-by-script.sh");
    let kept = folder.join("kept");
    let words = [script.to_str(), Some("3600"), kept.to_str(), Some("/bin/true")];
    let script =
        Contender { line: words.map(|word| word.expect("UTF-8").to_owned()).into(), env: http.clone() };
    let plain = Contender { line: TRUE.map(str::to_owned).into(), env: http.clone() };
    let run = bench.ours(&EXCHANGE, &TRUE, tls);
    let floor = bench.floor(&TRUE, tls);
    let original = bench.original(&EXCHANGE, &TRUE, tls);
    let rounds = bench.in_turn([&hit, &plain, &script, &run, original.as_ref().unwrap_or(&floor)]);
    let scale = if original.is_some() { 1.0 } else { in_floors(ORIGINAL_HTTPS_MS) };
    let mix = |[hit, _, script, run, original]: &[measure::Cost; 5]| {
        (HITS * hit.cpu + run.cpu) / ((HITS + 1.0) * script.cpu + scale * original.cpu)
    };
    let times = format!(
        "{:.2} ms of CPU; the script {:.2} ms",
        rounds.median(|[hit, ..]| hit.cpu),
        rounds.median(|[_, _, script, ..]| script.cpu)
    );
    vec![
        Row::new("cache hit", "/bin/true", rounds.median(|[hit, plain, ..]| hit.cpu / plain.cpu), 1.3)
            .with_note(times),
        Row::new(
            "cache hit",
            "bash script",
            rounds.median(|[hit, _, script, ..]| hit.cpu / script.cpu),
            0.13,
        ),
        Row::new("59 hits and a run over https", "script with original", rounds.median(mix), 0.13),
    ]
}

/// Many runs at once over https, each waiting for its command.
fn at_once(bench: &Bench, tls: &Env) -> Vec<Row> {
    let sleep = ["sleep", "2"];
    let ours = bench.ours(&EXCHANGE, &sleep, tls);
    let original = bench.original(&EXCHANGE, &sleep, tls);
    let of_many = waiting::at_once(bench, &ours, MANY);
    let (unit, peer, goal) = match &original {
        Some(original) => ("original", original.clone(), 0.12),
        None => ("floor", bench.floor(&sleep, tls), 0.12 * in_floors(ORIGINAL_OF_MANY_MS)),
    };
    let peer = waiting::at_once(bench, &peer, MANY);
    let mut rows = vec![Row::new(&format!("{MANY} at once over https"), unit, of_many / peer, goal)];
    let mut alone: Vec<f64> = (0..10).map(|_| waiting::at_once(bench, &ours, 1)).collect();
    alone.sort_by(f64::total_cmp);
    for many in [10, 100, 1000] {
        let ratio = waiting::at_once(bench, &ours, many) / alone[alone.len() / 2];
        rows.push(Row::new(&format!("{many} at once over https, each"), "one alone", ratio, 1.15));
    }
    rows
}

/// How soon the command starts when the server takes 50 ms to respond, compared with a script that uses curl.
fn first_byte(bench: &Bench, folder: &Path) -> Row {
    const NAME: &str = "start to command, server takes 50 ms";
    let env = https_after(folder, Duration::from_millis(50));
    let url = env.iter().find(|(name, _)| name == "LOCATE_URL").map(|(_, url)| format!("{url}ndt/ndt7"));
    let roots = env.iter().find(|(name, _)| name == "SSL_CERT_FILE").map(|(_, file)| file.clone());
    let (url, roots) = (url.unwrap_or_default(), roots.unwrap_or_default());
    let script = format!(
        "SERVICE_URL=$(curl -sS --fail --cacert '{roots}' '{url}') && export SERVICE_URL && exec /bin/true"
    );
    let curl = Contender { line: ["/bin/sh", "-c", &script].map(str::to_owned).into(), env: env.clone() };
    if !Path::new("/usr/bin/curl").exists() {
        return Row::not_measured(NAME, "curl", 1.0, "curl is missing");
    }
    let rounds = bench.in_turn([&bench.ours(&EXCHANGE, &TRUE, &env), &curl]);
    let times = format!(
        "{:.1} ms; curl {:.1} ms",
        rounds.median(|[ours, _]| ours.wall),
        rounds.median(|[_, curl]| curl.wall)
    );
    Row::new(NAME, "curl", rounds.median(|[ours, curl]| ours.wall / curl.wall), 1.0).with_note(times)
}

/// The additional cost of a response of 500 KiB: 2 ms on the machine of the goals.
fn long_answer(bench: &Bench, long: &Env, short: &Env) -> Row {
    let [long, short] = [long, short].map(|env| bench.ours(&EXCHANGE, &TRUE, env));
    let floor = bench.floor(&TRUE, &short.env);
    let rounds = bench.in_turn([&long, &short, &floor]);
    let ratio = rounds.median(|[long, short, floor]| (long.cpu - short.cpu) / floor.cpu);
    Row::new("an answer of 500 KiB, more than a short one", "floor", ratio, in_floors(2.0))
}

/// A thousand runs at once need two pipes each.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn main() {
    allow_many_files();
    let bench = Bench::new(goals::original());
    let peer = match &bench.original {
        Some(_) => "the original",
        None => "the floor program; goals that are shares of the original are converted",
    };
    println!("compared with {peer}");
    let sandbox = Sandbox::start(&[]);
    let plain = sandbox.env.clone();
    let folder = tempfile::tempdir().expect("a folder");
    let roots = std::fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    let tls = https(folder.path(), &roots, 0);
    let long = https(folder.path(), &roots, 500 * 1024);

    let mut rows = Vec::new();
    let alone: [&[&str]; 2] = [&ALONE, &[]];
    let exchange: [&[&str]; 2] = [&EXCHANGE, &EXCHANGE];
    rows.extend(run(&bench, "no exchange", alone, &plain, Some(1.25), (0.26, ORIGINAL_PLAIN_MS)));
    rows.extend(run(&bench, "exchange over http", exchange, &plain, Some(1.6), (0.29, ORIGINAL_HTTP_MS)));
    rows.extend(run(&bench, "exchange over https", exchange, &tls, Some(2.4), (0.14, ORIGINAL_HTTPS_MS)));
    let many_variables = with_many_variables(&plain);
    rows.extend(run(
        &bench,
        "100 KiB of environment",
        alone,
        &many_variables,
        None,
        (0.35, ORIGINAL_PLAIN_MS),
    ));
    for (alg, file) in [("ES256", "es256"), ("ES384", "es384"), ("RS256", "rs256")] {
        let key = support::testdata(&format!("keys/{file}.json"));
        let env = vec![("MONITORING_SIGNER_KEY".to_owned(), key.display().to_string())];
        rows.extend(run(
            &bench,
            &format!("no exchange, {alg}"),
            alone,
            &env,
            None,
            (0.35, ORIGINAL_PLAIN_MS),
        ));
    }
    rows.push(long_answer(&bench, &long, &tls));
    rows.extend(cached(&bench, folder.path(), &plain, &tls));
    rows.extend(at_once(&bench, &tls));
    rows.extend(waiting::alone(&bench, "waiting after http", &EXCHANGE, &SLEEP, &plain));
    rows.extend(waiting::alone(&bench, "waiting after https", &EXCHANGE, &SLEEP, &tls));
    rows.extend(waiting::masked(&bench, &EXCHANGE, &tls));
    rows.extend(masked::rows(&bench, folder.path(), &plain));
    rows.push(first_byte(&bench, folder.path()));
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let megabytes = bench.token.metadata().expect("its length").len() as f64 / 1e6;
    rows.push(Row::new("binary", "MB", megabytes, 5.5));

    for row in &rows {
        let figure = row.figure.map_or("-".to_owned(), |figure| row.show(figure));
        println!(
            "{:<44} {figure:>24}   goal {:<24} {:<8} {}",
            row.name,
            row.show(row.goal),
            row.verdict(),
            row.note
        );
    }
    chart::write(&rows, &format!("Compared with {peer}."));
    assert!(rows.iter().all(Row::is_met), "a goal was missed");
}
