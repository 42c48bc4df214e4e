//! Random bytes, from the system.

use ring::rand::{SecureRandom as _, SystemRandom};

pub(crate) const NO_RANDOM: &str = "the system random number generator failed";

pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), &'static str> {
    SystemRandom::new().fill(bytes).map_err(|_| NO_RANDOM)
}
