//! Processes: starting one, signals to a group, children of any number.

use std::ffi::{CString, OsString, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal as RustixSignal, WaitId, WaitIdOptions, getppid, set_parent_process_death_signal, setsid,
    waitid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::signal::{Inherited, Signal};

/// A program with its arguments and its environment, in the form that `execve` takes: made before there is
/// a child, which may not allocate.
pub(crate) struct Image {
    path: CString,
    pub words: Vec<CString>,
    /// Each as `NAME=value`.
    pub variables: Vec<CString>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
}

impl Image {
    pub(crate) fn new(path: &Path, words: &[OsString], variables: Vec<OsString>) -> io::Result<Image> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let words = words.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<Vec<_>, _>>()?;
        let variables = variables.into_iter().map(|entry| CString::new(entry.into_vec()));
        let variables = variables.collect::<Result<Vec<_>, _>>()?;
        let (argv, envp) = (pointers(&words), pointers(&variables));
        Ok(Image { path, words, variables, argv, envp })
    }

    /// Starts it in a session of its own, told of our death by the thread that calls this, with the signals that we
    /// were started with, and with these in the place of our standard descriptors.
    ///
    /// The child uses our memory until it has become the program, as with `vfork` and `posix_spawn`, and we wait. A
    /// copy (`fork`) costs both of us a page fault for each page that is then written: 28 more in a run without
    /// exchange and 41 over https, which took 13 % and 8 % more CPU time.
    pub(crate) fn start(&self, standard: [Option<OwnedFd>; 3]) -> io::Result<Pid> {
        // 32 KiB, aligned as a stack must be.
        let mut stack = MaybeUninit::<[u128; 2048]>::uninit();
        let mut birth = Birth {
            image: self,
            standard,
            inherited: Inherited::at_start(),
            parent: rustix::process::getpid(),
            error: None,
        };
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the stack grows down from its end, and it, `birth` and all that `birth` borrows stay where they are
        // until the child is done with them, because we wait. No signal handler can run on the shared memory: this
        // program has none.
        let pid = unsafe {
            let end = stack.as_mut_ptr().add(1);
            libc::clone(be_born, end.cast(), flags, (&raw mut birth).cast())
        };
        let pid = (pid > 0).then(|| Pid::from_raw(pid)).flatten().ok_or_else(io::Error::last_os_error)?;
        match birth.error {
            None => Ok(pid),
            Some(errno) => {
                let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
                Err(errno.into())
            }
        }
    }
}

/// What the child needs to become the program, and why it could not.
struct Birth<'a> {
    image: &'a Image,
    standard: [Option<OwnedFd>; 3],
    inherited: Inherited,
    parent: Pid,
    error: Option<Errno>,
}

/// The child's part of [`Image::start`].
extern "C" fn be_born(birth: *mut c_void) -> c_int {
    // SAFETY: our parent gave us its `Birth`, and waits.
    let birth = unsafe { &mut *birth.cast::<Birth<'_>>() };
    birth.error = birth.become_program().err();
    // SAFETY: nothing of what our parent shares with us is cleaned up. Only our parent sees the status.
    unsafe { libc::_exit(libc::EXIT_FAILURE) }
}

impl Birth<'_> {
    /// Returns only if it fails. Only system calls are made: the memory is our parent's.
    fn become_program(&self) -> rustix::io::Result<()> {
        // A session of its own: a process group that the terminal's keys do not reach (we forward them, once), and
        // no terminal to wait for.
        setsid()?;
        set_parent_process_death_signal(Some(RustixSignal::TERM))?;
        if getppid() != Some(self.parent) {
            // Our parent died in between, and nobody would tell us.
            return Err(Errno::SRCH);
        }
        let [stdin, stdout, stderr] = &self.standard;
        stdin.as_ref().map_or(Ok(()), dup2_stdin)?;
        stdout.as_ref().map_or(Ok(()), dup2_stdout)?;
        stderr.as_ref().map_or(Ok(()), dup2_stderr)?;
        self.inherited.restore();
        let Image { path, argv, envp, .. } = self.image;
        // SAFETY: a C string, and two null-terminated lists of C strings, all owned by the image.
        unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
        Err(last_errno())
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Sends `signal` to the group of this leader. (rustix's call takes no real-time signals.)
pub(crate) fn kill_group(leader: Pid, signal: Signal) -> rustix::io::Result<()> {
    // SAFETY: kill has no memory to be unsafe with.
    match unsafe { libc::kill(-leader.as_raw_nonzero().get(), signal.number()) } {
        0 => Ok(()),
        _ => Err(last_errno()),
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
