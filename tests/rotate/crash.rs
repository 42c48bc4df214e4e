//! SIGKILL at every system call: `strace` kills the program as it makes the Nth call of each kind.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use super::{DUE, Outcome as _, Rotated, expiry};
use crate::support::issuer::{GAFAELFAWR, Issuer, STACKSTATE};
use crate::support::{eventually, run, wait_for};

/// The program under strace with these flags.
fn traced(command: &Command, flags: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace.arg("-qq").args(flags).arg("--").arg(command.get_program()).args(command.get_args());
    strace.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    strace
}

/// Each system call that `rotate` makes while it holds the lock, and its number among calls of its kind.
fn calls(rotated: &Rotated) -> Vec<(String, u32)> {
    let trace = rotated.folder.path("trace");
    run(&mut traced(&rotated.command(&[DUE]), &["-o", trace.to_str().unwrap()])).rotated();
    let text = std::fs::read_to_string(&trace).unwrap();
    std::fs::remove_file(trace).unwrap();
    let (mut counts, mut calls, mut has_lock) = (BTreeMap::<String, u32>::new(), Vec::new(), false);
    for line in text.lines() {
        let Some((name, _)) = line.split_once('(') else { continue };
        has_lock |= name == "flock";
        let count = counts.entry(name.to_owned()).or_default();
        *count += 1;
        if has_lock {
            calls.push((name.to_owned(), *count));
        }
    }
    calls
}

/// Waits until the sandbox has finished the last request of the killed program; a token that it created later would be
/// found by a later `rotate`.
fn requests_are_over(rotated: &Rotated) {
    const LOCAL_ADDRESS: usize = 1;
    const STATE: usize = 3;
    let (_, port) = rotated.sandbox.var("SANDBOX_URL").rsplit_once(':').expect("a port");
    let port = format!(":{:04X}", port.parse::<u16>().expect("a port"));
    eventually("the end of all requests", || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let is_open = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // Established, or closed by the client alone.
            words[LOCAL_ADDRESS].ends_with(&port) && matches!(words[STATE], "01" | "08")
        };
        (!sockets.lines().any(is_open)).then_some(())
    });
}

fn survives_a_kill_at_every_system_call(issuer: Issuer) {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("strace is missing: the kill at every system call is not tried");
        return;
    }
    let rotated = Rotated::fresh(issuer);
    let calls = calls(&rotated);
    assert!(calls.len() > 100, "{calls:?}");
    let (mut killed, mut extras) = (0, 0);
    for (name, count) in &calls {
        let inject = format!("inject={name}:signal=KILL:when={count}");
        let trace = format!("trace={name}");
        let flags = ["-o", "/dev/null", "-e", &trace, "-e", &inject];
        let ended = wait_for(traced(&rotated.command(&[DUE]), &flags).spawn().expect("strace starts"));
        killed += usize::from(ended.status != 0);
        requests_are_over(&rotated);
        let at = || format!("killed at {name} {count}: {:?}", rotated.tokens());
        rotated.works();
        let tokens = rotated.tokens();
        assert!(tokens.len() <= 2, "{}", at());
        assert!(tokens.iter().all(|token| expiry(token).is_some()), "{}", at());
        extras += tokens.len() - 1;
        // The next run cleans up, whether the token is due or not.
        let ended = rotated.rotate(if count % 2 == 0 { &[DUE] } else { &[] });
        assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{}", at());
        rotated.works();
        assert_eq!(rotated.tokens().len(), 1, "{}", at());
        let names = rotated.names();
        assert!(!names.iter().any(|name| name.contains(".new")), "{}: {names:?}", at());
    }
    assert!(killed > calls.len() / 2 && extras > 5, "{killed} of {} killed, {extras} extras", calls.len());
}

#[test]
fn a_rotate_of_gafaelfawr_survives_a_kill_at_every_system_call() {
    survives_a_kill_at_every_system_call(GAFAELFAWR);
}

#[test]
fn a_rotate_of_stackstate_survives_a_kill_at_every_system_call() {
    survives_a_kill_at_every_system_call(STACKSTATE);
}
