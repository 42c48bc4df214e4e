//! Processes: starting one, signaling a group, finding children that ended.

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

/// A program with its arguments and environment, in the form for `execve`. It is prepared before there is a child,
/// which must not allocate.
pub(crate) struct Image {
    path: CString,
    pub words: Vec<CString>,
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

    /// Starts the program in a session of its own, with the inherited signals, and with these descriptors in place of
    /// the standard ones; the kernel sends it SIGTERM if the thread that calls this dies.
    ///
    /// As with `vfork` and `posix_spawn`, the child uses the memory of this process until it has become the program,
    /// and this process waits. A copy (`fork`) would cost both processes a page fault for each page that is then
    /// written: 28 more in a run without exchange and 41 over https, which took 13 % and 8 % more CPU time.
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
        // SAFETY: the stack grows down from its end, and it, `birth` and everything that `birth` borrows stay valid
        // until the child no longer uses them, because this process waits. No signal handler can run on the shared
        // memory: this program has none.
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

/// Everything that the child needs to become the program, and the error if it could not.
struct Birth<'a> {
    image: &'a Image,
    standard: [Option<OwnedFd>; 3],
    inherited: Inherited,
    parent: Pid,
    error: Option<Errno>,
}

/// The child's part of [`Image::start`].
extern "C" fn be_born(birth: *mut c_void) -> c_int {
    // SAFETY: the parent process passed its `Birth`, and waits.
    let birth = unsafe { &mut *birth.cast::<Birth<'_>>() };
    birth.error = birth.become_program().err();
    // SAFETY: nothing that is shared with the parent process is cleaned up. Only the parent sees the status.
    unsafe { libc::_exit(libc::EXIT_FAILURE) }
}

impl Birth<'_> {
    /// Returns only if it fails. It only makes system calls, because the memory is the parent's.
    fn become_program(&self) -> rustix::io::Result<()> {
        // A session of its own: a process group that the terminal's keys do not reach (they are forwarded once), and no
        // controlling terminal.
        setsid()?;
        set_parent_process_death_signal(Some(RustixSignal::TERM))?;
        if getppid() != Some(self.parent) {
            // The parent died in the meantime, so the death signal would never come.
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

/// Sends `signal` to the process group of this leader. (rustix's call does not accept real-time signals.)
pub(crate) fn kill_group(leader: Pid, signal: Signal) -> rustix::io::Result<()> {
    // SAFETY: kill does not access memory.
    match unsafe { libc::kill(-leader.as_raw_nonzero().get(), signal.number()) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// A child that has ended; it is not reaped. (rustix's waitid does not say which one it is.)
pub(crate) fn ended_child() -> Option<Pid> {
    // SAFETY: a zeroed siginfo_t is a valid one, and the pointer is to it. `si_pid` may be read after waitid(2), and is
    // zero if no child has ended.
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
