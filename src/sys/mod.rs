//! System interfaces below Rust's standard library and rustix. All uses of `unsafe` and libc are here; the rest of the
//! crate denies both. Each function is safe to call, or documents the conditions.

#![expect(unsafe_code, reason = "this is the room for it")]

pub mod descriptors;
pub(crate) mod memory;
pub(crate) mod process;
pub mod signal;
pub(crate) mod vector;
