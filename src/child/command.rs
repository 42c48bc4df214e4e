//! Starting the command, as under `env`: same mask, ignored signals, umask, directory and descriptors.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Pid, Signal as RustixSignal};

use super::output::{Masked, Output, Tail};
use crate::exit::ExitStatus;
use crate::secret::{ExposeSecret as _, SecretString};
use crate::signal::Inherited;

/// `-output`: where the command's output goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputPolicy {
    /// Nowhere.
    #[default]
    Discard,
    /// Where ours goes.
    Inherit,
    /// Its last 64 KiB go to stderr if it fails.
    OnFailure,
    /// Where ours goes, with the secrets of the run replaced.
    Masked,
}

/// Where the command's input comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InputPolicy {
    /// There is none.
    #[default]
    Null,
    /// From ours.
    Inherit,
}

/// What to run.
pub struct Job<'a> {
    /// COMMAND and its arguments; not empty.
    pub words: &'a [OsString],
    /// Variables to set.
    pub set: &'a [(OsString, SecretString)],
    /// Variables to remove, unless they are set.
    pub remove: &'a [OsString],
    /// Where its input comes from.
    pub input: InputPolicy,
    /// Where its output goes.
    pub output: OutputPolicy,
}

/// Why there is no command.
#[derive(Debug)]
pub enum StartError {
    /// COMMAND was not found.
    NotFound,
    /// COMMAND is there and cannot be run.
    CannotRun(io::Error),
    /// This machine has no room for another process, or no /dev/null.
    Ours(io::Error),
}

/// A command that has been started and not been reaped.
pub struct Started {
    /// The leader of the command's session and process group.
    pub leader: Pid,
    /// What becomes of its output.
    pub output: Output,
}

impl Job<'_> {
    /// Starts the command. To be called from the main thread: the command is told of our death by the
    /// thread that started it (PR_SET_PDEATHSIG, prctl(2)).
    pub fn start(&self) -> Result<Started, StartError> {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        if self.input == InputPolicy::Null {
            command.stdin(null(File::options().read(true)).map_err(StartError::Ours)?);
        }
        for name in self.remove {
            command.env_remove(name);
        }
        for (name, value) in self.set {
            command.env(name, value.expose_secret());
        }
        let output = self.connect_output(&mut command).map_err(StartError::Ours)?;
        let inherited = Inherited::at_start();
        let us = rustix::process::getpid();
        let failed = i32::from(ExitStatus::Failed.code());
        // SAFETY: the closure only makes system calls, so it can run between fork and exec.
        unsafe {
            command.pre_exec(move || {
                // A session of its own: a process group that the terminal's keys do not reach (we
                // forward them, once), and no terminal to wait for.
                rustix::process::setsid()?;
                rustix::process::set_parent_process_death_signal(Some(RustixSignal::TERM))?;
                if rustix::process::getppid() != Some(us) {
                    // We died in between, and nobody would tell it.
                    libc::_exit(failed);
                }
                inherited.restore();
                Ok(())
            });
        }
        let child = command.spawn().map_err(classify)?;
        let leader = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let leader = leader.ok_or_else(|| StartError::Ours(io::Error::other("no process id")))?;
        Ok(Started { leader, output })
    }

    fn connect_output(&self, command: &mut Command) -> io::Result<Output> {
        match self.output {
            OutputPolicy::Inherit => Ok(Output::Direct),
            OutputPolicy::Discard => {
                let null = null(File::options().write(true))?;
                command.stdout(null.try_clone()?).stderr(null);
                Ok(Output::Direct)
            }
            OutputPolicy::OnFailure => {
                let (ours, theirs) = pipe()?;
                command.stdout(theirs.try_clone()?).stderr(theirs);
                Ok(Output::Tail(Tail::new(ours)))
            }
            OutputPolicy::Masked => {
                let ((our_out, out), (our_err, err)) = (pipe()?, pipe()?);
                command.stdout(out).stderr(err);
                let both = [
                    Masked::new(our_out, rustix::stdio::stdout()),
                    Masked::new(our_err, rustix::stdio::stderr()),
                ];
                Ok(Output::Masked(Box::new(both)))
            }
        }
    }
}

/// A pipe whose end to read from does not block.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

/// Opens /dev/null; its failure names it, so that it is not taken for the command's.
fn null(options: &OpenOptions) -> io::Result<File> {
    options
        .open("/dev/null")
        .map_err(|error| io::Error::new(error.kind(), format!("this machine needs a /dev/null: {error}")))
}

/// Errors of `execve` belong to the command, those of what comes before it to this machine.
fn classify(error: io::Error) -> StartError {
    match error.raw_os_error() {
        Some(libc::ENOENT) => StartError::NotFound,
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => StartError::Ours(error),
        _ => StartError::CannotRun(error),
    }
}
