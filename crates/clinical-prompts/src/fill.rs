//! One-pass substitution of named placeholders.

/// Replaces each `{name}` of `template` whose name is in `values`, in one pass: a value that
/// itself contains `{name}` comes through unchanged. Unknown names and lone braces stay.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let size = template.len() + values.iter().map(|(_, value)| value.len()).sum::<usize>();
    let mut filled = String::with_capacity(size);
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let (before, tail) = rest.split_at(open);
        filled.push_str(before);
        let value = tail.find('}').and_then(|close| {
            let name = &tail[1..close];
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some((*value, &tail[close + 1..]))
        });
        match value {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = &tail[1..];
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn replaces_every_known_placeholder_once() {
        let values = [("a", "{b}"), ("b", "{a}{b}")];
        assert_eq!(fill("x{a}y{b}z{a}", &values), "x{b}y{a}{b}z{b}");
    }

    #[test]
    fn leaves_other_braces_alone() {
        assert_eq!(fill("{c} { {a} } {", &[("a", "1")]), "{c} { 1 } {");
        assert_eq!(fill("{{a}}", &[("a", "1")]), "{1}");
        assert_eq!(fill("", &[]), "");
    }
}
