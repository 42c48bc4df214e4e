//! Writes the man pages and the completions, from the definitions of the flags and `packaging/man`.
//!
//! `cargo run --example pages` fills `target/pages`: `man1/*.1`, and `completions/` with a file for bash,
//! zsh and fish each. An example, so that nothing of it is linked into a run.

mod completions;
mod man;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let target = std::env::args_os()
        .nth(1)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pages"), PathBuf::from);
    let result =
        man::write(&target.join("man1")).and_then(|()| completions::write(&target.join("completions")));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("pages: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Writes a file, and its folder if it is not there.
fn save(folder: &Path, name: &str, text: &[u8]) -> Result<(), String> {
    let path = folder.join(name);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| format!("{}: {error}", path.display()))
}
