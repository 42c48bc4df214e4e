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
//! Only [`run`] knows issuers and processes; [`admin`] is for people who keep service tokens, [`check`] for
//! those on call. Nothing below [`config`] reads the environment, and nothing below `main` exits.

pub mod admin;
pub mod cache;
pub mod check;
pub mod child;
pub mod cli;
pub mod config;
pub mod credential;
pub mod date;
pub mod deadline;
pub mod dispatch;
pub mod error;
pub mod exit;
pub mod http;
pub mod key;
pub mod log;
pub mod metrics;
pub mod read;
pub mod run;
pub mod sandbox;
pub mod secret;
pub mod signal;
pub mod source;
pub mod stdout;
pub mod wait;

/// Version, commit and date of the commit.
pub const VERSION: &str = env!("MONITORING_TOKEN_VERSION");
