//! Recipes for tokenizers, which are trained before there is a model.

use std::path::Path;

use clinical_tokenizer::{Tokenizer, UnigramTraining, WordPieceTraining};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, toml_file};

const PUBLISHED: [(&str, &str); 2] = [
    ("t5-tokenizer", include_str!("../recipes/t5-tokenizer.toml")),
    (
        "bert-tokenizer",
        include_str!("../recipes/bert-tokenizer.toml"),
    ),
];

/// How a tokenizer is trained; as TOML the table `[tokenizer]`.
///
/// ```
/// use clinical_train::TokenizerRecipe;
///
/// let recipe = TokenizerRecipe::from_toml(r#"
///     [tokenizer]
///     kind = "unigram"
///     vocab_size = 30
///     lower_case = true
///     word_seeds = true
/// "#)?;
/// // Far too few, but for the example.
/// let notes = ["Seen by Dr. Reed for chest pain.", "No chest pain today, seen by Dr. Reed."].repeat(50);
/// let tokenizer = recipe.train(notes.iter())?;
/// assert_eq!(tokenizer.vocab_size(), 30 + 100);
/// # Ok::<(), clinical_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TokenizerRecipe {
    /// For T5 ([`UnigramTraining`]).
    Unigram(UnigramSettings),
    /// For BERT ([`WordPieceTraining`]).
    WordPiece(WordPieceSettings),
}

/// Settings of a tokenizer for T5. Defaults: those of Clinical-T5-Scratch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct UnigramSettings {
    /// The number of tokens, extra ids and DEID tokens aside. Default: 32,000.
    pub vocab_size: usize,
    /// Whether letters are lower-cased. Default: yes.
    pub lower_case: bool,
    /// The number of sentinels. Default: 100.
    pub extra_ids: usize,
    /// Whether the 15 tokens of de-identification tags are added. Default: no.
    pub deid_tokens: bool,
    /// Whether whole words that occur more than once may be tokens: for fewer than some hundred thousand notes.
    /// Default: no.
    pub word_seeds: bool,
}

impl Default for UnigramSettings {
    fn default() -> Self {
        Self {
            vocab_size: 32_000,
            lower_case: true,
            extra_ids: 100,
            deid_tokens: false,
            word_seeds: false,
        }
    }
}

/// Settings of a tokenizer for BERT. Defaults: those of cased BERT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct WordPieceSettings {
    /// The number of tokens. Default: 28,996.
    pub vocab_size: usize,
    /// Whether letters are lower-cased and lose their accents. Default: no.
    pub lower_case: bool,
    /// Pairs of pieces that occur less often are not joined. Default: 2.
    pub min_frequency: u64,
}

impl Default for WordPieceSettings {
    fn default() -> Self {
        Self {
            vocab_size: 28_996,
            lower_case: false,
            min_frequency: 2,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<T> {
    tokenizer: T,
}

impl TokenizerRecipe {
    /// A recipe that comes with this crate: `t5-tokenizer`, `bert-tokenizer`. `None` for another name.
    #[must_use]
    pub fn published(name: &str) -> Option<&'static str> {
        let found = PUBLISHED.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| *text)
    }

    /// Whether a recipe is for a tokenizer: it has the table `[tokenizer]`.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        toml::from_str::<toml::Table>(text).is_ok_and(|table| table.contains_key("tokenizer"))
    }

    /// Reads a recipe.
    ///
    /// # Errors
    ///
    /// [`Error::RecipeFile`] with the line for what is not TOML or no setting of a tokenizer.
    pub fn from_toml(text: &str) -> Result<Self> {
        let file: File<Self> = toml_file::parse(Path::new(toml_file::UNNAMED), text)?;
        Ok(file.tokenizer)
    }

    /// Reads the file of a recipe.
    ///
    /// # Errors
    ///
    /// Those of [`from_toml`](Self::from_toml), and [`Error::File`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let file: File<Self> = toml_file::open(path.as_ref())?;
        Ok(file.tokenizer)
    }

    /// The recipe as TOML, with every setting.
    ///
    /// # Errors
    ///
    /// [`Error::Recipe`] for a number that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        toml_file::write(&File { tokenizer: self })
    }

    /// Trains on texts of any length; they are read once and not kept. The same texts, in any order, give the same
    /// tokenizer, byte for byte when saved.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] with what [`UnigramTraining::train`] says.
    pub fn train<T: AsRef<str>>(&self, texts: impl Iterator<Item = T>) -> Result<Tokenizer> {
        let trained = match self {
            Self::Unigram(settings) => {
                let mut training = UnigramTraining::clinical_t5(settings.lower_case)
                    .with_vocab_size(settings.vocab_size)
                    .with_extra_ids(settings.extra_ids);
                if settings.deid_tokens {
                    training = training.with_added_tokens(clinical_deid::SPECIAL_TOKENS);
                }
                if settings.word_seeds {
                    training = training.with_word_seeds();
                }
                training.train(texts)
            }
            Self::WordPiece(settings) => WordPieceTraining::bert(settings.lower_case)
                .with_vocab_size(settings.vocab_size)
                .with_min_frequency(settings.min_frequency)
                .train(texts),
        };
        trained.map_err(Error::model)
    }
}
