//! What was noticed about the files of a model.

use std::fmt;

use clinical_tokenizer::TokenizerRemark;

/// What the files of a model say wrongly or leave open, and what is used instead; or a decision that was made because
/// of them. `Display` is one sentence.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Remark {
    /// About the tokenizer.
    Tokenizer(TokenizerRemark),
    /// About any other file, or about what follows from it (the style of prompts, the pooling): one sentence.
    Model(String),
}

impl From<TokenizerRemark> for Remark {
    fn from(remark: TokenizerRemark) -> Self {
        Self::Tokenizer(remark)
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokenizer(remark) => remark.fmt(f),
            Self::Model(sentence) => f.write_str(sentence),
        }
    }
}
