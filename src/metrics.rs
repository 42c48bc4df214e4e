//! The metrics of a run, as a file for node_exporter's textfile collector.
//!
//! Each run writes a new file and renames it into place, so that a scrape sees one run or the next, never half
//! of one. Unknown values have no sample.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use rustix::io::Errno;

use crate::VERSION;
use crate::failure::{Failure, Reason, Stage, Warning, system_error};
use crate::new_file::replace;
use crate::owner::is_trusted;

const PREFIX: &str = "monitoring_token";
/// The collector runs as another user.
const FILE_MODE: u32 = 0o644;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    /// The monitored machine; empty for service tokens.
    pub machine: String,
    /// `<experiment>/<datatype>`, or the issuer of a service token.
    pub service: String,
    /// Labels that distinguish the tokens of a service: `issuer`, and `user` or `name`.
    pub token: Vec<(&'static str, String)>,
    pub added: Vec<(String, String)>,
}

/// The label names that this program uses itself.
pub(crate) const RESERVED_LABELS: [&str; 9] =
    ["machine", "service", "issuer", "user", "name", "stage", "reason", "version", "commit"];

/// True if Prometheus accepts this as the name of a label.
pub(crate) fn is_label_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_word) && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    pub exit_status: u8,
    /// How long each stage took, in seconds, for the stages that were reached.
    pub stage_seconds: Vec<(Stage, f64)>,
    pub failed: Vec<Stage>,
    /// The reasons, each with its stage. Empty after a success.
    pub failures: Vec<(Stage, Reason)>,
    /// How far the local clock is ahead of the issuer's (negative: behind), in seconds.
    pub clock_offset_seconds: Option<i64>,
    /// The time left until the timeout, in seconds. `None` if no run was made.
    pub deadline_margin_seconds: Option<f64>,
    pub cached: bool,
    /// When the token in the file of `rotate` expires, in Unix seconds.
    pub token_expiry: Option<u64>,
    /// When the run ended; `None` for now.
    pub ended: Option<SystemTime>,
}

impl Figures {
    /// The figures of a run that could not begin.
    pub(crate) fn of_failure(failure: &Failure) -> Figures {
        Figures {
            exit_status: failure.status.code(),
            failed: vec![failure.stage],
            failures: vec![(failure.stage, failure.reason)],
            ..Figures::default()
        }
    }
}

/// Writes `figures` to `path` in one step. The error is a warning; the previous file is then unchanged.
pub(crate) fn write(path: &Path, labels: &Labels, figures: &Figures) -> Result<(), Warning> {
    replace_file(path, labels, figures).map_err(|error| {
        let why = system_error(&error);
        let message =
            format!("cannot write the metrics to {}: {why}; check -metrics-textfile", path.display());
        Warning::new(Reason::OutputFailed, message)
    })
}

fn replace_file(path: &Path, labels: &Labels, figures: &Figures) -> io::Result<()> {
    let text = encode(labels, figures, figures.ended.unwrap_or_else(SystemTime::now));
    let path = follow_links(path)?;
    // Renaming onto a device would replace it by a file.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    if path.file_name().is_none() {
        return Err(io::Error::from(io::ErrorKind::NotFound));
    }
    // The collector reads files that end in .prom and are not hidden.
    replace(&path, ".monitoring-token-", FILE_MODE, text.as_bytes())
}

/// Resolves links: a symbolic link is kept, and its target is replaced. A link that another user has put there is
/// refused, as the kernel does in `/tmp` (fs.protected_symlinks), because that user could choose which file is
/// replaced.
pub(crate) fn follow_links(path: &Path) -> io::Result<PathBuf> {
    /// The kernel's limit.
    const MAX_LINKS: u32 = 40;
    let mut links = 0;
    let mut done = PathBuf::new();
    // The last component is processed last.
    let mut left: Vec<OsString> = path.iter().rev().map(OsString::from).collect();
    while let Some(component) = left.pop() {
        let next = done.join(&component);
        let metadata = next.symlink_metadata().ok().filter(std::fs::Metadata::is_symlink);
        let Some(metadata) = metadata else {
            done = next;
            continue;
        };
        if !is_trusted(metadata.uid()) {
            let uid = metadata.uid();
            return Err(io::Error::other(format!(
                "{} is a symbolic link of another user (uid {uid}), which is not followed",
                next.display()
            )));
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        // An absolute target replaces the path so far.
        left.extend(next.read_link()?.iter().rev().map(OsString::from));
    }
    Ok(done)
}

type StageFamily = Family<[(&'static str, &'static str); 1], Gauge<f64, AtomicU64>>;

/// An empty registry: what all metrics have in common.
fn registry(labels: &Labels) -> Registry {
    let own = [("machine", &labels.machine), ("service", &labels.service)].into_iter();
    let own = own.chain(labels.token.iter().map(|(name, value)| (*name, value)));
    let all = own.chain(labels.added.iter().map(|(name, value)| (name.as_str(), value)));
    let all = all.map(|(name, value)| (name.to_owned().into(), value.clone().into()));
    Registry::with_prefix_and_labels(PREFIX, all)
}

fn encode(labels: &Labels, figures: &Figures, now: SystemTime) -> String {
    let mut registry = registry(labels);
    // With the labels of the run: two runs on one host must not write the same sample.
    let (version, commit) = VERSION.split_once(" (").unwrap_or((VERSION, ""));
    let commit = commit.split(' ').next().unwrap_or_default();
    let build = [("version".into(), version.into()), ("commit".into(), commit.into())];
    registry.sub_registry_with_labels(build.into_iter()).register(
        "build_info",
        "Version and commit of monitoring-token",
        ConstGauge::new(1),
    );
    let durations = StageFamily::default();
    for (stage, seconds) in &figures.stage_seconds {
        durations.get_or_create(&[("stage", stage.label())]).set(*seconds);
    }
    let failed = StageFamily::default();
    for stage in Stage::ALL {
        let value = if figures.failed.contains(&stage) { 1.0 } else { 0.0 };
        failed.get_or_create(&[("stage", stage.label())]).set(value);
    }
    let mut gauge = |name: &str, help: &str, value: f64| {
        registry.register(name, help, ConstGauge::new(value));
    };
    let is_success =
        figures.exit_status == 0 && !figures.failures.iter().any(|(stage, _)| *stage == Stage::Command);
    gauge("run_success", "Whether the last run succeeded", f64::from(u8::from(is_success)));
    gauge("exit_status", "Exit status of the last run", f64::from(figures.exit_status));
    gauge("cached", "Whether the result was taken from the cache", f64::from(u8::from(figures.cached)));
    if let Some(margin) = figures.deadline_margin_seconds {
        gauge("deadline_margin_seconds", "Time left until the timeout when the last run ended", margin);
    }
    if let Some(offset) = figures.clock_offset_seconds {
        #[expect(clippy::cast_precision_loss, reason = "clocks differ by less than 2^52 seconds")]
        gauge("clock_offset_seconds", "How far the local clock is ahead of the issuer's", offset as f64);
    }
    if let Some(expiry) = figures.token_expiry {
        #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52 seconds")]
        gauge("token_expiry_timestamp_seconds", "When the token in --token-file expires", expiry as f64);
    }
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge(
        "last_run_timestamp_seconds",
        "When the last run that was not taken from the cache ended",
        since_epoch.as_secs_f64(),
    );
    if !figures.stage_seconds.is_empty() {
        registry.register("stage_duration_seconds", "How long the stages of the last run took", durations);
    }
    registry.register("failed_stage", "1 for the stage in which the last run failed", failed);
    // Without a failure the metric is left out: a family must not be empty.
    if !figures.failures.is_empty() {
        let infos = Family::<[(&'static str, &'static str); 2], Gauge<f64, AtomicU64>>::default();
        for (stage, reason) in &figures.failures {
            infos.get_or_create(&[("stage", stage.label()), ("reason", reason.name())]).set(1.0);
        }
        registry.register("failure_info", "Why the last run failed", infos);
    }
    let mut text = String::new();
    encode_registry(&mut text, &registry).expect("a String takes what is written to it");
    text
}
