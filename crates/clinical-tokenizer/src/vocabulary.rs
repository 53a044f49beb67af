//! The parts of a tokenizer that came out of another container.

/// The parts of a tokenizer as files have them that hold a whole model: GGUF, which `clinical-weights` reads.
/// [`Tokenizer::from_vocabulary`] makes a tokenizer of them; this crate does not read such files.
///
/// [`Tokenizer::from_vocabulary`]: crate::Tokenizer::from_vocabulary
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vocabulary {
    /// How text is cut, in the names of GGML: `llama` is SentencePiece BPE with scores, `gpt2` byte-level BPE with
    /// merges, `bert` WordPiece with `▁` before pieces that begin a word.
    pub model: String,
    /// How `gpt2` splits text before merging: `gpt-2`, `smollm`, `llama-bpe`, `qwen2`, `tekken`.
    pub pre: Option<String>,
    /// The tokens; the index is the id.
    pub tokens: Vec<String>,
    /// A score for each token; `llama` needs them.
    pub scores: Vec<f32>,
    /// What each token is for: 1 text, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 a byte. Empty where the file
    /// does not say: it is derived from roles and texts then (`<|im_end|>`, `<0x0A>`).
    pub kinds: Vec<u32>,
    /// The merges of `gpt2`, the two sides separated by a blank.
    pub merges: Vec<String>,
    /// Ids of special tokens by role: `bos`, `eos`, `unk`, `sep`, `pad`, `cls`, `mask`.
    pub roles: Vec<(&'static str, u32)>,
    /// Whether a text begins with the `bos` token. Absent: as the kind of tokenizer usually has it.
    pub add_bos: Option<bool>,
    /// Whether a text ends with the `eos` token. Absent: no.
    pub add_eos: Option<bool>,
    /// Whether a blank is put before a text. Absent: for `llama`, not for `gpt2`.
    pub add_space_prefix: Option<bool>,
    /// The Jinja template of a chat model.
    pub chat_template: Option<String>,
}
