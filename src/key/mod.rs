//! The private key that signs monitoring requests: where it comes from, which keys are accepted, and
//! why one is refused. The run's path through here touches no OpenSSL.

pub mod convert;
pub mod generate;
pub mod inspect;
pub mod jwk;
pub mod load;
pub mod pair;
pub mod sign;

pub use jwk::{Algorithm, PrivateKey, Refusal};
pub use load::KeySource;
