//! Text in, text out.

use std::ops::ControlFlow;
use std::path::Path;

use clinical_deid::Normalizer;
use clinical_generate::{Cancel, EndTokens, Generated, Generation, Step, generate};
use clinical_tokenizer::{OpenOptions, Tokenizer, TokenizerRemark};
use clinical_weights::{Checkpoint, CheckpointDir, LoadOptions, LoadReport, load_from};

use crate::options::{LongInput, Output, Score};
use crate::text::Text;
use crate::{Error, Pooling, Seq2SeqBatch, T5, T5Config, demo};

/// Texts of one encoder pass in [`ClinicalT5::embed`]: enough to keep a CPU busy, few enough to stay small.
const EMBED_ROWS: usize = 8;

/// A T5 model with its tokenizer: Clinical-T5, SciFive, FLAN-T5 and every other T5 in a Hugging Face directory.
///
/// It is used through `&self` and can be shared between threads.
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
    pub(crate) model: T5,
    pub(crate) config: T5Config,
    pub(crate) tokenizer: Tokenizer,
    report: LoadReport,
    remarks: Vec<TokenizerRemark>,
    pub(crate) end: Vec<u32>,
    pub(crate) sentinels: Vec<u32>,
    long_input: LongInput,
    max_input_tokens: Option<usize>,
    deid: Option<Normalizer>,
}

impl ClinicalT5 {
    /// Opens a Hugging Face directory as it was published: `config.json`, weights, tokenizer files.
    ///
    /// # Errors
    ///
    /// [`Error`] with one sentence that says what is wrong with the directory and what to do.
    pub fn load(dir: impl AsRef<Path>, options: &LoadOptions) -> Result<Self, Error> {
        let dir = CheckpointDir::open_with(dir.as_ref(), options.allow_links)?;
        let config = T5Config::from_value(dir.read_json("config.json")?)?;
        let weights = dir.weights()?;
        let tokenizer = dir.tokenizer::<Error>(&OpenOptions::default())?;
        Self::from_checkpoint(config, tokenizer, &weights, options)
    }

    /// The demonstration model inside this crate: a toy trained on invented notes (`docs/demo-models.md`). It expands
    /// abbreviations (`expand: CHF`), fills masked spans, and answers small MedNLI-like and RadQA-like inputs.
    ///
    /// # Errors
    ///
    /// None in practice; those of [`load`](Self::load).
    pub fn embedded() -> Result<Self, Error> {
        Self::embedded_with(&LoadOptions::default())
    }

    /// The demonstration model, with a device or a precision of the caller's.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn embedded_with(options: &LoadOptions) -> Result<Self, Error> {
        let config = T5Config::from_json(demo::CONFIG.as_bytes())?;
        let weights = Checkpoint::from_bytes(demo::WEIGHTS)?;
        Self::from_checkpoint(config, demo::tokenizer()?, &weights, options)
    }

    fn from_checkpoint(
        mut config: T5Config,
        tokenizer: Tokenizer,
        weights: &Checkpoint,
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        config.fit(weights);
        weights.check_size(config.parameters()?, options)?;
        let mut model = config.init(&options.device)?;
        let keys = clinical_weights::FromCheckpoint::key_map(&model);
        let report = load_from(&mut model, &keys, weights, options)?;
        Ok(Self::new(config, model, tokenizer, report))
    }

    pub(crate) fn new(
        config: T5Config,
        model: T5,
        tokenizer: Tokenizer,
        mut report: LoadReport,
    ) -> Self {
        let remarks = tokenizer.remarks(config.vocab_size);
        report
            .notes
            .extend(remarks.iter().map(TokenizerRemark::to_string));
        let end = Self::end_tokens(&config, &tokenizer);
        let sentinels = (0..)
            .map_while(|number| tokenizer.sentinel(number))
            .collect();
        let max_input_tokens = tokenizer.model_max_length().or(config.n_positions);
        Self {
            model,
            config,
            tokenizer,
            report,
            remarks,
            end,
            sentinels,
            long_input: LongInput::default(),
            max_input_tokens,
            deid: None,
        }
    }

    pub(crate) fn end_tokens(config: &T5Config, tokenizer: &Tokenizer) -> Vec<u32> {
        // What the tokenizer calls the end counts too, where the files disagree.
        let mut end = config.eos_token_ids.clone();
        end.extend(&tokenizer.special().eos);
        end.retain(|&id| (id as usize) < config.vocab_size);
        end
    }

    /// The same model with another answer to inputs of more than [`Self::max_input_tokens`]. Default: an error.
    #[must_use]
    pub fn with_long_input(mut self, long_input: LongInput) -> Self {
        self.long_input = long_input;
        self
    }

    /// The same model with another limit for inputs. Relative positions set none, so a longer input is read correctly, but
    /// a model has seen nothing longer than this while it was trained.
    #[must_use]
    pub fn with_max_input_tokens(mut self, tokens: usize) -> Self {
        self.max_input_tokens = Some(tokens);
        self
    }

    /// The same model with de-identification tags converted before a text is tokenised: Clinical-T5 was trained on
    /// notes in which `[**Hospital 12**]` (MIMIC-III) or `___` (MIMIC-IV) had become tokens such as `[Company]`. Off by
    /// default; see [`clinical_deid`]. Targets are not converted.
    #[must_use]
    pub fn with_deid(mut self, normalizer: Normalizer) -> Self {
        self.deid = Some(normalizer);
        self
    }

    /// The most tokens an input may have, its end token included: the tokenizer's `model_max_length`, else
    /// `n_positions`; 512 for T5. `None` if neither file says.
    #[must_use]
    pub fn max_input_tokens(&self) -> Option<usize> {
        self.max_input_tokens
    }

    /// What was loaded, and how.
    #[must_use]
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// What the files of the directory say wrongly or leave open, and what is used instead. [`Self::report`] has these as
    /// sentences among its notes.
    #[must_use]
    pub fn remarks(&self) -> &[TokenizerRemark] {
        &self.remarks
    }

    /// The ids that end an output.
    #[must_use]
    pub fn end_ids(&self) -> &[u32] {
        &self.end
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The model, for callers who write their own loops.
    #[must_use]
    pub fn model(&self) -> &T5 {
        &self.model
    }

    /// The model's shape.
    #[must_use]
    pub fn config(&self) -> &T5Config {
        &self.config
    }

    /// Generates a text; with several sequences asked for, the best.
    ///
    /// # Errors
    ///
    /// [`Error::InputTooLong`], [`Error::Generate`], [`Error::Tokenizer`], [`Error::Deid`].
    pub fn generate(&self, text: &str, options: &Generation) -> Result<Output, Error> {
        self.generate_with(text, options, |_| ControlFlow::Continue(()))
    }

    /// [`Self::generate`] with the text as it is written: `on_piece` gets whole characters, and the pieces make up
    /// [`Output::text`]. It ends the generation by returning [`ControlFlow::Break`]. Beam search knows its text only at
    /// the end, which is when it gives the pieces.
    ///
    /// # Errors
    ///
    /// Those of [`Self::generate`].
    pub fn generate_with(
        &self,
        text: &str,
        options: &Generation,
        mut on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Output, Error> {
        let ids = self.encode(text, 0)?;
        let outputs = self.run(&[&ids], options, |step| {
            if step.sequence > 0 || step.text.is_empty() {
                return ControlFlow::Continue(());
            }
            match on_piece(step.text) {
                ControlFlow::Continue(()) => ControlFlow::Continue(()),
                ControlFlow::Break(()) => ControlFlow::Break(Cancel::All),
            }
        })?;
        outputs
            .into_iter()
            .next()
            .ok_or(Error::EmptyBatch { what: "outputs" })
    }

    /// Generates a text for each input, all in one batch. With `num_return_sequences` above 1 each input has that many, the
    /// best first, and [`Output::row`] says whose they are.
    ///
    /// # Errors
    ///
    /// Those of [`Self::generate`].
    pub fn generate_batch<S: AsRef<str>>(
        &self,
        texts: &[S],
        options: &Generation,
    ) -> Result<Vec<Output>, Error> {
        let rows = self.encode_all(texts)?;
        let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        self.run(&rows, options, |_| ControlFlow::Continue(()))
    }

    /// Mean cross entropy of a target in nats per token, the end token included: what `transformers` returns as the loss.
    ///
    /// # Errors
    ///
    /// [`Error::InputTooLong`], [`Error::Tokenizer`], [`Error::Deid`].
    pub fn loss(&self, text: &str, target: &str) -> Result<f32, Error> {
        Ok(-self.score(text, target)?.mean() as f32)
    }

    /// How likely the model finds a target: the log-probability of each of its tokens, the end token included.
    ///
    /// # Errors
    ///
    /// Those of [`Self::loss`].
    pub fn score(&self, text: &str, target: &str) -> Result<Score, Error> {
        let input = self.encode(text, 0)?;
        let ids = self.tokenizer.encode(target, true)?.into_ids();
        let batch = Seq2SeqBatch::from_rows(
            &[&input],
            &[&ids],
            self.config.pad_token_id,
            &self.model.device(),
        );
        let log_probs = self.model.log_probs(&batch)?.pop().unwrap_or_default();
        Ok(Score { ids, log_probs })
    }

    /// One vector of `d_model` values for each text: its pooled encoder states.
    ///
    /// # Errors
    ///
    /// Those of [`Self::loss`].
    pub fn embed<S: AsRef<str>>(
        &self,
        texts: &[S],
        pooling: Pooling,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let rows = self.encode_all(texts)?;
        // Texts of like length together: the least padding.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&row| rows[row].len());
        let mut vectors = vec![Vec::new(); rows.len()];
        for chunk in order.chunks(EMBED_ROWS) {
            let prompts: Vec<&[u32]> = chunk.iter().map(|&row| rows[row].as_slice()).collect();
            let pooled = self.model.embed(&prompts, pooling)?;
            let width = pooled.dims()[1];
            let values: Vec<f32> = pooled.into_data().iter::<f32>().collect();
            for (&row, vector) in chunk.iter().zip(values.chunks_exact(width)) {
                vectors[row] = vector.to_vec();
            }
        }
        Ok(vectors)
    }

    pub(crate) fn run(
        &self,
        rows: &[&[u32]],
        options: &Generation,
        on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
    ) -> Result<Vec<Output>, Error> {
        let text = Text(&self.tokenizer);
        let end = EndTokens::new(self.end.iter().copied()).with_text(&text);
        let found: Vec<Generated> = generate(&self.model, rows, &end, options, on_token)?;
        Ok(found.into_iter().map(Output::from).collect())
    }

    pub(crate) fn is_end(&self, id: u32) -> bool {
        self.end.contains(&id)
    }

    fn encode_all<S: AsRef<str>>(&self, texts: &[S]) -> Result<Vec<Vec<u32>>, Error> {
        texts
            .iter()
            .enumerate()
            .map(|(row, text)| self.encode(text.as_ref(), row))
            .collect()
    }

    /// A text as the encoder reads it.
    pub(crate) fn encode(&self, text: &str, row: usize) -> Result<Vec<u32>, Error> {
        let converted = self
            .deid
            .map(|normalizer| normalizer.normalize(text))
            .transpose()?;
        let text = converted
            .as_ref()
            .map_or(text, |converted| converted.text.as_str());
        let mut ids = self.encode_start(text)?;
        let tokens = ids.len();
        let Some(limit) = self.max_input_tokens.filter(|&limit| limit < tokens) else {
            return Ok(ids);
        };
        // The end token stays, as where `transformers` truncates.
        let marks = usize::from(self.ends(&ids)).min(limit);
        let text = limit - marks;
        match self.long_input {
            LongInput::Error => return Err(Error::InputTooLong { row, tokens, limit }),
            LongInput::Read => {}
            LongInput::CutEnd => drop(ids.drain(text..tokens - marks)),
            LongInput::CutStart => drop(ids.drain(..tokens - limit)),
        }
        Ok(ids)
    }

    /// The tokens of a text, as far as they matter where it is refused or its end is cut off.
    fn encode_start(&self, text: &str) -> Result<Vec<u32>, Error> {
        /// A text that is refused is counted up to this many times the limit.
        const COUNTED: usize = 4;
        let limit = self.max_input_tokens.unwrap_or(usize::MAX);
        let enough = match self.long_input {
            LongInput::Error => limit.saturating_mul(COUNTED),
            LongInput::CutEnd => limit,
            LongInput::CutStart | LongInput::Read => usize::MAX,
        };
        let ids = self.tokenizer.encode_start(text, true, enough)?.into_ids();
        // A tokenizer that ends no text leaves open whether the rest of this one ends in `</s>` itself.
        if self.long_input == LongInput::CutEnd && ids.len() > enough && !self.ends(&ids) {
            return Ok(self.tokenizer.encode(text, true)?.into_ids());
        }
        Ok(ids)
    }

    fn ends(&self, ids: &[u32]) -> bool {
        ids.last().is_some_and(|&id| self.is_end(id))
    }
}
