//! What a directory would give, for people who look before they load.

use std::fmt;
use std::path::Path;

use clinical_facade::{Facade, ModelDir, Remark};
use clinical_tokenizer::{LowerCase, Tokenizer};
use clinical_weights::{LoadOptions, LoadReport};

use super::load::{Opened, Values};
use super::{BertOptions, ClinicalBert};
use crate::config::Family;
use crate::{Result, TaskHead};

/// A word whose pieces show whether capital letters count; cased vocabularies of English have it in other pieces than
/// lower-cased ones.
const WORD: &str = "Abnormality";

/// What [`ClinicalBert::load`] would make of a directory. `Display` is a few lines for people:
///
/// ```
/// use clinical_bert::{ClinicalBert, LoadOptions};
///
/// # let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bert_old");
/// let preview = ClinicalBert::preview(dir, &LoadOptions::default())?;
/// assert!(preview.to_string().starts_with("kind       bert, an encoder without a head"));
/// // The vocabulary has capital letters and no file asks for lower-casing.
/// let case = preview.case.expect("transformers reads this directory otherwise");
/// assert_eq!((case.lower_case, case.transformers_lower_case), (false, true));
/// # Ok::<(), clinical_bert::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Preview {
    /// The architecture.
    pub family: Family,
    /// The head that would be loaded.
    pub head: TaskHead,
    /// Names of its classes, if it has some.
    pub labels: Vec<String>,
    /// The most tokens that are read at once ([`ClinicalBert::max_tokens`]).
    pub max_tokens: usize,
    /// How the weights fit.
    pub report: LoadReport,
    /// What was noticed about the files ([`ClinicalBert::remarks`]).
    pub remarks: Vec<Remark>,
    /// How capital letters are read, where `transformers` would read them otherwise (as for Bio_ClinicalBERT).
    pub case: Option<Case>,
}

/// A difference from `transformers` about capital letters, with an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Case {
    /// Whether text is lower-cased here.
    pub lower_case: bool,
    /// Whether `transformers` would lower-case it.
    pub transformers_lower_case: bool,
    /// A word.
    pub word: &'static str,
    /// Its tokens here.
    pub pieces: Vec<String>,
    /// Its tokens there.
    pub transformers_pieces: Vec<String>,
}

impl ClinicalBert {
    /// What [`load`](Self::load) would make of a directory or GGUF file, without reading weights. Tensors that do not
    /// fit are in the report, not an error.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), except for weights that do not fit.
    pub fn preview(dir: impl AsRef<Path>, options: &LoadOptions) -> Result<Preview> {
        Self::preview_with(dir, options, &BertOptions::default())
    }

    /// What [`load_with`](Self::load_with) would make of a directory or GGUF file, without reading weights.
    ///
    /// # Errors
    ///
    /// As [`preview`](Self::preview).
    pub fn preview_with(
        dir: impl AsRef<Path>,
        options: &LoadOptions,
        bert: &BertOptions,
    ) -> Result<Preview> {
        let dir = ModelDir::open_as(dir, Facade::ClinicalBert, options)?;
        let opened = Opened::new(dir, options, bert)?;
        let lenient = options.clone().with_strict(false);
        let (model, report) = opened.model(&lenient, Values::Leave)?;
        let tokenizer = opened.dir.tokenizer(&bert.tokenizer())?;
        let as_there = bert.clone().with_lower_case(LowerCase::Transformers);
        let there = opened.dir.tokenizer(&as_there.tokenizer())?;
        let case = case(&tokenizer, &there)?;
        let bert = Self::from_parts(opened.into_parts(model, tokenizer, report))?;
        Ok(Preview {
            family: bert.config.family,
            head: bert.head(),
            labels: bert.labels().to_vec(),
            max_tokens: bert.max_tokens(),
            report: bert.report,
            remarks: bert.remarks,
            case,
        })
    }
}

fn case(here: &Tokenizer, there: &Tokenizer) -> Result<Option<Case>> {
    let pieces = |tokenizer: &Tokenizer, text: &str| -> Result<Vec<String>> {
        let ids = tokenizer.encode(text, false)?.into_ids();
        Ok(ids
            .iter()
            .filter_map(|&id| tokenizer.id_to_token(id))
            .collect())
    };
    let lower = |tokenizer: &Tokenizer| -> Result<bool> {
        Ok(pieces(tokenizer, WORD)? == pieces(tokenizer, &WORD.to_lowercase())?)
    };
    let (lower_case, transformers_lower_case) = (lower(here)?, lower(there)?);
    if lower_case == transformers_lower_case {
        return Ok(None);
    }
    Ok(Some(Case {
        lower_case,
        transformers_lower_case,
        word: WORD,
        pieces: pieces(here, WORD)?,
        transformers_pieces: pieces(there, WORD)?,
    }))
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::Bert => "bert",
            Family::Roberta => "roberta",
            Family::MegatronBert => "megatron-bert",
        };
        writeln!(
            f,
            "kind       {family}, {}; at most {} tokens in a row",
            self.head, self.max_tokens
        )?;
        if !self.labels.is_empty() {
            writeln!(f, "labels     {}", self.labels.join(", "))?;
        }
        if let Some(case) = &self.case {
            writeln!(f, "case       {case}")?;
        }
        write!(f, "{}", self.report)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = |lower| if lower { "lower-cased" } else { "kept" };
        write!(
            f,
            "{}: `{}` is read as `{}`; transformers: {}, `{}` (LowerCase::Transformers does the same)",
            verb(self.lower_case),
            self.word,
            self.pieces.join(" "),
            verb(self.transformers_lower_case),
            self.transformers_pieces.join(" "),
        )
    }
}
