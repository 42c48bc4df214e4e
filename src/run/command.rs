//! Runs the command in the lease's environment, and explains its end.

use std::ffi::{OsStr, OsString};
use std::io;
use std::time::Instant;

use rustix::io::Errno;

use super::Run;
use crate::child::{self, End, Ended, Interference, Job, OutputPolicy, StartError, Supervised};
use crate::failure::{ExitStatus, Failure, Reason, Stage, Warning, brief, shell_word, system_error};
use crate::go::duration;
use crate::issuer::Lease;
use crate::log::{begin_line, write_stderr};
use crate::secret::scrub_bytes;
use crate::sys::signal::Signal;
use crate::until;

/// Runs the command to its end. Its last output may not be written yet: see [`conclude`].
pub(super) fn run<'a>(run: &mut Run<'a>, lease: &Lease) -> Result<Ended<'a>, Failure> {
    if let Some(signal) = run.signals.take_interrupt() {
        return Err(Failure::signal(Stage::Exchange, signal));
    }
    let job = Job {
        words: &run.config.command,
        set: &lease.set,
        remove: &lease.remove,
        input: run.config.input,
        output: run.config.output,
    };
    tracing::debug!(command = shell_words(&run.config.command), "running");
    let began = Instant::now();
    run.report.command_began = Some(began);
    let started = job.start(&run.until());
    let started = started.map_err(|error| refuse_command(&shown(&run.config.command[0]), &error))?;
    let ended = child::supervise(started, run.signals, run.parent.take(), run.timeline);
    run.report.took(Stage::Command, began.elapsed());
    let (exit_status, signal) = match &ended.end {
        End::Exited(status) => (Some(*status), None),
        End::Died(signal) => (None, Some(signal.to_string())),
        End::Unkillable | End::OutOfReach(_) => (None, None),
    };
    let (timed_out, seconds) = (ended.timed_out(), began.elapsed().as_secs_f64());
    tracing::debug!(exit_status, signal, timed_out, seconds, "the command has ended");
    Ok(ended)
}

/// Writes the rest of the command's output, and explains its end.
pub(super) fn conclude(run: &mut Run<'_>, ended: Ended<'_>) -> Result<ExitStatus, Failure> {
    let supervised = ended.deliver();
    run.report.interruption = interruption(&supervised);
    let name = || shown(&run.config.command[0]);
    if supervised.told.orphaned {
        let warning = "the parent process died; terminated the command (-die-with-parent)";
        run.report.warnings.push(Warning::new(Reason::ParentDied, warning));
    }
    if let (Some(error), None) = (&supervised.output.unwritten, output_is_refused(&supervised)) {
        run.report.warnings.push(Warning::new(Reason::OutputFailed, unwritten(&name(), error)));
    }
    let left = supervised.left.as_ref().map(|left| format!("left running: {left}"));
    run.report.warnings.extend(left.map(|warning| Warning::new(Reason::CommandStuck, warning)));
    let result = judge(run, &supervised);
    if !supervised.output.kept.is_empty() && !matches!(result, Ok(status) if status.is_success()) {
        let mut shown = scrub_bytes(&supervised.output.kept);
        if shown.last() != Some(&b'\n') {
            // The program's own line must begin at the start of a line.
            shown.push(b'\n');
        }
        write_stderr(&shown);
    }
    if supervised.output.in_line {
        begin_line();
    }
    result
}

/// The reason if the run was told to end, so that the end of the command says nothing about the target.
fn interruption(supervised: &Supervised) -> Option<Reason> {
    let Supervised { end, told, died_by_itself, stopped, .. } = supervised;
    // A forwarded SIGUSR1, for example, kills a command that does not handle it.
    let died_of_forwarded = matches!(end, End::Died(_)) && !died_by_itself;
    match told {
        Interference { timed_out: true, forwarded: None, .. } => None,
        Interference { orphaned: true, .. } => Some(Reason::ParentDied),
        Interference { forwarded: None, interrupted: None, .. } if !died_of_forwarded => {
            stopped.filter(|_| *end == End::Exited(0)).map(|_| Reason::Interrupted)
        }
        _ if output_is_refused(supervised).is_some() => None,
        _ => Some(Reason::Interrupted),
    }
}

/// The system's error if the command died because its output could not be written. A reader that is gone or slow is none.
fn output_is_refused(supervised: &Supervised) -> Option<&io::Error> {
    let error = supervised.output.unwritten.as_ref()?;
    (supervised.end == End::Died(Signal::PIPE) && error.raw_os_error().is_some()).then_some(error)
}

fn judge(run: &Run<'_>, supervised: &Supervised) -> Result<ExitStatus, Failure> {
    let Supervised { end, told, died_by_itself, .. } = supervised;
    let name = || shown(&run.config.command[0]);
    let how = || match end {
        End::Died(signal) => format!("terminated {} ({signal})", name()),
        End::Exited(status) => format!("terminated {} (exit status {status} after SIGTERM)", name()),
        End::Unkillable => format!("{} did not exit even after SIGKILL and is still running", name()),
        End::OutOfReach(user) => {
            format!("cannot terminate {}: it runs as {user} and is still running", name())
        }
    };
    if told.timed_out {
        let timed_out = run.until().timed_out();
        return Err(match run.lost_time() {
            None => {
                let message = format!("{timed_out}; {}", how());
                // It may have been about to end.
                let reason = told.forwarded.map_or(Reason::TimeoutCommand, |_| Reason::Interrupted);
                Failure::timeout(Stage::Command, reason, message)
            }
            Some((stage, reason, left)) => {
                let left = duration::show(left);
                let message = format!("{timed_out}, of which {} had only {left}; {}", name(), how());
                Failure::timeout(stage, reason, message)
            }
        });
    }
    if let Some(error) = output_is_refused(supervised) {
        let status = ExitStatus::Signal(Signal::PIPE.number());
        return Err(Failure { status, ..Failure::unwritten(unwritten(&name(), error)) });
    }
    if let (End::Exited(0), Some(signal)) = (end, supervised.stopped) {
        let message = format!("interrupted by {signal} while the output of {} was written", name());
        return Err(Failure { message, ..Failure::signal(Stage::Command, signal) });
    }
    match (end, told.interrupted) {
        (End::Unkillable | End::OutOfReach(_), _) => {
            Err(Failure::failed(Stage::Command, Reason::CommandStuck, how()))
        }
        (_, Some(signal)) => {
            let message = format!("interrupted by {signal}; terminated {}", name());
            Err(Failure { message, ..Failure::signal(Stage::Command, signal) })
        }
        (&End::Died(signal), None) if *died_by_itself => {
            let is_shown = run.config.output != OutputPolicy::Discard;
            let hint = match signal {
                Signal::KILL => {
                    ", which monitoring-token did not send; check whether the host or container ran out of memory"
                }
                signal if signal.is_crash() && is_shown => ": it crashed",
                signal if signal.is_crash() => {
                    ": it crashed; run it with -output=on-failure to see what it prints"
                }
                _ => "",
            };
            let message = format!("{} was killed by {signal}{hint}", name());
            let reason = Reason::CommandKilled;
            Err(Failure { reason, message, ..Failure::signal(Stage::Command, signal) })
        }
        (End::Died(signal), None) => Ok(ExitStatus::Signal(signal.number())),
        // It was told to stop, so it did not do its job, whatever it says.
        (End::Exited(0), None) if told.orphaned => Ok(ExitStatus::Signal(Signal::TERM.number())),
        (End::Exited(status), None) => Ok(ExitStatus::Command(*status)),
    }
}

fn unwritten(name: &str, error: &io::Error) -> String {
    format!("cannot write the output of {name}: {}", system_error(error))
}

/// COMMAND for messages; an empty one is shown as `env` shows it.
pub(crate) fn shown(command: &OsStr) -> String {
    if command.is_empty() { "''".to_owned() } else { brief(command) }
}

fn shell_words(words: &[OsString]) -> String {
    words
        .iter()
        .map(|word| shell_word(&word.display().to_string()).into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

pub(crate) fn refuse_command(name: &str, error: &StartError) -> Failure {
    let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let (reason, status) = match error {
        StartError::NotFound | StartError::PathIsUnset | StartError::NoLoader => {
            (Reason::CommandNotFound, ExitStatus::NotFound)
        }
        StartError::Interpreter(_, error) if is_missing(error) => {
            (Reason::CommandNotFound, ExitStatus::NotFound)
        }
        StartError::TooLarge(_) => (Reason::CommandNotExecutable, ExitStatus::Failed),
        StartError::Ours(_) => (Reason::System, ExitStatus::Failed),
        _ => (Reason::CommandNotExecutable, ExitStatus::CannotRun),
    };
    let why = match error {
        StartError::NotFound => "not found; check COMMAND and PATH".to_owned(),
        StartError::PathIsUnset => {
            "not found: PATH is not set; set it, or give the absolute path of COMMAND".to_owned()
        }
        StartError::NoLoader => {
            "interpreter not found; check the loader of the program, or the #! line of the script".to_owned()
        }
        StartError::Interpreter(path, error) => {
            let (path, check) = (brief(path.as_os_str()), "check the #! line of the script");
            if is_missing(error) {
                format!("interpreter not found; {check}, which names {path}")
            } else {
                format!("its interpreter {path} cannot be run: {}; {check}", system_error(error))
            }
        }
        StartError::RelativeEntry(path) => format!(
            "PATH has it only as {}, in a relative entry, which is not searched; give the path of COMMAND",
            brief(path.as_os_str())
        ),
        StartError::NotAProgram => {
            "not an executable for this machine, or a script without a #! line".to_owned()
        }
        StartError::IsADirectory => "it is a directory; give the path of a program".to_owned(),
        StartError::CannotRun(path, error) => {
            let place = if path.as_os_str() == name { String::new() } else { brief(path.as_os_str()) + ": " };
            let advice = match Errno::from_io_error(error) {
                Some(Errno::ACCESS) => "; make it executable, and check noexec mounts",
                Some(Errno::PERM) => {
                    "; if getcap shows capabilities of the file, allow them for this user or container"
                }
                _ => "",
            };
            format!("{place}{}{advice}", system_error(error))
        }
        StartError::TooLarge(what) => what.clone(),
        StartError::Ended(ended) => {
            let doing = format!("while the system loaded {name}");
            // It did not run, so this says nothing about the target.
            let failure = ended.failure(Stage::Prepare, Reason::TimeoutFile, &doing);
            return match ended {
                until::Ended::Orphaned => failure,
                _ => failure.and("check its file system, and whether a virus scanner is blocking it"),
            };
        }
        StartError::Ours(error) => match Errno::from_io_error(error) {
            // It is about /dev/null.
            None => system_error(error),
            Some(Errno::PERM | Errno::ACCESS | Errno::NOSYS) => {
                format!(
                    "a sandbox forbids a system call that monitoring-token needs: {}",
                    system_error(error)
                )
            }
            Some(_) => format!("this machine is out of resources: {}", system_error(error)),
        },
    };
    let message = format!("cannot run {name}: {why}");
    Failure { stage: Stage::Command, reason, status, message }
}
