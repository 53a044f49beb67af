//! Every number that comes from a file or a caller is checked against one of these limits before memory is taken for
//! it.

/// Largest `tokenizer.json`, SentencePiece model, `vocab.txt`, `vocab.json` or `merges.txt`: 256 MiB.
///
/// The largest published tokenizer files are below 40 MB.
pub const MAX_TOKENIZER_FILE_BYTES: u64 = 256 << 20;

/// Largest `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`, `config.json` or chat template: 16
/// MiB.
pub const MAX_CONFIG_FILE_BYTES: u64 = 16 << 20;

/// Most entries of a vocabulary. The largest published ones have about 260,000.
pub const MAX_VOCABULARY: usize = 2_000_000;

/// Token ids must be below this. Saving walks over all ids, so a single id of four billion would never end.
pub const MAX_TOKEN_ID: u32 = 4_000_000;

/// Longest piece of a vocabulary in bytes. SentencePiece trains pieces of 16 characters at most; words of a `vocab.txt`
/// are below 50 bytes; the longest of Llama 3, 128 blanks, has 256. The bound keeps every search linear in the text,
/// and 300 kB of text below a second however the pieces are chosen.
pub const MAX_PIECE_BYTES: usize = 512;

/// Longest piece of a unigram vocabulary in `tokenizer.json`, whose engine takes some 70 nanoseconds for each piece
/// that fits at each position of a text. Pieces are trained with 16 characters at most, which are 64 bytes.
pub const MAX_UNIGRAM_PIECE_BYTES: usize = 128;

/// Longest added token in bytes, for the same reason.
pub const MAX_ADDED_TOKEN_BYTES: usize = 512;

/// Most added tokens: beyond this a vocabulary is not "some tokens added".
pub const MAX_ADDED_TOKENS: usize = 1_000_000;

/// Most sentinels (`extra_ids`) of a T5 tokenizer. The published models have 100.
pub const MAX_EXTRA_IDS: usize = 10_000;

/// Longest text that is tokenized in one call, unless the caller sets another limit: 4 MiB.
///
/// The longest discharge summaries are below 100 kB. One call takes a multiple of the text as memory: about 60 times at
/// most for SentencePiece models and word lists, about 150 times with `tokenizer.json` (`tokenizer_memory` of
/// `clinical-bench` measures it).
pub const DEFAULT_MAX_TEXT_BYTES: usize = 4 << 20;

/// Texts are addressed with 32-bit offsets, so no caller can lift the limit above this: 1 GiB.
pub const MAX_TEXT_BYTES: usize = 1 << 30;

/// Longest replacement that one rule of a SentencePiece charsmap may write. NFKC needs 33 bytes at most.
pub const MAX_CHARSMAP_RULE_BYTES: usize = 512;

/// How many times longer than the input a `tokenizer.json` may make the text by its own rules (`Replace`, `Prepend`).
/// The usual rule, a blank to `▁`, makes 3.
pub const MAX_NORMALIZER_GROWTH: usize = 64;

/// How many times longer than the tokens a `tokenizer.json` may make the text by the rules of its decoder. The usual
/// ones shorten it.
pub const MAX_DECODER_GROWTH: usize = 64;

/// Most pieces of a post-processing template (`[CLS] $A [SEP]` has 3).
pub const MAX_TEMPLATE_PIECES: usize = 64;
