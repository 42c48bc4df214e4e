//! Text with a token in it: the signature is never shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitoring_token::failure::printable;
use monitoring_token::secret::Secrets;

const SIGNATURE: &str = "0123456789-signature_0123456789";

fuzz_target!(|input: (&str, &str)| {
    let (before, after) = input;
    // A signature alone is like any other word.
    if [before, after].iter().any(|text| text.contains(SIGNATURE)) {
        return;
    }
    let token = format!("eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJtb25pdG9yaW5nIn0.{SIGNATURE}");
    let shown = printable(&Secrets::new().scrub(&format!("{before}{token}{after}")));
    assert!(!shown.contains(SIGNATURE), "{shown}");
    assert!(!shown.chars().any(char::is_control));
});
