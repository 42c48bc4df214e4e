//! Real peers: other people's programs and libraries, pinned, installed by `scripts/peers.sh`. Prints a
//! table of peers, checks and results; any failure fails the run.

#[path = "../support/mod.rs"]
mod support;

mod chains;
mod flags;
mod go;
mod keys;
mod rules;
mod stackstate;

use std::path::{Path, PathBuf};

/// The result of a check: a clause for the table, or the problem.
type Found = Result<String, String>;

/// One row of the table.
#[derive(Clone, Copy)]
struct Check {
    peer: &'static str,
    claim: &'static str,
    run: fn(&Peers) -> Found,
}

/// Where the peers are.
struct Peers {
    folder: PathBuf,
}

impl Peers {
    fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }
}

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers");
    let peers = Peers { folder };
    let checks = [keys::CHECKS, flags::CHECKS, rules::CHECKS, chains::CHECKS, stackstate::CHECKS].concat();
    let mut failed = 0;
    println!("{:<24} {:<72} result", "peer", "check");
    for check in &checks {
        let result = (check.run)(&peers);
        let shown = match &result {
            Ok(found) => format!("ok: {found}"),
            Err(wrong) => format!("FAILED: {wrong}"),
        };
        println!("{:<24} {:<72} {shown}", check.peer, check.claim);
        failed += usize::from(result.is_err());
    }
    println!("\n{} passed, {failed} failed", checks.len() - failed);
    assert!(failed == 0, "{failed} checks failed");
}
