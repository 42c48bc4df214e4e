//! Signals as data: which ones are caught, how they are read, and what the command inherits.
//!
//! The signals that affect a run are blocked at the start of the program and read from a signalfd. No handler runs, no
//! signal is lost between two steps, and one that arrives while a name lookup hangs is seen at once.
//!
//! The inherited dispositions and mask are recorded before the Rust runtime changes them (it ignores SIGPIPE), by raw
//! system calls, because the C library hides its internal signals 32 and 33 and unblocks them when a thread is created.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::descriptors::readable;

/// The number of a signal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signal(i32);

impl Signal {
    pub const HUP: Signal = Signal(libc::SIGHUP);
    pub const TERM: Signal = Signal(libc::SIGTERM);
    pub const KILL: Signal = Signal(libc::SIGKILL);
    pub const CONT: Signal = Signal(libc::SIGCONT);
    pub const CHLD: Signal = Signal(libc::SIGCHLD);
    pub(crate) const PIPE: Signal = Signal(libc::SIGPIPE);
    pub(crate) const STOP: Signal = Signal(libc::SIGSTOP);
    /// SIGTSTP: Ctrl-Z.
    pub(crate) const TSTP: Signal = Signal(libc::SIGTSTP);

    /// True if a program gets it for an error of its own.
    pub(crate) fn is_crash(self) -> bool {
        let crashes = [libc::SIGSEGV, libc::SIGABRT, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP];
        crashes.contains(&self.0)
    }

    const FORWARDED: [i32; 8] = [
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGHUP,
        libc::SIGQUIT,
        // `perl -e 'alarm 60; exec @ARGV'` limits the time of this program, not only the command's.
        libc::SIGALRM,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGCONT,
    ];

    /// Other signals that would end this program by default, and leave the command and its token. A real fault (SIGSEGV
    /// and similar) cannot be blocked, so these are sent by other processes.
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

    pub(crate) fn is_forwarded(self) -> bool {
        Signal::FORWARDED.contains(&self.0)
    }

    pub fn number(self) -> i32 {
        self.0
    }

    /// True if the sender wants the run to end, so that the rest of the command's group is killed, too.
    pub fn is_terminating(self) -> bool {
        matches!(self.0, libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGQUIT | libc::SIGALRM)
    }

    /// The signal with this number, from a wait status.
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
/// 32 and 33 are used by the C library.
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

/// Stops this process as an uncaught SIGTSTP would, until SIGCONT: at once, if one came after the SIGTSTP. The kernel
/// does not stop a process whose group has no parent in its session, because nothing could continue it.
pub(crate) fn stop_self() {
    // The kernel would discard it, and nothing else would continue this process.
    if is_pending(Signal::CONT) {
        return;
    }
    let stop = bit(libc::SIGTSTP);
    // SAFETY: raise does not access memory. The signal is blocked, so it stays pending until the next line.
    unsafe { libc::raise(libc::SIGTSTP) };
    raw_sigprocmask(libc::SIG_UNBLOCK, Some(&stop));
    raw_sigprocmask(libc::SIG_BLOCK, Some(&stop));
}

/// True if this blocked signal is pending, and is not ignored.
pub(crate) fn is_pending(signal: Signal) -> bool {
    let mut pending: KernelSet = 0;
    // SAFETY: the pointer is to a set of the given size.
    unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, size_of::<KernelSet>()) };
    SignalSet(pending).contains(signal) && !is_ignored(signal.0)
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
    // SAFETY: both pointers are null or to a set of the given size. The call cannot fail then.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, new, &raw mut old, size_of::<KernelSet>()) };
    old
}

static BLOCKED_AT_START: AtomicU64 = AtomicU64::new(0);
static IGNORED_AT_START: AtomicU64 = AtomicU64::new(0);

const IGNORE: KernelAction = KernelAction { handler: libc::SIG_IGN, flags: 0, restorer: 0, mask: 0 };
const DEFAULT: KernelAction = KernelAction { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };

fn is_ignored(signal: i32) -> bool {
    raw_sigaction(signal, None).is_some_and(|action| action.handler == libc::SIG_IGN)
}

/// Signals whose disposition changes after the start: by this program (SIGPIPE, SIGXFSZ, SIGCHLD), or by the C library
/// when it creates a thread (32 and 33).
const CHANGED_SINCE: [i32; 5] = [libc::SIGPIPE, libc::SIGXFSZ, libc::SIGCHLD, 32, 33];

/// Records the inherited signal state, then ignores SIGPIPE and SIGXFSZ: a stderr without a reader, or a file size
/// limit, must not end a run. Must be called before anything changes a mask or a disposition. The other dispositions
/// never change, so nothing asks for one until its signal arrives: that saves 59 system calls in each run.
pub fn record_inherited() {
    let ignored = CHANGED_SINCE
        .into_iter()
        .filter(|&signal| is_ignored(signal))
        .fold(0, |set, signal| set | bit(signal));
    IGNORED_AT_START.store(ignored, Ordering::Relaxed);
    BLOCKED_AT_START.store(raw_sigprocmask(libc::SIG_BLOCK, None), Ordering::Relaxed);
    raw_sigaction(libc::SIGPIPE, Some(&IGNORE));
    raw_sigaction(libc::SIGXFSZ, Some(&IGNORE));
}

/// The inherited signal mask and ignored signals.
#[derive(Clone, Copy)]
pub struct Inherited {
    blocked: KernelSet,
    ignored: KernelSet,
}

impl Inherited {
    /// The state recorded at the start of the process.
    pub fn at_start() -> Inherited {
        Inherited {
            blocked: BLOCKED_AT_START.load(Ordering::Relaxed),
            ignored: IGNORED_AT_START.load(Ordering::Relaxed),
        }
    }

    fn ignores(self, signal: i32) -> bool {
        self.ignored & bit(signal) != 0
    }

    /// Restores that mask and those dispositions in the calling process. It only makes system calls, so it may be used
    /// between fork and exec.
    pub fn restore(self) {
        for signal in CHANGED_SINCE {
            raw_sigaction(signal, Some(if self.ignores(signal) { &IGNORE } else { &DEFAULT }));
        }
        raw_sigprocmask(libc::SIG_SETMASK, Some(&self.blocked));
    }
}

/// The caught signals, as a file descriptor that is readable while one is pending.
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks and catches the signals that affect a run, and SIGCHLD. A signal that was ignored at the start stays
    /// ignored, except SIGCHLD, without which there would be no exit status.
    ///
    /// Must be called once, from the main thread, before any other thread exists.
    pub fn catch() -> io::Result<Signals> {
        let inherited = Inherited::at_start();
        if inherited.ignores(libc::SIGCHLD) {
            raw_sigaction(libc::SIGCHLD, Some(&DEFAULT));
        }
        // If SIGTSTP was blocked at the start, it does not stop this program.
        let stop = [libc::SIGTSTP].into_iter().filter(|&signal| inherited.blocked & bit(signal) == 0);
        let set = Signal::FORWARDED
            .into_iter()
            .chain(Signal::ENDING)
            .chain(FIRST_REAL_TIME..=LAST_SIGNAL)
            .chain(stop)
            .chain([libc::SIGCHLD])
            .fold(0, |set, signal| set | bit(signal));
        raw_sigprocmask(libc::SIG_BLOCK, Some(&set));
        // SAFETY: the pointer is to a set of the given size.
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
            // SAFETY: the kernel has just returned this descriptor, so nothing else owns it.
            Ok(fd) if fd >= 0 => Ok(Signals { fd: unsafe { OwnedFd::from_raw_fd(fd) } }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Restores the previous effect of signals; pending ones are discarded.
    pub fn release(self) {
        while self.take().is_some() {}
        raw_sigprocmask(libc::SIG_SETMASK, Some(&Inherited::at_start().blocked));
    }

    /// The next pending signal that is not ignored, if there is one.
    pub fn take(&self) -> Option<Signal> {
        std::iter::from_fn(|| self.read()).find(|signal| !is_ignored(signal.0))
    }

    fn read(&self) -> Option<Signal> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer has the given size.
        let read = unsafe { libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        // SAFETY: a signalfd returns only complete records.
        (usize::try_from(read) == Ok(size))
            .then(|| Signal(i32::try_from(unsafe { info.assume_init() }.ssi_signo).unwrap_or_default()))
    }

    /// The next pending signal that ends a run before its command: any except SIGCONT and SIGCHLD. SIGTSTP stops this
    /// process immediately.
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
