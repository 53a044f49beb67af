use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while a tokenizer is opened, used or saved. One variant for each broken rule.
///
/// A message never holds text that was to be tokenized: notes are private.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read `{}`: {source}; check that it exists and may be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write `{}`: {source}; check the folder and the free space", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    Files(#[from] clinical_files::Error),
    /// A file of the model is a folder, a pipe, a device, or a link to nothing.
    #[error("`{}` is not a regular file; replace it by the real file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The path given to `from_dir` is not a directory.
    #[error(
        "`{}` is not a directory; pass the folder of the model, or use Tokenizer::from_file for one file",
        path.display()
    )]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory holds none of the known tokenizer files.
    #[error(
        "`{}` holds no tokenizer: put tokenizer.json, tokenizer.model, spiece.model, vocab.txt, or vocab.json with \
         merges.txt there",
        path.display()
    )]
    NoTokenizer {
        /// The directory.
        path: PathBuf,
    },
    /// `vocab.json` is there, but `merges.txt` is not, or holds no merge.
    #[error(
        "`{}` holds vocab.json but no merges.txt with merges; a byte-level BPE tokenizer needs both",
        path.display()
    )]
    NoMerges {
        /// The directory.
        path: PathBuf,
    },
    /// A file given to `from_file` has a name from which its kind cannot be told.
    #[error("cannot tell the kind of `{}`; name it tokenizer.json, *.model, vocab.txt or vocab.json", path.display())]
    UnknownFileKind {
        /// The file.
        path: PathBuf,
    },
    /// The parts of a vocabulary are of a kind that is not known.
    #[error("the vocabulary is of the kind `{found}`; known are llama, gpt2 and bert")]
    VocabularyModel {
        /// The kind, escaped and cut.
        found: String,
    },
    /// The parts of a vocabulary do not fit together.
    #[error("the vocabulary has {what}; convert the model again")]
    VocabularyPart {
        /// What does not fit.
        what: String,
    },
    /// Byte-level BPE splits text in a way that is not known.
    #[error(
        "the vocabulary splits text as `{found}` does, which is not known (gpt-2, smollm, llama-bpe, qwen2 and tekken \
         are): put the tokenizer.json of the model beside the file, or convert the model again"
    )]
    PreTokenizer {
        /// The name, escaped and cut.
        found: String,
    },
    /// Byte-level BPE without merges: each byte would be a token.
    #[error(
        "the vocabulary has no merges, which byte-level BPE needs: put the tokenizer.json of the model beside the \
         file, or convert the model again"
    )]
    NoVocabularyMerges,
    /// The `tokenizer.json` beside a vocabulary belongs to another model.
    #[error(
        "token {id} of the tokenizer.json beside the file is not that of the vocabulary: put the tokenizer.json there \
         of the model that was converted"
    )]
    OtherTokens {
        /// The first id with different tokens.
        id: usize,
    },
    /// A file is larger than its limit.
    #[error("`{}` has {bytes} bytes, more than the limit of {limit}; it is not a tokenizer file", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The file is a Git-LFS pointer: the text that stands for a file that was not fetched.
    #[error("`{}` is a Git-LFS pointer, not the file itself; run `git lfs pull` in the model folder", path.display())]
    GitLfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// The file is a web page, usually an error page that was saved by a download.
    #[error("`{}` is a web page, not a tokenizer file; download it again", path.display())]
    WebPage {
        /// The file.
        path: PathBuf,
    },
    /// A JSON file does not parse.
    #[error("`{file}` is not valid JSON: {message}")]
    Json {
        /// The file name.
        file: String,
        /// What the parser says, with line and column.
        message: String,
    },
    /// A key of a configuration file has a value of the wrong shape.
    #[error("`{file}`: the value of `{key}` must be {expected}")]
    ConfigValue {
        /// The file name.
        file: String,
        /// The key.
        key: String,
        /// What it must be.
        expected: &'static str,
    },
    /// The text is longer than the limit.
    #[error(
        "the text has {bytes} bytes, more than the limit of {limit}; cut it into windows or raise the limit when \
         opening the tokenizer"
    )]
    TextTooLong {
        /// Bytes of the text.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The normalizer of the file makes the text far longer, which no honest file does.
    #[error(
        "the normalizer of the tokenizer file makes the text more than {limit} times longer; the file is damaged or \
         hostile"
    )]
    NormalizerGrowth {
        /// The limit.
        limit: usize,
    },
    /// The decoder of the file makes the text far longer, which no honest file does.
    #[error(
        "the decoder of the tokenizer file makes the text more than {limit} times longer; the file is damaged or \
         hostile"
    )]
    DecoderGrowth {
        /// The limit.
        limit: usize,
    },

    // ---- SentencePiece model files -------------------------------------------------------------
    /// The model file ends inside a value.
    #[error("the SentencePiece model is cut off at byte {offset}; copy it again")]
    ModelTruncated {
        /// Where the value began.
        offset: usize,
    },
    /// A value of the model file cannot be read as protocol buffers.
    #[error("the SentencePiece model is damaged at byte {offset}: {what}")]
    ModelWire {
        /// Where.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The model file lacks a part that every trained model has.
    #[error("the SentencePiece model has no {part}; it is cut off or not a SentencePiece model")]
    ModelPart {
        /// The part.
        part: &'static str,
    },
    /// The model is of a kind that neither T5 nor LLaMA uses.
    #[error("SentencePiece models of type {kind} are not supported; only unigram and BPE are")]
    ModelType {
        /// `word`, `char` or the number in the file.
        kind: String,
    },
    /// The model wants decoded text to be rewritten, which no T5 or LLaMA model does.
    #[error("the SentencePiece model has a denormalizer, which is not supported")]
    Denormalizer,
    /// The vocabulary has no or too many entries.
    #[error("the vocabulary has {found} entries; between 1 and {limit} are allowed")]
    VocabularySize {
        /// Entries found (or more).
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A piece of the vocabulary is empty.
    #[error("piece {index} of the vocabulary is empty")]
    EmptyPiece {
        /// Its index.
        index: usize,
    },
    /// A piece of the vocabulary is too long.
    #[error("piece {index} of the vocabulary has {bytes} bytes, more than {limit}")]
    PieceTooLong {
        /// Its index.
        index: usize,
        /// Its bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A piece of the vocabulary is not UTF-8.
    #[error("piece {index} of the vocabulary is not valid UTF-8")]
    PieceUtf8 {
        /// Its index.
        index: usize,
    },
    /// A piece of the vocabulary holds a NUL character.
    #[error("piece {index} of the vocabulary holds a NUL character")]
    NulInPiece {
        /// Its index.
        index: usize,
    },
    /// Two pieces are the same.
    #[error("pieces {first} and {second} of the vocabulary are the same")]
    DuplicatePiece {
        /// The first index.
        first: usize,
        /// The second index.
        second: usize,
    },
    /// A piece has a type that is not known.
    #[error("piece {index} has the unknown type {kind}")]
    PieceType {
        /// Its index.
        index: usize,
        /// The number in the file.
        kind: u64,
    },
    /// A score is not a finite number.
    #[error("the score of piece {index} is not a finite number")]
    Score {
        /// Its index.
        index: usize,
    },
    /// No piece stands for unknown characters, or more than one does.
    #[error("the model has {found} unknown pieces; exactly one is needed")]
    UnknownPieces {
        /// How many were found.
        found: usize,
    },
    /// A byte piece is wrong: not of the form `<0xNN>`, or present though the model has no byte fallback.
    #[error("piece {index} is a byte piece that does not fit the model: {what}")]
    BytePiece {
        /// Its index.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// With byte fallback all 256 byte pieces are needed.
    #[error("the model falls back to bytes, but only {found} of the 256 byte pieces are there")]
    MissingBytePieces {
        /// How many are there.
        found: usize,
    },
    /// The table of normalization rules is damaged.
    #[error("the normalization rules of the SentencePiece model are damaged: {what}")]
    Charsmap {
        /// What is wrong.
        what: &'static str,
    },

    // ---- vocab.txt, vocab.json and merges.txt ----------------------------------------------------
    /// A vocabulary file is not UTF-8.
    #[error("`{file}` is not valid UTF-8 text")]
    NotText {
        /// The file name.
        file: &'static str,
    },
    /// A token that the kind of tokenizer cannot do without is missing.
    #[error(
        "the vocabulary has no `{}`; this is not the vocabulary of a {kind} tokenizer",
        Shown(token)
    )]
    MissingToken {
        /// The token.
        token: String,
        /// The kind.
        kind: &'static str,
    },
    /// A line of `merges.txt` is not two pieces.
    #[error("line {line} of merges.txt must hold two pieces with one blank between them")]
    MergeLine {
        /// The line, from 1.
        line: usize,
    },

    // ---- tokenizer.json --------------------------------------------------------------------------
    /// A merge of a BPE model names a piece that the vocabulary does not hold.
    #[error("merge {index} of the BPE model needs a piece that the vocabulary does not hold")]
    MergeOutOfVocabulary {
        /// Its index.
        index: usize,
    },
    /// A token id is too large.
    #[error("token id {id} is not below {limit}")]
    TokenId {
        /// The id.
        id: u64,
        /// The limit.
        limit: u32,
    },
    /// Two tokens claim one id.
    #[error("two tokens of the vocabulary have the id {id}")]
    SharedTokenId {
        /// The id.
        id: u32,
    },
    /// The file gives an added token an id that it cannot have, because the ids before it are missing.
    #[error(
        "added token `{}` has the id {declared} in the file but would get {given}; the file is inconsistent",
        Shown(token)
    )]
    AddedTokenId {
        /// The token.
        token: String,
        /// The id in the file.
        declared: u32,
        /// The id it would get.
        given: u32,
    },
    /// An added token is too long, or there are too many.
    #[error("{what}; the limit is {limit}")]
    AddedTokens {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A part of `tokenizer.json` would make the engine fail.
    #[error("tokenizer.json: the {part} is not usable: {what}")]
    Component {
        /// `model`, `normalizer`, `pre_tokenizer`, `post_processor` or `decoder`.
        part: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    // ---- training --------------------------------------------------------------------------------
    /// Texts to train on hold no word.
    #[error("there is no text to train a tokenizer on; pass texts that are not blank")]
    NoTrainingText,
    /// A vocabulary to be trained has no room beside its special tokens.
    #[error(
        "a vocabulary of {size} has no room beside its {special} special tokens; ask for a larger one"
    )]
    VocabularyBelowSpecial {
        /// The size that was asked for.
        size: usize,
        /// How many special tokens there are.
        special: usize,
    },
    /// A vocabulary to be trained cannot hold the characters of the texts.
    #[error(
        "a vocabulary of {size} cannot hold the special tokens and the characters of the texts; ask for at least {least}"
    )]
    VocabularyBelowAlphabet {
        /// The size that was asked for.
        size: usize,
        /// The smallest that holds them.
        least: usize,
    },
    /// The texts have too few repeated pieces for the vocabulary.
    #[error(
        "the texts give {found} of the {size} tokens that were asked for; train on more texts, or ask for fewer tokens"
    )]
    TooFewTexts {
        /// The size that was asked for.
        size: usize,
        /// How many tokens were found, the special ones counted.
        found: usize,
    },
    /// The engine refused a file or a text.
    #[error("the tokenizer engine failed while {action}: {message}")]
    Engine {
        /// What it was doing.
        action: &'static str,
        /// Its message. Empty where it could hold a part of the text.
        message: String,
    },
    /// The engine panicked. The tokenizer stays usable.
    #[error("the tokenizer engine broke down while {action}; the tokenizer file is damaged")]
    EnginePanic {
        /// What it was doing.
        action: &'static str,
    },
}

impl Error {
    pub(crate) fn json(file: impl Into<String>, error: &serde_json::Error) -> Self {
        Self::Json {
            file: file.into(),
            message: error.to_string(),
        }
    }
}

/// A name from a file for a message: escaped, so that it cannot forge the message or steer a terminal, and cut.
pub(crate) struct Shown<'a>(pub &'a str);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const MOST: usize = 80;
        for character in self.0.chars().take(MOST) {
            // Quotes and letters of any script stay as they are.
            match character.is_control() {
                true => write!(f, "{}", character.escape_debug())?,
                false => write!(f, "{character}")?,
            }
        }
        match self.0.chars().nth(MOST) {
            Some(_) => f.write_str("…"),
            None => Ok(()),
        }
    }
}
