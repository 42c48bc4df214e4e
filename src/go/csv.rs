//! One line of comma-separated values (RFC 4180), as Go's `encoding/csv` reads the lists of `sts`: a field in
//! quotation marks may hold commas, and a quotation mark that is doubled.

/// The fields of a line, without surrounding whitespace and without empty ones; `None` if a quotation mark is
/// misplaced.
pub(crate) fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line.trim_start();
    loop {
        let (field, after) = rest.strip_prefix('"').map_or_else(|| plain_field(rest), quoted_field)?;
        if !field.is_empty() {
            fields.push(field);
        }
        match after.trim_start().strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None => return after.trim_start().is_empty().then_some(fields),
        }
    }
}

fn plain_field(rest: &str) -> Option<(String, &str)> {
    let (field, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
    (!field.contains('"')).then(|| (field.trim_end().to_owned(), after))
}

/// The field after an opening quotation mark, and the rest of the line.
fn quoted_field(mut rest: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Some((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fields;

    #[test]
    fn quotation_marks_protect_commas() {
        for (line, expected) in [
            ("a,b", &["a", "b"][..]),
            (" a , b ,, ", &["a", "b"]),
            ("", &[]),
            (r#""a,b",c"#, &["a,b", "c"]),
            (r#""say ""hi""""#, &["say \"hi\""]),
            (r#" "a" , "b c" "#, &["a", "b c"]),
            ("a b", &["a b"]),
        ] {
            assert_eq!(
                fields(line).as_deref(),
                Some(&expected.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>()[..]),
                "{line}"
            );
        }
        for line in [r#""a"#, r#"a"b"#, r#""a"b"#, r#"""#] {
            assert_eq!(fields(line), None, "{line}");
        }
    }
}
