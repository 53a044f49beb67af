//! Text in, text out.

mod adapter;
mod demo;
mod embed;
mod fill;
mod generate;
mod options;
mod output;
mod reading;
mod save;
mod score;

use std::path::Path;

use burn::tensor::Device;
use clinical_facade::{Facade, ModelDir, Parts, Remark, end_ids};
use clinical_tokenizer::{OpenOptions, Tokenizer};
use clinical_weights::{Checkpoint, FromCheckpoint, LoadOptions, LoadReport};
use serde_json::Value;

pub use options::T5Options;
pub use output::{Output, Sequence, Span, Window};

use reading::Around;

use crate::{Result, T5, T5Config};

/// A T5 model with its tokenizer: Clinical-T5, SciFive, FLAN-T5 and every other T5 in a Hugging Face directory.
///
/// It is used through `&self` and can be shared between threads. Nothing about a call is stored on it: see
/// [`T5Options`].
///
/// ```no_run
/// use clinical_t5::{ClinicalT5, Generation, LoadOptions};
///
/// let t5 = ClinicalT5::load("path/to/Clinical-T5-Base", &LoadOptions::default())?;
/// let input = "mednli premise: He has no pain. hypothesis: He is in pain.";
/// let output = t5.generate(input, &Generation::greedy().with_max_new_tokens(8))?;
/// assert_eq!(output.text, "contradiction");
/// # Ok::<(), clinical_t5::Error>(())
/// ```
#[derive(Debug)]
pub struct ClinicalT5 {
    model: T5,
    tokenizer: Tokenizer,
    report: LoadReport,
    remarks: Vec<Remark>,
    generation_config: Option<Value>,
    end: Vec<u32>,
    sentinels: Vec<u32>,
    around: Around,
}

impl ClinicalT5 {
    /// Opens a Hugging Face directory as it was published: `config.json`, weights, tokenizer files.
    ///
    /// A directory of the encoder alone (`T5EncoderModel`) opens with a remark: it can [`embed`](Self::embed), and what
    /// needs a decoder is [`ModelError::NoDecoder`](clinical_nn::ModelError::NoDecoder).
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) with one sentence that says what is wrong with the directory and what to do.
    pub fn load(dir: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        Self::load_dir(
            ModelDir::open_as(dir, Facade::ClinicalT5, options)?,
            options,
        )
    }

    /// [`load`](Self::load) of a directory that is open already.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn load_dir(mut dir: ModelDir, options: &LoadOptions) -> Result<Self> {
        let mut config = T5Config::from_value(dir.config().clone())?;
        let (mut model, report) = filled(&mut config, dir.weights(), options)?;
        dir.apply_adapter(&mut model)?;
        if config.encoder_only {
            let sentence = "the files hold an encoder alone: it embeds texts, and cannot generate, fill or score";
            dir.remark(Remark::Model(sentence.to_owned()));
        }
        let tokenizer = dir.tokenizer(&OpenOptions::default())?;
        let rows = config.vocab_size;
        Ok(Self::from_parts(
            dir.into_parts(config, model, tokenizer, rows, report),
        ))
    }

    /// The demonstration model inside this crate: a toy trained on invented notes (`docs/demo-models.md`). It expands
    /// abbreviations (`expand: CHF`), fills masked spans, and answers small MedNLI-like and RadQA-like inputs.
    ///
    /// # Errors
    ///
    /// None in practice; those of [`load`](Self::load).
    pub fn embedded() -> Result<Self> {
        Self::embedded_with(&LoadOptions::default())
    }

    /// The demonstration model, with a device or a precision of the caller's.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn embedded_with(options: &LoadOptions) -> Result<Self> {
        let mut config = T5Config::from_json(demo::CONFIG)?;
        let weights = Checkpoint::from_bytes(demo::WEIGHTS)?;
        let (model, report) = filled(&mut config, &weights, options)?;
        let mut parts = Parts::new(config, model, demo::tokenizer()?);
        parts.report = report;
        parts.generation_config = Some(serde_json::from_str(demo::GENERATION_CONFIG)?);
        Ok(Self::from_parts(parts))
    }

    /// A facade from its parts: a model that was trained, resized or merged by hand answers without going through disk.
    /// The model's own configuration ([`T5::config`]) counts, not that in the parts.
    #[must_use]
    pub fn from_parts(parts: Parts<T5Config, T5>) -> Self {
        let sentinel = |number| parts.tokenizer.sentinel(number);
        let sentinels = (0..).map_while(sentinel).collect();
        let around = Around::of(&parts.tokenizer);
        let mut t5 = Self {
            model: parts.model,
            tokenizer: parts.tokenizer,
            report: parts.report,
            remarks: parts.remarks,
            generation_config: parts.generation_config,
            end: Vec::new(),
            sentinels,
            around,
        };
        t5.find_end();
        t5
    }

    /// The parts, to train the model, for example. [`Self::from_parts`] makes them a facade again.
    #[must_use]
    pub fn into_parts(self) -> Parts<T5Config, T5> {
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
        let found = end_ids(&self.tokenizer, self.generation_config.as_ref(), rows);
        let mut end = config.eos_token_ids.clone();
        end.extend(found.iter().filter(|id| !config.eos_token_ids.contains(id)));
        self.end = end;
    }

    /// The shape of the model, with the keys of `config.json` that this library does not know.
    #[must_use]
    pub fn config(&self) -> &T5Config {
        self.model.config()
    }

    /// The model, for callers who write their own loops.
    #[must_use]
    pub fn model(&self) -> &T5 {
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

    /// The most tokens an input may have unless a call says otherwise, its end token included: the tokenizer's
    /// `model_max_length`, else `n_positions`; 512 for T5. `usize::MAX` if neither file says, as positions are
    /// relative.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        let named = self.tokenizer.model_max_length();
        named.or(self.config().n_positions).unwrap_or(usize::MAX)
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

    fn is_end(&self, id: u32) -> bool {
        self.end.contains(&id)
    }
}

/// A model of this shape with the weights of a checkpoint, which may correct the shape.
fn filled(
    config: &mut T5Config,
    weights: &Checkpoint,
    options: &LoadOptions,
) -> Result<(T5, LoadReport)> {
    config.fit(weights);
    weights.check_size(config.parameters()?, options)?;
    let mut model = config.init(&options.device)?;
    let keys = model.key_map();
    let report = clinical_weights::load_from(&mut model, &keys, weights, options)?;
    Ok((model, report))
}
