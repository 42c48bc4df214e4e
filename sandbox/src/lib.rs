//! `monitoring-sandbox`: a stand-in on loopback for Locate and a target server, for Gafaelfawr and for StackState. The
//! demo, the tests and users without a key use it.
//!
//! It makes the checks and responses of the real services; each file names the recording or specification that it
//! follows. It has no TLS: URLs under `wss` keys are `ws` URLs.

mod clock;
mod fault;
pub mod flags;
mod gafaelfawr;
mod go;
mod guard;
mod http;
mod jwt;
mod locate;
mod log;
pub mod probe;
mod random;
mod requests;
pub mod server;
mod stackstate;
mod target;
