//! Batches of rows of similar length, with a result for each item.

use std::cmp::Reverse;

use crate::CallOptions;

/// How much is computed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchLimits {
    /// Most tokens of a batch, padding included. A row of more is a batch of its own.
    pub tokens: usize,
    /// Most rows of a batch, where the call says nothing else ([`CallOptions::batch`]).
    pub rows: usize,
}

impl BatchLimits {
    /// At most so many tokens, padding included, and any number of rows.
    #[must_use]
    pub fn tokens(tokens: usize) -> Self {
        Self {
            tokens,
            rows: usize::MAX,
        }
    }

    /// At most so many rows of any length.
    #[must_use]
    pub fn rows(rows: usize) -> Self {
        Self {
            tokens: usize::MAX,
            rows,
        }
    }
}

/// Orders rows by length, the longest first, and cuts the order into batches within the limits.
///
/// The longest first: a batch that does not fit into memory fails at the start, not after an hour.
#[must_use]
pub fn batches(lengths: &[usize], limits: BatchLimits) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| Reverse(lengths[row]));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut longest = 0;
    for row in order {
        let fits = |batch: &Vec<usize>| {
            batch.len() < limits.rows && (batch.len() + 1).saturating_mul(longest) <= limits.tokens
        };
        match batches.last_mut().filter(|batch| fits(batch)) {
            Some(batch) => batch.push(row),
            None => {
                longest = lengths[row];
                batches.push(vec![row]);
            }
        }
    }
    batches
}

/// Computes items that have one row or several (windows of one text): a result for each, in order.
///
/// `run` gets rows of similar length and gives one value for each. `length` is a row's number of tokens, `cancelled`
/// the error of what was not computed when [`CallOptions::cancel`] ended the call. An item that could not be prepared,
/// or a row that fails, costs its neighbours nothing: a batch that fails is computed again row by row. Progress counts
/// items.
///
/// ```
/// use clinical_facade::{BatchLimits, CallOptions, in_batches};
///
/// let items = vec![Ok(vec!["a", "bcd"]), Err("no text".to_owned()), Ok(vec!["ef"])];
/// let upper = |rows: &[&&str]| Ok(rows.iter().map(|row| row.to_uppercase()).collect());
/// let found = in_batches(items, BatchLimits::rows(2), &CallOptions::default(), |row| row.len(), String::new, upper);
/// assert_eq!(found[0].as_ref().unwrap(), &["A", "BCD"]);
/// assert!(found[1].is_err());
/// assert_eq!(found[2].as_ref().unwrap(), &["EF"]);
/// ```
pub fn in_batches<R, V, E>(
    items: Vec<Result<Vec<R>, E>>,
    limits: BatchLimits,
    call: &CallOptions,
    length: impl Fn(&R) -> usize,
    cancelled: impl Fn() -> E,
    run: impl Fn(&[&R]) -> Result<Vec<V>, E>,
) -> Vec<Result<Vec<V>, E>> {
    let limits = BatchLimits {
        rows: call.batch.unwrap_or(limits.rows).max(1),
        ..limits
    };
    let mut work = Work::of(items);
    let lengths: Vec<usize> = work.rows.iter().map(|(_, row)| length(row)).collect();
    work.tell(call);
    for batch in batches(&lengths, limits) {
        // Rows of an item that has failed already are not worth computing.
        let batch: Vec<usize> = batch
            .into_iter()
            .filter(|&row| !work.has_failed(row))
            .collect();
        if call.is_cancelled() {
            work.fail(&batch, &cancelled);
            continue;
        }
        match work.run(&batch, &run) {
            Ok(values) => work.keep(&batch, values),
            Err(_) if call.is_cancelled() => work.fail(&batch, &cancelled),
            Err(error) if batch.len() < 2 => work.fail_one(batch.first().copied(), error),
            Err(_) => work.alone(&batch, call, &cancelled, &run),
        }
        work.tell(call);
    }
    work.into_results()
}

/// [`in_batches`] for items of one row.
pub fn in_batches_of_one<R, V, E>(
    items: Vec<Result<R, E>>,
    limits: BatchLimits,
    call: &CallOptions,
    length: impl Fn(&R) -> usize,
    cancelled: impl Fn() -> E,
    run: impl Fn(&[&R]) -> Result<Vec<V>, E>,
) -> Vec<Result<V, E>> {
    let rows = items.into_iter().map(|item| Ok(vec![item?])).collect();
    in_batches(rows, limits, call, length, &cancelled, run)
        .into_iter()
        // Each has one row, so each success has one value.
        .map(|item| item.and_then(|mut values| values.pop().ok_or_else(&cancelled)))
        .collect()
}

/// Rows with the items they belong to, and what has become of either.
struct Work<R, V, E> {
    rows: Vec<(usize, R)>,
    values: Vec<Option<V>>,
    /// For each item: the first failure.
    failed: Vec<Option<E>>,
    /// For each item: rows that have no value yet.
    open: Vec<usize>,
}

impl<R, V, E> Work<R, V, E> {
    fn of(items: Vec<Result<Vec<R>, E>>) -> Self {
        let (mut rows, mut failed, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for (number, item) in items.into_iter().enumerate() {
            let (found, error) = match item {
                Ok(found) => (found, None),
                Err(error) => (Vec::new(), Some(error)),
            };
            open.push(found.len());
            failed.push(error);
            rows.extend(found.into_iter().map(|row| (number, row)));
        }
        let mut values = Vec::new();
        values.resize_with(rows.len(), || None);
        Self {
            rows,
            values,
            failed,
            open,
        }
    }

    fn has_failed(&self, row: usize) -> bool {
        self.failed[self.rows[row].0].is_some()
    }

    fn run(&self, batch: &[usize], run: impl Fn(&[&R]) -> Result<Vec<V>, E>) -> Result<Vec<V>, E> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<&R> = batch.iter().map(|&row| &self.rows[row].1).collect();
        run(&rows)
    }

    fn keep(&mut self, batch: &[usize], values: Vec<V>) {
        for (&row, value) in batch.iter().zip(values) {
            self.values[row] = Some(value);
            self.open[self.rows[row].0] -= 1;
        }
    }

    fn fail(&mut self, batch: &[usize], error: impl Fn() -> E) {
        for &row in batch {
            self.failed[self.rows[row].0].get_or_insert_with(&error);
        }
    }

    fn fail_one(&mut self, row: Option<usize>, error: E) {
        if let Some(row) = row {
            self.failed[self.rows[row].0].get_or_insert(error);
        }
    }

    /// The rows of a batch that failed, one by one.
    fn alone(
        &mut self,
        batch: &[usize],
        call: &CallOptions,
        cancelled: impl Fn() -> E,
        run: impl Fn(&[&R]) -> Result<Vec<V>, E>,
    ) {
        for &row in batch {
            if call.is_cancelled() {
                self.fail(&[row], &cancelled);
            } else if !self.has_failed(row) {
                match self.run(&[row], &run) {
                    Ok(values) => self.keep(&[row], values),
                    Err(_) if call.is_cancelled() => self.fail(&[row], &cancelled),
                    Err(error) => self.fail_one(Some(row), error),
                }
            }
        }
    }

    fn tell(&self, call: &CallOptions) {
        let done = self.failed.iter().zip(&self.open);
        let done = done.filter(|(failed, open)| failed.is_some() || **open == 0);
        call.done(done.count(), self.failed.len());
    }

    fn into_results(self) -> Vec<Result<Vec<V>, E>> {
        let mut results: Vec<Result<Vec<V>, E>> = self
            .failed
            .into_iter()
            .map(|failed| failed.map_or_else(|| Ok(Vec::new()), Err))
            .collect();
        for ((item, _), value) in self.rows.iter().zip(self.values) {
            if let (Ok(values), Some(value)) = (&mut results[*item], value) {
                values.push(value);
            }
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::CancelFlag;

    #[test]
    fn every_row_once_and_no_batch_over_the_limits() {
        let lengths = [3, 90, 5, 5, 41, 1, 40, 2, 200];
        let found = batches(&lengths, BatchLimits::tokens(100));
        assert_eq!(found, [vec![8], vec![1], vec![4, 6], vec![2, 3, 0, 7, 5]]);
        let found = batches(&lengths, BatchLimits::rows(4));
        assert_eq!(found, [vec![8, 1, 4, 6], vec![2, 3, 0, 7], vec![5]]);
        assert!(batches(&[], BatchLimits::rows(4)).is_empty());
    }

    fn call() -> (CallOptions, Arc<Mutex<Vec<usize>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = told.clone();
        let call = CallOptions {
            progress: Some(Arc::new(move |progress: crate::BatchProgress| {
                assert_eq!(progress.total, 4);
                log.lock().unwrap().push(progress.done);
            })),
            ..CallOptions::default()
        };
        (call, told)
    }

    /// Four items, the second of which could not be prepared; row 13 cannot be computed.
    fn items() -> Vec<Result<Vec<usize>, String>> {
        vec![
            Ok(vec![5, 2]),
            Err("not prepared".to_owned()),
            Ok(vec![13, 4]),
            Ok(vec![5]),
        ]
    }

    fn double(rows: &[&usize]) -> Result<Vec<usize>, String> {
        match rows.contains(&&13) {
            true => Err("unlucky".to_owned()),
            false => Ok(rows.iter().map(|row| *row * 2).collect()),
        }
    }

    #[test]
    fn a_bad_item_costs_its_neighbours_nothing() {
        for limits in [
            BatchLimits::rows(100),
            BatchLimits::rows(2),
            BatchLimits::rows(0),
            BatchLimits::tokens(1),
        ] {
            let (call, told) = call();
            let found = in_batches(
                items(),
                limits,
                &call,
                |row| *row,
                || "cancelled".to_owned(),
                double,
            );
            assert_eq!(
                found,
                [
                    Ok(vec![10, 4]),
                    Err("not prepared".to_owned()),
                    Err("unlucky".to_owned()),
                    Ok(vec![10])
                ]
            );
            let told = told.lock().unwrap();
            assert_eq!((told.first(), told.last()), (Some(&1), Some(&4)));
            assert!(told.is_sorted());
        }
    }

    #[test]
    fn a_cancelled_call_keeps_what_is_computed() {
        let flag = CancelFlag::default();
        let (mut call, _) = call();
        call.cancel = Some(flag.clone());
        call.batch = Some(1);
        let seen = RefCell::new(Vec::new());
        let found = in_batches_of_one(
            vec![Ok(3), Ok(9), Ok(7), Ok(1)],
            BatchLimits::rows(8),
            &call,
            |row| *row,
            || "cancelled".to_owned(),
            |rows| {
                seen.borrow_mut().push(*rows[0]);
                if seen.borrow().len() == 2 {
                    flag.cancel();
                }
                double(rows)
            },
        );
        let cancelled = Err("cancelled".to_owned());
        assert_eq!(found, [cancelled.clone(), Ok(18), Ok(14), cancelled]);
        assert_eq!(*seen.borrow(), [9, 7]);
    }
}
