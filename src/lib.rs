//! Gives a monitoring job a short-lived credential, runs the job, and leaves nothing behind.
//!
//! # How a run flows
//!
//! ```text
//! argv, environment -> cli -> config -> issuer -> Lease -> child -> ExitStatus
//!                                         |                  |
//!                                       key, http          signal
//! ```
//!
//! [`cli`] knows shapes, [`config`] knows rules, [`issuer`] knows issuers, [`child`] knows processes. Only [`run`]
//! knows issuers and processes; [`admin`] is for people who keep keys and service tokens, [`check`] for those on call.
//! Nothing below [`config`] reads the environment, and nothing below `main` exits. Code that talks to the system
//! without Rust's guarantees is in [`sys`].

#![deny(unsafe_code)]
// The library is for the program and its tests. A comment says what a name does not.
#![allow(missing_docs)]
#![warn(unreachable_pub)]

mod admin;
mod cache;
mod check;
mod child;
pub mod cli;
mod config;
mod date;
mod deadline;
pub mod dispatch;
mod explain;
pub mod failure;
pub mod go;
pub mod http;
pub mod issuer;
pub mod key;
mod log;
mod metrics;
mod new_file;
mod owner;
mod random;
mod read;
pub mod reason;
mod run;
pub mod secret;
pub mod stdout;
pub mod sys;
mod terminal;
pub mod until;

pub const VERSION: &str = env!("MONITORING_TOKEN_VERSION");
