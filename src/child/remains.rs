//! Finds processes of the command's session that are left after its end, in `/proc`.

use std::time::Duration;

use rustix::process::{Pid, test_kill_process};

/// How often to look again, and after how long: a process takes a moment to die.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);
const SHOWN: usize = 3;

/// A process of the command's session that is still running.
struct Process {
    pid: i32,
    name: String,
    why: String,
}

/// Describes the remaining processes of the session of `leader`, with the reason they are left; `None` if there are
/// none or this cannot be found out.
pub(crate) fn describe(leader: Pid) -> Option<String> {
    let mut left = processes(leader);
    for _ in 1..LOOKS {
        if left.is_empty() {
            return None;
        }
        std::thread::sleep(PAUSE);
        left = processes(leader);
    }
    if left.is_empty() {
        return None;
    }
    let mut shown: Vec<String> = left
        .iter()
        .take(SHOWN)
        .map(|Process { pid, name, why }| format!("{name} (pid {pid}), which {why}"))
        .collect();
    if left.len() > SHOWN {
        shown.push(format!("and {} more", left.len() - SHOWN));
    }
    Some(shown.join(", "))
}

fn processes(leader: Pid) -> Vec<Process> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| left_behind(pid, leader)).collect()
}

/// The process, if it belongs to that session, is alive, and is not dying of SIGKILL.
fn left_behind(pid: i32, leader: Pid) -> Option<Process> {
    let session = leader.as_raw_nonzero().get();
    // proc_pid_stat(5): pid (comm) state ppid pgrp session ...
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    let group: i32 = fields.nth(1)?.parse().ok()?;
    let is_of_session = fields.next()?.parse() == Ok(session);
    if !is_of_session || pid == session || matches!(state, "Z" | "X") {
        return None;
    }
    let may_signal = Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok());
    let why = match (may_signal, group == session) {
        (true, true) => return None,
        (true, false) => "has left the command's process group".to_owned(),
        (false, _) => format!("runs as {}", user_of(pid)),
    };
    let name = head.split_once('(').map_or(head, |(_, name)| name).to_owned();
    Some(Process { pid, name, why })
}

/// The user of a process, for messages.
pub(crate) fn user_of(pid: i32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    match uids.and_then(|uids| uids.split_whitespace().nth(1)) {
        Some("0") => "root".to_owned(),
        Some(uid) => format!("uid {uid}"),
        None => "another user".to_owned(),
    }
}
