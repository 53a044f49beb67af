use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::added::AddedToken;
use crate::backend::Backend;
use crate::decode::DecodeStream;
use crate::encoding::Encoding;
use crate::error::{Error, Result};
use crate::inner::{Inner, SpecialIds};
use crate::options::OpenOptions;
use crate::resolution::{Resolution, TokenizerRemark};
use crate::sentencepiece::{SentencePieceModel, SentencePieceOptions};
use crate::vocabulary::Vocabulary;
use crate::{long, open, save};

/// A tokenizer: text to ids and back.
///
/// Cheap to clone and safe to share between threads; all methods but [`Tokenizer::add_tokens`] take `&self`.
///
/// ```
/// use clinical_tokenizer::Tokenizer;
/// # let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/fast_t5");
/// let tokenizer = Tokenizer::from_dir(&directory)?;
/// let encoding = tokenizer.encode("Seen by Dr. [Name] today.", true)?;
/// assert_eq!(encoding.ids().last().copied(), tokenizer.special().eos.first().copied());
/// assert_eq!(tokenizer.decode(encoding.ids(), true)?, "seen by dr. [Name] today.");
/// # Ok::<(), clinical_tokenizer::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tokenizer {
    pub(crate) inner: Arc<Inner>,
}

impl Tokenizer {
    /// Opens the tokenizer of a model directory.
    ///
    /// The first of these is used: `tokenizer.json`; `tokenizer.model` or `spiece.model`; `vocab.txt`; `vocab.json`
    /// with `merges.txt`. The configuration files beside it are read as well. [`Tokenizer::resolution`] tells what was
    /// used and what was corrected.
    ///
    /// # Errors
    ///
    /// No tokenizer there, or a file that breaks one of the rules named by [`Error`].
    pub fn from_dir(directory: impl AsRef<Path>) -> Result<Self> {
        Self::from_dir_with(directory, &OpenOptions::default())
    }

    /// [`Tokenizer::from_dir`] with options.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::from_dir`].
    pub fn from_dir_with(directory: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        open::directory(directory.as_ref(), options).map(Self::from)
    }

    /// Opens one tokenizer file: `tokenizer.json`, a SentencePiece `.model`, `vocab.txt` or `vocab.json`. The
    /// configuration files beside it are read as well.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::from_dir`].
    pub fn from_file(file: impl AsRef<Path>) -> Result<Self> {
        open::file(file.as_ref(), &OpenOptions::default()).map(Self::from)
    }

    /// Makes a tokenizer from the bytes of a `tokenizer.json` and, if there is one, a `tokenizer_config.json`.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::from_dir`].
    pub fn from_bytes(tokenizer_json: &[u8], tokenizer_config: Option<&[u8]>) -> Result<Self> {
        open::bytes(tokenizer_json, tokenizer_config, &OpenOptions::default()).map(Self::from)
    }

    /// Makes a BERT tokenizer from the bytes of a `vocab.txt` and, if there is one, a `tokenizer_config.json`.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::from_dir`].
    pub fn from_vocab_txt(vocab_txt: &[u8], tokenizer_config: Option<&[u8]>) -> Result<Self> {
        open::words(vocab_txt.to_vec(), tokenizer_config, "vocab.txt").map(Self::from)
    }

    /// Makes a tokenizer from a SentencePiece model, for instance one that came inside a GGUF file.
    ///
    /// # Errors
    ///
    /// Added tokens beyond the limits.
    pub fn from_sentencepiece(
        model: SentencePieceModel,
        options: &SentencePieceOptions,
    ) -> Result<Self> {
        open::model(model, options).map(Self::from)
    }

    /// Makes a tokenizer from the parts of a vocabulary, as a GGUF file holds them.
    ///
    /// # Errors
    ///
    /// [`Error::VocabularyModel`], [`Error::PreTokenizer`], [`Error::VocabularyPart`] for parts that do not fit
    /// together, and the errors of the kind of tokenizer that it is.
    pub fn from_vocabulary(vocabulary: &Vocabulary, options: &OpenOptions) -> Result<Self> {
        open::vocabulary(vocabulary, options).map(Self::from)
    }

    /// [`Tokenizer::from_vocabulary`], with the `tokenizer.json` of a directory for a vocabulary that does not say how
    /// text is split or merged (GGUF files of before May 2024 do not). Its tokens must be those of the vocabulary.
    ///
    /// # Errors
    ///
    /// Those of [`Tokenizer::from_vocabulary`], and of [`Tokenizer::from_dir`] where there is such a file;
    /// [`Error::OtherTokens`] if it belongs to another model.
    pub fn from_vocabulary_in(
        vocabulary: &Vocabulary,
        directory: impl AsRef<Path>,
        options: &OpenOptions,
    ) -> Result<Self> {
        open::vocabulary_in(vocabulary, directory.as_ref(), options).map(Self::from)
    }

    /// Which file the tokenizer was made from, and what was decided or corrected.
    pub fn resolution(&self) -> &Resolution {
        &self.inner.resolution
    }

    /// Encodes a text. With `add_special` the tokens that the checkpoint puts around a text are added.
    ///
    /// # Errors
    ///
    /// [`Error::TextTooLong`] above the limit (4 MiB unless opened otherwise).
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Encoding> {
        self.check(text.len())?;
        self.inner
            .backend
            .encode(text, None, add_special, usize::MAX)
    }

    /// Encodes the start of a text: reads no more of it than needed to know its first `limit` tokens, or that it has no
    /// more.
    ///
    /// What comes back has more than `limit` tokens exactly if the whole text has, and its first `limit` tokens are
    /// those of [`Tokenizer::encode`] then; those after them need not be. Otherwise it is what [`Tokenizer::encode`]
    /// gives.
    ///
    /// The text may be longer than the limit of [`OpenOptions::with_max_text_bytes`]: of such a text a part at its
    /// start is encoded that ends at a blank, and a longer one if it has too few tokens.
    ///
    /// ```
    /// # use clinical_tokenizer::Tokenizer;
    /// # let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/fast_t5");
    /// let tokenizer = Tokenizer::from_dir(&directory)?;
    /// let long = "Seen by Dr. [Name] today. ".repeat(10_000);
    /// let start = tokenizer.encode_start(&long, true, 512)?; // not 10,000 sentences
    /// assert!(start.len() > 512 && start.len() < 10_000);
    /// # Ok::<(), clinical_tokenizer::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::TextTooLong`] for a text above 1 GiB.
    pub fn encode_start(&self, text: &str, add_special: bool, limit: usize) -> Result<Encoding> {
        long::start(&self.inner, text, add_special, limit)
    }

    /// Encodes the end of a text, of any length up to 1 GiB: its last `limit` tokens, or that it has no more.
    ///
    /// What comes back has more than `limit` tokens exactly if the whole text has. A text up to the limit of
    /// [`OpenOptions::with_max_text_bytes`] is read as a whole, so they are those of [`Tokenizer::encode`]; of a longer
    /// one a part at its end is encoded that starts at a blank, and a longer one if it has too few tokens. Offsets are
    /// those in the whole text.
    ///
    /// # Errors
    ///
    /// [`Error::TextTooLong`] for a text above 1 GiB.
    pub fn encode_end(&self, text: &str, add_special: bool, limit: usize) -> Result<Encoding> {
        long::end(&self.inner, text, add_special, limit)
    }

    /// Encodes two texts as one input, as the checkpoint joins them (`[CLS] A [SEP] B [SEP]`, `A </s> B </s>`).
    ///
    /// # Errors
    ///
    /// [`Error::TextTooLong`] where the two together are above the limit.
    pub fn encode_pair(&self, first: &str, second: &str, add_special: bool) -> Result<Encoding> {
        self.check(first.len().saturating_add(second.len()))?;
        self.inner
            .backend
            .encode(first, Some(second), add_special, usize::MAX)
    }

    /// Encodes many texts, on several threads where that pays. The order is kept.
    ///
    /// # Errors
    ///
    /// The first error, if any text cannot be encoded.
    pub fn encode_batch<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        add_special: bool,
    ) -> Result<Vec<Encoding>> {
        /// Below this much text a thread costs more than it saves.
        const BYTES_PER_THREAD: usize = 64 << 10;
        let bytes: usize = texts.iter().map(|text| text.as_ref().len()).sum();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = cores.min(bytes / BYTES_PER_THREAD).min(texts.len()).max(1);
        let encode = |texts: &[T]| {
            texts
                .iter()
                .map(|text| self.encode(text.as_ref(), add_special))
                .collect::<Result<Vec<_>>>()
        };
        if threads == 1 {
            return encode(texts);
        }
        let chunk = texts.len().div_ceil(threads);
        std::thread::scope(|scope| {
            let workers: Vec<_> = texts
                .chunks(chunk)
                .map(|texts| scope.spawn(move || encode(texts)))
                .collect();
            let mut out = Vec::with_capacity(texts.len());
            for worker in workers {
                let part = worker
                    .join()
                    .unwrap_or(Err(Error::EnginePanic { action: "encoding" }))?;
                out.extend(part);
            }
            Ok(out)
        })
    }

    /// Number of tokens of a text, the tokens around it included.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn count(&self, text: &str) -> Result<usize> {
        self.check(text.len())?;
        self.inner.backend.count(text, true)
    }

    /// Number of tokens of a text, the tokens around it included, if there are at most `limit`; otherwise a number
    /// above it. The text may have any length up to 1 GiB: what windows are measured with.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode_start`].
    pub fn count_up_to(&self, text: &str, limit: usize) -> Result<usize> {
        match text.len() <= long::SHORT.min(self.inner.max_text_bytes) {
            true => self.count(text),
            false => Ok(self.encode_start(text, true, limit)?.len()),
        }
    }

    /// Decodes ids. With `skip_special` special tokens are left out; added tokens such as `[Name]` stay.
    ///
    /// An id without a token decodes to nothing: a model may have more rows than its tokenizer has tokens.
    ///
    /// # Errors
    ///
    /// Only with a `tokenizer.json` whose decoder needs all tokens at once and fails on these.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let mut stream = self.decode_stream(skip_special);
        let mut text = String::new();
        for &id in ids {
            text.extend(stream.push(id)?);
        }
        text.extend(stream.try_finish()?);
        Ok(text)
    }

    /// Decodes ids one by one. See [`DecodeStream`].
    ///
    /// ```
    /// # use clinical_tokenizer::Tokenizer;
    /// # let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/fast_bpe");
    /// let tokenizer = Tokenizer::from_dir(&directory)?;
    /// let ids = tokenizer.encode("fever 😀", false)?.into_ids();
    /// let mut stream = tokenizer.decode_stream(true);
    /// let mut parts = Vec::new();
    /// for id in ids {
    ///     parts.extend(stream.push(id)?);
    /// }
    /// parts.extend(stream.finish());
    /// assert_eq!(parts.concat(), "fever 😀"); // the emoji is four tokens and comes in one part
    /// # Ok::<(), clinical_tokenizer::Error>(())
    /// ```
    pub fn decode_stream(&self, skip_special: bool) -> DecodeStream {
        DecodeStream::new(Arc::clone(&self.inner), skip_special)
    }

    /// Id of a token by its text in the vocabulary (`▁the`, `##ing`, `[Name]`).
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.backend.token_to_id(token)
    }

    /// Text of a token in the vocabulary.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.backend.id_to_token(id)
    }

    /// The highest id plus one: the rows that an embedding needs at least.
    pub fn vocab_size(&self) -> usize {
        self.inner.backend.vocab_size() as usize
    }

    /// Ids of the special tokens.
    pub fn special(&self) -> &SpecialIds {
        &self.inner.special
    }

    /// Whether decoding with `skip_special` leaves this id out.
    pub fn is_special(&self, id: u32) -> bool {
        self.inner.backend.is_special(id)
    }

    /// Id of the T5 sentinel `<extra_id_N>`.
    pub fn sentinel(&self, n: usize) -> Option<u32> {
        self.token_to_id(&format!("<extra_id_{n}>"))
    }

    /// What the files say wrongly or leave open, and what is used instead, for a model whose embedding has `rows` rows.
    ///
    /// These are the remarks of [`Tokenizer::resolution`] that are corrections, and [`TokenizerRemark::WithoutRow`] for
    /// tokens beyond the embedding.
    pub fn remarks(&self, rows: usize) -> Vec<TokenizerRemark> {
        let all = self.resolution().remarks().iter();
        let told = all.filter(|remark| remark.is_correction());
        let mut found: Vec<TokenizerRemark> = told.cloned().collect();
        let beyond = (rows as u64)..(self.vocab_size() as u64);
        let mut tokens = beyond
            .filter_map(|id| u32::try_from(id).ok())
            .filter_map(|id| Some((id, self.id_to_token(id)?)));
        if let Some((id, token)) = tokens.next() {
            found.push(TokenizerRemark::WithoutRow {
                token,
                id,
                count: 1 + tokens.count(),
                rows,
            });
        }
        found
    }

    /// The added tokens with their ids, in order of the ids.
    pub fn added_tokens(&self) -> Vec<(u32, AddedToken)> {
        self.inner.backend.added()
    }

    /// The special tokens by the names that `transformers` gives them, with their texts: `bos_token`, `eos_token`,
    /// `unk_token`, `sep_token`, `pad_token`, `cls_token`, `mask_token` as far as there are any, and
    /// `additional_special_tokens` as a list.
    ///
    /// This is what `special_tokens_map.json` holds and what a chat template is given.
    #[must_use]
    pub fn special_tokens_map(&self) -> serde_json::Map<String, serde_json::Value> {
        save::special_tokens_map(&self.inner)
    }

    /// The Jinja template of a chat model: the one named `default`, where there are several.
    pub fn chat_template(&self) -> Option<&str> {
        self.named_chat_template("default")
    }

    /// The chat template of a name, such as `tool_use` or `rag`.
    pub fn named_chat_template(&self, name: &str) -> Option<&str> {
        let mut all = self.chat_templates();
        all.find(|(known, _)| *known == name)
            .map(|(_, template)| template)
    }

    /// All chat templates with their names. As in `transformers`, those in files of their own (`chat_template.jinja`,
    /// `additional_chat_templates/NAME.jinja`) come before those of `tokenizer_config.json`.
    pub fn chat_templates(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.inner.chat_templates.iter();
        all.map(|(name, template)| (name.as_str(), template.as_str()))
    }

    /// The texts that encoding reads as special tokens wherever they stand, in order: what a prompt must not take over
    /// from a note. Tags of de-identification are among them where they were added as special tokens; `clinical-deid`
    /// knows those.
    #[must_use]
    pub fn special_texts(&self) -> Vec<String> {
        // BERT's word list takes one between blanks as it is, even where special tokens are to be split.
        let words = matches!(self.inner.backend, Backend::Bert(_));
        if self.inner.config.split_special == Some(true) && !words {
            return Vec::new();
        }
        let added = self.added_tokens().into_iter();
        let special = added.filter_map(|(_, token)| token.special.then_some(token.content));
        let named = self.special().all().filter_map(|id| self.id_to_token(id));
        let mut texts: Vec<String> = special
            .chain(named)
            .filter(|text| !text.is_empty())
            .collect();
        texts.sort();
        texts.dedup();
        texts
    }

    /// The length in tokens that the checkpoint names as its longest input. Nothing is cut to it.
    pub fn model_max_length(&self) -> Option<usize> {
        self.inner.config.model_max_length
    }

    /// Adds tokens and returns how many got new ids. A token that is a piece of the vocabulary keeps its id and is
    /// found as a whole from now on. New ids follow [`Tokenizer::vocab_size`], in the order of `tokens`.
    ///
    /// # Errors
    ///
    /// Tokens beyond the limits; nothing is added then.
    pub fn add_tokens(&mut self, tokens: &[AddedToken]) -> Result<usize> {
        let mut inner = Inner::clone(&self.inner);
        let new = inner.backend.add_tokens(tokens)?;
        let mut known: HashSet<u32> = inner.special.all().collect();
        for token in tokens.iter().filter(|token| token.special) {
            let id = inner.backend.token_to_id(&token.content);
            inner
                .special
                .additional
                .extend(id.filter(|&id| known.insert(id)));
        }
        self.inner = Arc::new(inner);
        Ok(new)
    }

    /// Writes the tokenizer into a directory, so that this crate and `transformers` open it again with the same ids.
    ///
    /// The vocabulary file keeps its kind; `tokenizer_config.json`, `special_tokens_map.json` and, where tokens were
    /// added, `added_tokens.json` hold what was in force, remarks included. Each file is written beside its place and
    /// then moved there.
    ///
    /// # Errors
    ///
    /// The directory or a file cannot be written.
    pub fn save(&self, directory: impl AsRef<Path>) -> Result<()> {
        save::save(&self.inner, directory.as_ref())
    }

    fn check(&self, bytes: usize) -> Result<()> {
        let limit = self.inner.max_text_bytes;
        if bytes > limit {
            Err(Error::TextTooLong { bytes, limit })
        } else {
            Ok(())
        }
    }
}

impl From<Inner> for Tokenizer {
    fn from(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }
}
