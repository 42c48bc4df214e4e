//! The private key that signs monitoring requests: how it is loaded, which keys are accepted, and why others are
//! refused. A run executes no OpenSSL code here.

pub(crate) mod algorithm;
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
