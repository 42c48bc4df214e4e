//! Foreign text with a token in it: the signature is never shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitoring_token::error::printable;
use monitoring_token::secret::redact_text;

const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJtb25pdG9yaW5nIn0.0123456789-signature_0123456789";

fuzz_target!(|input: (&str, &str)| {
    let shown = printable(&redact_text(&format!("{}{TOKEN}{}", input.0, input.1)));
    assert!(!shown.contains("0123456789-signature_0123456789"), "{shown}");
    assert!(!shown.chars().any(char::is_control));
});
