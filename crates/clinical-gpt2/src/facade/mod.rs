//! Text in, text out.

mod adapter;
mod classify;
mod generate;
mod options;
mod save;
mod spans;

use std::path::Path;

use burn::tensor::Device;
use clinical_facade::{Facade, ModelDir, Parts, Remark, end_ids};
use clinical_tokenizer::{OpenOptions, Tokenizer};
use clinical_weights::{LoadOptions, LoadReport};
use serde_json::Value;

pub use classify::ClassScores;
pub use generate::Output;
pub use options::Gpt2Options;
pub use spans::{AnswerSpan, QuestionRow};

use crate::{Gpt2, Gpt2Config, Result};

/// A GPT-2 model with its tokenizer: PubMedGPT (BioMedLM), GPT-2 itself, and what was fine-tuned from them.
///
/// It is used through `&self` and can be shared between threads. Nothing about a call is stored on it: see
/// [`Gpt2Options`].
///
/// ```no_run
/// use clinical_gpt2::{ClinicalGpt2, Generation, LoadOptions};
///
/// let model = ClinicalGpt2::load("path/to/BioMedLM", &LoadOptions::default())?;
/// let output = model.generate("Photosynthesis is", &Generation::greedy().with_max_new_tokens(20))?;
/// println!("{output}");
/// # Ok::<(), clinical_gpt2::Error>(())
/// ```
#[derive(Debug)]
pub struct ClinicalGpt2 {
    model: Gpt2,
    tokenizer: Tokenizer,
    report: LoadReport,
    remarks: Vec<Remark>,
    generation_config: Option<Value>,
    end: Vec<u32>,
}

impl ClinicalGpt2 {
    /// Opens a Hugging Face directory as it was published (`config.json`, weights, `vocab.json` with `merges.txt` or
    /// another tokenizer), or a GGUF file. The head is the one that the weights have.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) with one sentence that says what is wrong with the directory and what to do.
    pub fn load(dir: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        let dir = ModelDir::open_as(dir, Facade::ClinicalGpt2, options)?;
        Self::load_dir(dir, options)
    }

    /// [`load`](Self::load) of a directory that is open already.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn load_dir(mut dir: ModelDir, options: &LoadOptions) -> Result<Self> {
        let mut config = Gpt2Config::from_value(dir.config().clone())?;
        let (mut model, report) = Gpt2::filled(&mut config, dir.weights(), options)?;
        dir.apply_adapter(&mut model)?;
        let tokenizer = dir.tokenizer(&OpenOptions::default())?;
        let rows = config.vocab_size;
        Ok(Self::from_parts(
            dir.into_parts(config, model, tokenizer, rows, report),
        ))
    }

    /// A facade from its parts: a model that was trained, resized or merged by hand answers without going through disk.
    /// The model's own configuration ([`Gpt2::config`]) counts, not that in the parts.
    #[must_use]
    pub fn from_parts(parts: Parts<Gpt2Config, Gpt2>) -> Self {
        let mut model = Self {
            model: parts.model,
            tokenizer: parts.tokenizer,
            report: parts.report,
            remarks: parts.remarks,
            generation_config: parts.generation_config,
            end: Vec::new(),
        };
        model.find_end();
        model
    }

    /// The parts, to train the model, for example. [`Self::from_parts`] makes them a facade again.
    #[must_use]
    pub fn into_parts(self) -> Parts<Gpt2Config, Gpt2> {
        let config = self.model.config().clone();
        let mut parts = Parts::new(config, self.model, self.tokenizer);
        parts.report = self.report;
        parts.remarks = self.remarks;
        parts.generation_config = self.generation_config;
        parts
    }

    /// Where the files disagree about the end of an output, each of them counts.
    fn find_end(&mut self) {
        let config = self.model.config();
        let rows = config.vocab_size;
        let own = config.eos_token_id.iter();
        let own = own.filter_map(|&id| u32::try_from(id).ok());
        let mut end: Vec<u32> = own.filter(|&id| (id as usize) < rows).collect();
        let found = end_ids(&self.tokenizer, self.generation_config.as_ref(), rows);
        for id in found {
            if !end.contains(&id) {
                end.push(id);
            }
        }
        self.end = end;
    }

    /// The shape of the model, with the keys of `config.json` that this library does not know.
    #[must_use]
    pub fn config(&self) -> &Gpt2Config {
        self.model.config()
    }

    /// The model, for callers who write their own loops.
    #[must_use]
    pub fn model(&self) -> &Gpt2 {
        &self.model
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What was loaded, and how.
    #[must_use]
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// What the files of the directory say wrongly or leave open, and what is used instead. [`Self::report`] has these
    /// as sentences among its notes.
    #[must_use]
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// The most tokens that a text and what is written after it have together: `n_positions`, 1,024 for BioMedLM.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        self.config().n_positions
    }

    /// Where the weights are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.model.device()
    }

    /// The ids that end an output.
    #[must_use]
    pub fn end_ids(&self) -> &[u32] {
        &self.end
    }
}
