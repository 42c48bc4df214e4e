//! Secrets: tokens and keys that must not be shown, what may be shown of the text around them, and what
//! is left of them in memory.

mod memory;
mod redact;

pub use memory::{scrub_stack, zero_in_environment};
pub use redact::{REDACTED, redact_bytes, redact_text, redact_url};
pub use secrecy::{ExposeSecret, SecretString};
