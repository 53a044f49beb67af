//! Which name was probably meant.

/// Names longer than this are not compared.
const MAX_LENGTH: usize = 256;

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
        if let Some(distance) = distance(wanted.as_bytes(), name.as_bytes(), limit) {
            best = Some(name);
            if distance == 0 {
                break;
            }
            limit = distance - 1;
        }
    }
    best
}

/// The Levenshtein distance, if it is at most `limit`: only the band of the table that can stay below it is computed.
fn distance(a: &[u8], b: &[u8], limit: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    const FAR: usize = usize::MAX / 2;
    let mut previous: Vec<usize> = (0..=b.len())
        .map(|j| if j <= limit { j } else { FAR })
        .collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![FAR; b.len() + 1];
        if i < limit {
            row[0] = i + 1;
        }
        let from = i.saturating_sub(limit);
        let to = (i + limit + 1).min(b.len());
        for j in from..to {
            row[j + 1] = (previous[j] + usize::from(*x != b[j]))
                .min(previous[j + 1] + 1)
                .min(row[j] + 1);
        }
        if row.iter().all(|value| *value > limit) {
            return None;
        }
        previous = row;
    }
    Some(previous[b.len()]).filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The textbook table.
    fn full(a: &[u8], b: &[u8]) -> usize {
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.iter().enumerate() {
            let mut diagonal = row[0];
            row[0] = i + 1;
            for (j, y) in b.iter().enumerate() {
                let next = (diagonal + usize::from(x != y))
                    .min(row[j] + 1)
                    .min(row[j + 1] + 1);
                diagonal = std::mem::replace(&mut row[j + 1], next);
            }
        }
        row[b.len()]
    }

    #[test]
    fn the_band_agrees_with_the_table() {
        let words: [&[u8]; 7] = [
            b"",
            b"a",
            b"abc",
            b"acb",
            b"kitten",
            b"sitting",
            b"abcdefgh",
        ];
        for a in words {
            for b in words {
                for limit in 0..9 {
                    let expected = Some(full(a, b)).filter(|distance| *distance <= limit);
                    assert_eq!(distance(a, b, limit), expected, "{a:?} {b:?} {limit}");
                }
            }
        }
    }

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
