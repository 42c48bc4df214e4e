//! Gives a monitoring job a short-lived credential, runs the job, and leaves nothing behind.
//!
//! # How a run flows
//!
//! ```text
//! argv, environment -> cli -> config -> source -> Lease -> child -> ExitStatus
//!                                         |                  |
//!                                       key, http          signal
//! ```
//!
//! [`cli`] knows shapes, [`config`] knows rules, [`source`] knows issuers, [`child`] knows processes.
//! Only [`run`] knows issuers and processes; [`admin`] is for people who keep keys and service tokens, [`check`] for
//! those on call. Nothing below [`config`] reads the environment, and nothing below `main` exits. What talks to the
//! system without Rust's guarantees is in [`sys`].

#![deny(unsafe_code)]

mod admin;
mod cache;
mod check;
mod child;
pub mod cli;
mod config;
mod credential;
mod csv;
mod date;
mod deadline;
pub mod dispatch;
pub mod duration;
pub mod error;
pub mod exit;
mod explain;
pub mod failure;
mod go_url;
pub mod http;
pub mod key;
mod log;
mod metrics;
mod new_file;
mod random;
mod read;
mod run;
pub mod secret;
pub mod source;
pub mod stdout;
pub mod sys;
mod wait;

use sys::readable;
pub use sys::signal;

/// Version, commit and date of the commit.
pub const VERSION: &str = env!("MONITORING_TOKEN_VERSION");
