//! Finds the programs to measure. They are the ones that ship: Cargo builds others for a benchmark, with the features
//! of the development dependencies.

use std::path::PathBuf;

/// A program of `make build` or its neighbors, in the folder that the Makefile names in `RELEASE`.
pub fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("RELEASE").expect("RELEASE names the folder of the programs; run make");
    let program = PathBuf::from(folder).join(name);
    assert!(program.is_absolute() && program.exists(), "{} is missing: make build", program.display());
    program
}
