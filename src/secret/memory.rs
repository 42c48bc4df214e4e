//! Overwriting the copies of a secret that no type of ours owns.

use std::ops::Range;

use zeroize::Zeroize as _;

/// Overwrites the value of `variable` in the environment block that the kernel shows in
/// `/proc/PID/environ`. The variable itself stays, with zero bytes for a value.
pub fn zero_in_environment(variable: &str) {
    unsafe extern "C" {
        static environ: *const *mut libc::c_char;
    }
    // SAFETY: called before any other thread exists; `environ` is a null-terminated array of pointers
    // to NUL-terminated strings, which are ours to write to (POSIX, `environ`).
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let length = libc::strlen(*entry);
            let bytes = std::slice::from_raw_parts_mut((*entry).cast::<u8>(), length);
            if let Some(value) = value_range(bytes, variable) {
                bytes[value].zeroize();
            }
            entry = entry.add(1);
        }
    }
}

fn value_range(entry: &[u8], variable: &str) -> Option<Range<usize>> {
    let rest = entry.strip_prefix(variable.as_bytes())?.strip_prefix(b"=")?;
    Some(entry.len() - rest.len()..entry.len())
}

/// Overwrites the part of the stack below the caller, where functions that have returned left copies
/// of a key.
#[inline(never)]
pub fn scrub_stack() {
    const SCRUBBED_BYTES: usize = 32 * 1024;
    let mut area = std::mem::MaybeUninit::<[u8; SCRUBBED_BYTES]>::uninit();
    // SAFETY: the pointer is to the whole array, and any bytes are a valid one. `black_box` keeps the
    // compiler from leaving the write out, and a whole-array write is a fast one.
    unsafe { area.as_mut_ptr().write_bytes(0, 1) };
    std::hint::black_box(&area);
}
