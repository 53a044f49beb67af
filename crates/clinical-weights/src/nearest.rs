//! Which name was probably meant.

/// Names longer than this are not compared: the time grows with the product of two lengths.
const MAX_LENGTH: usize = 128;

/// The name that is closest to `wanted`: one that only lacks or only adds leading parts, else the one with the smallest
/// edit distance, if that is at most a quarter of the name.
pub(crate) fn nearest<'a>(
    wanted: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let same_end = |name: &str, end: &str| {
        name.strip_suffix(end)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if let Some(name) = names
        .clone()
        .find(|name| same_end(name, wanted) || same_end(wanted, name))
    {
        return Some(name);
    }
    if wanted.len() > MAX_LENGTH {
        return None;
    }
    let mut limit = (wanted.len() / 4).max(1);
    let mut best = None;
    for name in names.filter(|name| name.len() <= MAX_LENGTH) {
        if name.len().abs_diff(wanted.len()) > limit {
            continue;
        }
        let distance = strsim::levenshtein(wanted, name);
        if distance <= limit {
            best = Some(name);
            // The next one must be closer; an equal name had an equal end.
            limit = distance.saturating_sub(1);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_come_before_typing_errors() {
        let names = ["model.norm.weight", "norm.weighs"];
        assert_eq!(
            nearest("norm.weight", names.into_iter()),
            Some("model.norm.weight")
        );
        assert_eq!(
            nearest("norm.weihgs", names.into_iter()),
            Some("norm.weighs")
        );
        assert_eq!(
            nearest("bert.model.norm.weight", names.into_iter()),
            Some("model.norm.weight")
        );
        assert_eq!(nearest("lm_head.bias", names.into_iter()), None);
    }
}
