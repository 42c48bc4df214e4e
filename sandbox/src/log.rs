//! What it tells on stderr.

use std::io::Write as _;

/// Tells why something was rejected. A stderr that cannot be written to is no reason to stop.
pub(crate) fn rejected(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "monitoring-sandbox: rejected {what}: {why}");
}
