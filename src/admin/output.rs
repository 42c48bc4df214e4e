//! Output formats: tables, JSON, and files that hold a secret.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::failure::{Failure, system_error};
use crate::new_file::NewFile;
use crate::secret::{ExposeSecret as _, SecretString, clean_foreign, clean_json};

/// JSON, indented as by `sts`.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// As [`json`], for a list from a server: every text in it is made safe to show.
pub(crate) fn json_list(value: &impl Serialize) -> String {
    json(&clean_json(serde_json::to_value(value).unwrap_or_default()))
}

/// Padding of the last column.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastColumn {
    /// Without spaces at the end of a line.
    Trimmed,
    /// Padded, as `sts` does it.
    Padded,
}

/// Aligned columns; the first row is the header. Text from servers is made safe to show.
pub(crate) fn table(rows: &[Vec<String>], separator: &str, last: LastColumn) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean_foreign(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        let line = cells.join(separator);
        let _ = writeln!(text, "{}", if last == LastColumn::Trimmed { line.trim_end() } else { &line });
    }
    text
}

/// A new file for a secret. It is created before the secret, so that the secret cannot get lost, and removed unless it
/// is filled.
pub(crate) struct SecretFile {
    file: NewFile,
    flag: &'static str,
}

impl SecretFile {
    /// Creates the file that `flag` names. It must not exist yet.
    pub(crate) fn reserve(path: &Path, flag: &'static str) -> Result<SecretFile, Failure> {
        let file = NewFile::private(path).map_err(|error| unwritten(path, flag, &error))?;
        Ok(SecretFile { file, flag })
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn fill(&mut self, secret: &SecretString) -> Result<(), Failure> {
        self.file
            .write_line(secret.expose_secret())
            .map_err(|error| unwritten(self.file.path(), self.flag, &error))?;
        self.file.keep();
        Ok(())
    }
}

fn unwritten(path: &Path, flag: &str, error: &io::Error) -> Failure {
    let message = format!("cannot write {}: {}; check {flag}", path.display(), system_error(error));
    Failure::unwritten(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_foreign_text_is_printable() {
        let rows = [["ID", "NAME"], ["1", "long\n"], ["222", "é"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, " | ", LastColumn::Trimmed), "ID  | NAME\n1   | long\\n\n222 | é\n");
    }
}
