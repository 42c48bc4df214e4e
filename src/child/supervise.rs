//! The one loop: signals, timeout, output, the end of the command.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus, waitid};

use super::Parent;
use super::command::Started;
use super::output::Output;
use super::remains;
use crate::deadline::Timeline;
use crate::sys::process::{ended_child, kill_group};
use crate::sys::signal::{self, Signal, SignalSet, Signals};

/// How the command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It exited with this status.
    Exited(u8),
    /// It died of this signal.
    Died(Signal),
    /// SIGKILL did not end it in time; it is left behind.
    Unkillable,
    /// It runs as this user, so that no signal of ours reaches it; it is left behind.
    OutOfReach(String),
}

/// How the command's run went.
#[derive(Debug)]
pub(crate) struct Supervised {
    /// How it ended.
    pub end: End,
    /// Whether the timeout ended it.
    pub timed_out: bool,
    /// Whether it was ended because our parent died.
    pub orphaned: bool,
    /// The last terminating signal that was passed on.
    pub forwarded: Option<Signal>,
    /// The signal to us that ended it, where that signal is not one that is passed on.
    pub interrupted: Option<Signal>,
    /// Whether the command died of a signal that came neither from us nor through us.
    pub died_by_itself: bool,
    /// What is left of the session of a command that was ended, in words.
    pub left: Option<String>,
    /// The last of its output, if that is kept.
    pub output: Vec<u8>,
    /// Why its output could not be passed on.
    pub unwritten: Option<std::io::Error>,
}

/// Where the escalation stands.
#[derive(Clone, Copy, Debug)]
enum Escalation {
    /// The command runs; SIGTERM comes at this time.
    Running { term_at: Instant },
    /// SIGTERM was sent, or passed on; SIGKILL comes at this time.
    Terminating { kill_at: Instant },
    /// SIGKILL was sent; we wait until this time.
    Killed { give_up_at: Instant },
}

impl Escalation {
    fn next_at(self) -> Instant {
        match self {
            Escalation::Running { term_at: at }
            | Escalation::Terminating { kill_at: at }
            | Escalation::Killed { give_up_at: at } => at,
        }
    }
}

/// Stays with a started command until it has ended, and ends what it must not leave behind.
pub(crate) fn supervise(
    started: Started,
    signals: &Signals,
    parent: Option<&Parent>,
    timeline: &Timeline,
) -> Supervised {
    let mut run = Supervision {
        leader: started.leader,
        timeline,
        escalation: Escalation::Running { term_at: timeline.term_at },
        timed_out: false,
        orphaned: false,
        forwarded: None,
        interrupted: None,
        sent: SignalSet::default(),
        out_of_reach: None,
    };
    let mut output = started.output;
    let mut parent = parent;
    let end = loop {
        reap_orphans(run.leader);
        if let Some(end) = ended(run.leader) {
            break end;
        }
        if let Some(end) = run.escalate(Instant::now()) {
            break end;
        }
        wait(signals, &mut output, &mut parent, &mut run);
    };
    if output.is_cut() {
        run.sent.insert(Signal::PIPE);
    }
    let was_ended = run.sweep(&end);
    run.deliver(signals, &mut output, parent);
    let (kept, unwritten) = output.finish();
    let left = was_ended.then(|| remains::describe(run.leader)).flatten();
    Supervised {
        died_by_itself: matches!(end, End::Died(signal) if !run.sent.contains(signal)),
        end,
        timed_out: run.timed_out,
        orphaned: run.orphaned,
        forwarded: run.forwarded,
        interrupted: run.interrupted,
        left,
        output: kept,
        unwritten,
    }
}

struct Supervision<'a> {
    leader: Pid,
    timeline: &'a Timeline,
    escalation: Escalation,
    timed_out: bool,
    orphaned: bool,
    forwarded: Option<Signal>,
    interrupted: Option<Signal>,
    /// What the group has been sent.
    sent: SignalSet,
    /// The user that the command runs as, once a signal could not reach it.
    out_of_reach: Option<String>,
}

impl Supervision<'_> {
    /// Does what is due; gives the end if nothing more can be done.
    fn escalate(&mut self, now: Instant) -> Option<End> {
        if now < self.escalation.next_at() {
            return None;
        }
        match self.escalation {
            Escalation::Running { .. } => {
                self.timed_out = true;
                self.terminate(now);
                None
            }
            Escalation::Terminating { .. } => {
                self.kill(now);
                None
            }
            Escalation::Killed { .. } => {
                Some(self.out_of_reach.take().map_or(End::Unkillable, End::OutOfReach))
            }
        }
    }

    /// SIGTERM, and SIGCONT so that a stopped group can act on it; or SIGKILL if there is no grace.
    fn terminate(&mut self, now: Instant) {
        if self.timeline.kill_after.is_zero() {
            return self.kill(now);
        }
        let kill_after_seconds = self.timeline.kill_after.as_secs_f64();
        tracing::debug!(kill_after_seconds, "sending SIGTERM to the command's group");
        self.send(Signal::TERM);
        self.send(Signal::CONT);
        self.escalation = Escalation::Terminating { kill_at: now + self.timeline.kill_after };
    }

    fn kill(&mut self, now: Instant) {
        tracing::debug!("sending SIGKILL to the command's group");
        self.send(Signal::KILL);
        self.escalation = Escalation::Killed { give_up_at: self.timeline.give_up_at(now) };
    }

    fn forward(&mut self, signal: Signal) {
        tracing::debug!(%signal, "forwarding to the command's group");
        self.send(signal);
        if signal.is_terminating() {
            self.send(Signal::CONT);
            self.forwarded = Some(signal);
        }
        // A supervisor that sends SIGTERM usually sends SIGKILL soon after; the command must be gone by then.
        if let (Signal::TERM, Escalation::Running { .. }) = (signal, self.escalation) {
            self.escalation = Escalation::Terminating { kill_at: Instant::now() + self.timeline.kill_after };
        }
    }

    /// A signal that is not passed on, and whose default action would end us.
    fn interrupt(&mut self, signal: Signal) {
        if let Escalation::Running { .. } = self.escalation {
            self.interrupted = Some(signal);
            self.terminate(Instant::now());
        }
    }

    /// Ctrl-Z, or SIGTSTP from elsewhere: the command stops with us, and goes on with us. Its group has no
    /// parent in its session, so that only SIGSTOP stops it.
    fn suspend(&self) {
        tracing::debug!("stopping the command's group, and ourselves");
        let _ = self.kill_group(Signal::STOP);
        signal::stop_self();
        // The SIGCONT that ended the stop is forwarded like any other; without one, nothing has stopped us.
        if !signal::is_pending(Signal::CONT) {
            let _ = self.kill_group(Signal::CONT);
        }
    }

    /// Our parent is gone: nobody waits for the result.
    fn orphan(&mut self, now: Instant) {
        if let Escalation::Running { .. } = self.escalation {
            self.orphaned = true;
            self.terminate(now);
        }
    }

    /// To the group, remembering what it got, and whether it could get it.
    fn send(&mut self, signal: Signal) {
        self.sent.insert(signal);
        if self.kill_group(signal).is_err_and(|error| error == Errno::PERM) {
            let user = remains::user_of(self.leader.as_raw_nonzero().get());
            tracing::debug!(%signal, user, "cannot be sent to the command's group");
            self.out_of_reach = Some(user);
        }
    }

    /// The group exists: its leader has not been reaped.
    fn kill_group(&self, signal: Signal) -> rustix::io::Result<()> {
        kill_group(self.leader, signal)
    }

    /// After the leader's end: what is left of a group that was told to go is killed; after a normal
    /// exit, background processes are left alone. Then the leader is reaped. Gives whether the group was told
    /// to go.
    fn sweep(&mut self, end: &End) -> bool {
        // A leader that took a SIGHUP for "read your configuration again" went on, and ended by itself.
        let died_of_it = |signal: Signal| signal != Signal::HUP || *end != End::Exited(0);
        let was_ended = self.timed_out
            || self.orphaned
            || self.interrupted.is_some()
            || self.forwarded.is_some_and(died_of_it);
        if was_ended {
            // The leader is beyond it.
            let _ = self.kill_group(Signal::KILL);
        }
        if !matches!(end, End::Unkillable | End::OutOfReach(_)) {
            let _ = waitid(WaitId::Pid(self.leader), WaitIdOptions::EXITED);
        }
        was_ended
    }

    /// Passes on what the command has written before its end. A slow reader has the time of the run for that;
    /// one whose run was ended by somebody has little.
    fn deliver(&self, signals: &Signals, output: &mut Output, mut parent: Option<&Parent>) {
        output.command_ended();
        let began = Instant::now();
        let mut end_at =
            if self.timed_out || self.orphaned || self.interrupted.is_some() || self.forwarded.is_some() {
                began + LAST_WRITE
            } else {
                self.timeline.term_at.max(began + LAST_WRITE)
            };
        loop {
            output.advance();
            let now = Instant::now();
            if output.is_done() || now >= end_at {
                return;
            }
            let parent_gone = poll_once(signals, output, parent, end_at - now);
            let told_to_stop = std::iter::from_fn(|| signals.take()).any(Signal::is_terminating);
            if parent_gone || told_to_stop {
                parent = None;
                end_at = end_at.min(Instant::now() + LAST_WRITE);
            }
        }
    }
}

/// How long what is left of the output of a run that was ended is waited for.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// How the leader has ended, if it has; leaves it to be reaped.
fn ended(leader: Pid) -> Option<End> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(leader), options).ok().flatten()?;
    Some(end_of(&status))
}

fn end_of(status: &WaitIdStatus) -> End {
    match (status.exit_status(), status.terminating_signal()) {
        // The kernel keeps the low eight bits.
        (Some(code), _) => End::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        (None, signal) => End::Died(Signal::from_number(signal.unwrap_or_default())),
    }
}

/// Reaps every child but the leader: as PID 1, we inherit the orphans of the container.
fn reap_orphans(leader: Pid) {
    // The leader, once it has ended, may hide others behind it; it is then our turn to end, too.
    while let Some(pid) = ended_child().filter(|&pid| pid != leader) {
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// Sleeps until something happens, and passes it on.
fn wait(signals: &Signals, output: &mut Output, parent: &mut Option<&Parent>, run: &mut Supervision<'_>) {
    let left = run.escalation.next_at().saturating_duration_since(Instant::now());
    let parent_gone = poll_once(signals, output, *parent, left);
    while let Some(signal) = signals.take() {
        match signal {
            Signal::CHLD => {}
            Signal::TSTP => run.suspend(),
            signal if signal.is_forwarded() => run.forward(signal),
            signal => run.interrupt(signal),
        }
    }
    output.advance();
    if parent_gone {
        *parent = None;
        run.orphan(Instant::now());
    }
}

/// Waits for a signal, for the command's output, for the death of our parent, or until `at_most` has passed. Says
/// whether our parent is gone.
fn poll_once(signals: &Signals, output: &Output, parent: Option<&Parent>, at_most: Duration) -> bool {
    let due = output.due_at().map(|due| due.saturating_duration_since(Instant::now()));
    let at_most = due.map_or(at_most, |due| due.min(at_most));
    let parent = parent.map(|parent| PollFd::new(parent, PollFlags::IN));
    let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
    fds.extend(output.interests().map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
    let has_parent = parent.is_some();
    fds.extend(parent);
    // An error (EINTR, no memory) means to look at everything again.
    let polled = poll(&mut fds, Timespec::try_from(at_most).ok().as_ref());
    has_parent && polled.is_ok() && fds.last().is_some_and(|parent| !parent.revents().is_empty())
}
