//! Rules of the flags that control the run of COMMAND, for every issuer.

use std::ffi::OsString;
use std::time::{Duration, Instant, SystemTime};

use super::{Purpose, variable};
use crate::child::{InputPolicy, OutputPolicy};
use crate::cli::Line;
use crate::cli::flags::{KILL_AFTER, LabelList, RunFlags};
use crate::cli::values::{Given, Preset};
use crate::deadline::{Limits, parse_script_deadline};
use crate::failure::Failure;
use crate::metrics::Labels;
use crate::run::RunConfig;
use crate::secret::scrub_name;

/// Where the output goes. Someone who debugs wants to see it; only `-output` on the same command line overrides that.
pub(super) fn output(
    given: Option<Given<OutputPolicy>>,
    usual: &Preset<OutputPolicy>,
    of_debug: Option<OutputPolicy>,
) -> OutputPolicy {
    match (given, of_debug) {
        (Some(given), _) if given.is_flag() => given.value,
        (_, Some(of_debug)) => of_debug,
        (given, None) => usual.or(given.map(|given| given.value)),
    }
}

pub(super) fn check_command<F>(line: &Line<F>, program: &str, purpose: Purpose) -> Result<(), Failure> {
    if line.operands.is_empty() && purpose == Purpose::Run {
        return Err(Failure::usage(format!("missing command to run: {program} [flags] -- COMMAND [ARG...]")));
    }
    Ok(())
}

/// The settings of a run as all commands have them, with those of the main command for the rest.
pub(super) fn run(
    flags: RunFlags,
    timeout: Duration,
    command: Vec<OsString>,
    purpose: Purpose,
) -> Result<RunConfig, Failure> {
    let limits = Limits {
        began: (Instant::now(), SystemTime::now()),
        timeout,
        kill_after: KILL_AFTER.or(flags.kill_after),
        revoke_limit: Duration::ZERO,
        script_deadline: variable("SCRIPT_DEADLINE")?.and_then(|value| parse_script_deadline(&value)),
    };
    Ok(RunConfig {
        command,
        limits,
        input: InputPolicy::Null,
        output: OutputPolicy::Discard,
        die_with_parent: flags.die_with_parent.unwrap_or_default(),
        metrics_textfile: flags.metrics.metrics_textfile.filter(|_| purpose == Purpose::Run),
        labels: Labels { added: metrics_labels(flags.metrics.metrics_label)?, ..Labels::default() },
    })
}

pub(crate) fn metrics_labels(lists: Vec<Given<LabelList>>) -> Result<LabelList, Failure> {
    let mut labels = LabelList::new();
    for list in lists {
        for (name, value) in &list.value {
            if labels.iter().any(|(other, _)| other == name) {
                return Err(list.refuse("this label is given twice"));
            }
            labels.push((name.clone(), scrub_name(value)));
        }
    }
    Ok(labels)
}
