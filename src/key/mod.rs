//! The private key that signs monitoring requests: how it is loaded, which keys are accepted, and why others are
//! refused. A run executes no OpenSSL code here.

pub(crate) mod convert;
pub(crate) mod generate;
mod jwk;
pub(crate) mod load;
mod members;
mod pair;
mod rsa;
pub mod sign;

pub use convert::inspect;
pub(crate) use jwk::{ACCEPTED_EVERYWHERE, name_of};
pub use jwk::{Algorithm, PrivateKey};
pub use load::KeySource;
pub use members::Unusable;
