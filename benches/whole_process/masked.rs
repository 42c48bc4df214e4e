//! How fast the command's output is passed on with `-output=masked`: whole runs, from a file to a pipe that is read.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::goals::Row;
use crate::measure::{Bench, Env};

const BYTES: usize = 64 * 1024 * 1024;
const RUNS: usize = 7;
/// Seconds for a gigabyte, that is 200 MB/s.
const GOAL: f64 = 5.0;

/// A line of each kind of output; no two of a kind are alike.
fn line(kind: &str, number: usize) -> String {
    let id = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    match kind {
        "yes" => "y\n".to_owned(),
        "logfmt" => format!(
            "time=2026-11-26T02:10:{:02}.{:03}Z level=info msg=\"request served\" path=/v2/monitoring status=200 id={id:x}\n",
            number % 60,
            number % 1000
        ),
        "JSON lines" => format!(
            "{{\"ts\":{number},\"level\":\"info\",\"msg\":\"said \\\"hello\\\"\\n\",\"path\":\"/v2/monitoring?client=x\",\"id\":\"{id:x}\"}}\n"
        ),
        _ => format!(
            "\x1b[32m02:10:{:02}\x1b[0m \x1b[1;34mINFO\x1b[0m served \x1b[36m/v2/monitoring\x1b[0m in {} us\n",
            number % 60,
            id % 10_000
        ),
    }
}

/// The time that each kind of output takes.
pub fn rows(bench: &Bench, folder: &Path, env: &Env) -> Vec<Row> {
    let measure = |kind: &str| {
        let mut text = String::new();
        let mut number = 0;
        while text.len() < BYTES {
            text.push_str(&line(kind, number));
            number += 1;
        }
        let file = folder.join("output");
        std::fs::write(&file, &text).expect("the output can be written");
        let mut seconds: Vec<f64> = (0..RUNS).map(|_| pass_on(bench, &file, env)).collect();
        seconds.sort_by(f64::total_cmp);
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let gigabytes = text.len() as f64 / 1e9;
        let figure = seconds[RUNS / 2] / gigabytes;
        Row::new(&format!("masked output: {kind}"), "s/GB", figure, GOAL)
            .with_note(format!("{:.0} MB/s", 1000.0 / figure))
    };
    ["yes", "logfmt", "JSON lines", "ANSI"].map(measure).into()
}

/// How many seconds a run takes whose command writes this file.
fn pass_on(bench: &Bench, file: &Path, env: &Env) -> f64 {
    let began = Instant::now();
    let mut run = Command::new(&bench.token)
        .args(["-exchange=false", "-output=masked", "--", "cat"])
        .arg(file)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut output = run.stdout.take().expect("a pipe");
    let mut buffer = vec![0; 64 * 1024];
    while matches!(output.read(&mut buffer), Ok(1..)) {}
    assert!(run.wait().is_ok_and(|status| status.success()));
    began.elapsed().as_secs_f64()
}
