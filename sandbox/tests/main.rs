//! The sandbox's program, over loopback.

mod access;
mod locate;
mod support;
