//! Batches of rows of similar length.

use crate::Error;

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

/// Runs every batch through `run`, which gives one value for each of its rows, and returns the values in the order of the
/// rows. `done` gets the size of each batch that is ready.
pub(super) fn run<T>(
    batches: &[Vec<usize>],
    run: impl Fn(&[usize]) -> Result<Vec<T>, Error>,
    mut done: impl FnMut(usize),
) -> Result<Vec<T>, Error> {
    let mut values: Vec<Option<T>> = Vec::new();
    values.resize_with(batches.iter().map(Vec::len).sum(), || None);
    for batch in batches {
        for (&row, value) in batch.iter().zip(run(batch)?) {
            values[row] = Some(value);
        }
        done(batch.len());
    }
    Ok(values.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_once_and_no_batch_over_the_budget() {
        let lengths = [3, 90, 5, 5, 41, 1, 40, 2, 200];
        let found = batches(&lengths, 100);
        assert_eq!(found, [vec![8], vec![1], vec![4, 6], vec![2, 3, 0, 7, 5]]);
        assert!(batches(&[], 100).is_empty());
    }

    #[test]
    fn values_come_in_the_order_of_rows_and_the_first_error_ends_it() {
        let cut = batches(&[3, 9, 1, 7, 5, 2], 9);
        let mut rows = 0;
        let double = |batch: &[usize]| Ok(batch.iter().map(|row| row * 2).collect());
        let found = run(&cut, double, |count| rows += count).unwrap();
        assert_eq!(found, [0, 2, 4, 6, 8, 10]);
        assert_eq!(rows, 6);
        let fail = |batch: &[usize]| match batch.contains(&3) {
            true => Err(Error::NotFinite),
            false => Ok(vec![(); batch.len()]),
        };
        assert!(matches!(run(&cut, fail, |_| {}), Err(Error::NotFinite)));
        assert!(run(&[], |_| Ok(vec![0]), |_| {}).unwrap().is_empty());
    }
}
