//! Extractive question answering: a context and answers that are parts of it.

use std::ops::Range;

use crate::{Error, Normalized, Normalizer};

/// An answer as a file in the SQuAD format gives it (RadQA is one).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The answer, a part of the context.
    pub text: &'a str,
    /// Where it starts in the context, in **characters** (Unicode scalar values, as Python counts).
    pub start: usize,
}

/// An answer in the converted context.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConvertedAnswer {
    /// The answer's new text, `context.text[range]`.
    pub text: String,
    /// Where this answer starts in the converted context, in characters.
    pub start: usize,
    /// The answer's byte range in the converted context.
    pub range: Range<usize>,
    /// Where its text first occurs in the converted context, in characters: the start that the published
    /// script writes. It is less than `start` when the same text also stands earlier.
    pub first_start: usize,
}

/// A converted context with its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConvertedContext {
    /// The context.
    pub context: Normalized,
    /// Its answers, in the order given.
    pub answers: Vec<ConvertedAnswer>,
}

impl Normalizer {
    /// Converts a context and its answers, and finds each answer's new position.
    ///
    /// An answer that was annotated through the middle of a tag is extended to the whole tag. The
    /// published script (`radqa_preprocessing.py`) searches for the converted answer from the start of
    /// the context and extends a cut answer to the next `**]`; its texts are the same, its starts are
    /// `first_start`. Where it then goes wrong this does not follow it: an answer cut at its front is
    /// extended too, one cut answer does not lengthen the others of its question, and its start is the
    /// new one.
    ///
    /// ```
    /// use clinical_deid::{Answer, Normalizer};
    ///
    /// let context = "Compared with [**2151-7-16**]. Seen by Dr. [**Last Name 4**].";
    /// let answers = [Answer { text: "Dr. [**Last", start: 39 }];
    /// let example = Normalizer::mimic_iii().normalize_with_answers(context, &answers)?;
    /// assert_eq!(example.answers[0].text, "Dr.  [Name]");
    /// assert_eq!(example.answers[0].start, 35);
    /// # Ok::<(), clinical_deid::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Normalizer::normalize`]; [`Error::AnswerNotInContext`] if an answer's text does not
    /// stand at its start.
    pub fn normalize_with_answers(
        &self,
        context: &str,
        answers: &[Answer<'_>],
    ) -> Result<ConvertedContext, Error> {
        let converted = self.normalize(context)?;
        let answers = answers
            .iter()
            .enumerate()
            .map(|(index, answer)| {
                convert_answer(context, &converted, answer).ok_or(Error::AnswerNotInContext {
                    index,
                    start: answer.start,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(ConvertedContext {
            context: converted,
            answers,
        })
    }
}

/// `None` if the context does not hold the answer.
fn convert_answer(
    context: &str,
    converted: &Normalized,
    answer: &Answer<'_>,
) -> Option<ConvertedAnswer> {
    let start = byte_of_char(context, answer.start)?;
    let rest = &context[start..];
    if !rest.starts_with(answer.text) {
        return None;
    }
    let range = converted.map_range(start..start + answer.text.len())?;
    let text = &converted.text[range.clone()];
    let first = converted.text.find(text)?;
    let chars = |end| converted.text[..end].chars().count();
    Some(ConvertedAnswer {
        text: text.to_owned(),
        start: chars(range.start),
        first_start: chars(first),
        range,
    })
}

/// The byte where the character with this index starts; the end of the text counts as one more.
fn byte_of_char(text: &str, index: usize) -> Option<usize> {
    text.char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .nth(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(context: &str, answers: &[Answer<'_>]) -> Result<ConvertedContext, Error> {
        Normalizer::mimic_iii().normalize_with_answers(context, answers)
    }

    #[test]
    fn starts_count_characters_and_know_repeated_text() {
        let context = "naïve: a node, [**Hospital 4**] a node";
        let answers = [
            Answer {
                text: "a node",
                start: 32,
            },
            Answer {
                text: "a node",
                start: 7,
            },
        ];
        let example = convert(context, &answers).expect("both stand there");
        let [late, early] = &example.answers[..] else {
            panic!("two answers")
        };
        assert_eq!((late.start, late.first_start), (27, 7));
        assert_eq!((early.start, early.first_start), (7, 7));
        assert_eq!(late.range, 28..34);
    }

    #[test]
    fn cut_tags_are_taken_whole_at_both_ends() {
        let context = "by [**Last Name 5**] and [**First Name 6**], x";
        let start = context.find("Name 5").expect("ASCII");
        let text = &context[start..context.find(" 6").expect("ASCII")];
        let example = convert(context, &[Answer { text, start }]).expect("it stands there");
        assert_eq!(example.answers[0].text, "[Name]  and  [Name]");
    }

    #[test]
    fn answers_that_are_not_there_are_refused() {
        let answers = [
            Answer {
                text: "no",
                start: 0,
            },
            Answer { text: "", start: 3 },
            Answer { text: "", start: 4 },
        ];
        for (answer, found) in answers.iter().zip([false, true, false]) {
            let result = convert("yes", &[*answer]);
            assert_eq!(result.is_ok(), found, "{}", answer.start);
        }
        let error = convert("yes", &answers)
            .expect_err("the first is not there")
            .to_string();
        assert!(
            error.contains("answer 0") && error.contains("character 0"),
            "{error}"
        );
    }
}
