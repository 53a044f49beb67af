//! RadQA: a question about a radiology report, answered by a piece of the report or not at all.
//!
//! Source: Lehman et al., "Do We Still Need Clinical Language Models?" (arXiv 2302.08091),
//! repository `elehman16/do-we-still-need-clinical-lms`; the file is named at each item.

use crate::fill::fill;
use crate::marker::{Marker, guard, guard_required};
use crate::{Error, Field, Options, Result, py};

/// The input of a fine-tuned T5 (`src/finetuning/run_seq2seq_qa.py`): both texts lose the white
/// space at their start.
///
/// # Errors
/// [`Error::Empty`] for a blank question, [`Error::MarkerInText`] for a text that contains
/// `question:` or `context:`.
///
/// ```
/// use clinical_prompts::{Options, radqa};
///
/// let input = radqa::finetuning_input(" Any effusion?", "\nNo effusion.", &Options::new())?;
/// assert_eq!(input, "question: Any effusion? context: No effusion.");
/// # Ok::<(), clinical_prompts::Error>(())
/// ```
pub fn finetuning_input(question: &str, context: &str, options: &Options) -> Result<String> {
    static MARKERS: [Marker; 2] = [Marker::anywhere("question:"), Marker::anywhere("context:")];
    let question = guard_required(Field::Question, question, &MARKERS, options)?;
    let context = guard(Field::Context, context, &MARKERS, options)?;
    Ok(format!(
        "question: {} context: {}",
        py::lstrip(&question),
        py::lstrip(&context)
    ))
}

/// The target of a fine-tuned T5 (`src/finetuning/run_seq2seq_qa.py`): the first reference answer,
/// or nothing for a question without an answer.
pub fn finetuning_target<'a>(answers: &[&'a str]) -> &'a str {
    answers.first().copied().unwrap_or_default()
}

/// The input of a fine-tuned decoder (`src/finetuning/preprocess_radqa_gpt.py`).
///
/// # Errors
/// [`Error::Empty`] for a blank question, [`Error::MarkerInText`] for a text with a line that
/// starts with `Context:`, `Question:` or `Answer:`.
pub fn decoder_input(context: &str, question: &str, options: &Options) -> Result<String> {
    let question = guard_required(Field::Question, question, &LABELS, options)?;
    let context = guard(Field::Context, context, &LABELS, options)?;
    Ok(format!(
        "Context: {context}\nQuestion: {question}\nAnswer: "
    ))
}

/// The target of a fine-tuned decoder (`src/finetuning/preprocess_radqa_gpt.py`): the longest
/// reference answer in characters (the first of equals) and the end-of-sequence token, or the
/// token alone for a question without an answer.
pub fn decoder_target(answers: &[&str], eos: &str) -> String {
    let mut longest = "";
    for answer in answers {
        if answer.chars().count() > longest.chars().count() {
            longest = answer;
        }
    }
    format!("{longest}{eos}")
}

/// What a model says when the report has no answer.
pub const NO_ANSWER: &str = "N/A";

/// The answer inside a completion (`conversion`, after the trimming of `query_openai_all`): the
/// empty text for [`NO_ANSWER`].
pub fn answer_of(completion: &str) -> &str {
    match py::strip(completion) {
        NO_ANSWER => "",
        answer => answer,
    }
}

/// As [`answer_of`], but an answer that is not a piece of the report counts as no answer
/// (`precision_filter`).
///
/// ```
/// use clinical_prompts::radqa::{answer_of, quoted_answer_of};
///
/// let report = "There is a small left effusion.";
/// assert_eq!(answer_of(" large effusion\n"), "large effusion");
/// assert_eq!(quoted_answer_of(" large effusion\n", report), "");
/// assert_eq!(quoted_answer_of(" left effusion\n", report), "left effusion");
/// assert_eq!(answer_of("N/A"), "");
/// ```
pub fn quoted_answer_of<'a>(completion: &'a str, context: &str) -> &'a str {
    let answer = answer_of(completion);
    if context.contains(answer) { answer } else { "" }
}

/// A published zero-shot template (`src/zero-shot/radqa/radqa_gpt_3.py`), by its number there.
///
/// Templates 1, 3, 4, 5 and 10 put a question mark after a question that normally has one already
/// (as published); 11 takes one away first.
///
/// ```
/// use clinical_prompts::{Options, radqa::ZeroShot};
///
/// let prompt = ZeroShot::new(4)?.render("No effusion.", "Any effusion?", &Options::new())?;
/// assert_eq!(
///     prompt,
///     "Context: No effusion.\nGiven the above context, Any effusion??\nAnswer: \""
/// );
/// # Ok::<(), clinical_prompts::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ZeroShot(&'static Template);

#[derive(Debug)]
struct Template {
    number: u8,
    text: &'static str,
    markers: &'static [Marker],
}

const fn template(number: u8, text: &'static str, markers: &'static [Marker]) -> Template {
    Template {
        number,
        text,
        markers,
    }
}

static LABELS: [Marker; 3] = [
    Marker::line("Context:"),
    Marker::line("Question:"),
    Marker::line("Answer:"),
];
static ABOVE: [Marker; 3] = [
    Marker::line("Context:"),
    Marker::anywhere("Given the above context,"),
    Marker::line("Answer:"),
];
// A report may well start with "Radiology report:", so only what follows the report counts.
static REPORT: [Marker; 1] = [Marker::anywhere("Given the above radiology report,")];

static ZERO_SHOT: [Template; 10] = [
    template(
        0,
        "Context: {context}\nQuestion: {question}\nAnswer:",
        &LABELS,
    ),
    template(
        1,
        "Context: {context}\nGiven the above context, {question}? Answer N/A if there is no answer.",
        &ABOVE,
    ),
    template(
        2,
        "Answer N/A if there is no answer.\n\nContext: {context}\nQuestion:{question}\nAnswer:",
        &LABELS,
    ),
    template(
        3,
        "Context: {context}\nGiven the above context, {question}? Answer N/A if there is no answer or give a quote from the context: ",
        &ABOVE,
    ),
    template(
        4,
        "Context: {context}\nGiven the above context, {question}?\nAnswer: \"",
        &ABOVE,
    ),
    template(
        5,
        "Context: {context}\nGiven the above context, {question}? Give a quote from the text: ",
        &ABOVE,
    ),
    template(
        10,
        "Context: {context}\nGiven the above context, {question}?\nGive an answer from the text, but do not reply if there is no answer: ",
        &ABOVE,
    ),
    template(
        11,
        "Radiology Report: {context}\nGiven the above radiology report, {question}? Answer N/A if there is no answer or give a quote from the context: ",
        &REPORT,
    ),
    template(
        12,
        "Find the answer to the question based on the context below. Provided a quote from the context, otherwise write N/A.\n\nContext: {context}\nGiven the above context, {question} Answer:",
        &ABOVE,
    ),
    template(
        13,
        "Find the answer to the question based on the context below. Provided a quote from the context, otherwise write N/A.\n\nContext: {context}\nQuestion: {question} Answer:",
        &LABELS,
    ),
];

static FLAN: Template = template(
    0,
    "Context: {context}\nQuestion:{question}\nAnswer:",
    &LABELS,
);

impl ZeroShot {
    /// The published numbers; 6 to 9, 14 and 15 are [`FewShot`].
    pub const NUMBERS: [u8; 10] = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13];

    /// Template 0 as it was put to Flan-T5 (`src/zero-shot/radqa/radqa_zero_shot.py`): no space
    /// after `Question:`.
    pub const FLAN: Self = Self(&FLAN);

    /// The template with this number.
    ///
    /// # Errors
    /// [`Error::UnknownTemplate`] for a number that is not in [`ZeroShot::NUMBERS`].
    pub fn new(number: u8) -> Result<Self> {
        let found = ZERO_SHOT.iter().find(|template| template.number == number);
        found.map(Self).ok_or(Error::UnknownTemplate {
            family: "RadQA zero-shot",
            number,
            known: &Self::NUMBERS,
        })
    }

    /// The published number.
    pub fn number(self) -> u8 {
        self.0.number
    }

    /// The published text, with `{context}` and `{question}` in it.
    pub fn text(self) -> &'static str {
        self.0.text
    }

    /// The prompt.
    ///
    /// # Errors
    /// [`Error::Empty`] for a blank question, [`Error::MarkerInText`] for a text with a marker.
    pub fn render(self, context: &str, question: &str, options: &Options) -> Result<String> {
        let question = guard_required(Field::Question, question, self.0.markers, options)?;
        let context = guard(Field::Context, context, self.0.markers, options)?;
        let question = match self.0.number {
            11 => question.strip_suffix('?').unwrap_or(&question),
            _ => &question,
        };
        let values = [("context", &*context), ("question", question)];
        Ok(fill(self.0.text, &values))
    }
}

/// A solved example of a [`FewShot`] prompt.
///
/// The published examples are MIMIC text under a data use agreement, so they are not part of this
/// crate; holders of RadQA find them in the source file.
#[derive(Debug, Clone, Copy)]
pub struct Example<'a> {
    /// The report.
    pub context: &'a str,
    /// The question.
    pub question: &'a str,
    /// The answer, or [`NO_ANSWER`].
    pub answer: &'a str,
}

/// A published few-shot template (`src/zero-shot/radqa/radqa_gpt_3.py`), by its number there. The
/// caller supplies the solved examples: one for 6 and 7, two for 8, 9 and 14, three for 15.
///
/// ```
/// use clinical_prompts::{Options, radqa::{Example, FewShot, NO_ANSWER}};
///
/// let example = Example { context: "Clear lungs.", question: "Which lobe?", answer: NO_ANSWER };
/// let prompt = FewShot::new(6)?.render(&[example], "No effusion.", "Any effusion?", &Options::new())?;
/// assert!(prompt.starts_with("Context: Clear lungs.\nGiven the above context, Which lobe? Answer N/A"));
/// # Ok::<(), clinical_prompts::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct FewShot(&'static Shots);

#[derive(Debug)]
struct Shots {
    header: &'static str,
    /// The solved examples, with `{context}`, `{question}` and `{answer}`.
    examples: &'static [&'static str],
    query: Template,
}

const HEADER: &str = "Find the answer to the question based on the context below. Provided a quote from the context, otherwise write N/A.\n\n";
const QUOTE_EXAMPLE: &str = "Context: {context}\nGiven the above context, {question} Answer N/A if there is no answer or give a quote from the context: {answer}\n\n";
const QUOTE: &str = "Context: {context}\nGiven the above context, {question}? Answer N/A if there is no answer or give a quote from the context: ";
const INLINE_EXAMPLE: &str = "Context: {context}\nQuestion: {question} Answer: {answer}\n\n";
const LINES_EXAMPLE: &str = "Context: {context}\nQuestion: {question}\nAnswer: {answer}\n\n";

const fn quote_shots(number: u8, examples: &'static [&'static str]) -> Shots {
    Shots {
        header: "",
        examples,
        query: template(number, QUOTE, &ABOVE),
    }
}

static FEW_SHOT: [Shots; 6] = [
    quote_shots(6, &[QUOTE_EXAMPLE]),
    quote_shots(7, &[QUOTE_EXAMPLE]),
    quote_shots(8, &[QUOTE_EXAMPLE, QUOTE_EXAMPLE]),
    quote_shots(9, &[QUOTE_EXAMPLE, QUOTE_EXAMPLE]),
    Shots {
        header: HEADER,
        // As published: in the first example the question follows its report directly.
        examples: &[
            "Context: {context} {question} Answer: {answer}\n\n",
            INLINE_EXAMPLE,
        ],
        query: template(
            14,
            "Context: {context}\nQuestion: {question} Answer:",
            &LABELS,
        ),
    },
    Shots {
        header: HEADER,
        examples: &[LINES_EXAMPLE; 3],
        query: template(
            15,
            "Context: {context}\nQuestion: {question}\nAnswer:",
            &LABELS,
        ),
    },
];

impl FewShot {
    /// The published numbers; the others are [`ZeroShot`].
    pub const NUMBERS: [u8; 6] = [6, 7, 8, 9, 14, 15];

    /// The template with this number.
    ///
    /// # Errors
    /// [`Error::UnknownTemplate`] for a number that is not in [`FewShot::NUMBERS`].
    pub fn new(number: u8) -> Result<Self> {
        let found = FEW_SHOT.iter().find(|shots| shots.query.number == number);
        found.map(Self).ok_or(Error::UnknownTemplate {
            family: "RadQA few-shot",
            number,
            known: &Self::NUMBERS,
        })
    }

    /// The published number.
    pub fn number(self) -> u8 {
        self.0.query.number
    }

    /// How many solved examples the template shows.
    pub fn examples(self) -> usize {
        self.0.examples.len()
    }

    /// The prompt: the examples in the given order, then the question. In templates 6 to 9 the
    /// question of an example ends in one question mark, and one is added when it has none.
    ///
    /// # Errors
    /// [`Error::ExampleCount`] unless there are [`FewShot::examples`] examples, [`Error::Empty`]
    /// for a blank question, [`Error::MarkerInText`] for a text with a marker.
    pub fn render(
        self,
        examples: &[Example<'_>],
        context: &str,
        question: &str,
        options: &Options,
    ) -> Result<String> {
        let Shots {
            header,
            examples: shapes,
            query,
        } = self.0;
        if examples.len() != shapes.len() {
            return Err(Error::ExampleCount {
                family: "RadQA few-shot",
                number: query.number,
                expected: shapes.len(),
                found: examples.len(),
            });
        }
        let mut prompt = (*header).to_owned();
        for (i, (example, shape)) in examples.iter().zip(*shapes).enumerate() {
            let field = Field::Example(i);
            let context = guard(field, example.context, query.markers, options)?;
            let mut question = guard_required(field, example.question, query.markers, options)?;
            let answer = guard(field, example.answer, query.markers, options)?;
            if query.text == QUOTE && !question.ends_with('?') {
                question.to_mut().push('?');
            }
            let values = [
                ("context", &*context),
                ("question", &*question),
                ("answer", &*answer),
            ];
            prompt.push_str(&fill(shape, &values));
        }
        prompt.push_str(&ZeroShot(query).render(context, question, options)?);
        Ok(prompt)
    }
}
