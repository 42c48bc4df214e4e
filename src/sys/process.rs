//! Processes: starting one, signaling a group, finding children that ended.

use std::ffi::{CStr, CString, OsString, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal as RustixSignal, getpgid, getpid, getppid, getsid, kill_process,
    set_parent_process_death_signal, setsid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::signal::{Inherited, Signal};

/// A program with its arguments and environment, in the form for `execve`. It is prepared before there is a child,
/// which must not allocate.
pub(crate) struct Image {
    path: CString,
    pub words: Vec<CString>,
    kept: Vec<&'static CStr>,
    set: Vec<CString>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
}

impl Image {
    /// `kept` are variables of this process, and `set` further ones, each as `NAME=value`.
    pub(crate) fn new(
        path: &Path,
        words: &[OsString],
        kept: Vec<&'static CStr>,
        set: Vec<OsString>,
    ) -> io::Result<Image> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let words = words.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<Vec<_>, _>>()?;
        let set = set.into_iter().map(|entry| CString::new(entry.into_vec()));
        let set = set.collect::<Result<Vec<_>, _>>()?;
        let argv = pointers(words.iter().map(CString::as_c_str));
        let envp = pointers(kept.iter().copied().chain(set.iter().map(CString::as_c_str)));
        Ok(Image { path, words, kept, set, argv, envp })
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = &CStr> {
        self.kept.iter().copied().chain(self.set.iter().map(CString::as_c_str))
    }

    /// Starts the program in a session and process group of its own, with the inherited signals, and with these
    /// descriptors in place of the standard ones; the kernel sends it SIGTERM if the thread that calls this dies.
    ///
    /// The program leads neither of them, as if a script had started it: if setsid(1) leads a process group, it forks
    /// and exits 0 at once. So a first child creates the session and starts the program as a child of this process
    /// (CLONE_PARENT).
    ///
    /// While the system loads the program (from a network file system, or past a virus scanner), `is_patient` waits for
    /// the given descriptor to become readable, and returns false to give up.
    pub(crate) fn start(
        &self,
        standard: [Option<BorrowedFd<'_>>; 3],
        is_patient: impl FnMut(BorrowedFd<'_>) -> bool,
    ) -> Result<Child, NotStarted> {
        match self.start_led(standard, is_patient) {
            // Emulators of other processors cannot do that.
            Err(NotStarted::Ours(Errno::INVAL | Errno::NOSYS)) => self.start_leading(standard),
            child => child,
        }
    }

    fn start_led(
        &self,
        standard: [Option<BorrowedFd<'_>>; 3],
        is_patient: impl FnMut(BorrowedFd<'_>) -> bool,
    ) -> Result<Child, NotStarted> {
        let mut stack = Stack::<LEADER_STACK>::uninit();
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut birth = self.birth(standard, &theirs);
        // SAFETY: see `clone`; `hear` waits until both children are done. The end of the leader sends no SIGCHLD, because
        // it is waited for here.
        let group = unsafe { birth.clone(&mut stack, lead, 0) }?;
        drop(theirs);
        let (command, outcome) = hear(&ours, is_patient);
        reap(group);
        match command {
            Some(pid) => begun(Child { pid, group }, outcome),
            None => Err(outcome.err().unwrap_or(NotStarted::Ours(Errno::CHILD))),
        }
    }

    fn start_leading(&self, standard: [Option<BorrowedFd<'_>>; 3]) -> Result<Child, NotStarted> {
        let mut stack = Stack::<COMMAND_STACK>::uninit();
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut birth = self.birth(standard, &theirs);
        // SAFETY: see `clone`; `hear` waits until the child is done.
        let pid = unsafe { birth.clone(&mut stack, be_born, libc::SIGCHLD) }?;
        drop(theirs);
        begun(Child { pid, group: pid }, hear(&ours, |_| true).1)
    }

    fn birth<'a>(&'a self, standard: [Option<BorrowedFd<'a>>; 3], news: &OwnedFd) -> Birth<'a> {
        let inherited = Inherited::at_start();
        Birth { image: self, standard, inherited, parent: getpid(), leader: None, news: news.as_raw_fd() }
    }
}

/// Why a program was not started.
#[derive(Clone, Copy)]
pub(crate) enum NotStarted {
    /// The error of `execve`, which is the program's.
    Exec(Errno),
    /// The error of an earlier system call.
    Ours(Errno),
}

impl From<Errno> for NotStarted {
    fn from(error: Errno) -> NotStarted {
        NotStarted::Ours(error)
    }
}

/// The stacks of the children, in words of 16 bytes: 8 KiB, and as much with room for the other one. Each page of them
/// costs a page fault.
const COMMAND_STACK: usize = 512;
const LEADER_STACK: usize = 2 * COMMAND_STACK;
type Stack<const SIZE: usize> = MaybeUninit<[u128; SIZE]>;

/// Everything that the children need to start the program.
struct Birth<'a> {
    image: &'a Image,
    standard: [Option<BorrowedFd<'a>>; 3],
    inherited: Inherited,
    parent: Pid,
    /// The child that has created the command's session; `None` if the command does that itself.
    leader: Option<Pid>,
    /// The children's end of a pipe, through which they report, because under valgrind and emulators their memory is a
    /// copy. When it is closed, because the program runs or they are gone, they no longer use our memory.
    news: RawFd,
}

/// The reports of the children, each of 8 bytes: a kind, and the number of a process or error.
const BORN: i32 = 0;
const FAILED: i32 = 1;
const EXEC_FAILED: i32 = 2;

/// Waits until the children are done, and returns the process that becomes the program, and the error, if it does not.
fn hear(
    news: &OwnedFd,
    mut is_patient: impl FnMut(BorrowedFd<'_>) -> bool,
) -> (Option<Pid>, Result<(), NotStarted>) {
    let (mut command, mut outcome) = (None, Ok(()));
    let mut bytes = [0; 8];
    while matches!(retry_on_intr(|| read(news, &mut bytes)), Ok(8)) {
        let [kind, number] =
            [0, 4].map(|at| i32::from_ne_bytes(std::array::from_fn(|byte| bytes[at + byte])));
        match kind {
            BORN => {
                command = Pid::from_raw(number).and_then(|pid| sound(pid).ok());
                if let Some(command) = command.filter(|_| !is_patient(news.as_fd())) {
                    let _ = kill_process(command, RustixSignal::KILL);
                    outcome = Err(NotStarted::Ours(Errno::CANCELED));
                }
            }
            FAILED => outcome = Err(NotStarted::Ours(Errno::from_raw_os_error(number))),
            _ => outcome = Err(NotStarted::Exec(Errno::from_raw_os_error(number))),
        }
    }
    (command, outcome)
}

/// The child that makes session and group. Its group keeps its number, because the command is in it.
extern "C" fn lead(birth: *mut c_void) -> c_int {
    // SAFETY: our parent gave us its `Birth`, and waits.
    let birth = unsafe { &mut *birth.cast::<Birth<'_>>() };
    let mut stack = Stack::<COMMAND_STACK>::uninit();
    let begun = setsid().and_then(sound).and_then(|leader| {
        birth.leader = Some(leader);
        // SAFETY: see `Birth::clone`. If this process is killed while it waits, our parent waits for the other one.
        unsafe { birth.clone(&mut stack, be_born, libc::CLONE_PARENT) }
    });
    if let Err(error) = begun {
        birth.report(FAILED, error.raw_os_error());
    }
    // SAFETY: nothing of what our parent shares with us is cleaned up.
    unsafe { libc::_exit(0) }
}

/// The child that becomes the program.
extern "C" fn be_born(birth: *mut c_void) -> c_int {
    // SAFETY: the parent process passed its `Birth`, and waits.
    let birth = unsafe { &mut *birth.cast::<Birth<'_>>() };
    birth.report(BORN, getpid().as_raw_nonzero().get());
    match birth.become_program() {
        NotStarted::Ours(error) => birth.report(FAILED, error.raw_os_error()),
        NotStarted::Exec(error) => birth.report(EXEC_FAILED, error.raw_os_error()),
    }
    // SAFETY: nothing that is shared with the parent process is cleaned up. Only the parent sees the status.
    unsafe { libc::_exit(libc::EXIT_FAILURE) }
}

impl Birth<'_> {
    fn report(&self, kind: i32, number: i32) {
        let [kind, number] = [kind, number].map(i32::to_ne_bytes);
        let bytes: [u8; 8] = std::array::from_fn(|at| if at < 4 { kind[at] } else { number[at - 4] });
        // SAFETY: the children do not close it.
        let _ = write(unsafe { BorrowedFd::borrow_raw(self.news) }, &bytes);
    }

    /// Starts a child on a stack of its own, and waits until it has become the program or is gone, or until this process
    /// is killed.
    ///
    /// The child uses our memory until then, as with `vfork` and `posix_spawn`. A copy (`fork`) costs both of us a page
    /// fault for each page that is then written: 28 more in a run without exchange and 41 over https, which took 13 %
    /// and 8 % more CPU time.
    ///
    /// # Safety
    /// `child` takes a `Birth`, does not return, and needs no more stack than this. Nobody else uses `stack` and `self`
    /// before the pipe is closed.
    unsafe fn clone<const SIZE: usize>(
        &mut self,
        stack: &mut Stack<SIZE>,
        child: extern "C" fn(*mut c_void) -> c_int,
        flags: c_int,
    ) -> rustix::io::Result<Pid> {
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | flags;
        // SAFETY: the stack grows down from its end, and it, `self` and all that `self` borrows stay where they are
        // until the child is done with them, as the caller guarantees. No signal handler can run on the shared memory:
        // this program has none.
        let pid = unsafe {
            let end = std::ptr::from_mut(stack).add(1);
            libc::clone(child, end.cast(), flags, std::ptr::from_mut(self).cast())
        };
        if pid > 0 { Pid::from_raw(pid).ok_or(Errno::CHILD) } else { Err(last_errno()) }
    }

    /// Returns only if it fails. It only makes system calls, because the memory is the parent's.
    fn become_program(&self) -> NotStarted {
        if let Err(error) = self.prepare() {
            return NotStarted::Ours(error);
        }
        let Image { path, argv, envp, .. } = self.image;
        // SAFETY: a C string, and two null-terminated lists of C strings, all owned by the image or static.
        unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
        NotStarted::Exec(last_errno())
    }

    /// As `become_program`.
    fn prepare(&self) -> rustix::io::Result<()> {
        // A session of its own: a process group that the terminal's keys do not reach (they are forwarded once), and no
        // controlling terminal.
        if self.leader.is_none() {
            setsid()?;
        }
        set_parent_process_death_signal(Some(RustixSignal::TERM))?;
        if getppid() != Some(self.parent) {
            // The parent died in the meantime, so the death signal would never come.
            return Err(Errno::SRCH);
        }
        let [stdin, stdout, stderr] = &self.standard;
        stdin.map_or(Ok(()), dup2_stdin)?;
        stdout.map_or(Ok(()), dup2_stdout)?;
        stderr.map_or(Ok(()), dup2_stderr)?;
        self.inherited.restore();
        if let Some(leader) = self.leader {
            // The program may stop the whole group as soon as it runs, and a leader that is stopped before it has exited
            // would keep our parent waiting.
            let _ = kill_process(leader, RustixSignal::KILL);
        }
        Ok(())
    }
}

/// The child, if it has become the program.
fn begun(child: Child, outcome: Result<(), NotStarted>) -> Result<Child, NotStarted> {
    outcome.map(|()| child).inspect_err(|_| reap(child.pid))
}

/// Refuses a number that no child has: in a sandbox, a forbidden getpid, setsid or getpgid may return -1 or 0, and a
/// signal to these would reach every process.
fn sound(pid: Pid) -> rustix::io::Result<Pid> {
    if pid.as_raw_nonzero().get() > 1 { Ok(pid) } else { Err(Errno::PERM) }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

fn pointers<'a>(texts: impl Iterator<Item = &'a CStr>) -> Vec<*const c_char> {
    texts.map(CStr::as_ptr).chain([std::ptr::null()]).collect()
}

/// The command: a child of this process that has not been reaped.
#[derive(Clone, Copy)]
pub(crate) struct Child {
    pub pid: Pid,
    /// The group that it was started in; its session has the same number.
    group: Pid,
}

/// The process groups and sessions of a command.
pub(crate) struct Groups {
    /// The group that it is in.
    current: Pid,
    /// The group that it was started in, if it has left it but not its session.
    left: Option<Pid>,
    /// The session that it is in, and the one that it was started in.
    pub sessions: [Pid; 2],
}

impl Groups {
    /// True if signals to the command are sent to this group.
    pub(crate) fn contains(&self, group: Pid) -> bool {
        group == self.current || self.left == Some(group)
    }
}

impl Child {
    /// Sends `signal` to the command's group: the one that it was started in, and the one that it has gone to, if it
    /// has (as timeout(1) and setsid(1) do).
    pub(crate) fn kill_group(self, signal: Signal) -> rustix::io::Result<()> {
        let Groups { current, left, .. } = self.groups();
        if let Some(left) = left {
            let _ = kill_group(left, signal);
        }
        kill_group(current, signal)
    }

    /// The groups and sessions that it has now.
    pub(crate) fn groups(self) -> Groups {
        let session = getsid(Some(self.pid)).and_then(sound).unwrap_or(self.group);
        let current = getpgid(Some(self.pid)).and_then(sound).unwrap_or(self.group);
        // After it has left the session, the group's number may belong to another program.
        let left = (current != self.group && session == self.group).then_some(self.group);
        Groups { current, left, sessions: [session, self.group] }
    }

    /// Reaps it, if it has ended or is about to.
    pub(crate) fn reap(self) {
        reap(self.pid);
    }
}

fn reap(child: Pid) {
    // SAFETY: with a null pointer for the status, waitpid accesses no memory.
    unsafe { libc::waitpid(child.as_raw_nonzero().get(), std::ptr::null_mut(), libc::__WALL) };
}

/// (rustix's call does not accept real-time signals.)
fn kill_group(group: Pid, signal: Signal) -> rustix::io::Result<()> {
    // SAFETY: kill does not access memory.
    match unsafe { libc::kill(-group.as_raw_nonzero().get(), signal.number()) } {
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
