//! Clears memory that held a secret.

use std::ffi::{CStr, OsStr, c_char};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;

use zeroize::Zeroize as _;

/// Overwrites the value of `variable` in the environment block that the kernel shows in `/proc/PID/environ`. The
/// variable itself stays, with zero bytes for a value. Does nothing if there are other threads, which might read it at
/// the same time; no run has any.
pub(crate) fn overwrite_variable(variable: &str) {
    if has_other_threads() {
        return;
    }
    // SAFETY: there is no other thread, and this one does not start one here.
    unsafe { zero_in_environment(variable) };
}

fn has_other_threads() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1)
}

unsafe extern "C" {
    static environ: *const *mut c_char;
}

/// The variables of this process: each name, and `NAME=value` where the kernel has put it. With a copy of each, a run
/// with 100 KiB of them executed twice as many instructions.
pub(crate) fn environment() -> impl Iterator<Item = (&'static OsStr, &'static CStr)> {
    entries().filter_map(|entry| {
        // SAFETY: a NUL-terminated string that stays where it is (see `entries`). Only `overwrite_variable` changes one,
        // before the command is prepared.
        let entry = unsafe { CStr::from_ptr(entry) };
        // As in std: a name may begin with an equals sign, and entries that contain no other are skipped.
        let bytes = entry.to_bytes();
        let end = 1 + bytes.get(1..)?.iter().position(|&byte| byte == b'=')?;
        Some((OsStr::from_bytes(&bytes[..end]), entry))
    })
}

/// The strings of the environment block. Nothing in this program moves or frees them.
fn entries() -> impl Iterator<Item = *mut c_char> {
    // SAFETY: nothing in this program changes the pointer.
    let mut next = unsafe { environ };
    std::iter::from_fn(move || {
        // SAFETY: `environ` is null, or a null-terminated array of pointers to NUL-terminated strings (POSIX, `environ`).
        unsafe {
            let entry = next.as_ref().copied().filter(|entry| !entry.is_null())?;
            next = next.add(1);
            Some(entry)
        }
    })
}

/// # Safety
/// No other thread reads or changes the environment meanwhile.
unsafe fn zero_in_environment(variable: &str) {
    for entry in entries() {
        // SAFETY: this process may write to the string (POSIX, `environ`), and nothing else uses it, as the caller
        // guarantees.
        let bytes = unsafe { std::slice::from_raw_parts_mut(entry.cast::<u8>(), libc::strlen(entry)) };
        if let Some(value) = value_range(bytes, variable) {
            bytes[value].zeroize();
        }
    }
}

fn value_range(entry: &[u8], variable: &str) -> Option<Range<usize>> {
    let rest = entry.strip_prefix(variable.as_bytes())?.strip_prefix(b"=")?;
    Some(entry.len() - rest.len()..entry.len())
}

/// The part of the stack that is overwritten, at most.
const SCRUBBED_BYTES: usize = 64 * 1024;

/// Overwrites the part of the stack below the caller, where functions that have returned left copies of a key, as far
/// as the stack was ever used: each page beyond would cost a page fault.
#[inline(never)]
pub(crate) fn scrub_stack() {
    let mark = 0_u8;
    let here = std::hint::black_box(&raw const mark).addr();
    overwrite_stack(lowest_in_use(here));
}

/// The lowest address of the pages in use below `to`, without a gap and within [`SCRUBBED_BYTES`]; all of these count as
/// in use if the system does not tell.
fn lowest_in_use(to: usize) -> usize {
    const SMALLEST_PAGE_BYTES: usize = 4096;
    let from = to - SCRUBBED_BYTES;
    // SAFETY: sysconf accesses no memory of this program. (rustix would ask the kernel; the C library knows the size.)
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(SMALLEST_PAGE_BYTES);
    let (first, end) = (from & !(page - 1), to & !(page - 1));
    let mut in_use = [0_u8; SCRUBBED_BYTES / SMALLEST_PAGE_BYTES + 1];
    // SAFETY: the range consists of whole pages, and there is a byte for each of them.
    let failed =
        unsafe { libc::mincore(std::ptr::without_provenance_mut(first), end - first, in_use.as_mut_ptr()) }
            != 0;
    if failed {
        return from;
    }
    let pages = &in_use[..(end - first) / page];
    end - page * pages.iter().rev().take_while(|page| **page & 1 == 1).count()
}

/// Overwrites the stack from the caller down to `lowest`, and not much more.
#[inline(never)]
fn overwrite_stack(lowest: usize) {
    let mut area = std::mem::MaybeUninit::<[u8; 1024]>::uninit();
    // SAFETY: the pointer is to the whole array, and any bytes are a valid one. `black_box` keeps the
    // compiler from leaving the write out, and a whole-array write is a fast one.
    unsafe { area.as_mut_ptr().write_bytes(0, 1) };
    if std::hint::black_box(&raw const area).addr() > lowest {
        overwrite_stack(lowest);
    }
    // Still needed here: each call has a frame of its own.
    std::hint::black_box(&area);
}
