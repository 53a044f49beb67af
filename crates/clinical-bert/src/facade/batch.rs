//! Batches of rows of similar length.

/// Orders rows by length, the longest first, and cuts the order into batches of at most `budget` tokens, padding
/// included. A row over the budget is a batch of its own.
///
/// The longest first: a batch that does not fit into memory fails at the start, not after an hour.
pub(super) fn batches(lengths: &[usize], budget: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut longest = 0;
    for row in order {
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1).saturating_mul(longest) <= budget => batch.push(row),
            _ => {
                longest = lengths[row];
                batches.push(vec![row]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::batches;

    #[test]
    fn every_row_once_and_no_batch_over_the_budget() {
        let lengths = [3, 90, 5, 5, 41, 1, 40, 2, 200];
        let found = batches(&lengths, 100);
        assert_eq!(found, [vec![8], vec![1], vec![4, 6], vec![2, 3, 0, 7, 5]]);
        assert!(batches(&[], 100).is_empty());
    }
}
