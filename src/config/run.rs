//! Rules of the flags that control the run of COMMAND, for every issuer.

use std::ffi::OsString;
use std::time::Duration;

use super::{Purpose, variable};
use crate::child::{InputPolicy, OutputPolicy};
use crate::cli::flags::{KILL_AFTER, LabelList, OUTPUT, RunFlags, TIMEOUT};
use crate::cli::values::{Given, Preset};
use crate::cli::{EXEC_OUTPUT, EXEC_TIMEOUT};
use crate::deadline::{Limits, parse_script_deadline};
use crate::failure::Failure;
use crate::metrics::Labels;
use crate::run::RunConfig;
use crate::secret::scrub_own;

pub(super) struct RunDefaults {
    timeout: Preset<Duration>,
    output: Preset<OutputPolicy>,
    /// The default with -logx.debug: someone who debugs wants to see the output.
    output_of_debug: OutputPolicy,
    input: InputPolicy,
    /// Time reserved for the revocation; zero if nothing is revoked.
    revoke_limit: Duration,
}

/// The defaults of the original.
pub(super) const OF_MAIN: RunDefaults = RunDefaults {
    timeout: TIMEOUT,
    output: OUTPUT,
    output_of_debug: OutputPolicy::Inherit,
    input: InputPolicy::Null,
    revoke_limit: Duration::ZERO,
};

/// The defaults that users of similar tools expect: the command behaves as without this program, and shows no token.
pub(super) const OF_EXEC: RunDefaults = RunDefaults {
    timeout: EXEC_TIMEOUT,
    output: EXEC_OUTPUT,
    output_of_debug: OutputPolicy::Masked,
    input: InputPolicy::Inherit,
    revoke_limit: Duration::from_secs(5),
};

pub(super) struct RunLine {
    pub(super) program: &'static str,
    pub(super) command: Vec<OsString>,
    pub(super) timeout: Option<Duration>,
    pub(super) output: Option<Given<OutputPolicy>>,
    pub(super) flags: RunFlags,
    pub(super) debug: bool,
}

/// The settings of a run. Only labels from flags are included.
pub(super) fn run(line: RunLine, defaults: &RunDefaults, purpose: Purpose) -> Result<RunConfig, Failure> {
    let RunLine { program, command, timeout, output, flags, debug } = line;
    let limits = Limits {
        timeout: defaults.timeout.or(timeout),
        kill_after: KILL_AFTER.or(flags.kill_after),
        revoke_limit: defaults.revoke_limit,
        script_deadline: variable("SCRIPT_DEADLINE")?.and_then(|value| parse_script_deadline(&value)),
    };
    if command.is_empty() && purpose == Purpose::Run {
        return Err(Failure::usage(format!("missing command to run: {program} [flags] -- COMMAND [ARG...]")));
    }
    // Someone who debugs wants to see the output; only `-output` on the same command line overrides that.
    let output = match output {
        output if debug && !output.as_ref().is_some_and(Given::is_flag) => defaults.output_of_debug,
        output => defaults.output.or(output.map(|given| given.value)),
    };
    Ok(RunConfig {
        command,
        limits,
        input: defaults.input,
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
