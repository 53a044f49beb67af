//! A facade, taken apart.

use clinical_tokenizer::Tokenizer;
use clinical_weights::LoadReport;
use serde_json::Value;

use crate::Remark;

/// What a facade is made of. `X::from_parts(x.into_parts())` is `x` again, so a model can be trained, resized or merged
/// in between without going through disk.
#[derive(Debug)]
#[non_exhaustive]
pub struct Parts<C, M> {
    /// The shape of the model, with the keys of `config.json` that this library does not know.
    pub config: C,
    /// The model with its weights.
    pub model: M,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// What was loaded, and how.
    pub report: LoadReport,
    /// What the files say wrongly or leave open, and what is used instead.
    pub remarks: Vec<Remark>,
    /// `generation_config.json` as it was found. It is kept by a save.
    pub generation_config: Option<Value>,
}

impl<C, M> Parts<C, M> {
    /// A model that came from no file.
    #[must_use]
    pub fn new(config: C, model: M, tokenizer: Tokenizer) -> Self {
        Self {
            config,
            model,
            tokenizer,
            report: LoadReport::default(),
            remarks: Vec::new(),
            generation_config: None,
        }
    }

    /// The model by itself, and the rest, to which [`with_model`](Self::with_model) gives one again.
    #[must_use]
    pub fn take_model(self) -> (M, Parts<C, ()>) {
        let rest = Parts {
            config: self.config,
            model: (),
            tokenizer: self.tokenizer,
            report: self.report,
            remarks: self.remarks,
            generation_config: self.generation_config,
        };
        (self.model, rest)
    }

    /// The same with another model, of the same shape.
    #[must_use]
    pub fn with_model<N>(self, model: N) -> Parts<C, N> {
        Parts {
            config: self.config,
            model,
            tokenizer: self.tokenizer,
            report: self.report,
            remarks: self.remarks,
            generation_config: self.generation_config,
        }
    }

    /// The ids that end an answer, of those below `rows`: see [`end_ids`](crate::end_ids).
    #[must_use]
    pub fn end_ids(&self, rows: usize) -> Vec<u32> {
        crate::end_ids(&self.tokenizer, self.generation_config.as_ref(), rows)
    }
}
