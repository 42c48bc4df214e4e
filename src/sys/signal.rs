//! Signals as data: which ones we catch, how they wait for us, and what the command inherits.
//!
//! The signals that end or concern a run are blocked as the first thing the program does and read from
//! a signalfd. Nothing runs in a handler, nothing is lost between two steps, and one arriving while a
//! name lookup hangs is seen at once. Dispositions and mask that we were started with are recorded
//! before the Rust runtime changes them (it ignores SIGPIPE), by raw system calls, because the C
//! library hides its internal signals 32 and 33 and unblocks them when a thread is made.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::descriptors::readable;

/// A signal number that we caught.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signal(i32);

impl Signal {
    /// SIGHUP.
    pub const HUP: Signal = Signal(libc::SIGHUP);
    /// SIGTERM.
    pub const TERM: Signal = Signal(libc::SIGTERM);
    /// SIGKILL.
    pub const KILL: Signal = Signal(libc::SIGKILL);
    /// SIGCONT.
    pub const CONT: Signal = Signal(libc::SIGCONT);
    /// SIGCHLD.
    pub const CHLD: Signal = Signal(libc::SIGCHLD);
    /// SIGPIPE.
    pub(crate) const PIPE: Signal = Signal(libc::SIGPIPE);
    /// SIGSTOP.
    pub(crate) const STOP: Signal = Signal(libc::SIGSTOP);
    /// SIGTSTP: Ctrl-Z.
    pub(crate) const TSTP: Signal = Signal(libc::SIGTSTP);

    /// What we pass on to the command.
    const FORWARDED: [i32; 8] = [
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGHUP,
        libc::SIGQUIT,
        // `perl -e 'alarm 60; exec @ARGV'` limits our time, not only the command's.
        libc::SIGALRM,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGCONT,
    ];

    /// What else would end us by default, and leave the command and its token without a word. The kernel
    /// does not ask whether a fault of our own (SIGSEGV and the like) is blocked: these are sent by others.
    const ENDING: [i32; 13] = [
        libc::SIGXCPU,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGIO,
        libc::SIGPWR,
        libc::SIGSTKFLT,
        libc::SIGABRT,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGSEGV,
        libc::SIGSYS,
        libc::SIGTRAP,
    ];

    /// Whether the command gets it when we do.
    pub(crate) fn is_forwarded(self) -> bool {
        Signal::FORWARDED.contains(&self.0)
    }

    /// Its number on this platform.
    pub fn number(self) -> i32 {
        self.0
    }

    /// Whether whoever sent it wants the run to be over: what is left of the command's group goes too.
    pub fn is_terminating(self) -> bool {
        matches!(self.0, libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGQUIT | libc::SIGALRM)
    }

    /// The signal of this number, as a wait status gives it.
    pub fn from_number(number: i32) -> Signal {
        Signal(number)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            libc::SIGHUP => "SIGHUP",
            libc::SIGINT => "SIGINT",
            libc::SIGQUIT => "SIGQUIT",
            libc::SIGILL => "SIGILL",
            libc::SIGTRAP => "SIGTRAP",
            libc::SIGABRT => "SIGABRT",
            libc::SIGBUS => "SIGBUS",
            libc::SIGFPE => "SIGFPE",
            libc::SIGKILL => "SIGKILL",
            libc::SIGUSR1 => "SIGUSR1",
            libc::SIGSEGV => "SIGSEGV",
            libc::SIGUSR2 => "SIGUSR2",
            libc::SIGPIPE => "SIGPIPE",
            libc::SIGALRM => "SIGALRM",
            libc::SIGTERM => "SIGTERM",
            libc::SIGCHLD => "SIGCHLD",
            libc::SIGCONT => "SIGCONT",
            libc::SIGXCPU => "SIGXCPU",
            libc::SIGXFSZ => "SIGXFSZ",
            libc::SIGSYS => "SIGSYS",
            libc::SIGSTOP => "SIGSTOP",
            libc::SIGTSTP => "SIGTSTP",
            libc::SIGTTIN => "SIGTTIN",
            libc::SIGTTOU => "SIGTTOU",
            libc::SIGVTALRM => "SIGVTALRM",
            libc::SIGPROF => "SIGPROF",
            libc::SIGIO => "SIGIO",
            libc::SIGPWR => "SIGPWR",
            libc::SIGSTKFLT => "SIGSTKFLT",
            number => return write!(f, "signal {number}"),
        };
        f.write_str(name)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The kernel's signal set: bit `n - 1` stands for signal `n`.
type KernelSet = u64;
const LAST_SIGNAL: i32 = 64;
/// 32 and 33 are the C library's own.
const FIRST_REAL_TIME: i32 = 34;

const fn bit(signal: i32) -> KernelSet {
    1 << (signal - 1)
}

/// The kernel's `struct sigaction` on Linux, as `rt_sigaction` takes it. The order of the fields is that
/// of x86-64, AArch64 and RISC-V (the last has no restorer, and the kernel then reads less).
#[repr(C)]
#[derive(Clone, Copy)]
struct KernelAction {
    handler: usize,
    flags: libc::c_ulong,
    restorer: usize,
    mask: KernelSet,
}

/// A set of signals.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SignalSet(KernelSet);

impl SignalSet {
    pub(crate) fn insert(&mut self, signal: Signal) {
        self.0 |= bit(signal.0);
    }

    pub(crate) fn contains(self, signal: Signal) -> bool {
        (1..=LAST_SIGNAL).contains(&signal.0) && self.0 & bit(signal.0) != 0
    }
}

/// Stops this process as an uncaught SIGTSTP does, until SIGCONT. The kernel does not stop a process whose
/// group has no parent in its session: there is nobody who could let it go on.
pub(crate) fn stop_self() {
    let stop = bit(libc::SIGTSTP);
    // SAFETY: raise has no memory to be unsafe with. The signal is blocked, so it waits for the next line.
    unsafe { libc::raise(libc::SIGTSTP) };
    raw_sigprocmask(libc::SIG_UNBLOCK, Some(&stop));
    raw_sigprocmask(libc::SIG_BLOCK, Some(&stop));
}

/// Whether this signal, which is blocked, waits to be taken.
pub(crate) fn is_pending(signal: Signal) -> bool {
    let mut pending: KernelSet = 0;
    // SAFETY: the pointer is to a set of the size that is given.
    unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, size_of::<KernelSet>()) };
    SignalSet(pending).contains(signal)
}

fn raw_sigaction(signal: i32, new: Option<&KernelAction>) -> Option<KernelAction> {
    let mut old = MaybeUninit::<KernelAction>::zeroed();
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: both pointers are null or to a KernelAction, and the size is that of the kernel's set.
    let result = unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, new, old.as_mut_ptr(), size_of::<KernelSet>())
    };
    // SAFETY: zeroed memory is a valid KernelAction, and the kernel has written at most that.
    (result == 0).then(|| unsafe { old.assume_init() })
}

fn raw_sigprocmask(how: i32, new: Option<&KernelSet>) -> KernelSet {
    let mut old: KernelSet = 0;
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: both pointers are null or to a set of the size that is given. It cannot fail then.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, new, &raw mut old, size_of::<KernelSet>()) };
    old
}

static BLOCKED_AT_START: AtomicU64 = AtomicU64::new(0);
static IGNORED_AT_START: AtomicU64 = AtomicU64::new(0);

/// Records what this process was started with, then ignores SIGPIPE and SIGXFSZ: a stderr that nobody reads,
/// or a file that may not grow, must not end a run. To be called before anything changes a mask or a
/// disposition.
pub fn record_inherited() {
    let ignored = (1..=LAST_SIGNAL)
        .filter(|&signal| raw_sigaction(signal, None).is_some_and(|action| action.handler == libc::SIG_IGN))
        .fold(0, |set, signal| set | bit(signal));
    IGNORED_AT_START.store(ignored, Ordering::Relaxed);
    BLOCKED_AT_START.store(raw_sigprocmask(libc::SIG_BLOCK, None), Ordering::Relaxed);
    let ignore = KernelAction { handler: libc::SIG_IGN, flags: 0, restorer: 0, mask: 0 };
    raw_sigaction(libc::SIGPIPE, Some(&ignore));
    raw_sigaction(libc::SIGXFSZ, Some(&ignore));
}

/// The signals whose disposition is changed after the start: by us (SIGPIPE, SIGXFSZ, SIGCHLD), by the C
/// library when it makes a thread (32 and 33). Exec takes care of the others.
const CHANGED_SINCE: [i32; 5] = [libc::SIGPIPE, libc::SIGXFSZ, libc::SIGCHLD, 32, 33];

/// The signal mask and the ignored signals that this process was started with.
#[derive(Clone, Copy)]
pub struct Inherited {
    blocked: KernelSet,
    ignored: KernelSet,
}

impl Inherited {
    /// What was recorded at the start of the process.
    pub fn at_start() -> Inherited {
        Inherited {
            blocked: BLOCKED_AT_START.load(Ordering::Relaxed),
            ignored: IGNORED_AT_START.load(Ordering::Relaxed),
        }
    }

    fn ignores(self, signal: i32) -> bool {
        self.ignored & bit(signal) != 0
    }

    /// Gives the calling process that mask and those dispositions. Only system calls are made, so it
    /// can stand between fork and exec.
    pub fn restore(self) {
        for signal in CHANGED_SINCE {
            let handler = if self.ignores(signal) { libc::SIG_IGN } else { libc::SIG_DFL };
            let action = KernelAction { handler, flags: 0, restorer: 0, mask: 0 };
            raw_sigaction(signal, Some(&action));
        }
        raw_sigprocmask(libc::SIG_SETMASK, Some(&self.blocked));
    }
}

/// The caught signals, as a file descriptor that is readable while one waits.
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks and collects the signals that concern a run, and SIGCHLD. A signal that was ignored when
    /// we were started stays ignored, but for SIGCHLD: without it there would be no exit status.
    ///
    /// To be called once, from the main thread, before any other thread exists.
    pub fn catch() -> io::Result<Signals> {
        let inherited = Inherited::at_start();
        if inherited.ignores(libc::SIGCHLD) {
            let default = KernelAction { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };
            raw_sigaction(libc::SIGCHLD, Some(&default));
        }
        // Who was started with a blocked SIGTSTP is not stopped by it.
        let stop = [libc::SIGTSTP].into_iter().filter(|&signal| inherited.blocked & bit(signal) == 0);
        let set = Signal::FORWARDED
            .into_iter()
            .chain(Signal::ENDING)
            .chain(FIRST_REAL_TIME..=LAST_SIGNAL)
            .chain(stop)
            .filter(|&signal| !inherited.ignores(signal))
            .chain([libc::SIGCHLD])
            .fold(0, |set, signal| set | bit(signal));
        raw_sigprocmask(libc::SIG_BLOCK, Some(&set));
        // SAFETY: the pointer is to a set of the size that is given.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_signalfd4,
                -1,
                &raw const set,
                size_of::<KernelSet>(),
                libc::SFD_NONBLOCK | libc::SFD_CLOEXEC,
            )
        };
        match i32::try_from(fd) {
            // SAFETY: the kernel has just given us this descriptor.
            Ok(fd) if fd >= 0 => Ok(Signals { fd: unsafe { OwnedFd::from_raw_fd(fd) } }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Lets signals do what they did before they were caught; those that came while all went well are
    /// forgotten.
    pub fn release(self) {
        while self.take().is_some() {}
        raw_sigprocmask(libc::SIG_SETMASK, Some(&Inherited::at_start().blocked));
    }

    /// The next signal that waits, if there is one.
    pub fn take(&self) -> Option<Signal> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer has the size that is given.
        let read = unsafe { libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        // SAFETY: a signalfd gives whole records only.
        (usize::try_from(read) == Ok(size))
            .then(|| Signal(i32::try_from(unsafe { info.assume_init() }.ssi_signo).unwrap_or_default()))
    }

    /// The next signal that ends a run before its command began: any but SIGCONT and SIGCHLD. SIGTSTP stops us
    /// here and now.
    pub fn take_interrupt(&self) -> Option<Signal> {
        std::iter::from_fn(|| self.take()).find(|&signal| match signal {
            Signal::CONT | Signal::CHLD => false,
            Signal::TSTP => {
                stop_self();
                false
            }
            _ => true,
        })
    }

    /// Waits for [`Signals::take_interrupt`] on the tokio runtime.
    pub async fn interrupt(&self) -> Signal {
        loop {
            if let Some(signal) = self.take_interrupt() {
                return signal;
            }
            readable(self.as_fd()).await;
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
