//! Output formats: tables and JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::secret::{is_invisible, map_texts, printable, scrub_known};

/// JSON, indented as by `sts`.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// As [`json`], for a list from a server. Its texts stay what they are, without the secrets of this run.
pub(crate) fn json_list(value: &impl Serialize) -> String {
    let text = json(&map_texts(serde_json::to_value(value).unwrap_or_default(), scrub_known));
    // JSON itself escapes only the control characters of ASCII.
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || !is_invisible(c) {
            escaped.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped
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
        rows.iter().map(|row| row.iter().map(|cell| printable(&scrub_known(cell))).collect()).collect();
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
