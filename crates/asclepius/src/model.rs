//! A loaded model.

use std::path::Path;

use clinical_generate::EndTokens;
use clinical_llama::{Llama, LlamaConfig};
use clinical_tokenizer::{OpenOptions, Tokenizer, TokenizerRemark};
use clinical_weights::{CheckpointDir, FromCheckpoint, LoadOptions, LoadReport};

use crate::chat::ChatTemplate;
use crate::head::Heads;
use crate::options::AnswerOptions;
use crate::plan::{Part, plan};
use crate::prompt::Prompter;
use crate::text::Text;
use crate::{Error, Result, demo};

/// What published chat models end a turn with.
const END_OF_TURN: [&str; 2] = ["<|im_end|>", "<|eot_id|>"];

/// A model that answers questions about clinical notes: Asclepius, or any LLaMA or Mistral of the same layout.
///
/// It is used through `&self`, so threads can share it; each call has its own cache.
#[derive(Debug)]
pub struct Asclepius {
    pub(crate) model: Llama,
    pub(crate) tokenizer: Tokenizer,
    report: LoadReport,
    remarks: Vec<TokenizerRemark>,
    end: Vec<u32>,
    special: Vec<String>,
    chat: Option<ChatTemplate>,
    own: bool,
    pub(crate) heads: Heads,
}

impl Asclepius {
    /// Opens a Hugging Face directory as it was published, or a GGUF file (the path of the file, or of a directory with one
    /// and no other weights), which brings its own configuration and tokenizer.
    ///
    /// The end token is the tokenizer's, not `config.json`'s: the published Asclepius-7B says `eos_token_id` 1 there, which
    /// is its start token.
    ///
    /// # Errors
    ///
    /// [`Error`] with one sentence that says what is wrong with the directory and what to do.
    pub fn load(dir: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        let path = dir.as_ref();
        let dir = CheckpointDir::open_with(path, options.allow_links)?;
        let config = dir.config(&["llama", "mistral"])?;
        let own = [config["_name_or_path"].as_str(), path.to_str()]
            .into_iter()
            .flatten()
            .any(|name| name.to_lowercase().contains("asclepius"));
        let config = LlamaConfig::from_value(config)?;
        let weights = dir.weights()?;
        weights.check_size(config.parameters()?, options)?;
        let tokenizer = dir.tokenizer::<Error>(&OpenOptions::default())?;
        let mut model = config.init(&options.device)?;
        let keys = model.key_map();
        let report = clinical_weights::load_from(&mut model, &keys, &weights, options)?;
        Self::new(model, tokenizer, report, own)
    }

    /// The demonstration model inside this crate: a toy trained on invented notes (`docs/demo-models.md`).
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
        let config = LlamaConfig::from_json(demo::CONFIG)?;
        let tokenizer = demo::tokenizer()?;
        let mut model = config.init(&options.device)?;
        let report = clinical_weights::load_bytes(&mut model, demo::WEIGHTS, options)?;
        Self::new(model, tokenizer, report, true)
    }

    fn new(model: Llama, tokenizer: Tokenizer, mut report: LoadReport, own: bool) -> Result<Self> {
        let remarks = tokenizer.remarks(model.config().vocab_size);
        report
            .notes
            .extend(remarks.iter().map(TokenizerRemark::to_string));
        let special = tokenizer.special();
        let text = |id: Option<u32>| {
            id.and_then(|id| tokenizer.id_to_token(id))
                .unwrap_or_default()
        };
        let eos = special.eos.first().copied();
        let chat = tokenizer
            .chat_template()
            .map(|source| ChatTemplate::new(source, &text(special.bos), &text(eos)))
            .transpose();
        // A template that cannot be used matters only to those who ask through it.
        let chat = if own { chat.unwrap_or(None) } else { chat? };
        let mut end = special.eos.clone();
        // Chat models end a turn with a token of their own, whatever the tokenizer calls the end of a text.
        end.extend(
            END_OF_TURN
                .iter()
                .filter_map(|token| tokenizer.token_to_id(token)),
        );
        let spelled = tokenizer
            .added_tokens()
            .into_iter()
            .filter_map(|(_, token)| token.special.then_some(token.content));
        let named = [special.bos, special.pad, special.unk]
            .into_iter()
            .chain(special.eos.iter().copied().map(Some));
        let mut spellings: Vec<String> = spelled
            .chain(named.map(text))
            .filter(|token| !token.is_empty())
            .collect();
        spellings.sort();
        spellings.dedup();
        Ok(Self {
            end,
            special: spellings,
            model,
            tokenizer,
            report,
            remarks,
            chat,
            own,
            heads: Heads::default(),
        })
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

    /// The ids that end an answer.
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
    pub fn model(&self) -> &Llama {
        &self.model
    }

    pub(crate) fn prompter(&self, options: &AnswerOptions) -> Result<Prompter<'_>> {
        Prompter::new(
            &self.tokenizer,
            &self.special,
            self.chat.as_ref(),
            self.own,
            &options.prompt,
            options.markers,
        )
    }

    pub(crate) fn plan(
        &self,
        prompter: &Prompter<'_>,
        note: &str,
        question: &str,
        options: &AnswerOptions,
    ) -> Result<Vec<Part>> {
        let positions = self.model.config().max_positions();
        plan(prompter, note, question, positions, options)
    }

    /// The tokenizer, as the engine wants it.
    pub(crate) fn text(&self) -> Text<'_> {
        Text(&self.tokenizer)
    }

    pub(crate) fn end_tokens<'a>(&self, text: &'a Text<'a>) -> EndTokens<'a> {
        EndTokens::new(self.end.iter().copied()).with_text(text)
    }
}
