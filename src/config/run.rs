//! Rules of the flags that control the run of COMMAND, for every issuer.

use std::ffi::OsString;
use std::time::Duration;

use super::{Purpose, variable};
use crate::child::{InputPolicy, OutputPolicy};
use crate::cli::flags::{KILL_AFTER, LabelList, RunFlags};
use crate::cli::values::{Given, Preset};
use crate::deadline::{Limits, parse_script_deadline};
use crate::failure::Failure;
use crate::metrics::Labels;
use crate::run::RunConfig;
use crate::secret::scrub_own;

/// The flags of a run, with the defaults of its command.
pub(super) struct RunLine {
    pub(super) program: &'static str,
    pub(super) command: Vec<OsString>,
    pub(super) timeout: Duration,
    pub(super) input: InputPolicy,
    pub(super) output: OutputPolicy,
    /// Time reserved for the revocation; zero if nothing is revoked.
    pub(super) revoke_limit: Duration,
    pub(super) flags: RunFlags,
}

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

/// The settings of a run. Only labels from flags are included.
pub(super) fn run(line: RunLine, purpose: Purpose) -> Result<RunConfig, Failure> {
    let RunLine { program, command, timeout, input, output, revoke_limit, flags } = line;
    let limits = Limits {
        timeout,
        kill_after: KILL_AFTER.or(flags.kill_after),
        revoke_limit,
        script_deadline: variable("SCRIPT_DEADLINE")?.and_then(|value| parse_script_deadline(&value)),
    };
    if command.is_empty() && purpose == Purpose::Run {
        return Err(Failure::usage(format!("missing command to run: {program} [flags] -- COMMAND [ARG...]")));
    }
    Ok(RunConfig {
        command,
        limits,
        input,
        output,
        die_with_parent: flags.die_with_parent.unwrap_or_default(),
        metrics_textfile: flags.metrics.metrics_textfile.filter(|_| purpose == Purpose::Run),
        labels: Labels { added: metrics_labels(flags.metrics.metrics_label)?, ..Labels::default() },
    })
}

pub(super) fn metrics_labels(lists: Vec<Given<LabelList>>) -> Result<LabelList, Failure> {
    let mut labels = LabelList::new();
    for list in lists {
        for (name, value) in &list.value {
            if labels.iter().any(|(other, _)| other == name) {
                return Err(list.refuse("this label is given twice"));
            }
            labels.push((name.clone(), scrub_own(value)));
        }
    }
    Ok(labels)
}
