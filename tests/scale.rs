//! The figures of deploy/README.md: many targets with empty caches, with expiring entries, and with requests that fail
//! together. Simulated from a fixed seed, with the program's own rules.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use monitoring_token::http::retry::{Next, Pauses};

use crate::support::job::Folder;
use crate::support::{Sandbox, run};

const SEED: u64 = 50_000;
/// The duration of a probe: ten seconds of download, and the rest.
const PROBE: f64 = 15.0;
const TTL: f64 = 3600.0;
/// The traffic of a probe with `early_exit=250`.
const PROBE_BYTES: f64 = 250e6;
const POD_PROBES: f64 = 31.0;

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/README.md")).unwrap()
}

/// The share of the TTL for which an entry is valid, drawn as in src/cache/entry.rs;
/// `entries_are_fresh_for_between_half_the_ttl_and_the_ttl` compares it with the program.
fn age_limit() -> f64 {
    TTL * f64::midpoint(1.0, fastrand::f64())
}

/// The start times of probes, in order, beginning with empty caches. Prometheus scrapes each target at its own moment
/// within the interval; a scrape without a valid entry starts a probe.
fn starts(targets: u32, interval: f64, hours: f64) -> Vec<f64> {
    let mut starts = Vec::new();
    for _ in 0..targets {
        let phase = fastrand::f64() * interval;
        let mut start = phase;
        while start < hours * 3600.0 {
            starts.push(start);
            let expires = start + PROBE + age_limit();
            start = phase + ((expires - phase) / interval).ceil() * interval;
        }
    }
    starts.sort_unstable_by(f64::total_cmp);
    starts
}

/// The largest number of these moments within a window of this length.
fn most(moments: &[f64], window: f64) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, moment) in moments.iter().enumerate() {
        while moments[first] <= moment - window {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

/// A number for people: three significant digits, commas for thousands.
fn figure(value: f64) -> String {
    let digits = match value {
        _ if value.fract() == 0.0 => 0,
        ..1.0 => 2,
        1.0..10.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), String::new()), |(a, b)| (a, format!(".{b}")));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + &rest
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn count(value: usize) -> f64 {
    value as f64
}

fn hold(rows: &[String]) {
    let page = page();
    let missing: Vec<&String> = rows.iter().filter(|row| !page.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "deploy/README.md lacks\n{}", rows.join("\n"));
}

#[test]
fn the_capacity_figures_are_those_of_the_simulation() {
    fastrand::seed(SEED);
    let mut rows = Vec::new();
    for (targets, interval) in
        [(10, 60.0), (1_500, 60.0), (1_500, 300.0), (50_000, 60.0), (50_000, 300.0), (50_000, 600.0)]
    {
        let all = starts(targets, interval, 12.0);
        let split = all.partition_point(|start| *start < 6.0 * 3600.0);
        let (begin, later) = all.split_at(split);
        let per_minute = count(later.len()) / 360.0;
        let cold = count(most(begin, PROBE));
        rows.push(format!(
            "| {} | {interval} s | {} | {} | {} | {} | {} | {} |",
            figure(f64::from(targets)),
            figure(cold),
            figure((cold / POD_PROBES).ceil()),
            figure(per_minute),
            figure(count(most(later, 60.0))),
            figure(count(most(later, PROBE))),
            figure(per_minute / 60.0 * PROBE_BYTES * 8.0 / 1e9),
        ));
    }
    hold(&rows);
}

#[test]
fn entries_that_were_written_together_expire_over_half_the_ttl() {
    fastrand::seed(SEED);
    let all = starts(50_000, 300.0, 12.0);
    let mut rows = Vec::new();
    for (name, from, to) in
        [("0–5", 0, 5), ("5–30", 5, 30), ("30–65", 30, 65), ("65–125", 65, 125), ("360–720", 360, 720)]
    {
        let within: Vec<f64> = all
            .iter()
            .copied()
            .filter(|start| (f64::from(from) * 60.0..f64::from(to) * 60.0).contains(start))
            .collect();
        let mean = count(within.len()) / f64::from(to - from);
        rows.push(format!("| {name} | {} | {} |", figure(mean), figure(count(most(&within, 60.0)))));
    }
    hold(&rows);
}

#[test]
fn runs_that_fail_together_come_back_spread_out() {
    fastrand::seed(SEED);
    let now = Instant::now();
    let deadline = now + Duration::from_secs(45);
    let mut rows = Vec::new();
    for (name, asked) in
        [("none", None), ("10 s", Some(Duration::from_secs(10))), ("30 s", Some(Duration::from_secs(30)))]
    {
        let mut returns: Vec<f64> = (0..50_000)
            .map(|_| match Pauses::new(2).next(asked, now, deadline) {
                Next::After(pause) => pause.as_secs_f64(),
                other => panic!("{other:?}"),
            })
            .collect();
        returns.sort_unstable_by(f64::total_cmp);
        rows.push(format!(
            "| {name} | {:.1}–{:.1} s | {} |",
            returns[0],
            returns[returns.len() - 1],
            figure(count(most(&returns, 0.1))),
        ));
    }
    hold(&rows);
}

#[test]
fn entries_are_fresh_for_between_half_the_ttl_and_the_ttl() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let dir = format!("-cache-dir={}", folder.root().display());
    for number in 0..60 {
        let number = number.to_string();
        run(sandbox.token().args(["-exchange=false", "-cache-ttl=1h", &dir, "/bin/true", &number]))
            .succeeded();
    }
    let mut ages: Vec<f64> = fs::read_dir(folder.root())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        .map(|path| {
            let entry: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            entry["max_age_ms"].as_f64().expect("an age") / 1000.0
        })
        .collect();
    assert_eq!(ages.len(), 60);
    assert!(ages.iter().all(|age| (TTL / 2.0..=TTL).contains(age)), "{ages:?}");
    let mean = ages.iter().sum::<f64>() / count(ages.len());
    assert!((0.65..0.85).contains(&(mean / TTL)), "they are spread evenly: {mean}");
    ages.sort_unstable_by(f64::total_cmp);
    assert!(ages[0] < 0.6 * TTL && ages[59] > 0.9 * TTL, "they are spread widely: {ages:?}");
    // Two of them may be the same by chance.
    ages.dedup();
    assert!(ages.len() >= 55, "each entry has its own: {ages:?}");
}
