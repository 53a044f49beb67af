//! Another vocabulary: what the old tokens say stays, and ids without a row are refused.

use clinical_generate::ModelError;
use clinical_llama::{Error, Llama};

use crate::common::{expected, model, values};

/// Logits of the token after a row.
fn logits(model: &Llama, row: &[u32]) -> Vec<f32> {
    values(model.forward(&[row]).unwrap().narrow(1, row.len() - 1, 1))
}

#[test]
fn old_tokens_say_what_they_said() {
    for variant in ["gqa", "tied"] {
        let original = model(variant);
        let rows = original.config().vocab_size;
        let row = &expected(variant).ids[..9];
        let before = logits(&original, row);

        let mut grown = original.clone();
        grown.resize_embeddings(rows + 3).unwrap();
        assert_eq!(grown.config().vocab_size, rows + 3);
        let after = logits(&grown, row);
        for (before, after) in before.iter().zip(&after) {
            assert!((before - after).abs() < 1e-5, "{variant}");
        }
        // A new row is the mean of the old ones, so its logit is the mean of theirs.
        let mean = before.iter().sum::<f32>() / rows as f32;
        assert_eq!(after.len(), rows + 3);
        assert!(after[rows..].iter().all(|new| (new - mean).abs() < 1e-4));
        // And it can be read.
        assert!(grown.forward(&[&[rows as u32 + 2]]).is_ok());
        let beyond = grown.forward(&[&[rows as u32 + 3]]).unwrap_err();
        assert!(matches!(
            beyond,
            ModelError::TokenOutOfRange { id, vocabulary, .. } if id as usize == rows + 3 && vocabulary == rows + 3
        ));

        let mut cut = original.clone();
        let kept = 1 + *row.iter().max().unwrap() as usize;
        cut.resize_embeddings(kept).unwrap();
        let after = logits(&cut, row);
        assert_eq!(after.len(), kept);
        for (before, after) in before.iter().zip(&after) {
            assert!((before - after).abs() < 1e-5, "{variant}");
        }
        assert!(matches!(
            cut.forward(&[&[kept as u32]]),
            Err(ModelError::TokenOutOfRange { .. })
        ));
        // The original shares nothing that has changed.
        assert_eq!(logits(&original, row), before);
    }
}

#[test]
fn numbers_that_no_vocabulary_has_are_refused() {
    let mut model = model("gqa");
    assert!(matches!(
        model.resize_embeddings(0),
        Err(Error::Zero {
            field: "vocab_size"
        })
    ));
    assert!(matches!(
        model.resize_embeddings(usize::MAX),
        Err(Error::TooBig {
            field: "vocab_size",
            ..
        })
    ));
}
