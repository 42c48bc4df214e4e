//! The command's life: exit status, signals, the timeout, and remaining processes.

mod deadline;
mod inherit;
mod limits;
mod output;
mod parent;
mod signals;
mod status;
mod stress;
mod terminal;
mod timeout;

use crate::support::job::{
    Job, SlowLocate, before_exec, check, is_alive, key, make_fifo, state, status_of, wait_until_gone,
    wait_until_open, without_exchange,
};
