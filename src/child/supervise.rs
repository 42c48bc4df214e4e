//! The one loop: signals, timeout, output, the end of the command.

use std::os::fd::AsFd;
use std::time::Instant;

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus, waitid};

use super::Parent;
use super::command::Started;
use super::output::Tail;
use crate::deadline::Timeline;
use crate::readable::wait_for;
use crate::signal::{Signal, Signals};

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this status.
    Exited(u8),
    /// It died of this signal.
    Died(Signal),
    /// SIGKILL did not end it in time; it is left behind.
    Unkillable,
}

/// How the command's run went.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Whether the timeout ended it.
    pub timed_out: bool,
    /// Whether it was ended because our parent died.
    pub orphaned: bool,
    /// The last terminating signal that was passed on.
    pub forwarded: Option<Signal>,
    /// The last of its output, if that is kept.
    pub output: Vec<u8>,
}

/// Where the escalation stands.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The command runs; SIGTERM comes at this time.
    Running { term_at: Instant },
    /// SIGTERM was sent, or passed on; SIGKILL comes at this time.
    Terminating { kill_at: Instant },
    /// SIGKILL was sent; we wait until this time.
    Killed { give_up_at: Instant },
}

impl Phase {
    fn next_at(self) -> Instant {
        match self {
            Phase::Running { term_at: at }
            | Phase::Terminating { kill_at: at }
            | Phase::Killed { give_up_at: at } => at,
        }
    }
}

/// Stays with a started command until it has ended, and ends what it must not leave behind.
pub fn supervise(
    started: Started,
    signals: &Signals,
    parent: Option<&Parent>,
    timeline: &Timeline,
) -> Outcome {
    let mut run = Run {
        leader: started.leader,
        timeline,
        phase: Phase::Running { term_at: timeline.term_at },
        timed_out: false,
        orphaned: false,
        forwarded: None,
    };
    let mut tail = Tail::new(started.output);
    let mut parent = parent;
    let end = loop {
        reap_orphans(run.leader);
        if let Some(end) = ended(run.leader) {
            break end;
        }
        if let Some(end) = run.escalate(Instant::now()) {
            break end;
        }
        wait(signals, &mut tail, &mut parent, &mut run);
    };
    run.sweep(end);
    Outcome {
        end,
        timed_out: run.timed_out,
        orphaned: run.orphaned,
        forwarded: run.forwarded,
        output: tail.finish(),
    }
}

struct Run<'a> {
    leader: Pid,
    timeline: &'a Timeline,
    phase: Phase,
    timed_out: bool,
    orphaned: bool,
    forwarded: Option<Signal>,
}

impl Run<'_> {
    /// Does what is due; gives the end if nothing more can be done.
    fn escalate(&mut self, now: Instant) -> Option<End> {
        if now < self.phase.next_at() {
            return None;
        }
        match self.phase {
            Phase::Running { .. } => {
                self.timed_out = true;
                self.terminate(now);
                None
            }
            Phase::Terminating { .. } => {
                self.kill(now);
                None
            }
            Phase::Killed { .. } => Some(End::Unkillable),
        }
    }

    /// SIGTERM, and SIGCONT so that a stopped group can act on it; or SIGKILL if there is no grace.
    fn terminate(&mut self, now: Instant) {
        if self.timeline.kill_after.is_zero() {
            return self.kill(now);
        }
        tracing::debug!(kill_after = ?self.timeline.kill_after, "sending SIGTERM to the command's group");
        self.send(Signal::TERM);
        self.send(Signal::CONT);
        self.phase = Phase::Terminating { kill_at: now + self.timeline.kill_after };
    }

    fn kill(&mut self, now: Instant) {
        tracing::debug!("sending SIGKILL to the command's group");
        self.send(Signal::KILL);
        self.phase = Phase::Killed { give_up_at: self.timeline.give_up_at(now) };
    }

    fn forward(&mut self, signal: Signal) {
        tracing::debug!(%signal, "forwarding to the command's group");
        self.send(signal);
        if signal.is_terminating() {
            self.send(Signal::CONT);
            self.forwarded = Some(signal);
        }
        // Who stops us by SIGTERM sends SIGKILL next; the command must be gone by then.
        if let (Signal::TERM, Phase::Running { .. }) = (signal, self.phase) {
            self.phase = Phase::Terminating { kill_at: Instant::now() + self.timeline.kill_after };
        }
    }

    /// Our parent is gone: nobody waits for the result.
    fn orphan(&mut self, now: Instant) {
        if let Phase::Running { .. } = self.phase {
            self.orphaned = true;
            self.terminate(now);
        }
    }

    /// To the group. It exists: its leader has not been reaped.
    fn send(&self, signal: Signal) {
        // SAFETY: kill has no memory to be unsafe with. It fails only where there is nobody left, or
        // where the command has changed its user.
        unsafe { libc::kill(-self.leader.as_raw_nonzero().get(), signal.number()) };
    }

    /// After the leader's end: what is left of a group that was told to go is killed; after a normal
    /// exit, background processes are left alone. Then the leader is reaped.
    fn sweep(&self, end: End) {
        // A leader that took a SIGHUP for "read your configuration again" went on, and ended by itself.
        let died_of_it = |signal: Signal| signal != Signal::HUP || end != End::Exited(0);
        if self.timed_out || self.orphaned || self.forwarded.is_some_and(died_of_it) {
            self.send(Signal::KILL);
        }
        if end != End::Unkillable {
            let _ = waitid(WaitId::Pid(self.leader), WaitIdOptions::EXITED);
        }
    }
}

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

/// Some child that has ended; leaves it to be reaped.
fn ended_child() -> Option<Pid> {
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

/// Sleeps until something happens, and passes it on.
fn wait(signals: &Signals, tail: &mut Tail, parent: &mut Option<&Parent>, run: &mut Run<'_>) {
    let left = run.phase.next_at().saturating_duration_since(Instant::now());
    let fds = [Some(signals.as_fd()), tail.fd(), parent.map(AsFd::as_fd)];
    // An error (EINTR, no memory) means to look at everything again.
    let [_, tail_ready, parent_gone] = wait_for(fds, left).unwrap_or_default();
    while let Some(signal) = signals.take() {
        if signal != Signal::CHLD {
            run.forward(signal);
        }
    }
    if tail_ready {
        tail.read();
    }
    if parent_gone {
        *parent = None;
        run.orphan(Instant::now());
    }
}
