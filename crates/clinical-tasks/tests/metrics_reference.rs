//! Metrics against scikit-learn, the script of SQuAD 2.0, seqeval, SciPy and statsmodels.
//!
//! `data/metrics.json` is made by `scripts/tasks_reference.py`. It holds results alone: the cases are drawn here from the
//! same numbers as there.

use clinical_tasks::Error;
use clinical_tasks::metrics::{
    Bootstrap, F1Score, KappaWeights, Overlap, PairedTest, Scale, SquadAnswer, answer_f1,
    class_scores, cohen_kappa, entity_scores, krippendorff_alpha, mcnemar, multi_label_scores,
    roc_aucs, squad_items, squad_scores,
};
use serde_json::Value;

/// Stored values have ten digits after the point.
const CLOSE: f64 = 1e-9;

/// The numbers that the reference draws its cases with.
struct Draw {
    key: u64,
    next: u64,
}

impl Draw {
    fn new(seed: u64, stream: usize) -> Self {
        let fold = |a: u64, b: u64| mix((a ^ b).wrapping_add(GOLDEN));
        Self {
            key: fold(fold(0, seed), stream as u64),
            next: 0,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next += 1;
        let bits = mix(self.key.wrapping_add(self.next.wrapping_mul(GOLDEN)));
        ((u128::from(bits) * bound as u128) >> 64) as usize
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn reference() -> Value {
    serde_json::from_str(include_str!("data/metrics.json")).unwrap()
}

fn table(reference: &Value, name: &str) -> Vec<String> {
    let items = reference["tables"][name].as_array().unwrap().iter();
    items
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}

/// The values of each case of a family; `None` where the reference has none.
fn rows(reference: &Value, family: &str) -> Vec<Vec<Option<f64>>> {
    let rows = reference[family].as_array().unwrap().iter();
    rows.map(|row| row.as_array().unwrap().iter().map(Value::as_f64).collect())
        .collect()
}

fn compare(family: &str, case: usize, ours: &[Option<f64>], expected: &[Option<f64>]) {
    assert_eq!(ours.len(), expected.len(), "{family} {case}");
    for (index, (ours, expected)) in ours.iter().zip(expected).enumerate() {
        let same = match (ours, expected) {
            (Some(ours), Some(expected)) => (ours - expected).abs() < CLOSE,
            (ours, expected) => ours == expected,
        };
        assert!(
            same,
            "{family} {case}, value {index}: {ours:?} instead of {expected:?}"
        );
    }
}

fn three(score: F1Score) -> [Option<f64>; 3] {
    [Some(score.precision), Some(score.recall), Some(score.f1)]
}

#[test]
fn one_label_each_as_in_scikit_learn() {
    let reference = reference();
    let names = table(&reference, "classes");
    for (case, expected) in rows(&reference, "classes").iter().enumerate() {
        let mut draw = Draw::new(1, case);
        let (count, kinds) = (1 + draw.below(40), 2 + draw.below(4));
        let (mut truth, mut predicted) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let own = names[draw.below(kinds)].clone();
            let other = names[draw.below(kinds)].clone();
            predicted.push(if draw.below(2) == 1 {
                own.clone()
            } else {
                other
            });
            truth.push(own);
        }
        let scores = class_scores(&truth, &predicted, None).unwrap();
        let some = class_scores(&truth, &predicted, Some(&names[..3])).unwrap();
        assert_eq!(some.labels.len(), 3);
        let mut ours = vec![Some(scores.accuracy)];
        for scores in [&scores, &some] {
            ours.extend(three(scores.macro_average));
            ours.extend(three(scores.micro_average));
        }
        ours.extend(scores.labels.iter().map(|(_, score)| Some(score.f1)));
        compare("classes", case, &ours, expected);
    }
}

#[test]
fn several_labels_each_as_in_scikit_learn() {
    let reference = reference();
    let (mut undefined, mut defined) = (0, 0);
    for (case, expected) in rows(&reference, "multi_label").iter().enumerate() {
        let mut draw = Draw::new(2, case);
        let (count, kinds) = (1 + draw.below(30), 2 + draw.below(6));
        let rare = 2 + draw.below(12);
        let (mut truth, mut predicted, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            let mut row = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..kinds {
                let own = draw.below(rare) == 0;
                let wrong = draw.below(4) == 0;
                row.0.push(own);
                row.1.push(own ^ wrong);
                row.2
                    .push(draw.below(9) as f64 / 8.0 + f64::from(u8::from(own)) / 4.0);
            }
            truth.push(row.0);
            predicted.push(row.1);
            scores.push(row.2);
        }
        let decided = multi_label_scores(&truth, &predicted).unwrap();
        let areas = roc_aucs(&truth, &scores).unwrap();
        let mut ours = vec![Some(decided.subset_accuracy)];
        ours.extend(three(decided.macro_average));
        ours.extend(three(decided.micro_average));
        ours.extend(decided.labels.iter().map(|score| Some(score.f1)));
        ours.extend([areas.macro_average, areas.micro_average]);
        ours.extend(&areas.labels);
        undefined += areas.labels.iter().filter(|area| area.is_none()).count();
        defined += areas.labels.iter().filter(|area| area.is_some()).count();
        compare("multi_label", case, &ours, expected);
    }
    assert!(undefined > 300 && defined > 3000, "{undefined} {defined}");
}

#[test]
fn entities_as_in_seqeval() {
    let reference = reference();
    let tags = table(&reference, "tags");
    let mut empty = 0;
    for (case, expected) in rows(&reference, "entities").iter().enumerate() {
        let mut draw = Draw::new(3, case);
        let kinds = 3 + draw.below(tags.len() - 2);
        let (mut truth, mut predicted) = (Vec::new(), Vec::new());
        for _ in 0..1 + draw.below(4) {
            let (mut own, mut other) = (Vec::new(), Vec::new());
            for _ in 0..draw.below(9) {
                let tag = &tags[draw.below(kinds)];
                let wrong = &tags[draw.below(kinds)];
                other.push(if draw.below(3) == 0 { wrong } else { tag });
                own.push(tag);
            }
            truth.push(own);
            predicted.push(other);
        }
        let scores = entity_scores(&truth, &predicted).unwrap();
        let mut ours: Vec<Option<f64>> = three(scores.micro_average).to_vec();
        ours.extend(scores.macro_average.map_or([None; 3], three));
        ours.extend(three(scores.weighted_average));
        ours.extend(scores.kinds.iter().map(|(_, score)| Some(score.f1)));
        empty += usize::from(scores.kinds.is_empty());
        compare("entities", case, &ours, expected);
    }
    assert!(empty > 10, "{empty}");
}

fn text(draw: &mut Draw, pieces: &[String], between: &[String]) -> String {
    let mut out = String::new();
    for _ in 0..draw.below(6) {
        out += &pieces[draw.below(pieces.len())];
        out += &between[draw.below(between.len())];
    }
    out
}

#[test]
fn answers_as_in_the_script_of_squad() {
    let reference = reference();
    let (pieces, between) = (table(&reference, "pieces"), table(&reference, "between"));
    for (case, expected) in rows(&reference, "squad").iter().enumerate() {
        let mut draw = Draw::new(4, case);
        let (mut truths, mut predictions) = (Vec::new(), Vec::new());
        for _ in 0..1 + draw.below(10) {
            let count = draw.below(4);
            let answers: Vec<String> = (0..count)
                .map(|_| text(&mut draw, &pieces, &between))
                .collect();
            let mut chosen = text(&mut draw, &pieces, &between);
            if draw.below(2) == 1 && !answers.is_empty() {
                chosen = answers[draw.below(answers.len())].clone();
            }
            if draw.below(5) == 0 {
                chosen.clear();
            }
            predictions.push((chosen, draw.below(9) as f64 / 8.0));
            truths.push(answers);
        }
        let answers: Vec<SquadAnswer<'_>> = truths
            .iter()
            .zip(&predictions)
            .map(|(truth, (predicted, no_answer))| SquadAnswer {
                truth: truth.iter().map(|answer| &**answer).collect(),
                predicted: Some(predicted),
                no_answer: *no_answer,
            })
            .collect();
        let items = squad_items(&answers, Overlap::Multiset).unwrap();
        let mut ours = Vec::new();
        for threshold in [1.0, 0.5] {
            let scores = squad_scores(&items, threshold).unwrap();
            ours.extend([Some(scores.exact), Some(scores.f1)]);
            for part in [scores.answerable, scores.unanswerable] {
                ours.extend([part.map(|(exact, _)| exact), part.map(|(_, f1)| f1)]);
            }
        }
        let scores = squad_scores(&items, 1.0).unwrap();
        for best in [scores.best_exact, scores.best_f1] {
            ours.extend([Some(best.score), Some(best.threshold)]);
        }
        let truth = truths[0].first().map_or("", |answer| answer);
        ours.push(Some(answer_f1(
            truth,
            &predictions[0].0,
            Overlap::PublishedSet,
        )));
        compare("squad", case, &ours, expected);
    }
}

#[test]
fn intervals_on_the_same_samples_and_near_those_of_scipy() {
    for (case, expected) in rows(&reference(), "bootstrap").iter().enumerate() {
        let mut draw = Draw::new(5, case);
        let values: Vec<f64> = (0..2 + draw.below(200))
            .map(|_| draw.below(5) as f64 / 4.0)
            .collect();
        let interval = Bootstrap::new(case as u64).mean(&values).unwrap();
        compare(
            "bootstrap",
            case,
            &[Some(interval.low), Some(interval.high)],
            &expected[..2],
        );
        // SciPy draws 9,999 other samples; a quantile of 1,000 is off by some tenths of the deviation of the mean.
        let deviation = 0.36 / (values.len() as f64).sqrt();
        for (ours, other) in [(interval.low, expected[2]), (interval.high, expected[3])] {
            assert!(
                (ours - other.unwrap()).abs() < 0.5 * deviation,
                "{case}: {ours} {other:?}"
            );
        }
    }
}

#[test]
fn paired_tests_as_in_scipy_and_statsmodels() {
    let reference = reference();
    for (case, expected) in rows(&reference, "paired").iter().enumerate() {
        let mut draw = Draw::new(6, case);
        let count = 2 + draw.below(8);
        let mut values = || {
            (0..count)
                .map(|_| draw.below(4) as f64 / 4.0)
                .collect::<Vec<f64>>()
        };
        let (first, second) = (values(), values());
        let test = PairedTest::new(1).means(&first, &second).unwrap();
        assert!(test.exact);
        let (only_first, only_second) = (draw.below(60), draw.below(60));
        let right = |own: usize, other: usize| [vec![true; own], vec![false; other]].concat();
        let found = mcnemar(&right(only_first, only_second), &{
            let mut second = right(only_second, only_first);
            second.reverse();
            second
        });
        let found = found.unwrap();
        let ours = [
            test.difference,
            test.p_value,
            found.only_first as f64,
            found.only_second as f64,
            found.p_value,
        ];
        compare("paired", case, &ours.map(Some), expected);
    }
    for case in reference["randomized"].as_array().unwrap() {
        let values = |name: &str| -> Vec<f64> {
            let bits = case[name].as_str().unwrap().bytes();
            bits.map(|bit| f64::from(bit - b'0')).collect()
        };
        let test = PairedTest::new(3)
            .means(&values("first"), &values("second"))
            .unwrap();
        let expected = case["p"].as_f64().unwrap();
        // Four deviations of a share of 10,000 samples.
        let most = 4.0 * (expected * (1.0 - expected) / 10_000.0).sqrt() + 3e-4;
        assert!(
            !test.exact && (test.p_value - expected).abs() < most,
            "{test:?} {expected}"
        );
    }
}

#[test]
fn agreement_as_in_scikit_learn_and_krippendorff() {
    let reference = reference();
    for (case, expected) in rows(&reference, "agreement").iter().enumerate() {
        let mut draw = Draw::new(7, case);
        let (units, kinds) = (2 + draw.below(30), 1 + draw.below(4));
        let first: Vec<usize> = (0..units).map(|_| draw.below(kinds)).collect();
        let second = first.iter().map(|&one| match draw.below(2) {
            0 => draw.below(kinds),
            _ => one,
        });
        let second: Vec<usize> = second.collect();
        let kappa = |weights| cohen_kappa(&first, &second, 4, weights).unwrap();
        let mut ours: Vec<Option<f64>> = [
            KappaWeights::None,
            KappaWeights::Linear,
            KappaWeights::Quadratic,
        ]
        .map(kappa)
        .to_vec();
        let raters = 2 + draw.below(3);
        let ratings: Vec<Vec<Option<f64>>> = (0..raters)
            .map(|_| {
                let one = |_| match draw.below(4) {
                    0 => None,
                    _ => Some(draw.below(kinds) as f64),
                };
                (0..units).map(one).collect()
            })
            .collect();
        let ratings: Vec<&[Option<f64>]> = ratings.iter().map(Vec::as_slice).collect();
        let alpha = |scale| krippendorff_alpha(&ratings, scale).unwrap();
        ours.extend([Scale::Nominal, Scale::Ordinal, Scale::Interval].map(alpha));
        compare("agreement", case, &ours, expected);
    }
}

#[test]
fn agreement_of_nothing_is_an_error() {
    let weights = KappaWeights::default();
    assert!(matches!(
        cohen_kappa(&[], &[], 4, weights),
        Err(Error::Nothing)
    ));
    assert!(matches!(
        cohen_kappa(&[1], &[1, 2], 4, weights),
        Err(Error::Lengths { .. })
    ));
    assert!(matches!(
        cohen_kappa(&[1, 4], &[1, 2], 4, weights),
        Err(Error::Category { category: 4, .. })
    ));
    assert!(matches!(
        krippendorff_alpha(&[], Scale::Nominal),
        Err(Error::Nothing)
    ));
    let (one, two): ([_; 2], [_; 1]) = ([Some(1.0), None], [Some(1.0)]);
    assert!(matches!(
        krippendorff_alpha(&[&one, &two], Scale::Nominal),
        Err(Error::Lengths { .. })
    ));
    let nan = [Some(1.0), Some(f64::NAN)];
    assert!(matches!(
        krippendorff_alpha(&[&one, &nan], Scale::Nominal),
        Err(Error::NotANumber { .. })
    ));
    // A unit with one rating says nothing.
    let other = [None, Some(2.0)];
    assert_eq!(
        krippendorff_alpha(&[&one, &other], Scale::Nominal).unwrap(),
        None
    );
}
