//! Processes: starting one between `fork` and `exec`, signals to a group, children of any number.

use std::ffi::{CString, OsString, c_char};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};

use rustix::io::Errno;
use rustix::process::{Pid, Signal as RustixSignal};

use super::signal::{Inherited, Signal};
use crate::exit::ExitStatus;

/// A program with its arguments and its environment, in the form that `execve` takes: made before the fork,
/// after which nothing may be allocated.
pub(crate) struct Image {
    path: CString,
    pub words: Vec<CString>,
    /// Each as `NAME=value`.
    pub variables: Vec<CString>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
}

// SAFETY: the pointers are to what the strings beside them own, which nobody changes.
unsafe impl Send for Image {}
// SAFETY: as above.
unsafe impl Sync for Image {}

impl Image {
    pub(crate) fn new(path: &Path, words: &[OsString], variables: Vec<OsString>) -> io::Result<Image> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let words = words.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<Vec<_>, _>>()?;
        let variables = variables.into_iter().map(|entry| CString::new(entry.into_vec()));
        let variables = variables.collect::<Result<Vec<_>, _>>()?;
        let (argv, envp) = (pointers(&words), pointers(&variables));
        Ok(Image { path, words, variables, argv, envp })
    }

    /// Starts it with the descriptors of `command`, in a session of its own, told of our death by the thread
    /// that calls this, and with the signals that we were started with.
    pub(crate) fn start(self, mut command: Command) -> io::Result<Child> {
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
                Err(self.exec())
            });
        }
        command.spawn()
    }

    /// Becomes the program; gives the error if that fails.
    fn exec(&self) -> io::Error {
        // SAFETY: a C string, and two null-terminated lists of C strings, all owned by `self`.
        unsafe { libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        io::Error::last_os_error()
    }
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Sends `signal` to the group of this leader. (rustix's call takes no real-time signals.)
pub(crate) fn kill_group(leader: Pid, signal: Signal) -> rustix::io::Result<()> {
    // SAFETY: kill has no memory to be unsafe with.
    match unsafe { libc::kill(-leader.as_raw_nonzero().get(), signal.number()) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

/// Some child that has ended; leaves it to be reaped. (rustix's waitid does not say which it is.)
pub(crate) fn ended_child() -> Option<Pid> {
    // SAFETY: a zeroed siginfo_t is a valid one, and the pointer is to it. `si_pid` may be read after
    // waitid(2), and is zero if there was no such child.
    let pid = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        if libc::waitid(libc::P_ALL, 0, &raw mut info, options) != 0 {
            return None;
        }
        info.si_pid()
    };
    Pid::from_raw(pid)
}
