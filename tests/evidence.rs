//! Where answers come from: the demonstration model's evidence, against what the generator knows of its notes.

#[path = "files/places.rs"]
mod places;

use asclepius::{AnswerOptions, Asclepius, EvidenceKind, FindEvidence};
use clinical_synth::Generator;

use places::{Counts, places};

/// F1 over sentences of the note: of the facts that an answer needs, and of the pieces of evidence.
fn measure(kinds: &[EvidenceKind], find: FindEvidence) -> Counts {
    let model = Asclepius::embedded().unwrap();
    let options = AnswerOptions::new()
        .with_max_new_tokens(96)
        .with_evidence(find);
    let mut counts = Counts::default();
    for case in Generator::held_out(31).with_pairs(10).take(40) {
        let asked: Vec<(&str, &str)> = case
            .pairs
            .iter()
            .map(|pair| (case.note.as_str(), pair.question.as_str()))
            .collect();
        for (pair, answer) in case.pairs.iter().zip(model.answer_batch(&asked, &options)) {
            let answer = answer.unwrap();
            // Where a wrong answer comes from, nobody knows.
            if answer.text != pair.answer {
                continue;
            }
            let Some(places) = places(&case.note, pair) else {
                continue;
            };
            // What is not said in the note's words has no quote.
            if kinds == [EvidenceKind::Quote] && pair.span.is_none() && pair.kind != "medications" {
                continue;
            }
            let evidence = answer.evidence.iter().filter(|e| kinds.contains(&e.kind));
            counts.add(&pair.kind, &places, evidence.map(|e| e.note.clone()));
        }
    }
    counts
}

/// What the note does not say has neither evidence nor statements without support.
#[test]
fn a_refusal_needs_no_evidence() {
    let model = Asclepius::embedded().unwrap();
    let options = AnswerOptions::new().with_evidence(FindEvidence::QuotesAndUse);
    let mut refused = 0;
    for case in Generator::held_out(32).with_pairs(60).take(10) {
        for pair in case
            .pairs
            .iter()
            .filter(|pair| pair.kind.starts_with("no "))
        {
            let answer = model
                .answer_with(&case.note, &pair.question, &options)
                .unwrap();
            if answer.text == pair.answer {
                refused += 1;
                assert!(answer.evidence.is_empty() && answer.unsupported.is_empty());
            }
        }
    }
    assert!(refused > 3, "{refused}");
}

/// Evidence costs about as many tokens as the prompt has, and stands in the note whatever its characters.
#[test]
fn evidence_has_a_bound_and_whole_characters() {
    let model = Asclepius::embedded().unwrap();
    let options = AnswerOptions::new().with_evidence(FindEvidence::QuotesAndUse);
    for filler in ["", "Grüße aus Köln – 発熱 3日. ", "نوٹ مریض. "] {
        let note = format!(
            "{}\n\nDischarge Diagnosis: pneumonia\n\n{}",
            filler.repeat(9),
            filler.repeat(5)
        );
        let question = "What is the discharge diagnosis?";
        let answer = model.answer_with(&note, question, &options).unwrap();
        let usage = answer.usage;
        assert!(usage.evidence_tokens > 0);
        assert!(
            usage.evidence_tokens <= usage.prompt_tokens + usage.new_tokens,
            "{usage:?}"
        );
        for evidence in &answer.evidence {
            assert!(note.get(evidence.note.clone()).is_some());
            assert!(answer.text.get(evidence.answer.clone()).is_some());
        }
        let pneumonia = |kind| {
            let of_kind = answer.evidence.iter().filter(|e| e.kind == kind);
            of_kind
                .into_iter()
                .any(|e| note[e.note.clone()].contains("pneumonia"))
        };
        assert!(
            pneumonia(EvidenceKind::Quote) && pneumonia(EvidenceKind::Used),
            "{answer:?}"
        );
        // The same from a session, and in a batch.
        let mut session = std::sync::Arc::new(Asclepius::embedded().unwrap())
            .session(&note, &options)
            .unwrap();
        assert_eq!(
            session.ask(question).unwrap().evidence.len(),
            answer.evidence.len()
        );
        let batch = model.answer_batch(&[(&note, question)], &options);
        assert_eq!(
            batch[0].as_ref().unwrap().evidence.len(),
            answer.evidence.len()
        );
    }
}

/// Ranges lead back through windows and through a de-identification.
#[test]
fn ranges_lead_back_to_the_first_text() {
    let model = Asclepius::embedded().unwrap();
    let original = format!(
        "{}\nAttending: Dr. [**Last Name 123**]\nDischarge Diagnosis: pneumonia",
        "Seen by [**Name 7**] today.\n".repeat(60)
    );
    let normalized = clinical_deid::Normalizer::mimic_iii()
        .normalize(&original)
        .unwrap();
    let options = AnswerOptions::new()
        .with_evidence(FindEvidence::Quotes)
        .with_long_text(asclepius::LongText::Windows { overlap: 20 })
        .with_max_tokens(400);
    let question = "What is the discharge diagnosis?";
    let answer = model
        .answer_with(&normalized.text, question, &options)
        .unwrap();
    assert!(
        answer.windows.len() > 1 && answer.text.contains("pneumonia"),
        "{answer:?}"
    );
    let back = |range| normalized.original_range(range);
    let answer = answer.map_evidence(back).unwrap();
    let found = answer
        .evidence
        .iter()
        .find(|e| &answer.text[e.answer.clone()] == "pneumonia");
    assert_eq!(&original[found.unwrap().note.clone()], "pneumonia");
}

#[test]
fn quotes_stand_where_the_answer_does() {
    let counts = measure(&[EvidenceKind::Quote], FindEvidence::Quotes);
    println!("quotes: {counts}");
    assert!(counts.f1() >= 0.9, "{counts}");
}

#[test]
fn the_model_used_the_passages_that_it_names() {
    let counts = measure(&[EvidenceKind::Used], FindEvidence::QuotesAndUse);
    println!("used: {counts}");
    assert!(counts.f1() >= 0.85, "{counts}");
}

#[test]
fn both_kinds_together() {
    let counts = measure(
        &[EvidenceKind::Quote, EvidenceKind::Used],
        FindEvidence::QuotesAndUse,
    );
    println!("both: {counts}");
    assert!(counts.f1() >= 0.9, "{counts}");
}
