//! Starts the command as `env` would: with the same signal mask, ignored signals, umask, directory and descriptors.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;

use super::lookup;
use super::output::{Masked, Output, Tail};
use crate::secret::{ExposeSecret as _, SecretString};
use crate::sys::memory::environment;
use crate::sys::process::{Child, Image, NotStarted};
use crate::terminal::is_in_background;
use crate::until::{Ended, Until};

/// `-output`: where the command's output goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OutputPolicy {
    #[default]
    Discard,
    /// To this program's stdout and stderr.
    Inherit,
    /// Its last 64 KiB go to stderr if it fails.
    OnFailure,
    /// To this program's stdout and stderr, with the secrets of the run replaced.
    Masked,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum InputPolicy {
    /// From `/dev/null`.
    #[default]
    Null,
    /// From this program's stdin.
    Inherit,
}

/// The command to run, and how.
pub(crate) struct Job<'a> {
    /// COMMAND and its arguments; not empty.
    pub words: &'a [OsString],
    pub set: &'a [(OsString, SecretString)],
    /// Variables to remove; one that is also in `set` is set.
    pub remove: &'a [OsString],
    pub input: InputPolicy,
    pub output: OutputPolicy,
}

/// Why the command was not started.
#[derive(Debug)]
pub(crate) enum StartError {
    NotFound,
    /// COMMAND was not found, and `PATH` is not set.
    PathIsUnset,
    /// COMMAND is there, but the loader that its header asks for is not.
    NoLoader,
    /// COMMAND is a script, and this interpreter cannot be run.
    Interpreter(PathBuf, io::Error),
    /// The only match is in an empty or relative entry of `PATH`, where the current directory decides which program it
    /// is.
    RelativeEntry(PathBuf),
    /// The kernel does not know this kind of file (ENOEXEC). No shell is tried: it would run an empty file and report
    /// success.
    NotAProgram,
    IsADirectory,
    CannotRun(PathBuf, io::Error),
    /// The arguments and environment are larger than the kernel allows (E2BIG).
    TooLarge(String),
    /// This machine cannot start another process, or has no /dev/null.
    Ours(io::Error),
    /// The system did not load COMMAND in time.
    Ended(Ended),
}

/// A command that was started and is not yet reaped.
pub(crate) struct Started {
    pub(crate) child: Child,
    pub output: Output,
}

impl Job<'_> {
    /// Starts the command. Must be called on the main thread, because PR_SET_PDEATHSIG (prctl(2)) reports the death of
    /// the thread that started the command.
    pub(crate) fn start(&self, until: &Until<'_>) -> Result<Started, StartError> {
        let path = lookup::find(&self.words[0])?;
        let (kept, set) = self.environment();
        let image = Image::new(&path, self.words, kept, set)
            .map_err(|error| StartError::CannotRun(path.clone(), error))?;
        // The kernel stops readers in the background, but only those in the session of the terminal.
        let has_no_input = self.input == InputPolicy::Null || is_in_background();
        let needs_null = has_no_input || self.output == OutputPolicy::Discard;
        let null = needs_null.then(null).transpose().map_err(StartError::Ours)?;
        let null = null.as_ref().map(AsFd::as_fd);
        let (output, ends) = self.connect_output().map_err(StartError::Ours)?;
        let stdin = null.filter(|_| has_no_input);
        let discarded = null.filter(|_| self.output == OutputPolicy::Discard);
        let [stdout, stderr] = ends.each_ref().map(|end| end.as_ref().map(AsFd::as_fd).or(discarded));
        let mut ended = None;
        let is_patient = |fd: BorrowedFd<'_>| match wait_for_start(fd, until) {
            Ok(()) => true,
            Err(why) => {
                ended = Some(why);
                false
            }
        };
        let child = image.start([stdin, stdout, stderr], is_patient);
        let child = child.map_err(|error| match ended {
            Some(ended) => StartError::Ended(ended),
            None => classify(path, error, &image),
        })?;
        Ok(Started { child, output })
    }

    /// The command's environment: the variables of this process that it gets, and others, each as `NAME=value`.
    fn environment(&self) -> (Vec<&'static CStr>, Vec<OsString>) {
        let is_changed = |name: &OsStr| {
            self.remove.iter().any(|removed| removed == name) || self.set.iter().any(|(set, _)| set == name)
        };
        let kept = environment().filter(|(name, _)| !is_changed(name)).map(|(_, entry)| entry);
        let mut variables = Vec::new();
        for (at, (name, value)) in self.set.iter().enumerate() {
            // The last value of a name wins.
            if self.set[at + 1..].iter().all(|(later, _)| later != name) {
                variables.push(variable(name.clone(), value.expose_secret().as_ref()));
            }
        }
        (kept.collect(), variables)
    }

    /// How the output is handled, and the pipes that replace stdout and stderr.
    fn connect_output(&self) -> io::Result<(Output, [Option<OwnedFd>; 2])> {
        match self.output {
            OutputPolicy::Inherit | OutputPolicy::Discard => Ok((Output::default(), [None, None])),
            OutputPolicy::OnFailure => {
                let (ours, theirs) = pipe()?;
                let output = Output { tail: Some(Tail::new(ours)), masked: Vec::new() };
                Ok((output, [Some(theirs.try_clone()?), Some(theirs)]))
            }
            OutputPolicy::Masked => {
                let ((our_out, out), (our_err, err)) = (pipe()?, pipe()?);
                let masked = vec![
                    Masked::new(our_out, rustix::stdio::stdout()),
                    Masked::new(our_err, rustix::stdio::stderr()),
                ];
                Ok((Output { tail: None, masked }, [Some(out), Some(err)]))
            }
        }
    }
}

/// A pipe whose read end does not block.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

/// Waits until the system has loaded the program. A signal that comes soon is left for the program.
fn wait_for_start(fd: BorrowedFd<'_>, until: &Until<'_>) -> Result<(), Ended> {
    const SOON: Duration = Duration::from_millis(100);
    let deadline = until.deadline.min(Instant::now() + SOON);
    let soon = Until { deadline, signals: None, parent: None, ..*until };
    soon.wait_for(fd, PollFlags::IN).or_else(|_| until.wait_for(fd, PollFlags::IN))
}

fn variable(name: OsString, value: &OsStr) -> OsString {
    let mut entry = name;
    entry.reserve_exact(1 + value.len());
    entry.push("=");
    entry.push(value);
    entry
}

/// Says which variable is too large, or that all of them together are. (The arguments are the ones that this program
/// was started with.)
fn describe_size(image: &Image) -> String {
    /// MAX_ARG_STRLEN (execve(2)) with pages of 4 KiB.
    const MAX_STRING_BYTES: usize = 128 * 1024;
    let bytes = |text: &CStr| text.to_bytes_with_nul().len();
    if let Some(entry) = image.variables().find(|entry| bytes(entry) > MAX_STRING_BYTES) {
        let name = entry.to_bytes().split(|&byte| byte == b'=').next().unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        return format!("the environment is too large: {name} has {} bytes, more than 128 KiB", bytes(entry));
    }
    let size = |text: &CStr| bytes(text) + size_of::<*const u8>();
    let words: usize = image.words.iter().map(|word| size(word)).sum();
    let variables: usize = image.variables().map(size).sum();
    format!(
        "the environment is too large: {variables} bytes, and {words} bytes of arguments; \
         shorten them, or raise the stack limit (ulimit -s)"
    )
}

/// The file that a run would execute for COMMAND, or the error it would get, as far as this can be seen without
/// executing it.
pub(crate) fn examine(word: &OsStr) -> Result<PathBuf, StartError> {
    let path = lookup::find(word)?;
    match lookup::check_executable(&path) {
        Ok(()) if lookup::is_program(&path) => match lookup::broken_interpreter(&path) {
            Some((interpreter, error)) => Err(StartError::Interpreter(interpreter, error)),
            None => Ok(path),
        },
        Ok(()) => Err(StartError::NotAProgram),
        Err(error) => Err(match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => StartError::NotFound,
            Some(Errno::ISDIR) => StartError::IsADirectory,
            _ => StartError::CannotRun(path, error),
        }),
    }
}

/// Opens /dev/null. Its error names it, so that it is not mistaken for the command's.
fn null() -> io::Result<OwnedFd> {
    File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map(OwnedFd::from)
        .map_err(|error| io::Error::new(error.kind(), format!("this machine needs a /dev/null: {error}")))
}

fn classify(path: PathBuf, error: NotStarted, image: &Image) -> StartError {
    let errno = match error {
        NotStarted::Exec(errno) => errno,
        NotStarted::Ours(errno) => return StartError::Ours(errno.into()),
    };
    // An error that seems to be about COMMAND may be about its interpreter.
    if let Errno::NOENT | Errno::ACCESS | Errno::NOEXEC | Errno::LOOP = errno
        && lookup::check_executable(&path).is_ok()
        && let Some((interpreter, error)) = lookup::broken_interpreter(&path)
    {
        return StartError::Interpreter(interpreter, error);
    }
    match errno {
        Errno::NOENT if path.metadata().is_ok_and(|metadata| metadata.is_file()) => StartError::NoLoader,
        Errno::NOENT => StartError::NotFound,
        Errno::NOEXEC => StartError::NotAProgram,
        Errno::TOOBIG => StartError::TooLarge(describe_size(image)),
        Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE => StartError::Ours(errno.into()),
        Errno::ACCESS if path.is_dir() => StartError::IsADirectory,
        _ => StartError::CannotRun(path, errno.into()),
    }
}
