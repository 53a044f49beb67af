//! Notes as FHIR R4 carries them: a `DocumentReference` with its text in an attachment, alone or in a `Bundle`.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// A note and the id of its resource.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) id: Option<String>,
    pub(crate) text: Arc<str>,
}

/// Why a resource has no note. No message quotes the resource.
#[derive(Debug, PartialEq)]
pub(crate) struct NoNote {
    /// The entry of a bundle, counted from 0.
    entry: Option<usize>,
    reason: String,
}

impl NoNote {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            entry: None,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for NoNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(entry) = self.entry {
            write!(f, "entry {entry} of the bundle: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// The notes of a `DocumentReference`, or of all those of a `Bundle`, at most `limit`. Other resources of a bundle are
/// passed over.
pub(crate) fn documents(resource: &Value, limit: usize) -> Result<Vec<Document>, NoNote> {
    match kind(resource) {
        "DocumentReference" => Ok(vec![document(resource)?]),
        "Bundle" => {
            let entries = resource.get("entry").and_then(Value::as_array);
            let mut documents = Vec::new();
            for (entry, value) in entries.into_iter().flatten().enumerate() {
                let Some(resource) = value.get("resource") else {
                    continue;
                };
                if kind(resource) != "DocumentReference" {
                    continue;
                }
                if documents.len() == limit {
                    return Err(NoNote::new(format!(
                        "the bundle has more than {limit} documents (the server's limit `items`)"
                    )));
                }
                documents.push(document(resource).map_err(|error| NoNote {
                    entry: Some(entry),
                    ..error
                })?);
            }
            match documents.is_empty() {
                true => Err(NoNote::new("the bundle has no DocumentReference")),
                false => Ok(documents),
            }
        }
        _ => Err(NoNote::new(
            "`resourceType` must be `DocumentReference` or `Bundle`",
        )),
    }
}

fn kind(resource: &Value) -> &str {
    let kind = resource.get("resourceType").and_then(Value::as_str);
    kind.unwrap_or_default()
}

/// The first attachment in plain text, else in HTML: those of one document are formats of the same.
fn document(resource: &Value) -> Result<Document, NoNote> {
    let contents = resource.get("content").and_then(Value::as_array);
    let attachments = || {
        let each = contents.into_iter().flatten();
        each.filter_map(|content| content.get("attachment"))
    };
    let of_type = |wanted: &[&str]| {
        attachments().find(|attachment| wanted.contains(&media_type(attachment).0.as_str()))
    };
    let plain = of_type(&["text/plain", ""]);
    let html = of_type(&["text/html", "application/xhtml+xml"]);
    let (attachment, is_html) = match (plain, html) {
        (Some(attachment), _) => (attachment, false),
        (None, Some(attachment)) => (attachment, true),
        (None, None) => {
            return Err(NoNote::new(
                "the document has no attachment of the type text/plain or text/html",
            ));
        }
    };
    let Some(data) = attachment.get("data").and_then(Value::as_str) else {
        return Err(NoNote::new(
            "the attachment has no `data`: an attachment by `url` is not fetched, send its content",
        ));
    };
    let data: Vec<u8> = data
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let bytes = STANDARD
        .decode(data)
        .map_err(|_| NoNote::new("the `data` of the attachment is not base64"))?;
    let text = match media_type(attachment).1.as_deref() {
        Some("iso-8859-1" | "latin1") => bytes.into_iter().map(char::from).collect(),
        None | Some("utf-8" | "us-ascii") => String::from_utf8(bytes)
            .map_err(|_| NoNote::new("the text of the attachment is not UTF-8"))?,
        Some(_) => {
            return Err(NoNote::new(
                "the `charset` of the attachment must be utf-8, us-ascii or iso-8859-1",
            ));
        }
    };
    let text = if is_html { text_of_html(&text) } else { text };
    if text.trim().is_empty() {
        return Err(NoNote::new("the attachment has no text"));
    }
    let id = resource.get("id").and_then(Value::as_str);
    Ok(Document {
        id: id.map(str::to_owned),
        text: text.into(),
    })
}

/// The type of an attachment, and the charset where one is named.
fn media_type(attachment: &Value) -> (String, Option<String>) {
    let named = attachment.get("contentType").and_then(Value::as_str);
    let lower = named.unwrap_or_default().to_ascii_lowercase();
    let mut parts = lower.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_owned();
    let charset = parts.find_map(|part| part.strip_prefix("charset="));
    (
        kind,
        charset.map(|charset| charset.trim_matches('"').to_owned()),
    )
}

/// Elements whose content is no text.
const HIDDEN: [&str; 4] = ["script", "style", "head", "template"];

/// Elements that begin a line.
const LINES: [&str; 17] = [
    "address",
    "article",
    "blockquote",
    "br",
    "div",
    "dd",
    "dt",
    "h1",
    "h2",
    "h3",
    "h4",
    "li",
    "p",
    "pre",
    "section",
    "table",
    "tr",
];

/// The text of HTML: tags are left out, some begin a line, cells are parted by tabs, entities are characters. Whatever
/// it is given, it takes time in proportion.
fn text_of_html(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        push_text(&mut text, &rest[..at]);
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let is_tag = rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c));
        if !is_tag {
            text.push('<');
            rest = &rest[1..];
            continue;
        }
        let Some(end) = rest.find('>') else {
            rest = "";
            break;
        };
        let tag = &rest[1..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/');
        let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next();
        let name = name.unwrap_or_default().to_ascii_lowercase();
        if LINES.contains(&name.as_str()) && !text.ends_with('\n') && !text.is_empty() {
            text.push('\n');
        } else if (name == "td" || name == "th") && !tag.starts_with('/') {
            if !text.ends_with(['\n', '\t']) && !text.is_empty() {
                text.push('\t');
            }
        } else if HIDDEN.contains(&name.as_str()) && !tag.starts_with('/') && !tag.ends_with('/') {
            rest = after_close(rest, &name);
        }
    }
    push_text(&mut text, rest);
    text.trim().to_owned()
}

/// What stands after the end of an element.
fn after_close<'h>(html: &'h str, name: &str) -> &'h str {
    let mut rest = html;
    while let Some(at) = rest.find("</") {
        rest = &rest[at + 2..];
        let is_it = rest
            .get(..name.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(name));
        if is_it {
            return rest.find('>').map_or("", |end| &rest[end + 1..]);
        }
    }
    ""
}

/// Appends text with its entities as characters.
fn push_text(text: &mut String, mut rest: &str) {
    while let Some(at) = rest.find('&') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let window = rest.floor_char_boundary(12.min(rest.len()));
        let entity = rest[..window].find(';').and_then(|end| {
            let c = character(&rest[1..end])?;
            Some((c, end + 1))
        });
        match entity {
            Some((c, length)) => {
                text.push(c);
                rest = &rest[length..];
            }
            None => {
                text.push('&');
                rest = &rest[1..];
            }
        }
    }
    text.push_str(rest);
}

fn character(entity: &str) -> Option<char> {
    if let Some(number) = entity.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).filter(|c| !c.is_control() || c.is_whitespace());
    }
    Some(match entity {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "deg" => '°',
        "micro" => 'µ',
        "plusmn" => '±',
        "ndash" => '–',
        "mdash" => '—',
        "le" => '≤',
        "ge" => '≥',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reference(kind: &str, bytes: &[u8]) -> Value {
        json!({"resourceType": "DocumentReference", "id": "7", "content": [
            {"attachment": {"contentType": kind, "data": STANDARD.encode(bytes)}}
        ]})
    }

    fn texts(resource: &Value) -> Result<Vec<String>, String> {
        let documents = documents(resource, 3).map_err(|error| error.to_string())?;
        Ok(documents
            .iter()
            .map(|document| document.text.to_string())
            .collect())
    }

    #[test]
    fn a_document_and_a_bundle() {
        let plain = reference("text/plain; charset=utf-8", "Fiebér, 38 °C".as_bytes());
        assert_eq!(texts(&plain).unwrap(), ["Fiebér, 38 °C"]);
        let html =
            b"<html><head><title>x</title></head><body><h1>HPI</h1><p>a &lt; b &amp;&#x20;c</p>\
            <script>steal()</script><table><tr><td>Na</td><td>140</td></tr></table></body>";
        let html = reference("text/html", html);
        assert_eq!(texts(&html).unwrap(), ["HPI\na < b & c\nNa\t140"]);
        let bundle = json!({"resourceType": "Bundle", "entry": [
            {"resource": {"resourceType": "Patient"}}, {"resource": plain}, {}, {"resource": html},
        ]});
        assert_eq!(texts(&bundle).unwrap().len(), 2);
        let latin = reference("text/plain;charset=ISO-8859-1", &[b'F', 0xe9]);
        assert_eq!(texts(&latin).unwrap(), ["Fé"]);
    }

    #[test]
    fn what_has_no_note_says_why() {
        let mut broken = reference("text/plain", b"x");
        broken["content"][0]["attachment"]["data"] = json!("%%%");
        let mut far = reference("text/plain", b"x");
        far["content"][0]["attachment"] = json!({"contentType": "text/plain", "url": "http://x"});
        let many: Vec<Value> = (0..4)
            .map(|_| json!({"resource": reference("text/plain", b"x")}))
            .collect();
        for (resource, why) in [
            (json!(null), "resourceType"),
            (json!({"resourceType": "Patient"}), "resourceType"),
            (json!({"resourceType": "Bundle"}), "no DocumentReference"),
            (
                json!({"resourceType": "DocumentReference"}),
                "no attachment",
            ),
            (reference("application/pdf", b"x"), "no attachment"),
            (reference("text/plain", b" "), "no text"),
            (reference("text/plain", &[0xff]), "not UTF-8"),
            (reference("text/plain; charset=utf-7", b"x"), "charset"),
            (
                json!({"resourceType": "Bundle", "entry": many}),
                "more than 3",
            ),
            (
                json!({"resourceType": "Bundle", "entry": [{"resource": broken.clone()}]}),
                "entry 0",
            ),
            (broken, "base64"),
            (far, "not fetched"),
        ] {
            let error = texts(&resource).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn odd_html() {
        for (html, text) in [
            ("a < b > c", "a < b > c"),
            ("<b", ""),
            ("<!-- never ends", ""),
            ("<script>x", ""),
            ("<script>a</scr</script>b", "b"),
            ("&#0;&#xd800;&unknown;&", "&#0;&#xd800;&unknown;&"),
            ("x&amp", "x&amp"),
            ("é<br/>&nbsp;ü", "é\n ü"),
            ("<style/>y", "y"),
        ] {
            assert_eq!(text_of_html(html), text, "{html}");
        }
    }
}
