//! Limits how much text from others a message quotes.

use reqwest::header::HeaderValue;

use crate::secret;

const SHOWN_TEXT: usize = 200;
/// How many characters of a body that is not JSON are shown.
const SHOWN_BODY: usize = 80;
/// How many bytes of it are read: the text of a page follows its styles and scripts.
const READ_BODY: usize = 64 * 1024;
/// How many characters of a name from the user, such as a key ID, are shown.
const SHOWN_NAME: usize = 64;

/// Text from others, safe to show: on one line, without tokens, and not too long.
pub(super) fn shown(text: &str) -> String {
    secret::shown(text, SHOWN_TEXT)
}

/// The Location of a redirect, which may hold a session.
pub(super) fn shown_location(location: &HeaderValue) -> String {
    shown(&secret::redact_reference(&String::from_utf8_lossy(location.as_bytes())))
}

pub(super) fn quoted_name(name: &str) -> String {
    secret::quoted(name.as_bytes(), SHOWN_NAME)
}

/// The beginning of a body that is not JSON, quoted; for an HTML page, its title and text.
pub(super) fn first_words(body: &[u8]) -> String {
    let body = &body[..body.len().min(READ_BODY)];
    let text = String::from_utf8_lossy(body);
    if !is_html(&text) {
        return secret::quoted(body, SHOWN_BODY);
    }
    // Before lines are joined, which would hide a wrapped secret; secrets between markup are found later.
    let page = html_text(&secret::scrub(&text));
    if page.is_empty() {
        "an HTML page".to_owned()
    } else {
        format!("HTML page {}", secret::quoted(page.as_bytes(), SHOWN_BODY))
    }
}

fn is_html(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let begins = |tag: &str| text.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag));
    let is_markup = ["<!doctype html", "<html", "<head", "<body", "<title", "<h1"].into_iter().any(begins);
    // XHTML, and pages that begin with a comment.
    is_markup || ((begins("<?xml") || begins("<!--")) && find_ignoring_case(text, "<html").is_some())
}

fn find_ignoring_case(text: &str, needle: &str) -> Option<usize> {
    text.as_bytes().windows(needle.len()).position(|window| window.eq_ignore_ascii_case(needle.as_bytes()))
}

/// Title and text of an HTML page, without markup, scripts and styles.
fn html_text(page: &str) -> String {
    let (mut title, mut text) = (String::new(), String::new());
    let mut in_title = false;
    let mut rest = page.trim_start_matches('\u{feff}');
    while !rest.is_empty() {
        let (words, markup) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
        let part = if in_title { &mut title } else { &mut text };
        part.push_str(words);
        let name: &str = markup.get(1..).unwrap_or_default();
        let name = &name[..name.find(|c: char| !c.is_ascii_alphanumeric() && c != '/').unwrap_or(name.len())];
        // The end tag of an element whose content is not text.
        let end = match name.to_ascii_lowercase().as_str() {
            "script" => "</script",
            "style" => "</style",
            _ if markup.starts_with("<!--") => "-->",
            _ => "",
        };
        match name.to_ascii_lowercase().as_str() {
            "title" => in_title = true,
            "/title" => in_title = false,
            // These tags may be within a word.
            "b" | "/b" | "i" | "/i" | "em" | "/em" | "a" | "/a" | "span" | "/span" | "code" | "/code" => {}
            _ => text.push(' '),
        }
        let skipped = if end.is_empty() { Some(0) } else { find_ignoring_case(markup, end) };
        let markup = &markup[skipped.unwrap_or(markup.len())..];
        rest = markup.find('>').map_or("", |at| &markup[at + 1..]);
    }
    let plain = |text: String| unescape(&text).split_whitespace().collect::<Vec<_>>().join(" ");
    let (title, text) = (plain(title), plain(text));
    let text = text.strip_prefix(&title).unwrap_or(&text).trim_start();
    if title.is_empty() || text.is_empty() { format!("{title}{text}") } else { format!("{title}: {text}") }
}

fn unescape(text: &str) -> String {
    let mut text = text.replace("&nbsp;", " ");
    for (reference, character) in
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&#x27;", "'")]
    {
        text = text.replace(reference, character);
    }
    text.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::first_words;

    #[test]
    fn an_html_page_is_shown_as_its_title_and_text() {
        for (page, expected) in [
            ("no page", "\"no page\""),
            (
                "<html><title>502 Bad Gateway</title><body><h1>502 Bad Gateway</h1><hr>nginx",
                "HTML page \"502 Bad Gateway: nginx\"",
            ),
            (
                "\u{feff}\n<!DOCTYPE html>\n<HTML lang=en><style>*{margin:0}</style><p><b>404.</b> <ins>That&#39;s an error.</ins>",
                "HTML page \"404. That's an error.\"",
            ),
            (
                "<!-- hi --><html><script>if (a<b) alert('no')</script><body>a &amp;lt; b",
                "HTML page \"a &lt; b\"",
            ),
            (
                "<?xml version=\"1.0\"?><html xmlns=\"x\"><head><title>Log in</title></head></html>",
                "HTML page \"Log in\"",
            ),
            ("<!doctype html><img src=x>", "an HTML page"),
            ("<html", "an HTML page"),
            ("<Error><Code>NoSuchKey</Code></Error>", "\"<Error><Code>NoSuchKey</Code></Error>\""),
        ] {
            assert_eq!(first_words(page.as_bytes()), expected, "{page}");
        }
    }
}
