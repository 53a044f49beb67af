//! The order of examples and batches: every example once an epoch, and the same after resuming.

use clinical_train::{BatchPosition, BatchSettings, Batches, Batching, DataError, Order};
use proptest::prelude::*;

fn batches(seed: u64, lengths: &[u32], batching: Batching, window: usize) -> Batches {
    let settings = BatchSettings::default()
        .with_batching(batching)
        .with_window(window);
    let order = Order::new(seed, lengths.len()).unwrap();
    Batches::new(order, lengths.to_vec(), settings).unwrap()
}

fn places(lengths: &[u32], batch: &[usize]) -> (usize, usize) {
    let longest = batch.iter().map(|&example| lengths[example]).max().unwrap() as usize;
    let tokens = batch.iter().map(|&example| lengths[example] as usize).sum();
    (batch.len() * longest, tokens)
}

#[test]
fn the_order_of_a_seed_never_changes() {
    // From scripts/order_reference.py.
    let order = Order::new(42, 10).unwrap();
    assert_eq!(order.permutation(0), [6, 9, 5, 2, 7, 4, 1, 8, 3, 0]);
    assert_eq!(order.permutation(1), [0, 3, 9, 6, 2, 1, 4, 5, 7, 8]);
    assert_ne!(
        Order::new(43, 10).unwrap().permutation(0),
        order.permutation(0)
    );
}

#[test]
fn permutations_are_equally_likely() {
    let mut counts = std::collections::HashMap::new();
    for epoch in 0..24_000 {
        let permutation = Order::new(7, 4).unwrap().permutation(epoch);
        *counts.entry(permutation).or_insert(0_u32) += 1;
    }
    assert_eq!(counts.len(), 24);
    // 1000 each, give or take five deviations of 31.
    assert!(
        counts.values().all(|count| (845..=1155).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn bad_settings_are_errors() {
    assert!(matches!(Order::new(0, 0), Err(DataError::NoExamples)));
    assert!(matches!(
        Order::new(0, u32::MAX as usize + 1),
        Err(DataError::TooManyExamples { .. })
    ));
    let make = |lengths: &[u32], batching, window| {
        let settings = BatchSettings::default()
            .with_batching(batching)
            .with_window(window);
        Batches::new(Order::new(0, 2).unwrap(), lengths.to_vec(), settings).map(|_| ())
    };
    assert!(make(&[1, 1], Batching::Rows(1), 1).is_ok());
    for (batching, window) in [
        (Batching::Rows(0), 1),
        (Batching::Tokens(0), 1),
        (Batching::Rows(1), 0),
    ] {
        assert!(matches!(
            make(&[1, 1], batching, window),
            Err(DataError::Zero { .. })
        ));
    }
    assert!(matches!(
        make(&[1], Batching::Rows(1), 1),
        Err(DataError::LengthCount {
            lengths: 1,
            examples: 2
        })
    ));
    assert!(matches!(
        make(&[1, 0], Batching::Rows(1), 1),
        Err(DataError::EmptyExample { example: 1 })
    ));
}

#[test]
fn a_position_behind_the_end_is_an_error() {
    for batching in [Batching::Rows(3), Batching::Tokens(20)] {
        let batches = batches(1, &[4, 5, 6, 7, 8, 9, 10], batching, 4);
        let count = batches.count(2);
        let at = |batch| batches.resume(BatchPosition { epoch: 2, batch });
        assert_eq!(at(count).unwrap().count(), 0);
        assert!(matches!(
            at(count + 1),
            Err(DataError::PastTheEnd { epoch: 2, batch, batches }) if batch == count + 1 && batches == count
        ));
    }
}

#[test]
fn settings_read_what_a_recipe_says() {
    let read = |text: &str| serde_json::from_str::<BatchSettings>(text);
    assert_eq!(read("{}").unwrap(), BatchSettings::default());
    let tokens = BatchSettings::default().with_batching(Batching::Tokens(4096));
    assert_eq!(read(r#"{"batching": {"tokens": 4096}}"#).unwrap(), tokens);
    assert!(read(r#"{"batching": {"token": 4096}}"#).is_err());
    assert!(read(r#"{"windows": 4}"#).is_err());
}

#[test]
fn batches_of_rows_follow_the_order() {
    let batches = batches(5, &[3; 10], Batching::Rows(4), 2);
    let found: Vec<Vec<usize>> = batches.epoch(3).collect();
    let sizes: Vec<usize> = found.iter().map(Vec::len).collect();
    assert_eq!((sizes.as_slice(), batches.count(3)), (&[4, 4, 2][..], 3));
    let order = Order::new(5, 10).unwrap().permutation(3);
    let order: Vec<usize> = order.into_iter().map(|example| example as usize).collect();
    assert_eq!(found.concat(), order);
}

#[test]
fn batches_of_a_window_are_shuffled() {
    let lengths: Vec<u32> = (1..=512).collect();
    let batches = batches(9, &lengths, Batching::Tokens(2048), 512);
    let longest: Vec<u32> = batches
        .epoch(0)
        .map(|batch| {
            batch
                .into_iter()
                .map(|example| lengths[example])
                .max()
                .unwrap()
        })
        .collect();
    assert!(longest.len() > 30);
    assert!(!longest.is_sorted());
    let again: Vec<Vec<usize>> = batches.epoch(1).collect();
    assert_ne!(batches.epoch(0).collect::<Vec<_>>(), again);
}

proptest! {
    #[test]
    fn every_example_once_an_epoch(seed: u64, epoch: u64, len in 1_usize..300) {
        let mut permutation = Order::new(seed, len).unwrap().permutation(epoch);
        permutation.sort_unstable();
        prop_assert_eq!(permutation, (0..len as u32).collect::<Vec<_>>());
    }

    #[test]
    fn any_position_resumes(seed: u64, len in 1_usize..40, start in 0_u64..200) {
        let order = Order::new(seed, len).unwrap();
        let mut whole = order.resume(0);
        for _ in 0..start {
            whole.next();
        }
        prop_assert_eq!(whole.position(), start);
        let rest: Vec<_> = order.resume(start).take(100).collect();
        prop_assert_eq!(rest, whole.take(100).collect::<Vec<_>>());
    }

    /// Every example once, within the budget, resumed anywhere, and padding below the documented bound.
    #[test]
    fn batches_keep_their_promises(
        seed: u64,
        epoch in 0_u64..1000,
        lengths in prop::collection::vec(1_u32..300, 1..200),
        budget in 1_usize..2000,
        window in 1_usize..250,
        skip in 0_usize..50,
    ) {
        let made = batches(seed, &lengths, Batching::Tokens(budget), window);
        let found: Vec<Vec<usize>> = made.epoch(epoch).collect();
        prop_assert_eq!(found.len() as u64, made.count(epoch));

        let mut all = found.concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());

        for batch in &found {
            let (places, _) = places(&lengths, batch);
            prop_assert!(places <= budget || batch.len() == 1, "{} places", places);
        }

        let skip = skip.min(found.len());
        let position = BatchPosition { epoch, batch: skip as u64 };
        let rest: Vec<Vec<usize>> = made.resume(position).unwrap().collect();
        prop_assert_eq!(&rest, &found[skip..]);

        let order = Order::new(seed, lengths.len()).unwrap().permutation(epoch);
        let mut left = found.iter();
        for examples in order.chunks(window) {
            let of_window = || examples.iter().map(|&example| lengths[example as usize]);
            let (shortest, longest) = (of_window().min().unwrap(), of_window().max().unwrap());
            let (mut taken, mut padding) = (0, 0);
            while taken < examples.len() {
                let batch = left.next().unwrap();
                // Batches do not reach over windows.
                prop_assert!(batch.iter().all(|&example| examples.contains(&(example as u32))));
                let (places, tokens) = places(&lengths, batch);
                padding += places - tokens;
                taken += batch.len();
            }
            let bound = budget as f64 * (f64::from(longest) / f64::from(shortest)).ln();
            prop_assert!(padding as f64 <= bound, "{} above {}", padding, bound);
        }
    }

    #[test]
    fn rows_are_taken_once(seed: u64, len in 1_usize..200, rows in 1_usize..50, epoch in 0_u64..9) {
        let made = batches(seed, &vec![1; len], Batching::Rows(rows), 16);
        let mut all: Vec<usize> = made.epoch(epoch).flatten().collect();
        prop_assert_eq!(made.epoch(epoch).count() as u64, made.count(epoch));
        all.sort_unstable();
        prop_assert_eq!(all, (0..len).collect::<Vec<_>>());
    }
}
