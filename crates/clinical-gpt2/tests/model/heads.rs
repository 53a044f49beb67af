//! Classes and spans against `transformers`.

use clinical_gpt2::{Error, Gpt2, Gpt2Head};
use clinical_nn::{IGNORED, LossError};
use clinical_weights::LoadOptions;
use serde::Deserialize;

use crate::common::{distance, model, read, values};

#[derive(Deserialize)]
struct Classes {
    rows: Vec<Vec<u32>>,
    logits: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Spans {
    rows: Vec<Vec<u32>>,
    logits: Vec<[Vec<f32>; 2]>,
}

fn slices(rows: &[Vec<u32>]) -> Vec<&[u32]> {
    rows.iter().map(Vec::as_slice).collect()
}

#[test]
fn classes_are_those_of_the_last_token() {
    let (model, expected) = (model("classes"), read::<Classes>("classes"));
    assert_eq!(model.config().head, Gpt2Head::Classes(3));
    let found = values(model.classes(&slices(&expected.rows)).unwrap());
    assert!(distance(&found, &expected.logits.concat()) < 1e-4);
}

#[test]
fn spans_have_two_logits_for_each_token() {
    let (model, expected) = (model("spans"), read::<Spans>("spans"));
    assert_eq!(model.config().head, Gpt2Head::Spans);
    let found = model.spans(&slices(&expected.rows)).unwrap();
    let [_, longest, _] = found.dims();
    let found = values(found);
    for (row, logits) in expected.logits.iter().enumerate() {
        for (which, logits) in logits.iter().enumerate() {
            let ours = (0..logits.len()).map(|at| found[(row * longest + at) * 2 + which]);
            assert!(
                distance(&ours.collect::<Vec<_>>(), logits) < 1e-4,
                "row {row}"
            );
        }
    }
}

/// A head that is put on a published decoder, saved and found again.
#[test]
fn fresh_heads_are_saved_and_found_again() {
    let labels = ["no", "maybe", "yes", "never"];
    let classifier = model("plain").into_classifier(&labels).unwrap();
    let spans = model("plain").into_span_model().unwrap();
    let ids: [&[u32]; 2] = [&[1, 5, 9], &[7]];
    for model in [classifier, spans] {
        let dir = tempfile::tempdir().unwrap();
        let config = model.config().to_value().to_string();
        clinical_weights::save_pretrained(&model, &config, dir.path(), &Default::default())
            .unwrap();
        let (again, report) = Gpt2::load(dir.path(), &LoadOptions::default()).unwrap();
        assert!(report.fits(), "{report}");
        assert_eq!(again.config(), model.config());
        let logits = |model: &Gpt2| match model.config().head {
            Gpt2Head::Spans => values(model.spans(&ids).unwrap()),
            _ => values(model.classes(&ids).unwrap()),
        };
        // Sums of a head that was drawn and of one that lies in a file have another order.
        assert!(distance(&logits(&again), &logits(&model)) < 1e-5);
        // The decoder is the published one.
        let plain = crate::common::model("plain");
        let states = |model: &Gpt2| values(model.hidden_states(&ids).unwrap());
        assert_eq!(states(&again), states(&plain));
    }
}

#[test]
fn another_head_and_wrong_targets_are_refused() {
    let ids: [&[u32]; 2] = [&[1, 5, 9], &[7, 8]];
    let plain = model("plain");
    assert!(matches!(
        plain.classes(&ids),
        Err(Error::Head {
            found: Gpt2Head::Language,
            ..
        })
    ));
    assert!(matches!(plain.spans(&ids), Err(Error::Head { .. })));
    let classes = model("classes");
    assert!(matches!(
        classes.spans(&ids),
        Err(Error::Head {
            found: Gpt2Head::Classes(3),
            ..
        })
    ));
    assert!(matches!(
        classes.class_loss(&ids, &[1]),
        Err(Error::TargetCount {
            targets: 1,
            rows: 2
        })
    ));
    assert!(matches!(
        classes.class_loss(&ids, &[3, 0]),
        Err(Error::Loss(LossError::LabelOutOfRange { label: 3, .. }))
    ));
    assert!(matches!(
        classes.class_loss(&ids, &[IGNORED, IGNORED]),
        Err(Error::Loss(LossError::NoTargets))
    ));
    let sets = |row: Vec<f32>| classes.class_set_loss(&ids, &[vec![0.0; 3], row]);
    assert!(matches!(
        sets(vec![1.0]),
        Err(Error::TargetWidth {
            row: 1,
            values: 1,
            classes: 3
        })
    ));
    assert!(matches!(
        sets(vec![1.0, f32::NAN, 0.0]),
        Err(Error::TargetValue { row: 1 })
    ));
    let spans = model("spans");
    for span in [(2, 1), (0, 2), (9, 9)] {
        assert!(matches!(
            spans.span_loss(&ids, &[None, Some(span)]),
            Err(Error::SpanOutOfRange { row: 1, length: 2 })
        ));
    }
    assert!(matches!(
        spans.span_loss(&ids, &[None, None]),
        Err(Error::Loss(_))
    ));
    assert!(spans.span_loss(&[], &[]).is_err() && classes.class_loss(&[], &[]).is_err());
    assert!(matches!(
        model("plain").into_classifier(&[]),
        Err(Error::Zero {
            field: "num_labels"
        })
    ));
}
