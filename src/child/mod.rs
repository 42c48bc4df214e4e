//! The command: starting it in a session of its own, and staying with it until it and what it must not
//! leave behind are gone. Knows nothing of credentials; an environment is all that it gets.
//!
//! # Theory of operation
//!
//! One thread, one loop around `poll`. It wakes for a signal (ours to forward, or SIGCHLD), for output
//! that is kept, for the death of our parent, and for the next point in time: SIGTERM, SIGKILL, giving
//! up. That the leader has ended is seen without reaping it, so that its process group cannot be reused
//! while we still signal it; it is reaped once, at the very end.

pub(crate) mod command;
pub(crate) mod lookup;
mod output;
pub(crate) mod parent;
mod remains;
pub(crate) mod supervise;

pub(crate) use command::examine;
pub(crate) use command::{InputPolicy, Job, OutputPolicy, StartError};
pub(crate) use parent::Parent;
pub(crate) use supervise::{End, Supervised, supervise};
