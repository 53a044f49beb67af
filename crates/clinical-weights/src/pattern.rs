//! Patterns over dotted names, the one means by which key maps speak about tensors.

use crate::Error;

/// A dotted name in which `*` stands for exactly one part and `**` for any number of parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Exactly(String),
    One,
    Any,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Result<Self, Error> {
        let parts = text
            .split('.')
            .map(|part| match part {
                "" => Err("a part between two dots is empty"),
                "*" => Ok(Part::One),
                "**" => Ok(Part::Any),
                _ if part.contains('*') => Err("a star must be a whole part"),
                _ => Ok(Part::Exactly(part.to_owned())),
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|problem| Error::KeyMap {
                rule: text.to_owned(),
                problem,
            })?;
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the stars of both patterns are the same, in the same order: then one can be rewritten as the other.
    pub(crate) fn same_stars(&self, other: &Self) -> bool {
        let stars = |pattern: &Self| {
            pattern
                .parts
                .iter()
                .filter(|part| !matches!(part, Part::Exactly(_)))
                .cloned()
                .collect::<Vec<_>>()
        };
        stars(self) == stars(other)
    }

    /// Whether the first and the last part allow a match: most names are told apart by one of them.
    fn ends_fit(&self, name: &str) -> bool {
        let first = match self.parts.first() {
            Some(Part::Exactly(text)) => name
                .strip_prefix(text.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
            _ => true,
        };
        first
            && match self.parts.last() {
                Some(Part::Exactly(text)) => name
                    .strip_suffix(text.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
                _ => true,
            }
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        if !self.ends_fit(name) {
            return false;
        }
        let parts: Vec<&str> = name.split('.').collect();
        capture(&self.parts, &parts).is_some()
    }

    /// `name` with the parts that the stars stood for put where `target` has stars.
    pub(crate) fn rewrite(&self, target: &Self, name: &str) -> Option<String> {
        if !self.ends_fit(name) {
            return None;
        }
        let parts: Vec<&str> = name.split('.').collect();
        let mut captures = capture(&self.parts, &parts)?.into_iter();
        let mut out: Vec<&str> = Vec::with_capacity(parts.len() + 2);
        for part in &target.parts {
            match part {
                Part::Exactly(text) => out.push(text),
                Part::One | Part::Any => out.extend(captures.next()?),
            }
        }
        (!out.is_empty()).then(|| out.join("."))
    }
}

/// What each star stands for, in the order of the pattern. What lies between two `**` is placed as far left as it fits,
/// which never misses a match, so the time is bounded by the product of both lengths.
fn capture<'a>(pattern: &[Part], name: &'a [&'a str]) -> Option<Vec<&'a [&'a str]>> {
    let groups: Vec<&[Part]> = pattern.split(|part| *part == Part::Any).collect();
    let [head, middle @ .., tail] = groups.as_slice() else {
        return fixed(pattern, name);
    };
    let end = name.len().checked_sub(tail.len())?;
    if head.len() > end {
        return None;
    }
    let mut captures = fixed(head, &name[..head.len()])?;
    let tail_captures = fixed(tail, &name[end..])?;
    let mut position = head.len();
    for group in middle {
        let last = end.checked_sub(group.len())?;
        let (start, found) = (position..=last)
            .find_map(|at| Some((at, fixed(group, &name[at..at + group.len()])?)))?;
        captures.push(&name[position..start]);
        captures.extend(found);
        position = start + group.len();
    }
    captures.push(&name[position..end]);
    captures.extend(tail_captures);
    Some(captures)
}

/// A pattern without `**` against a name of the same number of parts.
fn fixed<'a>(pattern: &[Part], name: &'a [&'a str]) -> Option<Vec<&'a [&'a str]>> {
    if pattern.len() != name.len() {
        return None;
    }
    let mut captures = Vec::new();
    for (i, (part, text)) in pattern.iter().zip(name).enumerate() {
        match part {
            Part::Exactly(wanted) if wanted == text => {}
            Part::One => captures.push(&name[i..=i]),
            _ => return None,
        }
    }
    Some(captures)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    #[test]
    fn matches() {
        for (text, name, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.*.c", "a.7.c", true),
            ("a.*", "a", false),
            ("**", "a.b.c", true),
            ("a.**", "a", true),
            ("**.gamma", "gamma", true),
            ("**.gamma", "x.gamma.y", false),
            ("**.b.**", "a.b", true),
            ("**.b.**.b.**", "a.b.c", false),
            ("**.b.**.b.**", "a.b.c.b", true),
            ("a.**.a", "a", false),
            ("**.x.*.y", "x.1.x.2.y", true),
        ] {
            assert_eq!(pattern(text).matches(name), expected, "{text} on {name}");
        }
    }

    #[test]
    fn rewrites_what_the_stars_stand_for() {
        let rewrite = |from, to, name| pattern(from).rewrite(&pattern(to), name);
        assert_eq!(
            rewrite("bert.**", "**", "bert.pooler.dense.weight").as_deref(),
            Some("pooler.dense.weight")
        );
        assert_eq!(
            rewrite(
                "**.layer.*.self.**",
                "**.block.*.attention.**",
                "e.layer.3.self.q.weight"
            )
            .as_deref(),
            Some("e.block.3.attention.q.weight")
        );
        assert_eq!(rewrite("bert.**", "**", "cls.bias"), None);
        // Nothing would be left of the name.
        assert_eq!(rewrite("bert.**", "**", "bert"), None);
    }

    #[test]
    fn wrong_patterns_are_refused() {
        for text in ["", "a..b", "a.b*", "***"] {
            assert!(
                matches!(Pattern::new(text), Err(Error::KeyMap { .. })),
                "{text}"
            );
        }
        assert!(pattern("a.*.**").same_stars(&pattern("*.b.**")));
        assert!(!pattern("a.*").same_stars(&pattern("b.**")));
    }

    #[test]
    fn many_stars_stay_fast() {
        let long = vec!["a"; 512].join(".");
        let stars = vec!["**.a"; 64].join(".") + ".b";
        assert!(!pattern(&stars).matches(&long));
    }
}
