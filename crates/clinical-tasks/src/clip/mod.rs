//! CLIP: which follow-up actions does a sentence of a discharge note ask for?

mod around;
mod read;

use std::fmt;
use std::ops::Range;

use clinical_prompts::clip::{Example, FewShot, ZeroShot, finetuning_input};
pub use clinical_prompts::clip::{
    Label, Labels, SeveralLabels, YesNo, finetuning_target, labels_of_answer, labels_of_target,
};

pub use around::{Around, AroundRule, around};
pub use read::{Clip, SENTENCES, SPLITS, read_folder};

use crate::rows::prompted;
use crate::{ClassRow, Result, RowOptions, WritingRow};

/// A discharge note as sentences. `Debug` shows its size, not its text.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DischargeNote {
    /// `doc_id`: the note's ROW_ID in NOTEEVENTS.
    pub id: u64,
    /// The sentences, each followed by a space: the words of the file with single spaces between them.
    pub text: String,
    /// The sentences, in order.
    pub sentences: Vec<ActionSentence>,
}

impl fmt::Debug for DischargeNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DischargeNote")
            .field("id", &self.id)
            .field("text_bytes", &self.text.len())
            .field("sentences", &self.sentences.len())
            .finish()
    }
}

/// A sentence of a [`DischargeNote`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActionSentence {
    /// Its bytes in the note's text.
    pub range: Range<usize>,
    /// Which actions it asks for, in the order of [`Label::ALL`].
    pub labels: Labels,
}

impl ActionSentence {
    fn label_list(&self) -> Vec<Label> {
        Label::ALL
            .into_iter()
            .filter(|label| self.labels[label.index()])
            .collect()
    }

    /// The published target of T5: the names of its labels in alphabetical order, joined with `, `.
    pub fn target(&self) -> String {
        finetuning_target(&self.label_list())
    }

    /// The names of its labels, in the order of [`Label::ALL`].
    pub fn label_names(&self) -> Vec<String> {
        self.label_list()
            .into_iter()
            .map(|label| label.name().to_owned())
            .collect()
    }
}

impl DischargeNote {
    /// The text of a sentence.
    pub fn sentence(&self, index: usize) -> Option<&str> {
        self.text.get(self.sentences.get(index)?.range.clone())
    }

    fn what(&self, index: usize) -> String {
        format!("sentence {index} of note {} (the first is 0)", self.id)
    }

    /// The published input of every fine-tuned model: a piece of the note around the sentence, ` ; `, the sentence. Tags
    /// are converted after it was cut, as published.
    ///
    /// `tokens` are the bytes of each token of the whole [`text`](Self::text), with special tokens at `(0, 0)`: the
    /// offsets of `clinical_tokenizer::Encoding`. See [`around()`].
    ///
    /// # Errors
    ///
    /// Those of [`around()`]; [`Error::Prompt`](crate::Error::Prompt), [`Error::Deid`](crate::Error::Deid).
    ///
    /// # Panics
    ///
    /// Where there is no such sentence.
    pub fn input(
        &self,
        index: usize,
        tokens: &[(usize, usize)],
        max_tokens: usize,
        rule: AroundRule,
        options: &RowOptions,
    ) -> Result<String> {
        let what = || self.what(index);
        let sentence = self.sentences[index].range.clone();
        let cut = around(&self.text, sentence, tokens, max_tokens, rule)
            .map_err(|error| error.about(what()))?;
        let text = |range: &Range<usize>| self.text.get(range.clone()).unwrap_or_default();
        let input = match rule {
            // The published sentence may be empty, which the prompt refuses.
            AroundRule::Published => format!("{} ; {}", text(&cut.chunk), text(&cut.sentence)),
            AroundRule::Fixed => {
                let input =
                    finetuning_input(text(&cut.chunk), text(&cut.sentence), options.prompts());
                prompted(input, what)?
            }
        };
        options.tagged(input, what)
    }

    /// The row of T5 for an [`input`](Self::input).
    ///
    /// # Panics
    ///
    /// Where there is no such sentence.
    pub fn writing_row(&self, index: usize, input: String) -> WritingRow {
        WritingRow {
            input,
            target: self.sentences[index].target(),
        }
    }

    /// The row of a sequence head with seven outputs for an [`input`](Self::input).
    ///
    /// # Panics
    ///
    /// Where there is no such sentence.
    pub fn class_row(&self, index: usize, input: String) -> ClassRow {
        ClassRow {
            text: input,
            labels: self.sentences[index].label_names(),
        }
    }

    /// The published zero-shot prompt with this number about a sentence.
    ///
    /// # Errors
    ///
    /// [`Error::Prompt`](crate::Error::Prompt): no such prompt, or no such sentence.
    pub fn zero_shot(&self, index: usize, number: u8, options: &RowOptions) -> Result<String> {
        let sentence = self.sentence(index).unwrap_or_default();
        let prompt =
            ZeroShot::new(number).and_then(|prompt| prompt.render(sentence, options.prompts()));
        options.tagged(prompted(prompt, || self.what(index))?, || self.what(index))
    }

    /// The published few-shot prompt with this number about a sentence, with solved examples of the caller's: sentences
    /// and the names of their labels as they are to be printed.
    ///
    /// # Errors
    ///
    /// [`Error::Prompt`](crate::Error::Prompt): no such prompt, no such sentence, or another number of examples.
    pub fn few_shot(
        &self,
        index: usize,
        number: u8,
        solved: &[(&str, &str)],
        options: &RowOptions,
    ) -> Result<String> {
        let sentence = self.sentence(index).unwrap_or_default();
        let examples = solved
            .iter()
            .map(|&(sentence, labels)| Example { sentence, labels });
        let examples: Vec<Example<'_>> = examples.collect();
        let prompt = FewShot::new(number)
            .and_then(|prompt| prompt.render(&examples, sentence, options.prompts()));
        options.tagged(prompted(prompt, || self.what(index))?, || self.what(index))
    }
}
