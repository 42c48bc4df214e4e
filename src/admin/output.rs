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

/// Aligned columns below a header. Text from servers is made safe to show.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>, separator: &str) -> String {
    let rows = std::iter::once(head.map(str::to_owned)).chain(rows);
    let rows: Vec<[String; N]> = rows.map(|row| row.map(|cell| printable(&scrub_known(&cell)))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let line = cells.join(separator);
        // `sts` has visible separators, and pads the last column, too.
        let _ = writeln!(text, "{}", if separator.trim().is_empty() { line.trim_end() } else { &line });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_foreign_text_is_printable() {
        let rows = [["1", "long\n"], ["222", "é"]].map(|row| row.map(str::to_owned));
        let shown = |separator| table(["ID", "NAME"], rows.to_vec(), separator);
        assert_eq!(shown("  "), "ID   NAME\n1    long\\n\n222  é\n");
        assert_eq!(shown(" | "), "ID  | NAME  \n1   | long\\n\n222 | é     \n");
    }
}
