//! `cargo run --package xtask -- pages [FOLDER]` writes the man pages and the completions, from the
//! definitions of the flags and `packaging/man`.
//!
//! It fills FOLDER (`target/pages`): `man1/*.1`, and `completions/` with a file for bash, zsh and fish each.

mod completions;
mod man;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().as_deref() != Some("pages".as_ref()) {
        eprintln!("usage: cargo run --package xtask -- pages [FOLDER]");
        return ExitCode::from(2);
    }
    let target = args.next().map_or_else(|| root().join("target/pages"), PathBuf::from);
    let result =
        man::write(&target.join("man1")).and_then(|()| completions::write(&target.join("completions")));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Writes a file, and its folder if it is not there.
fn save(folder: &Path, name: &str, text: &[u8]) -> Result<(), String> {
    let path = folder.join(name);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| format!("{}: {error}", path.display()))
}
