//! The binary: what has to be done before anything else, one exit status. No logic.
//!
//! It starts without Rust's runtime start-up, which ignores SIGPIPE before we could see what we inherited,
//! and reads all of `/proc/self/maps` to find the end of the stack; [`main`] does the rest of its work.

#![no_main]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt as _;

use monitoring_token::{dispatch, signal};
use zeroizing_alloc::ZeroAlloc;

/// Every freed allocation is zeroed, so that no copy of a key outlives its use.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

/// The entry point that the C library calls.
#[unsafe(no_mangle)]
pub extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    signal::record_inherited();
    open_standard_descriptors();
    let count = usize::try_from(argc).unwrap_or_default();
    let args = (1..count).map(|index| {
        // SAFETY: the C library passes `argc` pointers to NUL-terminated strings that outlive `main`.
        let arg = unsafe { CStr::from_ptr(*argv.add(index)) };
        OsStr::from_bytes(arg.to_bytes()).to_owned()
    });
    c_int::from(dispatch::main(args.collect::<Vec<OsString>>()).code())
}

/// A standard descriptor that is closed would be taken by the next file that is opened, and then written
/// to by mistake.
fn open_standard_descriptors() {
    for fd in 0..=2 {
        // SAFETY: both calls have no memory to be unsafe with; the lowest free descriptor is `fd`.
        unsafe {
            if libc::fcntl(fd, libc::F_GETFD) == -1 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
    }
}
