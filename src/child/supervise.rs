//! The one loop: signals, timeout, output, the end of the command.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, waitid, waitpid};

use super::command::Started;
use super::output::{Finished, Output};
use super::remains;
use crate::deadline::Timeline;
use crate::sys::process::{Child, ended_child};
use crate::sys::signal::{self, Signal, SignalSet, Signals};
use crate::until::Parent;

/// How the command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exited(u8),
    Died(Signal),
    /// It did not exit even after SIGKILL, and is still running.
    Unkillable,
    /// It runs as this user, so it cannot be signaled, and is still running.
    OutOfReach(String),
}

/// Why and how the command was told to end.
#[derive(Debug, Default)]
pub(crate) struct Interference {
    /// The timeout ended it.
    pub timed_out: bool,
    /// It was ended because the parent process died.
    pub orphaned: bool,
    /// The last terminating signal that was forwarded.
    pub forwarded: Option<Signal>,
    /// The signal that ended the run, if it is one that is not forwarded.
    pub interrupted: Option<Signal>,
}

impl Interference {
    fn any(&self) -> bool {
        self.timed_out || self.orphaned || self.interrupted.is_some() || self.forwarded.is_some()
    }
}

#[derive(Debug)]
pub(crate) struct Supervised {
    pub end: End,
    pub told: Interference,
    /// It died of a signal that this program neither sent nor forwarded.
    pub died_by_itself: bool,
    /// The signal that ended the run after the command, while its last output was passed on.
    pub stopped: Option<Signal>,
    /// Processes of its session that are left after it was ended, for messages.
    pub left: Option<String>,
    pub output: Finished,
}

/// How far the escalation has come.
#[derive(Clone, Copy, Debug)]
enum Escalation {
    /// The command runs; the next step is SIGTERM.
    Running,
    /// SIGTERM was sent, or passed on; the next step is SIGKILL.
    Terminating,
    /// SIGKILL was sent; the next step is to give up.
    Killed,
}

/// Supervises a started command until it has ended, and then ends the rest of its process group.
pub(crate) fn supervise(
    started: Started,
    signals: &Signals,
    parent: Option<Parent>,
    timeline: Timeline,
) -> Ended<'_> {
    let mut run = Supervision {
        child: started.child,
        output: started.output,
        signals,
        parent,
        timeline,
        escalation: Escalation::Running,
        next_at: timeline.term_at,
        told: Interference::default(),
        sent: SignalSet::default(),
        out_of_reach: None,
        stopped: None,
        forwarded_at: timeline.start,
    };
    let (end, is_reaped) = loop {
        reap_orphans(run.child.pid);
        if let Some(ended) = ended(run.child.pid) {
            break ended;
        }
        if let Some(end) = run.escalate(Instant::now()) {
            break (end, false);
        }
        run.wait(Duration::MAX);
    };
    if !matches!(end, End::Died(signal) if run.sent.contains(signal)) {
        run.forget_survived();
    }
    if run.output.is_cut() {
        run.sent.insert(Signal::PIPE);
    }
    let groups = run.child.groups();
    let was_ended = run.sweep(&end, is_reaped);
    run.output.command_ended();
    let now = Instant::now();
    let report_by = timeline.report_by.map(|by| by.max(now + LATE_WRITE));
    run.deliver(report_by.map_or(now + QUICK_WRITE, |by| by.min(now + QUICK_WRITE)));
    let left = was_ended.then(|| remains::describe(run.child.pid, &groups)).flatten();
    Ended { run, end, left }
}

/// A command that has ended, and whose last output may wait for a slow reader.
pub(crate) struct Ended<'a> {
    run: Supervision<'a>,
    pub end: End,
    left: Option<String>,
}

impl Ended<'_> {
    pub(crate) fn timed_out(&self) -> bool {
        self.run.told.timed_out
    }

    /// Passes on the output that the command wrote before its end. A slow reader has the time of the run for that; if
    /// the run was ended early, it has little.
    pub(crate) fn deliver(self) -> Supervised {
        let Ended { mut run, end, left } = self;
        let now = Instant::now();
        let soon = now + LAST_WRITE;
        let in_time = if run.told.any() { soon } else { run.timeline.term_at.max(soon) };
        run.deliver(run.timeline.report_by.map_or(in_time, |by| by.min(in_time)));
        Supervised {
            died_by_itself: matches!(end, End::Died(signal) if !run.sent.contains(signal)),
            end,
            told: run.told,
            stopped: run.stopped,
            left,
            output: run.output.finish(),
        }
    }
}

struct Supervision<'a> {
    child: Child,
    output: Output,
    signals: &'a Signals,
    /// `None` once it is gone.
    parent: Option<Parent>,
    timeline: Timeline,
    escalation: Escalation,
    /// When its next step is due.
    next_at: Instant,
    told: Interference,
    /// The signals that the group was sent.
    sent: SignalSet,
    /// The user that the command runs as, if a signal could not reach it.
    out_of_reach: Option<String>,
    /// The first terminating signal after the end of the command.
    stopped: Option<Signal>,
    forwarded_at: Instant,
}

impl Supervision<'_> {
    /// Takes the step that is due; returns how the command ended if nothing more can be done.
    fn escalate(&mut self, now: Instant) -> Option<End> {
        if now < self.next_at {
            return None;
        }
        match self.escalation {
            Escalation::Running => {
                self.forget_survived();
                self.told.timed_out = true;
                self.terminate(now);
            }
            Escalation::Terminating => self.kill(now),
            Escalation::Killed => {
                return Some(self.out_of_reach.take().map_or(End::Unkillable, End::OutOfReach));
            }
        }
        None
    }

    /// Sends SIGTERM and SIGCONT (so that a stopped group can react), or SIGKILL if there is no grace period.
    fn terminate(&mut self, now: Instant) {
        if self.timeline.kill_after.is_zero() {
            return self.kill(now);
        }
        let kill_after_seconds = self.timeline.kill_after.as_secs_f64();
        tracing::debug!(kill_after_seconds, "sending SIGTERM to the command's group");
        self.send(Signal::TERM);
        self.send(Signal::CONT);
        (self.escalation, self.next_at) = (Escalation::Terminating, now + self.timeline.kill_after);
    }

    fn kill(&mut self, now: Instant) {
        tracing::debug!("sending SIGKILL to the command's group");
        self.send(Signal::KILL);
        // If the signal cannot arrive, there is nothing to wait for, and the rest of the time is for the report.
        self.next_at = if self.out_of_reach.is_some() { now } else { self.timeline.give_up_at(now) };
        self.escalation = Escalation::Killed;
    }

    fn forward(&mut self, signal: Signal) {
        tracing::debug!(%signal, "forwarding to the command's group");
        self.send(signal);
        if signal.is_terminating() {
            self.send(Signal::CONT);
            // After the timeout, it changes nothing.
            if !self.told.timed_out {
                self.told.forwarded = Some(signal);
            }
            self.forwarded_at = Instant::now();
        }
        // A supervisor that sends SIGTERM usually sends SIGKILL soon after; the command must be gone by then.
        if let (Signal::TERM, Escalation::Running) = (signal, self.escalation) {
            self.escalation = Escalation::Terminating;
            self.next_at = Instant::now() + self.timeline.kill_after;
        }
    }

    /// A signal that is not forwarded, and whose default action would end this program.
    fn interrupt(&mut self, signal: Signal) {
        if let Escalation::Running = self.escalation {
            self.told.interrupted = Some(signal);
            self.terminate(Instant::now());
        }
    }

    /// Ctrl-Z, or SIGTSTP from elsewhere: the command stops and continues together with this program. Its group has no
    /// parent in its session, so only SIGSTOP can stop it.
    fn suspend(&self) {
        tracing::debug!("stopping the command's group, and monitoring-token");
        let _ = self.child.kill_group(Signal::STOP);
        signal::stop_self();
        // The SIGCONT that ended the stop is forwarded like any other; without one, this program was not stopped.
        if !signal::is_pending(Signal::CONT) {
            let _ = self.child.kill_group(Signal::CONT);
        }
    }

    /// The parent process is gone, so nobody waits for the result.
    fn orphan(&mut self, now: Instant) {
        if let Escalation::Running = self.escalation {
            self.told.orphaned = true;
            self.terminate(now);
        }
    }

    /// Signals the group, and records the signal and whether it could be delivered. The group still exists, because the
    /// command was not reaped.
    fn send(&mut self, signal: Signal) {
        self.sent.insert(signal);
        let is_out_of_reach = self.child.kill_group(signal) == Err(Errno::PERM);
        self.out_of_reach = is_out_of_reach.then(|| {
            let user = remains::user_of(self.child.pid);
            tracing::debug!(%signal, user, "cannot be sent to the command's group");
            user
        });
    }

    /// A command that handles a signal such as SIGHUP and goes on for longer than the grace period ends by itself.
    fn forget_survived(&mut self) {
        const LEAST: Duration = Duration::from_secs(1);
        if let Escalation::Running = self.escalation
            && self.forwarded_at.elapsed() > self.timeline.kill_after.max(LEAST)
        {
            self.told.forwarded = None;
        }
    }

    /// After the command has ended, ends the rest of the group if it was told to end; after a normal exit, background
    /// processes are left alone. Then reaps the command. Returns true if the group was told to end.
    fn sweep(&mut self, end: &End, is_reaped: bool) -> bool {
        // A command that treats SIGHUP as a request to reload its configuration goes on and exits by itself.
        let reloaded = self.told.forwarded == Some(Signal::HUP) && *end == End::Exited(0);
        let told = Interference { forwarded: self.told.forwarded.filter(|_| !reloaded), ..self.told };
        let was_ended = told.any();
        if was_ended {
            self.wait_for_the_rest();
            // The command cannot be signaled. Once it is reaped, the number of an empty group may belong to another.
            if !is_reaped || remains::is_in_group(self.child) {
                let _ = self.child.kill_group(Signal::KILL);
            }
        }
        if !is_reaped && !matches!(end, End::Unkillable | End::OutOfReach(_)) {
            self.child.reap();
        }
        was_ended
    }

    /// A shell dies of SIGTERM at once, while its client, or a run that has a token, cleans up: they have the grace period,
    /// too. It begins now if the group has only got another signal.
    fn wait_for_the_rest(&mut self) {
        const LONGEST_PAUSE: Duration = Duration::from_millis(100);
        let mut pause = Duration::from_millis(5);
        while !matches!(self.escalation, Escalation::Killed) && remains::is_in_group(self.child) {
            if let Escalation::Running = self.escalation {
                self.terminate(Instant::now());
            }
            self.wait(pause);
            let _ = self.escalate(Instant::now());
            pause = LONGEST_PAUSE.min(2 * pause);
        }
    }

    /// Passes on the last output, until `end_at`; or for a moment more, if the run is to end.
    fn deliver(&mut self, mut end_at: Instant) {
        let had_parent = self.parent.is_some();
        loop {
            self.output.advance();
            let now = Instant::now();
            if self.output.is_done() || now >= end_at {
                return;
            }
            if self.poll(end_at - now) {
                self.parent = None;
            }
            for signal in std::iter::from_fn(|| self.signals.take()) {
                match signal {
                    Signal::TSTP => signal::stop_self(),
                    signal if signal.is_terminating() => self.stopped = self.stopped.or(Some(signal)),
                    _ => {}
                }
            }
            if self.stopped.is_some() || self.parent.is_some() != had_parent {
                end_at = end_at.min(Instant::now() + LAST_WRITE);
            }
        }
    }

    /// Sleeps until something happens, or for `at_most`, and handles it.
    fn wait(&mut self, at_most: Duration) {
        let parent_gone = self.poll(self.next_at.saturating_duration_since(Instant::now()).min(at_most));
        while let Some(signal) = self.signals.take() {
            match signal {
                Signal::CHLD => {}
                Signal::TSTP => self.suspend(),
                signal if signal.is_forwarded() => self.forward(signal),
                signal => self.interrupt(signal),
            }
        }
        self.output.advance();
        if parent_gone {
            self.parent = None;
            self.orphan(Instant::now());
        }
    }

    /// Waits for a signal, for output of the command, for the death of the parent, or for `at_most`. Returns true if the
    /// parent is gone.
    fn poll(&self, at_most: Duration) -> bool {
        let due = self.output.due_at().map(|due| due.saturating_duration_since(Instant::now()));
        let at_most = due.map_or(at_most, |due| due.min(at_most));
        let mut fds = vec![PollFd::new(self.signals, PollFlags::IN)];
        fds.extend(self.output.interests().map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
        fds.extend(self.parent.as_ref().map(|parent| PollFd::new(parent, PollFlags::IN)));
        // After an error (EINTR, out of memory), everything is checked again.
        let polled = poll(&mut fds, Timespec::try_from(at_most).ok().as_ref());
        let last = fds.last().filter(|_| self.parent.is_some() && polled.is_ok());
        last.is_some_and(|parent| !parent.revents().is_empty())
    }
}

/// How long to wait for the last output of a run that was ended early.
const LAST_WRITE: Duration = Duration::from_secs(1);
/// How long to wait for the last output before the token is deleted. Most readers take all of it.
const QUICK_WRITE: Duration = Duration::from_millis(100);
/// The same where the result must be reported at once.
const LATE_WRITE: Duration = Duration::from_millis(20);

/// The end of the command, if it has ended, and whether it is reaped: only where a sandbox forbids waitid(2).
fn ended(command: Pid) -> Option<(End, bool)> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let (code, signal, is_reaped) = match waitid(WaitId::Pid(command), options) {
        Ok(status) => status.map(|status| (status.exit_status(), status.terminating_signal(), false))?,
        Err(Errno::PERM | Errno::ACCESS | Errno::NOSYS) => {
            let (_, status) = waitpid(Some(command), WaitOptions::NOHANG).ok().flatten()?;
            (status.exit_status(), status.terminating_signal(), true)
        }
        Err(_) => return None,
    };
    let end = match (code, signal) {
        // The kernel keeps the low eight bits.
        (Some(code), _) => End::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        (None, signal) => End::Died(Signal::from_number(signal.unwrap_or_default())),
    };
    Some((end, is_reaped))
}

/// Reaps every child but the command: PID 1 of a container inherits its orphans.
fn reap_orphans(command: Pid) {
    // Once the command has ended, it may hide other children; but then this program ends, too.
    while let Some(pid) = ended_child().filter(|&pid| pid != command) {
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}
