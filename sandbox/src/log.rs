//! The sandbox's lines on stderr.

use std::io::Write as _;

/// Logs why something was rejected. A failing stderr does not stop the sandbox.
pub(crate) fn rejected(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "monitoring-sandbox: rejected {what}: {why}");
}
