//! Which name was probably meant.

use crate::{KeyMap, LoadReport};

/// Most missing or unexpected names for which a likely meaning is looked for, and most names that it is looked for in:
/// this bounds the time for files that do not fit at all.
const MAX_SUGGESTIONS: usize = 16;
const MAX_CANDIDATES: usize = 2048;

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

/// Names the likely partner of missing parameters and unexpected tensors.
pub(crate) fn suggest(report: &mut LoadReport, keys: &KeyMap) {
    let unexpected: Vec<(String, String)> = report
        .unexpected
        .iter()
        .take(MAX_CANDIDATES)
        .map(|entry| (keys.module_name(&entry.tensor), entry.tensor.clone()))
        .collect();
    let missing: Vec<String> = report
        .missing
        .iter()
        .take(MAX_CANDIDATES)
        .map(|entry| entry.parameter.clone())
        .collect();
    for entry in report.missing.iter_mut().take(MAX_SUGGESTIONS) {
        let found = nearest(
            &entry.parameter,
            unexpected.iter().map(|(name, _)| name.as_str()),
        );
        entry.nearest = found.and_then(|found| {
            let (_, tensor) = unexpected.iter().find(|(name, _)| name == found)?;
            Some(tensor.clone())
        });
    }
    for (entry, (name, _)) in report
        .unexpected
        .iter_mut()
        .zip(&unexpected)
        .take(MAX_SUGGESTIONS)
    {
        entry.nearest = nearest(name, missing.iter().map(String::as_str)).map(str::to_owned);
    }
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
