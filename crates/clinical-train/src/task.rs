//! What a recipe trains for.

use std::fmt;

use clinical_bert::{PieceLabels, SpanOptions};
use serde::{Deserialize, Serialize};

use crate::objective::seq2seq::PairSettings;
use crate::objective::span_corruption::SpanSettings;
use crate::{InstructionSettings, NoteSettings};

/// What a recipe trains for, with the settings of its examples. As TOML `task = { kind = "pairs", input_limit = 256 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Task {
    /// T5: notes with missing spans ([`SpanSet`](crate::SpanSet)).
    Spans(SpanSettings),
    /// T5: pairs of texts ([`PairSet`](crate::PairSet)).
    Pairs(PairSettings),
    /// LLaMA: notes one after another ([`NoteSet`](crate::NoteSet)).
    Notes(NoteSettings),
    /// LLaMA: instructions about notes ([`InstructionSet`](crate::InstructionSet)).
    Instructions(InstructionSettings),
    /// BERT: masked words and next sentences ([`MaskedSet`](crate::MaskedSet)).
    Masked(MaskedSettings),
    /// BERT: labels of texts ([`ClassSet`](crate::ClassSet)).
    Classes(ClassSettings),
    /// BERT: labels of words ([`TagSet`](crate::TagSet)).
    Tags(TagSettings),
    /// BERT: answers in texts ([`AnswerSet`](crate::AnswerSet)).
    Answers(AnswerSettings),
}

/// How examples of masked words are made; more in [`PretrainingOptions`](clinical_bert::pretraining::PretrainingOptions).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct MaskedSettings {
    /// Most tokens of an example. Default: 128, as Bio_ClinicalBERT.
    pub max_tokens: usize,
    /// How often every document is used, with other masks each time. Default: 5, as Bio_ClinicalBERT.
    pub duplicates: usize,
}

impl Default for MaskedSettings {
    fn default() -> Self {
        Self {
            max_tokens: 128,
            duplicates: 5,
        }
    }
}

/// How labelled texts become rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ClassSettings {
    /// Most tokens of a row; the end of a longer one is cut off. Default: what the model reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Whether a text may have any number of labels. Default: it has one.
    pub several: bool,
}

/// Which pieces of a word carry its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LabelledPieces {
    /// The first one.
    #[default]
    First,
    /// All of them.
    All,
}

/// How labelled words become rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TagSettings {
    /// Which pieces of a word carry its label. Default: the first one.
    pub pieces: LabelledPieces,
}

impl TagSettings {
    /// As the labels of words are aligned with pieces.
    #[must_use]
    pub fn piece_labels(self) -> PieceLabels {
        match self.pieces {
            LabelledPieces::First => PieceLabels::First,
            LabelledPieces::All => PieceLabels::All,
        }
    }
}

/// How questions become rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AnswerSettings {
    /// Tokens from the start of a window to that of the next one. Default: 128.
    pub stride: usize,
}

impl Default for AnswerSettings {
    fn default() -> Self {
        Self { stride: 128 }
    }
}

impl AnswerSettings {
    /// As a model reads questions.
    #[must_use]
    pub fn span_options(self) -> SpanOptions {
        SpanOptions::new().with_stride(self.stride)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spans(_) => "spans",
            Self::Pairs(_) => "pairs",
            Self::Notes(_) => "notes",
            Self::Instructions(_) => "instructions",
            Self::Masked(_) => "masked",
            Self::Classes(_) => "classes",
            Self::Tags(_) => "tags",
            Self::Answers(_) => "answers",
        })
    }
}
