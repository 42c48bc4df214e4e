//! The ends of a wait: a deadline, a signal, or the death of the parent process (`-die-with-parent`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, getppid, pidfd_open};

use crate::failure::{Failure, Reason, Stage, resource_advice, system_error};
use crate::go::duration;
use crate::sys::descriptors::readable;
use crate::sys::signal::{Signal, Signals};

/// How long to wait for a pipe if no run sets a limit.
pub(crate) const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);

/// Until when to wait.
#[derive(Clone, Copy)]
pub struct Until<'a> {
    /// When waiting began, for the message.
    pub since: Instant,
    pub deadline: Instant,
    /// `SCRIPT_DEADLINE` has made it sooner, for the message.
    pub is_cut: bool,
    /// The signals that end the run, if they are caught.
    pub signals: Option<&'a Signals>,
    /// Readable once the parent process has died, if it is followed.
    pub parent: Option<BorrowedFd<'a>>,
}

impl<'a> Until<'a> {
    pub fn at(deadline: Instant) -> Until<'a> {
        Until { since: Instant::now(), deadline, is_cut: false, signals: None, parent: None }
    }

    /// For `patience` from now on. If that is too long for a clock, for the default.
    pub fn in_time(patience: Duration) -> Until<'a> {
        let now = Instant::now();
        Until { since: now, ..Until::at(now.checked_add(patience).unwrap_or(now + DEFAULT_PATIENCE)) }
    }

    pub(crate) fn or_signal(self, signals: &'a Signals) -> Until<'a> {
        Until { signals: Some(signals), ..self }
    }

    /// The same amount of time again, from now.
    pub(crate) fn again(self) -> Until<'a> {
        let now = Instant::now();
        Until { since: now, deadline: now + self.patience(), ..self }
    }

    pub(crate) fn patience(&self) -> Duration {
        self.deadline - self.since
    }

    /// The beginning of the message about a timeout.
    pub(crate) fn timed_out(&self) -> String {
        let because = if self.is_cut { " because of SCRIPT_DEADLINE" } else { "" };
        format!("timed out after {}{because}", duration::show(self.patience()))
    }

    /// Waits until `fd` is readable or writable, as asked.
    pub(crate) fn wait_for(&self, fd: BorrowedFd<'_>, event: PollFlags) -> Result<(), Ended> {
        while !self.poll(Some((fd, event)), Duration::MAX)? {}
        Ok(())
    }

    pub(crate) fn pause(&self, at_most: Duration) -> Result<(), Ended> {
        self.poll(None, at_most).map(drop)
    }

    /// True if there is an event of `fd`. After an error (EINTR, out of memory), everything is checked again.
    fn poll(&self, fd: Option<(BorrowedFd<'_>, PollFlags)>, at_most: Duration) -> Result<bool, Ended> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let others = [self.parent, self.signals.map(AsFd::as_fd)].into_iter().flatten();
        let all = others.map(|fd| (fd, PollFlags::IN)).chain(fd);
        let mut all: Vec<_> = all.map(|(fd, event)| PollFd::from_borrowed_fd(fd, event)).collect();
        let polled = poll(&mut all, Timespec::try_from(left.min(at_most)).ok().as_ref());
        if let Some(signal) = self.signals.and_then(Signals::take_interrupt) {
            return Err(Ended::Interrupted(signal));
        }
        let is_ready =
            |fd: Option<&PollFd<'_>>| polled.is_ok() && fd.is_some_and(|fd| !fd.revents().is_empty());
        if self.parent.is_some() && is_ready(all.first()) {
            return Err(Ended::Orphaned);
        }
        if fd.is_some() && is_ready(all.last()) {
            return Ok(true);
        }
        if left.is_zero() { Err(Ended::Timeout(self.timed_out())) } else { Ok(false) }
    }

    /// The same on the tokio runtime, for work that is dropped then.
    pub(crate) async fn ended(&self) -> Ended {
        let interrupt = async {
            match self.signals {
                Some(signals) => signals.interrupt().await,
                None => std::future::pending().await,
            }
        };
        let parent_death = async {
            match self.parent {
                Some(parent) => readable(parent).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            signal = interrupt => Ended::Interrupted(signal),
            () = parent_death => Ended::Orphaned,
            () = tokio::time::sleep_until(self.deadline.into()) => Ended::Timeout(self.timed_out()),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Ended {
    /// At the deadline: the beginning of the message.
    Timeout(String),
    Interrupted(Signal),
    Orphaned,
}

impl Ended {
    /// The failure of a wait; `doing` says for what, and begins with "while".
    pub(crate) fn failure(&self, stage: Stage, timeout: Reason, doing: &str) -> Failure {
        match self {
            Ended::Timeout(after) => Failure::timeout(stage, timeout, format!("{after} {doing}")),
            Ended::Interrupted(signal) => Failure {
                message: format!("interrupted by {signal} {doing}"),
                ..Failure::signal(stage, *signal)
            },
            Ended::Orphaned => Failure::orphaned(stage),
        }
    }

    pub(crate) fn while_reading(&self, stage: Stage, what: &str) -> Failure {
        let failure = self.failure(stage, Reason::TimeoutFile, &format!("while reading {what}"));
        match self {
            Ended::Timeout(_) => failure.and("if it is a pipe, check the process that writes to it"),
            Ended::Interrupted(_) | Ended::Orphaned => failure,
        }
    }
}

/// The parent process, followed by pidfd: PR_SET_PDEATHSIG follows the parent's thread, and a thread of a Go or Java
/// program may end long before the program does.
pub(crate) struct Parent(OwnedFd);

impl Parent {
    /// Follows the current parent process. Fails with ESRCH if it has already died, and with another error if the kernel
    /// cannot do it (pidfd_open(2): Linux 5.3), or if the parent is outside this PID namespace.
    pub(crate) fn follow() -> rustix::io::Result<Parent> {
        let parent = getppid().ok_or(Errno::CHILD)?;
        let fd = pidfd_open(parent, PidfdFlags::empty())?;
        // The process ID may have been reused in the meantime.
        if getppid() == Some(parent) { Ok(Parent(fd)) } else { Err(Errno::SRCH) }
    }
}

impl AsFd for Parent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Runs `work` to its end on its own runtime. Tasks that it leaves unfinished (a name lookup that hangs) are abandoned.
pub(crate) fn block_on<T>(stage: Stage, work: impl Future<Output = T>) -> Result<T, Failure> {
    let mut result = None;
    drive(stage, pin!(async { result = Some(work.await) }))?;
    Ok(result.expect("work that has ended has a result"))
}

/// A single type of work, so that the runtime's large code is compiled only once.
fn drive(stage: Stage, work: Pin<&mut dyn Future<Output = ()>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        // A server that sends without pause must not keep timers and signals from being checked.
        .event_interval(1)
        // There are few descriptors; room for 1,024 events would take three page faults.
        .max_io_events_per_tick(8)
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| {
            let advice = resource_advice(&error).map_or_else(String::new, |advice| format!("; {advice}"));
            Failure::failed(stage, Reason::System, format!("cannot start: {}{advice}", system_error(&error)))
        })?;
    runtime.block_on(work);
    runtime.shutdown_background();
    Ok(())
}
