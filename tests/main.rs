//! The promises of the program, each tried on the real binary. One file for each promise.

mod support;

mod cache;
mod certificates;
mod check;
mod cli;
mod deploy;
mod docs;
mod exchange;
mod faults;
mod gafaelfawr;
mod keys;
mod metrics;
mod network;
mod pipelines;
mod properties;
mod reasons;
mod recorded;
mod rotate;
mod scale;
mod secrets;
mod stackstate;
mod supervise;
mod tls;
mod tokens;
mod wild;
