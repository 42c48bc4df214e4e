//! The binary: what has to be done before anything else, one exit status. No logic.
//!
//! It starts without Rust's runtime start-up, which ignores SIGPIPE before we could see what we inherited,
//! and reads all of `/proc/self/maps` to find the end of the stack; [`main`] does the rest of its work.

#![no_main]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::panic::PanicHookInfo;

use monitoring_token::exit::ExitStatus;
use monitoring_token::{dispatch, signal, stdout};
use zeroizing_alloc::ZeroAlloc;

/// Every freed allocation is zeroed, so that no copy of a key outlives its use.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

/// The entry point that the C library calls.
///
/// # Safety
/// `words` points to `count` pointers to NUL-terminated strings that outlive the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    signal::record_inherited();
    std::panic::set_hook(Box::new(end_on_panic));
    keep_freed_memory();
    open_standard_descriptors();
    let count = usize::try_from(count).unwrap_or_default();
    let args = (1..count).map(|index| {
        // SAFETY: `index` is below `count`; the rest is what the caller promises.
        let word = unsafe { CStr::from_ptr(*words.add(index)) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    });
    c_int::from(dispatch::main(args.collect::<Vec<OsString>>()).code())
}

/// What is freed serves the next allocation, whatever its size: a fresh page costs more than what is done
/// with it. Before the command starts, all of it goes back (`run`).
fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) only sets the allocator's own parameters, and nothing else runs yet.
    unsafe {
        const MORE_THAN_AN_ANSWER: c_int = 16 * 1024 * 1024;
        libc::mallopt(libc::M_MMAP_THRESHOLD, MORE_THAN_AN_ANSWER);
        libc::mallopt(libc::M_TRIM_THRESHOLD, MORE_THAN_AN_ANSWER);
    }
}

/// A bug of ours is a failure of ours: an abort would read as a signal that ended the command. The
/// place is shown, the message is not: it may contain a secret.
fn end_on_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
    let place = place.unwrap_or_default();
    let line = format!("monitoring-token: internal error{place}; please report it with the command line\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    std::process::exit(i32::from(ExitStatus::Failed.code()));
}

/// A standard descriptor that is closed would be taken by the next file that is opened, and then written
/// to by mistake.
fn open_standard_descriptors() {
    for fd in 0..=2 {
        // SAFETY: both calls have no memory to be unsafe with; the lowest free descriptor is `fd`.
        unsafe {
            if libc::fcntl(fd, libc::F_GETFD) == -1 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
                if fd == libc::STDOUT_FILENO {
                    stdout::record_closed();
                }
            }
        }
    }
}
