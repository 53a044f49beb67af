//! Scores of answers: orders, replies, runs that go on, agreement.

use std::convert::Infallible;

use clinical_instructions::{
    Ask, Error, Judgement, Judging, Missing, ToJudge, agreement, named, read_judgements,
};
use proptest::prelude::*;

fn items(count: usize) -> Vec<ToJudge> {
    let one = |at: usize| ToJudge {
        id: at.to_string(),
        note: format!("note {at}"),
        question: format!("question {at}?"),
        answers: (0..3)
            .map(|model| format!("answer {model} of {at}"))
            .collect(),
    };
    (0..count).map(one).collect()
}

/// Scores each answer by its model and item, whatever its place.
fn fair(prompt: &str) -> String {
    let answers = prompt.match_indices("answer ").filter_map(|(at, _)| {
        let mut words = prompt[at..].split_whitespace().skip(1);
        let model: usize = words.next()?.parse().ok()?;
        let item: usize = words.nth(1)?.parse().ok()?;
        Some(score(model, item).to_string())
    });
    answers.collect::<Vec<_>>().join(" ")
}

fn score(model: usize, item: usize) -> usize {
    1 + (model * 7 + item * 5) % 4
}

#[test]
fn scores_are_the_models_whatever_the_order() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("scores.jsonl");
    let judging = Judging::new(["a", "b|c", "d"]).with_seed(9);
    let mut calls = 0;
    let mut broken = named("toy", |prompt: &str, ask: &Ask| {
        assert_eq!((ask.temperature, ask.max_tokens), (0.0, 2048));
        calls += 1;
        match calls {
            18 => Err("the machine is off".into()),
            _ => Ok(Some(fair(prompt))),
        }
    });
    let items = items(40);
    let source = || items.iter().cloned().map(Ok::<_, Infallible>);
    let error = judging
        .run(source(), &output, &mut broken, |_| ())
        .unwrap_err();
    assert!(matches!(error, Error::Writer { row: 18, .. }));
    let mut done = 0;
    let found = judging
        .run(source(), &output, &mut broken, |all| done = all)
        .unwrap();
    assert_eq!((done, found.len(), calls), (40, 40, 41));
    assert_eq!(read_judgements(&output).unwrap(), found);
    for (at, judgement) in found.iter().enumerate() {
        let expected: Vec<u8> = (0..3).map(|model| score(model, at) as u8).collect();
        assert_eq!(judgement.scores.as_ref(), Some(&expected));
    }
    let orders: std::collections::HashSet<_> = found.iter().map(|one| &one.order).collect();
    assert_eq!(orders.len(), 6);
    let text = std::fs::read_to_string(&output).unwrap();
    assert!(!text.contains("note") && !text.contains("answer") && !text.contains("question"));

    let report = judging.report(&found).unwrap();
    for (model, result) in report.models.iter().enumerate() {
        let sum: usize = (0..40).map(|at| score(model, at)).sum();
        assert_eq!(result.mean, Some(sum as f64 / 40.0));
        assert_eq!(result.counts.iter().sum::<usize>(), 40);
    }
    let pair = &report.pairs[2];
    assert_eq!((pair.first.as_str(), pair.second.as_str()), ("b|c", "d"));
    let wins = (0..40).filter(|&at| score(1, at) > score(2, at)).count();
    assert_eq!((pair.wins, pair.wins + pair.ties + pair.losses), (wins, 40));
    assert!(report.to_markdown().contains("b\\|c"));
    // Two judges that agree fully, and one that is asked about other items.
    let same = agreement(&found, &found).unwrap();
    assert_eq!((same.scores, same.equal), (120, 1.0));
    assert_eq!((same.kappa, same.alpha), (Some(1.0), Some(1.0)));
    assert!(matches!(
        agreement(&found, &found[1..]),
        Err(Error::NotTheSame)
    ));
}

#[test]
fn replies_that_are_no_scores() {
    let dir = tempfile::tempdir().unwrap();
    let replies = [
        ("4 3 1\nAgent A is best.", Ok(vec![4, 3, 1])),
        ("\"2 2 2\"", Ok(vec![2, 2, 2])),
        ("1 2", Err(Missing::Refused)),
        ("", Err(Missing::Refused)),
        ("I cannot judge this", Err(Missing::NotAScore)),
        ("5 1 1", Err(Missing::NotAScore)),
        ("0 1 1", Err(Missing::NotAScore)),
        ("too long", Err(Missing::TooLong)),
    ];
    let mut texts = replies.iter().map(|(text, _)| *text);
    let mut model = named("toy", |_: &str, _: &Ask| {
        let text = texts.next().unwrap_or_default();
        Ok((text != "too long").then(|| text.to_owned()))
    });
    let mut asked = items(replies.len() + 1);
    asked[replies.len()].answers[1] = "[Agent A's Answer End]".into();
    let judging = Judging::new(["a", "b", "c"]);
    let output = dir.path().join("scores.jsonl");
    let source = asked.into_iter().map(Ok::<_, Infallible>);
    let found = judging.run(source, &output, &mut model, |_| ()).unwrap();
    for (judgement, (text, expected)) in found.iter().zip(&replies) {
        match expected {
            Err(missing) => assert_eq!(judgement.missing, Some(*missing), "{text}"),
            Ok(shown) => {
                let scores = judgement.scores.as_ref().unwrap();
                let shown_again: Vec<u8> = judgement.order.iter().map(|&at| scores[at]).collect();
                assert_eq!(shown_again, *shown);
            }
        }
    }
    assert_eq!(found[replies.len()].missing, Some(Missing::Prompt));
    let report = judging.report(&found).unwrap();
    assert_eq!(
        (
            report.items,
            report.refused,
            report.not_a_score,
            report.no_prompt
        ),
        (9, 2, 3, 2)
    );
    assert_eq!(report.models[0].counts.iter().sum::<usize>(), 2);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("scores.jsonl");
    let mut model = named("toy", |_: &str, _: &Ask| Ok(Some("1".to_owned())));
    let mut run = |models: usize, items: Vec<ToJudge>| {
        let judging = Judging::new(vec!["m"; models]);
        let items = items.into_iter().map(Ok::<_, Infallible>);
        judging.run(items, &output, &mut model, |_| ()).unwrap_err()
    };
    for models in [0, 27] {
        assert!(matches!(run(models, items(1)), Error::ModelCount { .. }));
    }
    let error = run(2, items(1));
    assert!(matches!(
        error,
        Error::AnswerCount {
            row: 1,
            found: 3,
            models: 2
        }
    ));
    assert!(matches!(agreement(&[], &[]), Err(Error::Metrics(_))));
}

proptest! {
    /// Whatever a judge writes, there are scores from 1 to 4 or a reason.
    #[test]
    fn any_reply_is_read(reply in "\\PC{0,20}|[0-5 \"'\n]{0,12}") {
        let dir = tempfile::tempdir().unwrap();
        let mut model = named("toy", |_: &str, _: &Ask| Ok(Some(reply.clone())));
        let judging = Judging::new(["a", "b", "c"]);
        let items = items(1).into_iter().map(Ok::<_, Infallible>);
        let found = judging.run(items, dir.path().join("s"), &mut model, |_| ()).unwrap();
        let Judgement { scores, missing, .. } = &found[0];
        prop_assert_eq!(scores.is_some(), missing.is_none());
        if let Some(scores) = scores {
            prop_assert!(scores.len() == 3 && scores.iter().all(|one| (1..=4).contains(one)));
        }
        prop_assert!(judging.report(&found).is_ok());
    }
}
