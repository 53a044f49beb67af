use std::fmt;

use crate::error::Shown;

/// Which kind of file a tokenizer was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenizerKind {
    /// `tokenizer.json`, run by the `tokenizers` crate as the fast tokenizers of `transformers` are.
    TokenizerJson,
    /// A SentencePiece model, used like the slow `T5Tokenizer`.
    T5SentencePiece,
    /// A SentencePiece model, used like the slow `LlamaTokenizer`.
    LlamaSentencePiece,
    /// `vocab.txt`, used like the slow `BertTokenizer`.
    WordPiece,
    /// `vocab.json` and `merges.txt`, converted as `transformers` does for GPT-2 and RoBERTa.
    ByteLevelBpe,
}

/// Which file a tokenizer was made from, why, and what had to be decided or corrected on the way.
///
/// `Display` tells it all in a few lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    pub(crate) kind: TokenizerKind,
    pub(crate) file: String,
    pub(crate) reason: String,
    pub(crate) class: Option<String>,
    pub(crate) remarks: Vec<TokenizerRemark>,
}

impl Resolution {
    /// The kind of file.
    pub fn kind(&self) -> TokenizerKind {
        self.kind
    }

    /// Name of the file that holds the vocabulary.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Why this file and these rules were chosen.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The tokenizer class that the directory names, without the ending `Fast`.
    pub fn class(&self) -> Option<&str> {
        self.class.as_deref()
    }

    /// What had to be decided or corrected.
    pub fn remarks(&self) -> &[TokenizerRemark] {
        &self.remarks
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.reason)?;
        self.remarks
            .iter()
            .try_for_each(|remark| write!(f, "\n  - {remark}"))
    }
}

/// A remark about a tokenizer's files: one decision or correction. `Display` is a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenizerRemark {
    /// Another tokenizer file is there and was not used.
    AlsoPresent {
        /// Its name.
        file: String,
    },
    /// A special token is an empty string in the files (as in Asclepius-7B); the model's own piece is used.
    EmptySpecialToken {
        /// `bos`, `eos`, `unk` or `pad`.
        role: &'static str,
        /// The piece in use and its id, if the model has one.
        used: Option<(String, u32)>,
    },
    /// `config.json` gives a special token an id that is not the tokenizer's (as in Asclepius-7B).
    WrongIdInConfig {
        /// `bos`, `eos` or `pad`.
        role: &'static str,
        /// What `config.json` says.
        config: i64,
        /// What the tokenizer says.
        tokenizer: u32,
    },
    /// No file names this special token; it was taken for its usual name.
    InferredSpecialToken {
        /// The role.
        role: &'static str,
        /// The token.
        token: String,
        /// Its id.
        id: u32,
    },
    /// The files do not say whether the behaviour before `transformers` 4.31 holds; it does, as there.
    LegacyAssumed,
    /// The files do not say whether text is to be lower-cased; decided by whether the vocabulary has capital letters.
    CaseFromVocabulary {
        /// The decision. `transformers` would always lower-case here.
        lower_case: bool,
    },
    /// The caller chose whether text is lower-cased, against the files or without them.
    CaseChosen {
        /// The one that is used.
        lower_case: bool,
    },
    /// The files ask for another normalizer than `tokenizer.json` has; the files win, as in `transformers`.
    NormalizerChanged,
    /// Tokens have ids beyond the model file: the embedding needs rows for them.
    BeyondModel {
        /// How many.
        count: usize,
        /// The lowest such id.
        first: u32,
        /// The highest such id.
        last: u32,
    },
    /// An added token got another id than the files declare.
    AddedTokenMoved {
        /// The token.
        token: String,
        /// The declared id.
        declared: u32,
        /// The id it has.
        given: u32,
    },
    /// Tokens have ids beyond the rows of the model's embedding (as in Asclepius-Llama2-13B-Pretraining-Only, whose
    /// `added_tokens.json` has `<pad>` as 32000): a text that contains one cannot be read. Only in
    /// [`Tokenizer::remarks`](crate::Tokenizer::remarks), which knows the rows.
    WithoutRow {
        /// The first such token.
        token: String,
        /// Its id.
        id: u32,
        /// How many there are.
        count: usize,
        /// Rows of the embedding.
        rows: usize,
    },
    /// The number of sentinels in the files does not fit `extra_ids`.
    SentinelCount {
        /// The number in use.
        used: usize,
    },
    /// The file asks for truncation; texts are never cut silently here.
    TruncationIgnored,
    /// The file asks for padding; padding is the caller's business.
    PaddingIgnored,
    /// The decoder of the file cannot write text as tokens come: a stream gives all of it at the end.
    DecoderNeedsAllTokens,
    /// The tokenizer class is not one that is known; the kind of the model file decided.
    UnknownClass {
        /// The class.
        class: String,
    },
    /// The files ask for special tokens to be read as ordinary text (`split_special_tokens`), and so they are.
    SpecialTokensSplit,
    /// A chat template in the files is no text, or not named; it is left out.
    ChatTemplateUnreadable {
        /// The file.
        file: String,
    },
    /// There are chat templates, but none of the name `default`, so none is used unless it is asked for.
    NoDefaultChatTemplate {
        /// Their names.
        names: Vec<String>,
    },
    /// The vocabulary does not say what its tokens are for; it was derived from their texts and roles.
    KindsFromTexts {
        /// Tokens that were taken for special ones.
        special: usize,
    },
    /// The vocabulary does not say how text is split or merged; the `tokenizer.json` beside it is used.
    FileBesideVocabulary,
}

impl TokenizerRemark {
    /// Whether something in the files is wrong or left open, so that another value is used than a reader of the files
    /// would expect; the other remarks say what was found and chosen.
    #[must_use]
    pub fn is_correction(&self) -> bool {
        matches!(
            self,
            Self::EmptySpecialToken { .. }
                | Self::WrongIdInConfig { .. }
                | Self::InferredSpecialToken { .. }
                | Self::CaseFromVocabulary { .. }
                | Self::AddedTokenMoved { .. }
                | Self::SentinelCount { .. }
                | Self::WithoutRow { .. }
                | Self::SpecialTokensSplit
                | Self::ChatTemplateUnreadable { .. }
                | Self::NoDefaultChatTemplate { .. }
                | Self::KindsFromTexts { .. }
                | Self::FileBesideVocabulary
        )
    }
}

impl fmt::Display for TokenizerRemark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlsoPresent { file } => write!(f, "{file} is there too and was not used"),
            Self::EmptySpecialToken {
                role,
                used: Some((token, id)),
            } => {
                write!(
                    f,
                    "the {role} token is an empty string in the files; the model's own piece `{}` (id {id}) is used",
                    Shown(token)
                )
            }
            Self::EmptySpecialToken { role, used: None } => {
                write!(
                    f,
                    "the {role} token is an empty string in the files and the model has none"
                )
            }
            Self::WrongIdInConfig {
                role,
                config,
                tokenizer,
            } => {
                write!(
                    f,
                    "config.json gives the {role} token the id {config}; the tokenizer says {tokenizer}, which is right"
                )
            }
            Self::InferredSpecialToken { role, token, id } => write!(
                f,
                "no file names the {role} token; `{}` (id {id}) is used",
                Shown(token)
            ),
            Self::LegacyAssumed => write!(
                f,
                "the files do not say `legacy`; legacy behaviour is used, as in transformers"
            ),
            Self::CaseFromVocabulary { lower_case: false } => write!(
                f,
                "the files do not say do_lower_case; the vocabulary has capital letters, so case is kept (transformers \
                 would lower-case)"
            ),
            Self::CaseFromVocabulary { lower_case: true } => {
                write!(
                    f,
                    "the files do not say do_lower_case; the vocabulary has no capital letters, so text is lower-cased"
                )
            }
            Self::CaseChosen { lower_case } => {
                write!(
                    f,
                    "the caller chose {}",
                    if *lower_case {
                        "to lower-case text"
                    } else {
                        "to keep the case of text"
                    }
                )
            }
            Self::NormalizerChanged => write!(
                f,
                "tokenizer_config.json changes the normalizer of tokenizer.json"
            ),
            Self::BeyondModel { count, first, last } => {
                write!(
                    f,
                    "{count} tokens have ids beyond the model file ({first} to {last}); the embedding needs rows for \
                     them"
                )
            }
            Self::WithoutRow {
                token,
                id,
                count,
                rows,
            } => {
                let token = Shown(token);
                match count.saturating_sub(1) {
                    0 => write!(
                        f,
                        "`{token}` (id {id}) has no row in the embedding of {rows} rows: a text that contains it \
                         cannot be read"
                    ),
                    more => write!(
                        f,
                        "`{token}` (id {id}) and {more} more tokens have no row in the embedding of {rows} rows: a \
                         text that contains one cannot be read"
                    ),
                }
            }
            Self::AddedTokenMoved {
                token,
                declared,
                given,
            } => {
                write!(
                    f,
                    "added token `{}` is declared with id {declared} but has id {given}",
                    Shown(token)
                )
            }
            Self::SentinelCount { used } => write!(
                f,
                "extra_ids does not fit the sentinels that are listed; {used} are used"
            ),
            Self::TruncationIgnored => {
                write!(f, "the file asks for truncation, which is switched off")
            }
            Self::PaddingIgnored => write!(f, "the file asks for padding, which is switched off"),
            Self::DecoderNeedsAllTokens => write!(
                f,
                "the decoder of the file needs all tokens at once; streams write at the end"
            ),
            Self::UnknownClass { class } => write!(
                f,
                "the tokenizer class {} is not known; the kind of the file decided",
                Shown(class)
            ),
            Self::SpecialTokensSplit => write!(
                f,
                "tokenizer_config.json says split_special_tokens: special tokens in a text are read as ordinary text"
            ),
            Self::ChatTemplateUnreadable { file } => write!(
                f,
                "the chat template of {} is not a text and is left out",
                Shown(file)
            ),
            Self::NoDefaultChatTemplate { names } => write!(
                f,
                "no chat template is named default, so none is used; there are {}",
                Shown(&names.join(", "))
            ),
            Self::KindsFromTexts { special } => write!(
                f,
                "the vocabulary does not say what its tokens are for; {special} of them are special by their texts"
            ),
            Self::FileBesideVocabulary => write!(
                f,
                "the vocabulary does not say how text is split; the tokenizer.json beside it is used, which has the \
                 same tokens"
            ),
        }
    }
}
