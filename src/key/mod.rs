//! The private key that signs monitoring requests: where it comes from, which keys are accepted, and
//! why one is refused. The run's path through here touches no OpenSSL.

mod algorithm;
pub(crate) mod convert;
pub(crate) mod generate;
pub mod inspect;
mod jwk;
pub(crate) mod load;
mod members;
mod pair;
mod rsa;
pub mod sign;

pub use algorithm::Algorithm;
pub use jwk::PrivateKey;
pub use load::KeySource;
pub use members::Unusable;
