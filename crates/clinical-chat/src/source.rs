//! The text of a template, before the engine reads it.

/// Tokens of one tag. Published templates have up to a few dozen.
const MAX_TOKENS: usize = 1000;

/// `elif` in a whole template. Published ones have a few.
const MAX_BRANCHES: usize = 500;

/// Tags that need other templates, which a model has not. The engine panics at some of them
/// (`{% import 'x' as y|list %}`).
const OTHER_TEMPLATES: [&str; 4] = ["import", "from", "include", "extends"];

/// The template with `{% generation %}` as a tag that the engine knows, or why the engine would fail at it.
///
/// The tag marks what an assistant wrote, for training; it has no effect on the text but the scope of its variables,
/// and so becomes `{% with %}`. The engine recurses over each link of a chain (`not not x`, `a.b.c`, `a ~ b ~ c`,
/// `elif`), so their lengths are bounded.
pub(crate) fn prepare(source: &str) -> Result<String, &'static str> {
    // Jinja2 reads every line end as this one.
    let source = &source.replace("\r\n", "\n").replace('\r', "\n");
    let mut prepared = source.clone();
    let mut branches = 0;
    // Bytes that `prepared` is shorter than `source` so far.
    let mut shorter = 0;
    let mut at = 0;
    while let Some((start, kind)) = next_tag(source, at) {
        let body = start + 2;
        at = match kind {
            b'#' => find(source, body, "#}").map_or(source.len(), |end| end + 2),
            b'{' => skip_tag(source, body, "}}")?,
            _ => {
                let (name, rest) = tag_name(source, body);
                let end = skip_tag(source, body, "%}")?;
                if OTHER_TEMPLATES.contains(&&source[name.clone()]) {
                    return Err(
                        "a chat template stands alone: it cannot include or import another",
                    );
                }
                branches += usize::from(&source[name.clone()] == "elif");
                let with = match &source[name.clone()] {
                    "generation" if closes(source, rest) => Some("with"),
                    "endgeneration" if closes(source, rest) => Some("endwith"),
                    _ => None,
                };
                if let Some(with) = with {
                    let place = name.start - shorter..name.end - shorter;
                    shorter += name.len() - with.len();
                    prepared.replace_range(place, with);
                }
                match &source[name] {
                    "raw" => end_of_raw(source, end),
                    _ => end,
                }
            }
        };
        if branches > MAX_BRANCHES {
            return Err("the template nests too deeply");
        }
    }
    Ok(prepared)
}

/// The next `{{`, `{%` or `{#` and its second byte.
fn next_tag(source: &str, at: usize) -> Option<(usize, u8)> {
    let bytes = source.as_bytes();
    (at..bytes.len().saturating_sub(1))
        .find(|&i| bytes[i] == b'{' && matches!(bytes[i + 1], b'{' | b'%' | b'#'))
        .map(|i| (i, bytes[i + 1]))
}

fn find(source: &str, at: usize, text: &str) -> Option<usize> {
    Some(at + source.get(at..)?.find(text)?)
}

/// The range of the name of a block tag whose inside begins at `at`, and where what follows it begins.
fn tag_name(source: &str, at: usize) -> (std::ops::Range<usize>, usize) {
    let inside = &source[at..];
    let trimmed = inside.strip_prefix(['-', '+']).unwrap_or(inside);
    let trimmed = trimmed.trim_start();
    let start = source.len() - trimmed.len();
    let length = trimmed
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(trimmed.len());
    (start..start + length, start + length)
}

/// Whether nothing but the end of the tag follows.
fn closes(source: &str, at: usize) -> bool {
    let rest = source[at..].trim_start();
    rest.strip_prefix(['-', '+'])
        .unwrap_or(rest)
        .starts_with("%}")
}

/// The end of a tag that begins before `at`: strings and braces inside it may hold what would end it.
fn skip_tag(source: &str, at: usize, end: &str) -> Result<usize, &'static str> {
    let bytes = source.as_bytes();
    let (mut i, mut tokens, mut open, mut in_name) = (at, 0, 0usize, false);
    while i < bytes.len() {
        if open == 0 && bytes[i..].starts_with(end.as_bytes()) {
            return Ok(i + 2);
        }
        let byte = bytes[i];
        let name = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        let goes_on = name && in_name;
        tokens += usize::from(!(byte.is_ascii_whitespace() || goes_on));
        in_name = name;
        if tokens > MAX_TOKENS {
            return Err("the template nests too deeply");
        }
        match byte {
            b'"' | b'\'' => i = end_of_string(bytes, i),
            b'{' | b'[' | b'(' => open += 1,
            b'}' | b']' | b')' => open = open.saturating_sub(1),
            _ => {}
        }
        i += 1;
    }
    Ok(bytes.len())
}

/// The closing quote of the string that opens at `at`.
fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let mut i = at + 1;
    while i < bytes.len() && bytes[i] != bytes[at] {
        i += 1 + usize::from(bytes[i] == b'\\');
    }
    i
}

/// Where a raw block that opens before `at` ends.
fn end_of_raw(source: &str, mut at: usize) -> usize {
    while let Some(start) = find(source, at, "{%") {
        let (name, rest) = tag_name(source, start + 2);
        if &source[name] == "endraw" && closes(source, rest) {
            return find(source, rest, "%}").map_or(source.len(), |end| end + 2);
        }
        at = start + 2;
    }
    source.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_becomes_a_tag_without_effect() {
        for (source, expected) in [
            (
                "{% generation %}a{% endgeneration %}",
                "{% with %}a{% endwith %}",
            ),
            (
                "{%-generation-%}{%+ endgeneration -%}",
                "{%-with-%}{%+ endwith -%}",
            ),
            ("{{ '{% generation %}' }}", "{{ '{% generation %}' }}"),
            (
                "{# {% generation %} #}{% generation %}",
                "{# {% generation %} #}{% with %}",
            ),
            (
                "{% raw %}{% generation %}{%- endraw %}",
                "{% raw %}{% generation %}{%- endraw %}",
            ),
            ("{% set generation = 1 %}", "{% set generation = 1 %}"),
            (
                "{{ {'a': {'b': '}}'}} }}{% generation %}",
                "{{ {'a': {'b': '}}'}} }}{% with %}",
            ),
            ("{% generation", "{% generation"),
            ("a\r\nb\rc\n", "a\nb\nc\n"),
            (
                "é{% generation %}é{% generation %}",
                "é{% with %}é{% with %}",
            ),
        ] {
            assert_eq!(prepare(source).unwrap(), expected);
        }
    }

    #[test]
    fn a_chain_of_a_thousand_links_is_refused() {
        assert!(prepare(&format!("{{{{ 'a'{} }}}}", " ~ 'a'".repeat(300))).is_ok());
        assert!(prepare(&format!("{{{{ 'a'{} }}}}", "~'a'".repeat(600))).is_err());
        assert!(prepare(&"{% if a %}b{% elif c %}d{% endif %}".repeat(501)).is_err());
    }

    #[test]
    fn other_templates_are_refused() {
        for tag in [
            "import 'x' as y|list",
            "from 'x' import y",
            "-include 'x'",
            "extends 'x'",
        ] {
            assert!(prepare(&format!("{{%{tag} %}}")).is_err(), "{tag}");
        }
        assert!(prepare("{{ import }}{% raw %}{% include %}{% endraw %}").is_ok());
    }

    #[test]
    fn any_text_is_read_to_its_end() {
        for source in [
            "{",
            "{{",
            "{%",
            "{#",
            "{% raw",
            "{% raw %}{%",
            "{{ '",
            "{{ '\\",
            "{{ (",
            "{%é",
            "{% raw %}é{% endraw",
        ] {
            assert!(prepare(source).is_ok(), "{source}");
        }
    }
}
