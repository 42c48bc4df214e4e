//! How results are shown: tables, JSON, and files that hold a secret.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Failure, printable};
use crate::exit::ExitStatus;
use crate::secret::{ExposeSecret as _, SecretString};

/// `--output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// JSON, indented as `sts` does it.
pub fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Rows in columns that are aligned, the first row being the head; foreign text made printable.
pub fn table(rows: &[Vec<String>], separator: &str) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "{}", cells.join(separator).trim_end());
    }
    text
}

/// A new file for a secret, 0600 from the first byte. It is there before the secret is made, so that none
/// is made in vain; unless it is filled, it goes away.
pub struct SecretFile {
    path: PathBuf,
    flag: &'static str,
    file: File,
    filled: bool,
}

impl SecretFile {
    /// Makes the file that `flag` names, which must not be there yet.
    pub fn reserve(path: PathBuf, flag: &'static str) -> Result<SecretFile, Failure> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match file {
            Ok(file) => Ok(SecretFile { path, flag, file, filled: false }),
            Err(error) => Err(unwritten(&path, flag, &error)),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the secret and a newline.
    pub fn fill(&mut self, secret: &SecretString) -> Result<(), Failure> {
        self.file
            .write_all(secret.expose_secret().as_bytes())
            .and_then(|()| self.file.write_all(b"\n"))
            .and_then(|()| self.file.sync_all())
            .map_err(|error| unwritten(&self.path, self.flag, &error))?;
        self.filled = true;
        Ok(())
    }
}

fn unwritten(path: &Path, flag: &str, error: &std::io::Error) -> Failure {
    Failure {
        stage: None,
        status: ExitStatus::Failed,
        message: format!("cannot write {}: {error}; see {flag}", path.display()),
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        if !self.filled {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_foreign_text_is_printable() {
        let rows = [["ID", "NAME"], ["1", "long\n"], ["222", "é"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, " | "), "ID  | NAME\n1   | long\\n\n222 | é\n");
    }
}
