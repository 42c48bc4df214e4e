//! The private key that signs monitoring requests: where it comes from, which keys are accepted, and
//! why one is refused. The run's path through here touches no OpenSSL.

pub mod generate;
pub mod jwk;
pub mod load;
pub mod manage;
pub mod pair;
pub mod sign;
mod verify;

pub use jwk::{Algorithm, PrivateKey};
pub use load::KeySource;
