//! A sandbox around one program, as that of a container.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Gives the program, and what it starts, a filter of system calls with this verdict on these (seccomp(2)).
pub fn system_calls(command: &mut Command, calls: &[libc::c_long], verdict: u32) {
    let step = |code: u32, skip_unless: u8, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: 0,
        jf: skip_unless,
        k,
    };
    let load = step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0);
    let give = |verdict| step(libc::BPF_RET | libc::BPF_K, 0, verdict);
    let judge = calls.iter().flat_map(|call| {
        let is_it = step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, u32::try_from(*call).unwrap());
        [is_it, give(verdict)]
    });
    let filter: Vec<_> = std::iter::once(load).chain(judge).chain([give(libc::SECCOMP_RET_ALLOW)]).collect();
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
