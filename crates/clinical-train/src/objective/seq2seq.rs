//! Pairs of texts for encoder-decoder models.

use serde::{Deserialize, Serialize};

use crate::DataError;

/// How pairs become examples. As TOML, with the defaults:
///
/// ```toml
/// input_limit = 512      # tokens of an input, end token included
/// target_limit = 128     # tokens of a target, end token included
/// empty_targets = false  # whether the end token alone is a target (RadQA: no answer; CLIP: no label)
/// ```
///
/// The published study has 256 tokens for MedNLI and CLIP, 1024 with targets of 30 for RadQA.
///
/// ```
/// use clinical_train::objective::Truncation;
/// use clinical_train::objective::seq2seq::PairSettings;
///
/// let settings = PairSettings::default().with_input_limit(4);
/// let example = settings.example(&[10, 11, 12, 13, 14, 1], &[20, 1], 1)?;
/// assert_eq!(example.input_ids, [10, 11, 12, 1]);
/// assert_eq!(example.labels, [20, 1]);
/// let mut truncation = Truncation::default();
/// truncation.add_pair(&example);
/// assert_eq!((truncation.inputs_cut, truncation.tokens_cut), (1, 2));
/// # Ok::<(), clinical_train::DataError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PairSettings {
    input_limit: usize,
    target_limit: usize,
    empty_targets: bool,
}

/// A pair as an encoder-decoder model learns it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seq2SeqExample {
    /// What the encoder reads, with the end token.
    pub input_ids: Vec<u32>,
    /// What the decoder learns, with the end token. Each carries loss.
    pub labels: Vec<u32>,
    /// Tokens of the input that the limit cut off.
    pub input_cut: usize,
    /// Tokens of the target that the limit cut off.
    pub target_cut: usize,
}

impl Default for PairSettings {
    fn default() -> Self {
        Self {
            input_limit: 512,
            target_limit: 128,
            empty_targets: false,
        }
    }
}

impl PairSettings {
    /// Most tokens of an input, the end token included. Default: 512.
    #[must_use]
    pub fn with_input_limit(mut self, tokens: usize) -> Self {
        self.input_limit = tokens;
        self
    }

    /// Most tokens of a target, the end token included. Default: 128.
    #[must_use]
    pub fn with_target_limit(mut self, tokens: usize) -> Self {
        self.target_limit = tokens;
        self
    }

    /// Whether a target may be the end token alone. Default: no, it is an error.
    #[must_use]
    pub fn with_empty_targets(mut self, allowed: bool) -> Self {
        self.empty_targets = allowed;
        self
    }

    /// Most tokens of an input.
    #[must_use]
    pub fn input_limit(&self) -> usize {
        self.input_limit
    }

    /// Most tokens of a target.
    #[must_use]
    pub fn target_limit(&self) -> usize {
        self.target_limit
    }

    /// Whether a target may be the end token alone.
    #[must_use]
    pub fn empty_targets(&self) -> bool {
        self.empty_targets
    }

    /// Checks the settings; [`Self::example`] does it too.
    ///
    /// # Errors
    ///
    /// [`DataError::TooFewTokens`] for a limit below 2: an end token and nothing before it.
    pub fn validate(&self) -> Result<(), DataError> {
        for (setting, tokens) in [
            ("input_limit", self.input_limit),
            ("target_limit", self.target_limit),
        ] {
            if tokens < 2 {
                return Err(DataError::TooFewTokens { setting, tokens });
            }
        }
        Ok(())
    }

    /// Input and target as ids, each with or without its end token `eos`; both get one. What is too long is cut before
    /// the end token, as `transformers` cuts.
    ///
    /// # Errors
    ///
    /// [`DataError::EmptyInput`]; [`DataError::EmptyTarget`] unless empty targets are allowed; those of
    /// [`Self::validate`].
    pub fn example(
        &self,
        input: &[u32],
        target: &[u32],
        eos: u32,
    ) -> Result<Seq2SeqExample, DataError> {
        self.validate()?;
        let (input_ids, input_cut) = limited(input, self.input_limit, eos);
        let (labels, target_cut) = limited(target, self.target_limit, eos);
        if input_ids.len() == 1 {
            return Err(DataError::EmptyInput);
        }
        if labels.len() == 1 && !self.empty_targets {
            return Err(DataError::EmptyTarget);
        }
        Ok(Seq2SeqExample {
            input_ids,
            labels,
            input_cut,
            target_cut,
        })
    }
}

/// At most `limit` ids, the last of them `eos`, and how many were cut off.
fn limited(ids: &[u32], limit: usize, eos: u32) -> (Vec<u32>, usize) {
    let text = ids.strip_suffix(&[eos]).unwrap_or(ids);
    let kept = text.len().min(limit - 1);
    let mut out = Vec::with_capacity(kept + 1);
    out.extend_from_slice(&text[..kept]);
    out.push(eos);
    (out, text.len() - kept)
}
