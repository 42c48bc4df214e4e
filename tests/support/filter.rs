//! System call filters, such as a container has.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Gives the program, and what it starts, a filter of system calls with this verdict on these (seccomp(2)).
pub fn system_calls(command: &mut Command, calls: &[libc::c_long], verdict: u32) {
    let judge = calls
        .iter()
        .flat_map(|call| [step(EQUALS, 1, u32::try_from(*call).unwrap()), step(GIVE, 0, verdict)]);
    set(command, std::iter::once(step(LOAD, 0, 0)).chain(judge).collect());
}

/// Makes clone(2) fail with EINVAL, as emulators do: if its flags have a bit of `mask`, or, without `with`, if they have none.
pub fn children(command: &mut Command, mask: u32, with: bool) {
    const FLAGS_ARGUMENT: u32 = 16;
    let refuse = step(GIVE, 0, libc::SECCOMP_RET_ERRNO | libc::EINVAL.unsigned_abs());
    let allow = step(GIVE, 0, libc::SECCOMP_RET_ALLOW);
    let mut judge = vec![step(LOAD, 0, FLAGS_ARGUMENT), step(ANY_OF, 1, mask)];
    judge.extend(if with { vec![refuse] } else { vec![allow, refuse] });
    let is_clone = step(EQUALS, u8::try_from(judge.len()).unwrap(), u32::try_from(libc::SYS_clone).unwrap());
    set(command, [vec![step(LOAD, 0, 0), is_clone], judge].concat());
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const EQUALS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const ANY_OF: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const GIVE: u32 = libc::BPF_RET | libc::BPF_K;

fn step(code: u32, skip_unless: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap(), jt: 0, jf: skip_unless, k }
}

fn set(command: &mut Command, mut filter: Vec<libc::sock_filter>) {
    filter.push(step(GIVE, 0, libc::SECCOMP_RET_ALLOW));
    // SAFETY: it only makes system calls.
    unsafe { command.pre_exec(move || install(&filter)) };
}

/// Gives this process, and what it becomes, the filter.
fn install(filter: &[libc::sock_filter]) -> std::io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap_or_default(),
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the pointer is to a program of that length, which the kernel copies.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if set { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
