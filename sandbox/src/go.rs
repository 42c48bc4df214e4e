//! URL parsing and formatting of Go's standard library (`net/url`, `path`, `net/http`), because Locate and the target
//! servers are Go programs.

use std::fmt::Write as _;

/// Replaces the escapes of a path (`url.PathUnescape`); `None` if one is invalid.
pub(crate) fn unescape_path(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut unescaped = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        unescaped.push(if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            u8::try_from(digit()? * 16 + digit()?).ok()?
        } else {
            byte
        });
    }
    Some(unescaped)
}

/// The parameters of a query or a form (`url.ParseQuery`). Parameters with a semicolon or an invalid escape are left
/// out.
pub(crate) fn parse_query(query: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let unescape = |text: &str| unescape_path(&text.replace('+', " "));
    let parameters = query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';'));
    let parse = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((unescape(name)?, unescape(value)?))
    };
    parameters.filter_map(parse).collect()
}

/// The value of the first parameter of this name, empty if there is none (`url.Values.Get`).
pub(crate) fn first_value(parameters: &[(Vec<u8>, Vec<u8>)], name: &str) -> String {
    let found = parameters.iter().find(|(given, _)| given == name.as_bytes());
    found.map_or_else(String::new, |(_, value)| String::from_utf8_lossy(value).into_owned())
}

/// Escapes a name or a value of a query (`url.QueryEscape`).
pub(crate) fn escape_query(bytes: &[u8]) -> String {
    let mut escaped = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(byte.into()),
            b' ' => escaped.push('+'),
            _ => {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

/// Removes empty elements, `.` and `..` from an absolute path, and keeps a final slash (`net/http`, cleanPath).
pub(crate) fn clean_path(path: &str) -> String {
    let mut elements = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." => {
                elements.pop();
            }
            name => elements.push(name),
        }
    }
    let slash = if path.ends_with('/') && !elements.is_empty() { "/" } else { "" };
    format!("/{}{slash}", elements.join("/"))
}

/// The last two elements of a path, as Locate reads a service from it (`path.Base`, `path.Dir`): a final slash
/// makes the last one count twice.
pub(crate) fn last_two(path: &str) -> (String, String) {
    let base = |path: &str| path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    (base(&clean_path(folder)), base(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_and_written_as_go_does() {
        let read = |query| {
            let pair = |(name, value): &(Vec<u8>, Vec<u8>)| escape_query(name) + "=" + &escape_query(value);
            parse_query(query).iter().map(pair).collect::<Vec<_>>().join("&")
        };
        for (query, expected) in [
            ("", ""),
            ("a=2&a=1&b=", "a=2&a=1&b="),
            ("x=a+b&y=%C3%A9%26&z=%2F&q", "x=a+b&y=%C3%A9%26&z=%2F&q="),
            ("a=1;b=2&c=3", "c=3"),
            ("a=%zz&b=%4&c=%ff&d=%+1", "c=%FF"),
            ("&&=v&a==b", "=v&a=%3Db"),
            ("a=~*'()", "a=~%2A%27%28%29"),
        ] {
            assert_eq!(read(query), expected, "{query}");
        }
    }

    #[test]
    fn paths_are_cleaned_and_taken_apart_as_go_does() {
        for (path, clean) in [
            ("//v2//x", "/v2/x"),
            ("/a/../b", "/b"),
            ("/a/..", "/"),
            ("/a/./b/", "/a/b/"),
            ("/../..", "/"),
            ("/", "/"),
            ("//", "/"),
            ("/a%2F../b", "/a%2F../b"),
        ] {
            assert_eq!(clean_path(path), clean, "{path}");
        }
        for (path, experiment, datatype) in [
            ("/m/ndt/ndt7", "ndt", "ndt7"),
            ("/m/ndt/ndt7/", "ndt7", "ndt7"),
            ("/m/ndt", "m", "ndt"),
            ("/m/", "m", "m"),
            ("/m/ndt//ndt7", "ndt", "ndt7"),
        ] {
            assert_eq!(last_two(path), (experiment.to_owned(), datatype.to_owned()), "{path}");
        }
    }
}
