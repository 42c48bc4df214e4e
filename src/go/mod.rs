//! The parts of Go's standard library that this program follows exactly, because the original and the programs around
//! it are Go programs. Pure rules, each with the file and the version that it follows; nothing here knows what they are
//! for.

pub(crate) mod csv;
pub mod duration;
pub mod flag;
pub(crate) mod proxy;
pub(crate) mod url;
