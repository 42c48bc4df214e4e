//! The private key that signs monitoring requests: where it comes from, which keys are accepted, and
//! why one is refused. The run's path through here touches no OpenSSL.

pub mod algorithm;
pub mod convert;
pub mod generate;
pub mod inspect;
pub mod jwk;
pub mod load;
mod members;
pub mod pair;
mod rsa;
pub mod sign;

pub use algorithm::Algorithm;
pub use jwk::PrivateKey;
pub use load::KeySource;
pub use members::Unusable;
