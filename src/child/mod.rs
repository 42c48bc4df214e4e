//! Starts the command in a session of its own and supervises it until it and its process group are gone. Knows nothing
//! about credentials: it gets a ready environment.
//!
//! # Theory of operation
//!
//! One thread runs one loop around `poll`. It wakes for a signal (one to forward, or SIGCHLD), for output to keep or
//! pass on, for the death of the parent, and for the next deadline: SIGTERM, SIGKILL, giving up. The end of the command
//! is noticed without reaping it, so that its process group ID cannot be reused while signals are still sent to it; it
//! is reaped once, at the very end.

pub(crate) mod command;
pub(crate) mod lookup;
mod output;
mod remains;
pub(crate) mod supervise;

pub(crate) use command::examine;
pub(crate) use command::{InputPolicy, Job, OutputPolicy, StartError};
pub(crate) use supervise::{End, Ended, Interference, Supervised, supervise};
