//! The programs that are measured: those that ship, and not those that Cargo builds beside a benchmark, where the
//! features of development dependencies count, too.

use std::path::PathBuf;

/// A program of `make build` or its neighbors, in the folder that the Makefile names in `RELEASE`.
pub fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("RELEASE").expect("RELEASE names the folder of the programs; run make");
    let program = PathBuf::from(folder).join(name);
    assert!(program.is_absolute() && program.exists(), "{} is missing: make build", program.display());
    program
}
