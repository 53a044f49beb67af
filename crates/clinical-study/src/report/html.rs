//! A page as one HTML file: no script, no file beside it.

use std::fmt::Write as _;

use super::{Block, Page};

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1a202c}\
table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums;display:block;overflow-x:auto}\
th,td{border:1px solid #cbd5e0;padding:.25rem .6rem;text-align:left}th{background:#edf2f7}img{max-width:100%}";

/// The page with an SVG picture in it.
pub(crate) fn html(page: &Page, svg: &[u8]) -> String {
    let title = escaped(&page.title);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    for block in &page.blocks {
        // Writing to a string cannot fail.
        let _ = match block {
            Block::Heading(text) => writeln!(out, "<h2>{}</h2>", escaped(text)),
            Block::Text(text) => writeln!(out, "<p>{}</p>", escaped(text)),
            Block::Picture(text) => writeln!(
                out,
                "<p><img alt=\"{}\" src=\"data:image/svg+xml;base64,{}\"></p>",
                escaped(text),
                base64(svg)
            ),
            Block::Table { head, rows } => {
                let cells = |cells: &[String], tag: &str| {
                    let cells = cells
                        .iter()
                        .map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell)));
                    format!("<tr>{}</tr>\n", cells.collect::<String>())
                };
                let rows: String = rows.iter().map(|row| cells(row, "td")).collect();
                writeln!(out, "<table>\n{}{rows}</table>", cells(head, "th"))
            }
        };
    }
    out + "</body>\n</html>\n"
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let value = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            out.push(match digit <= group.len() {
                true => char::from(DIGITS[(value >> (18 - 6 * digit) & 63) as usize]),
                false => '=',
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::markdown;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, wanted) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), wanted);
        }
    }

    #[test]
    fn labels_are_text_and_nothing_else() {
        let hostile = "<script>alert('x')</script>|`a`\n# b";
        let page = Page {
            title: hostile.to_owned(),
            blocks: vec![
                Block::Text(hostile.to_owned()),
                Block::Picture(hostile.to_owned()),
                Block::Table {
                    head: vec![hostile.to_owned()],
                    rows: vec![vec![hostile.to_owned()]],
                },
            ],
        };
        let text = html(&page, b"<svg/>");
        assert!(!text.contains("<script") && !text.contains("alert('"));
        assert_eq!(text.matches("&lt;script&gt;").count(), 6);
        let text = markdown(&page);
        assert!(!text.contains("<script") && !text.contains("|`") && !text.contains("\n# b"));
        let rows = text.lines().filter(|line| line.starts_with("| "));
        assert_eq!(rows.count(), 2);
    }
}
