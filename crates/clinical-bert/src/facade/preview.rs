//! What a directory would give, for people who look before they load.

use std::fmt;
use std::path::Path;

use clinical_tokenizer::{LowerCase, OpenOptions, Tokenizer, TokenizerRemark};
use clinical_weights::{CheckpointDir, LoadOptions, LoadReport};

use super::load::{build, detect};
use super::{BertOptions, ClinicalBert, Head};
use crate::Error;
use crate::config::{BertConfig, Family};

/// A word whose pieces show whether capital letters count; cased vocabularies of English have it in other pieces than
/// lower-cased ones.
const WORD: &str = "Abnormality";

/// What [`ClinicalBert::load_with`] would make of a directory. `Display` is a few lines for people:
///
/// ```
/// use clinical_bert::{BertOptions, ClinicalBert, LoadOptions};
///
/// # let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bert_old");
/// let preview = ClinicalBert::preview(dir, &LoadOptions::default(), &BertOptions::default())?;
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
    pub head: Head,
    /// Names of its classes, if it has some.
    pub labels: Vec<String>,
    /// The most tokens of a row.
    pub max_length: usize,
    /// How the weights fit.
    pub report: LoadReport,
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
    /// What [`load_with`](Self::load_with) would make of a directory, without reading weights. Tensors that do not fit are
    /// in the report, not an error.
    ///
    /// # Errors
    ///
    /// As [`load_with`](Self::load_with), except for weights that do not fit.
    pub fn preview(
        dir: impl AsRef<Path>,
        options: &LoadOptions,
        own: &BertOptions,
    ) -> Result<Preview, Error> {
        let dir = CheckpointDir::open_with(dir.as_ref(), options.allow_links)?;
        let config = BertConfig::from_value(dir.read_json("config.json")?)?;
        let checkpoint = dir.weights()?;
        checkpoint.check_size(config.parameters(), options)?;
        let head = own.head.unwrap_or_else(|| detect(&config, &checkpoint));
        let lenient = options.clone().with_strict(false);
        let (labels, _, mut report) = build(&config, head, &checkpoint, &lenient, own, false)?;
        let open =
            |lower_case| dir.tokenizer::<Error>(&OpenOptions::new().with_lower_case(lower_case));
        let (here, there) = (open(own.lower_case)?, open(LowerCase::Transformers)?);
        let remarks = here.remarks(config.vocab_size);
        report
            .notes
            .extend(remarks.iter().map(TokenizerRemark::to_string));
        Ok(Preview {
            family: config.family,
            head,
            labels,
            max_length: config.max_length(),
            report,
            case: case(&here, &there)?,
        })
    }
}

fn case(here: &Tokenizer, there: &Tokenizer) -> Result<Option<Case>, Error> {
    let pieces = |tokenizer: &Tokenizer, text: &str| -> Result<Vec<String>, Error> {
        let ids = tokenizer.encode(text, false)?.into_ids();
        Ok(ids
            .iter()
            .filter_map(|&id| tokenizer.id_to_token(id))
            .collect())
    };
    let lower = |tokenizer: &Tokenizer| -> Result<bool, Error> {
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
            self.head, self.max_length
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
