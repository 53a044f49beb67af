//! MedNLI: does a sentence of a note entail, contradict or leave open another one?

use std::fmt;
use std::path::Path;

use clinical_prompts::mednli::{Example, FewShot, ZeroShot, finetuning_input};
pub use clinical_prompts::mednli::{Label, label_of_answer, labels_of_answers};

use crate::error::{RowOf, label};
use crate::rows::prompted;
use crate::source::{Node, Once, Source};
use crate::{ClassRow, Error, Portion, Portions, Result, RowOptions, WritingRow};

/// The files as published, in the order of [`Portion::ALL`].
pub const FILES: [&str; 3] = [
    "mli_train_v1.jsonl",
    "mli_dev_v1.jsonl",
    "mli_test_v1.jsonl",
];

/// A pair of sentences. `Debug` shows the lengths of the sentences, not the sentences.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentencePair {
    /// `pairID`; the number of the line where a file has none.
    pub id: String,
    /// `sentence1`, from a note.
    pub premise: String,
    /// `sentence2`, written by a physician.
    pub hypothesis: String,
    /// `gold_label`.
    pub label: Label,
}

impl fmt::Debug for SentencePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentencePair")
            .field("id", &self.id)
            .field("premise_bytes", &self.premise.len())
            .field("hypothesis_bytes", &self.hypothesis.len())
            .field("label", &self.label)
            .finish()
    }
}

/// Reads one of the files. Fields but the four of [`SentencePair`] (the parses) are passed over.
///
/// # Errors
///
/// [`Error`]: no such file, no JSON Lines, a field that is missing, blank, too long or of another type, an unknown
/// label, a `pairID` that stands twice.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<SentencePair>> {
    read_once(path.as_ref(), &mut Once::default())
}

/// Reads the three files of a folder. No `pairID` may stand in two of them.
///
/// # Errors
///
/// Those of [`read`].
pub fn read_folder(folder: impl AsRef<Path>) -> Result<Portions<Vec<SentencePair>>> {
    let mut ids = Once::default();
    Portions::try_from_fn(|portion: Portion| {
        read_once(&folder.as_ref().join(FILES[portion as usize]), &mut ids)
    })
}

fn read_once(path: &Path, ids: &mut Once) -> Result<Vec<SentencePair>> {
    let source = Source::read(path)?;
    let mut pairs = Vec::new();
    for line in source.json_lines() {
        let (row, value) = line?;
        let node = Node::new(source.path(), row, "", &value);
        let id = match node.optional("pairID")? {
            Some(id) => {
                let name = id.name()?;
                ids.add(name.clone(), id.at())?;
                name
            }
            None => match row {
                RowOf::Line(line) => format!("line {line}"),
                _ => String::new(),
            },
        };
        let gold = node.field("gold_label")?;
        let name = gold.text()?;
        pairs.push(SentencePair {
            id,
            premise: node.field("sentence1")?.words()?.to_owned(),
            hypothesis: node.field("sentence2")?.words()?.to_owned(),
            label: name.parse().map_err(|_| Error::UnknownLabel {
                at: gold.at(),
                label: label(name),
                known: Label::ALL.map(Label::name).join(", "),
            })?,
        });
    }
    match pairs.is_empty() {
        true => Err(Error::NoExamples {
            path: path.to_owned(),
            what: "pair of sentences",
        }),
        false => Ok(pairs),
    }
}

impl SentencePair {
    fn what(&self) -> String {
        format!("pair {}", clinical_files::shown(&self.id))
    }

    fn input(&self, options: &RowOptions) -> Result<String> {
        let input = finetuning_input(&self.premise, &self.hypothesis, options.prompts());
        options.tagged(prompted(input, || self.what())?, || self.what())
    }

    /// The published row for T5: `mednli premise: ... hypothesis: ...` to the label's word.
    ///
    /// # Errors
    ///
    /// [`Error::Prompt`], [`Error::Deid`].
    pub fn writing_row(&self, options: &RowOptions) -> Result<WritingRow> {
        Ok(WritingRow {
            input: self.input(options)?,
            target: self.label.name().to_owned(),
        })
    }

    /// The published row for an encoder or decoder with a sequence head: the text of [`Self::writing_row`], as one text.
    /// The order of the published heads is that of [`Label::ALL`].
    ///
    /// # Errors
    ///
    /// [`Error::Prompt`], [`Error::Deid`].
    pub fn class_row(&self, options: &RowOptions) -> Result<ClassRow> {
        Ok(ClassRow {
            text: self.input(options)?,
            labels: vec![self.label.name().to_owned()],
        })
    }

    /// The published zero-shot prompt with this number.
    ///
    /// # Errors
    ///
    /// [`Error::Prompt`]; no such prompt.
    pub fn zero_shot(&self, number: u8, options: &RowOptions) -> Result<String> {
        let prompt = ZeroShot::new(number)
            .and_then(|prompt| prompt.render(&self.premise, &self.hypothesis, options.prompts()));
        options.tagged(prompted(prompt, || self.what())?, || self.what())
    }

    /// The published few-shot prompt with this number, with three solved examples of the caller's.
    ///
    /// # Errors
    ///
    /// [`Error::Prompt`]: no such prompt, or another number of examples.
    pub fn few_shot(
        &self,
        number: u8,
        solved: &[&SentencePair],
        options: &RowOptions,
    ) -> Result<String> {
        let prompt = FewShot::new(number).and_then(|prompt| {
            let examples: Vec<Example<'_>> = solved
                .iter()
                .map(|pair| Example {
                    premise: &pair.premise,
                    hypothesis: &pair.hypothesis,
                    answer: prompt.answer_word(pair.label),
                })
                .collect();
            prompt.render(
                &examples,
                &self.premise,
                &self.hypothesis,
                options.prompts(),
            )
        });
        options.tagged(prompted(prompt, || self.what())?, || self.what())
    }
}
