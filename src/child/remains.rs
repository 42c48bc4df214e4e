//! Finds processes of the command's session that are left after its end, in `/proc`.

use std::time::Duration;

use rustix::process::{Pid, test_kill_process};

use crate::sys::process::{Child, Groups};

/// How often to look again, and after how long: a process takes a moment to die.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);
const SHOWN: usize = 3;

/// Describes the remaining processes of the sessions of `command`, with the reason they are left; `None` if there are
/// none or this cannot be found out.
pub(crate) fn describe(command: Pid, groups: &Groups) -> Option<String> {
    let processes = || others(command).filter_map(|process| process.left_behind(groups)).collect();
    let mut left: Vec<String> = processes();
    for _ in 1..LOOKS {
        if left.is_empty() {
            return None;
        }
        std::thread::sleep(PAUSE);
        left = processes();
    }
    let more = left.len().saturating_sub(SHOWN);
    left.truncate(SHOWN);
    left.extend((more > 0).then(|| format!("and {more} more")));
    (!left.is_empty()).then(|| left.join(", "))
}

/// True if another process in the group of `command` is alive, and a signal can reach it.
pub(crate) fn is_in_group(command: Child) -> bool {
    let groups = command.groups();
    others(command.pid)
        .any(|process| groups.contains(process.group) && test_kill_process(process.pid).is_ok())
}

struct Process {
    pid: Pid,
    name: String,
    group: Pid,
    session: Pid,
}

/// The processes that are alive and not dying of SIGKILL, without `command`.
fn others(command: Pid) -> impl Iterator<Item = Process> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter(move |&pid| pid != command).filter_map(Process::read)
}

impl Process {
    fn read(pid: Pid) -> Option<Process> {
        // proc_pid_stat(5): pid (comm) state ppid pgrp session ... num_threads (the 20th)
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        let (head, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ');
        let is_zombie = matches!(fields.next()?, "Z" | "X");
        let mut pid_field = |skip| Pid::from_raw(fields.nth(skip)?.parse().ok()?);
        let (group, session) = (pid_field(1)?, pid_field(0)?);
        // The state describes the first thread, and the others may go on without it.
        let is_dead = is_zombie && matches!(fields.nth(13)?, "0" | "1");
        let name = head.split_once('(').map_or(head, |(_, name)| name).to_owned();
        (!is_dead).then_some(Process { pid, name, group, session })
    }

    /// The process for messages, if it belongs to these sessions, and SIGKILL has not ended it.
    fn left_behind(&self, groups: &Groups) -> Option<String> {
        let Process { pid, name, group, session } = self;
        if !groups.sessions.contains(session) {
            return None;
        }
        let why = match (test_kill_process(*pid).is_ok(), groups.contains(*group)) {
            (true, true) => return None,
            (true, false) => "has left the command's process group".to_owned(),
            (false, _) => format!("runs as {}", user_of(*pid)),
        };
        Some(format!("{name} (pid {}), which {why}", pid.as_raw_nonzero()))
    }
}

/// The user of a process, for messages.
pub(crate) fn user_of(pid: Pid) -> String {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    match uids.and_then(|uids| uids.split_whitespace().nth(1)) {
        Some("0") => "root".to_owned(),
        Some(uid) => format!("uid {uid}"),
        None => "another user".to_owned(),
    }
}
