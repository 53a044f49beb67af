//! What a tokenizer says about itself.

use clinical_facade::ModelDir;
use clinical_tokenizer::Tokenizer;
use serde::Serialize;

/// A tokenizer, as a facade would use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TokenizerFacts {
    /// The file that it was read from.
    pub file: String,
    /// Why that one.
    pub reason: String,
    /// How many ids it has.
    pub ids: usize,
    /// Special tokens: their role, id and spelling.
    pub special: Vec<(&'static str, u32, String)>,
    /// The ids that end an answer, by every file that names one.
    pub ends: Vec<u32>,
    /// Whether it has a chat template.
    pub chat_template: bool,
    /// What was noticed and changes nothing.
    pub notes: Vec<String>,
    /// What the files say wrongly, and what is used instead.
    pub corrections: Vec<String>,
}

/// For an embedding table of so many rows.
pub(crate) fn facts(tokenizer: &Tokenizer, dir: &ModelDir, rows: usize) -> TokenizerFacts {
    let resolution = tokenizer.resolution();
    let notes = resolution.remarks().iter();
    TokenizerFacts {
        file: resolution.file().to_owned(),
        reason: resolution.reason().to_owned(),
        ids: tokenizer.vocab_size(),
        special: special(tokenizer),
        ends: dir.end_ids(tokenizer, rows),
        chat_template: tokenizer.chat_template().is_some(),
        notes: notes
            .filter(|note| !note.is_correction())
            .map(ToString::to_string)
            .collect(),
        corrections: tokenizer
            .remarks(rows)
            .iter()
            .map(ToString::to_string)
            .collect(),
    }
}

fn special(tokenizer: &Tokenizer) -> Vec<(&'static str, u32, String)> {
    let special = tokenizer.special();
    let ends = special.eos.iter().map(|id| ("eos", Some(*id)));
    [
        ("bos", special.bos),
        ("pad", special.pad),
        ("unk", special.unk),
        ("cls", special.cls),
        ("sep", special.sep),
        ("mask", special.mask),
    ]
    .into_iter()
    .chain(ends)
    .filter_map(|(role, id)| Some((role, id?, tokenizer.id_to_token(id?)?)))
    .collect()
}
