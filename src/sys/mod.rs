//! The system below Rust's standard library and rustix. All `unsafe` code is here, and so is all of libc: the
//! rest of the crate denies both. Each function here is safe to call, or says what its caller must see to.

#![expect(unsafe_code, reason = "this is the room for it")]

pub mod descriptors;
pub(crate) mod memory;
pub(crate) mod process;
pub mod signal;
