//! The entry point.
//!
//! It does not use Rust's runtime start-up, which ignores SIGPIPE before the inherited signals can be recorded, and
//! costs 44,000 instructions, 19 system calls and 0.1 ms (6 % of a run without exchange, 18 % of a cache hit); [`main`]
//! does the rest of its work.

#![no_main]
#![deny(unsafe_code)]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::panic::PanicHookInfo;

use monitoring_token::failure::ExitStatus;
use monitoring_token::sys::{descriptors, signal};
use monitoring_token::{dispatch, stdout};
use zeroizing_alloc::ZeroAlloc;

/// Zeroes every freed allocation, so that no copy of a key outlives its use.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

/// The entry point that the C library calls.
///
/// # Safety
/// `words` points to `count` pointers to NUL-terminated strings that outlive the call.
#[expect(unsafe_code, reason = "the C library has no safe way to be called by")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    signal::record_inherited();
    std::panic::set_hook(Box::new(end_on_panic));
    if descriptors::open_standard() {
        stdout::record_closed();
    }
    let count = usize::try_from(count).unwrap_or_default();
    let args = (1..count).map(|index| {
        // SAFETY: `index` is below `count`, and the caller guarantees the rest.
        let word = unsafe { CStr::from_ptr(*words.add(index)) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    });
    c_int::from(dispatch::main(args.collect::<Vec<OsString>>()).code())
}

/// In place of the C library's function, which a static program calls at its start: it reads `/proc/self/exe`, to find
/// libraries beside the program, and this program loads none. That took 14 % of a cache hit, and 7 % of a run without
/// exchange.
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
#[expect(unsafe_code, reason = "the C library finds it by its name")]
#[unsafe(no_mangle)]
extern "C" fn _dl_get_origin() -> *const c_char {
    // Unknown, as without /proc.
    std::ptr::without_provenance(usize::MAX)
}

/// Reports a bug as a failure of this program: an abort would look like a signal that ended the command. The place is
/// shown, the message is not, because it may contain a secret.
fn end_on_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
    let place = place.unwrap_or_default();
    let line = format!("monitoring-token: internal error{place}; please report it with the command line\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    std::process::exit(i32::from(ExitStatus::Failed.code()));
}
