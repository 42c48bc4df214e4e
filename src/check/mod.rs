//! `monitoring-token check`: what a run does before its command, step by step, for whoever looks for the
//! reason of a failure. No command is run.
//!
//! The request is the run's own, made by the same code with the same limits, so that `check` fails where
//! the run fails, with its status and its words. Each issuer says which steps there are, and gives their
//! [`Row`](checklist::Row)s.

mod checklist;
mod locate;
mod network;
mod target;
mod token;

pub(crate) use checklist::Check;
pub(crate) use locate::LOCATE;
pub(crate) use token::TOKEN;
