//! In-context prompts for MedNLI (`src/zero-shot/mednli/mednli_gpt_3.py`).

use std::borrow::Cow;

use super::Label;
use crate::fill::fill;
use crate::marker::{Marker, guard_required};
use crate::{Error, Field, Options, Result, py};

/// A published zero-shot template (`src/zero-shot/mednli/mednli_gpt_3.py`), by its number there.
///
/// ```
/// use clinical_prompts::{Options, mednli::ZeroShot};
///
/// let prompt = ZeroShot::new(3)?.render("No fever.", "The patient is hot.", &Options::new())?;
/// assert_eq!(
///     prompt,
///     "Given that \"No fever.\". Does it follow that \"The patient is hot.\" Yes, no, or maybe?"
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
    rules: Rules,
}

/// What a template does to its texts before they go in.
#[derive(Debug, Clone, Copy, Default)]
struct Rules {
    /// The hypothesis loses the white space at its ends.
    strip_hypothesis: bool,
    /// When the trimmed premise ends in a full stop, the last character of the premise as given
    /// is removed, which is the full stop only if nothing follows it (as published).
    drop_last_character: bool,
}

impl Rules {
    const NONE: Self = Self {
        strip_hypothesis: false,
        drop_last_character: false,
    };
    const STRIP: Self = Self {
        strip_hypothesis: true,
        drop_last_character: false,
    };
    const BOTH: Self = Self {
        strip_hypothesis: true,
        drop_last_character: true,
    };

    fn premise(self, premise: &str) -> &str {
        if self.drop_last_character && py::strip(premise).ends_with('.') {
            py::without_last_char(premise)
        } else {
            premise
        }
    }

    fn hypothesis(self, hypothesis: &str) -> &str {
        if self.strip_hypothesis {
            py::strip(hypothesis)
        } else {
            hypothesis
        }
    }
}

static LABELS: [Marker; 4] = [
    Marker::line("Premise:"),
    Marker::line("Hypothesis:"),
    Marker::line("Answer:"),
    Marker::line("Answer entailment, contradiction or neutral:"),
];
static INFER: [Marker; 2] = [
    Marker::anywhere("Can we infer that"),
    Marker::anywhere("Yes, no, or maybe?"),
];
static CLAIM: [Marker; 2] = [
    Marker::anywhere("Based on that information, is the claim:"),
    Marker::anywhere("true, false, or inconclusive?"),
];
static FOLLOW: [Marker; 2] = [
    Marker::anywhere("Does it follow that"),
    Marker::anywhere("Yes, no, or maybe?"),
];
static ALWAYS: [Marker; 1] = [Marker::anywhere("always, sometimes, or never true?")];
static QUESTION: [Marker; 2] = [
    Marker::anywhere("Question:"),
    Marker::anywhere("True, False, or Neither?"),
];
static OPTIONS: [Marker; 2] = [
    Marker::line("Options:"),
    Marker::line("-It's impossible to say"),
];

const fn template(
    number: u8,
    text: &'static str,
    markers: &'static [Marker],
    rules: Rules,
) -> Template {
    Template {
        number,
        text,
        markers,
        rules,
    }
}

static ZERO_SHOT: [Template; 9] = [
    template(
        0,
        "Answer entailment, neutral or contradiction.\n\nPremise: {sentence1}\nHypothesis: {sentence2}\nAnswer:",
        &LABELS,
        Rules::NONE,
    ),
    template(
        1,
        "Suppose {sentence1} Can we infer that \"{sentence2}\"? Yes, no, or maybe?",
        &INFER,
        Rules::NONE,
    ),
    template(
        2,
        "{sentence1} Based on that information, is the claim: \"{sentence2}\" true, false, or inconclusive?",
        &CLAIM,
        Rules::NONE,
    ),
    template(
        3,
        "Given that \"{sentence1}\". Does it follow that \"{sentence2}\" Yes, no, or maybe?",
        &FOLLOW,
        Rules::NONE,
    ),
    template(
        4,
        "Suppose it's true that {sentence1} Then, is \"{sentence2}\" always, sometimes, or never true?",
        &ALWAYS,
        Rules::NONE,
    ),
    template(
        7,
        "{sentence1} Question: {sentence2} True, False, or Neither?",
        &QUESTION,
        Rules::NONE,
    ),
    template(
        10,
        "Does {sentence1} mean that {sentence2}?\n\n Options:\n-Yes\n-No\n-It's impossible to say",
        &OPTIONS,
        Rules::NONE,
    ),
    template(
        11,
        "Does \"{sentence1}\" mean that \"{sentence2}\"?\n\nOptions:\n-Yes\n-No\n-It's impossible to say",
        &OPTIONS,
        Rules::BOTH,
    ),
    template(
        14,
        "Does Discharge Summary: {sentence1} mean that {sentence2}?\n\n Options:\n-Yes\n-No\n-It's impossible to say",
        &OPTIONS,
        Rules::NONE,
    ),
];

impl ZeroShot {
    /// The published numbers; 5, 6, 8, 9, 12 and 13 are [`FewShot`].
    pub const NUMBERS: [u8; 9] = [0, 1, 2, 3, 4, 7, 10, 11, 14];

    /// The template with this number.
    ///
    /// # Errors
    /// [`Error::UnknownTemplate`] for a number that is not in [`ZeroShot::NUMBERS`].
    pub fn new(number: u8) -> Result<Self> {
        let found = ZERO_SHOT.iter().find(|template| template.number == number);
        found.map(Self).ok_or(Error::UnknownTemplate {
            family: "MedNLI zero-shot",
            number,
            known: &Self::NUMBERS,
        })
    }

    /// The published number.
    pub fn number(self) -> u8 {
        self.0.number
    }

    /// The published text, with `{sentence1}` and `{sentence2}` in it.
    pub fn text(self) -> &'static str {
        self.0.text
    }

    /// The prompt. Template 11 trims the hypothesis, and when the trimmed premise ends in `.` it
    /// removes the last character of the untrimmed premise (as published).
    ///
    /// # Errors
    /// [`Error::Empty`] for a blank text, [`Error::MarkerInText`] for one with a marker.
    pub fn render(self, premise: &str, hypothesis: &str, options: &Options) -> Result<String> {
        let Template {
            text,
            markers,
            rules,
            ..
        } = *self.0;
        let premise = guard_required(Field::Premise, premise, markers, options)?;
        let hypothesis = guard_required(Field::Hypothesis, hypothesis, markers, options)?;
        let values = [
            ("sentence1", rules.premise(&premise)),
            ("sentence2", rules.hypothesis(&hypothesis)),
        ];
        Ok(fill(text, &values))
    }
}

/// A solved example of a [`FewShot`] prompt.
///
/// The published examples are MIMIC text under a data use agreement, so they are not part of this
/// crate; holders of MedNLI find them in the source file.
#[derive(Debug, Clone, Copy)]
pub struct Example<'a> {
    /// `sentence1`.
    pub premise: &'a str,
    /// `sentence2`.
    pub hypothesis: &'a str,
    /// The answer as it is printed; [`FewShot::answer_word`] has the published words.
    pub answer: &'a str,
}

/// A published few-shot template (`src/zero-shot/mednli/mednli_gpt_3.py`), by its number there.
/// Each shows three solved examples, which the caller supplies.
///
/// ```
/// use clinical_prompts::{Options, mednli::{Example, FewShot, Label}};
///
/// let few_shot = FewShot::new(6)?;
/// let example = |hypothesis, label| Example {
///     premise: "Afebrile.",
///     hypothesis,
///     answer: few_shot.answer_word(label),
/// };
/// let examples = [
///     example("No fever", Label::Entailment),
///     example("On antibiotics", Label::Neutral),
///     example("Febrile", Label::Contradiction),
/// ];
/// let prompt = few_shot.render(&examples, "BP 90/40.", "Hypotensive", &Options::new())?;
/// assert!(prompt.ends_with(
///     "Premise: BP 90/40.\nHypothesis: Hypotensive\nAnswer entailment, contradiction or neutral:"
/// ));
/// # Ok::<(), clinical_prompts::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct FewShot(&'static Shots);

#[derive(Debug)]
struct Shots {
    header: &'static str,
    /// One solved example, with `{sentence1}`, `{sentence2}` and `{answer}`.
    example: &'static str,
    /// Between the last example and the query; examples are always separated by a blank line.
    before_query: &'static str,
    query: Template,
    /// The printed answers, in the order of [`Label::ALL`].
    words: [&'static str; 3],
}

static FEW_SHOT: [Shots; 6] = [
    Shots {
        header: "Answer entailment, contradiction or neutral.\n",
        example: "Premise: {sentence1}\nHypothesis: {sentence2}\nAnswer: {answer}",
        before_query: "\n\n",
        query: template(
            5,
            "Premise: {sentence1}\nHypothesis: {sentence2}\nAnswer:",
            &LABELS,
            Rules::NONE,
        ),
        words: ["entailment", "neutral", "contradiction"],
    },
    Shots {
        header: "",
        example: "Premise: {sentence1}\nHypothesis: {sentence2}\nAnswer entailment, contradiction or neutral: {answer}",
        before_query: "\n\n",
        query: template(
            6,
            "Premise: {sentence1}\nHypothesis: {sentence2}\nAnswer entailment, contradiction or neutral:",
            &LABELS,
            Rules::NONE,
        ),
        words: ["entailment", "neutral", "contradiction"],
    },
    Shots {
        header: "",
        example: "Given that \"{sentence1}\". Does it follow that \"{sentence2}\" Yes, no, or maybe? {answer}",
        before_query: "\n\n",
        query: template(
            8,
            "Given that \"{sentence1}\". Does it follow that \"{sentence2}\" Yes, no, or maybe?",
            &FOLLOW,
            Rules::NONE,
        ),
        words: ["Yes.", "Maybe.", "No."],
    },
    Shots {
        header: "",
        example: "Given that \"{sentence1}” Does it follow that \"{sentence2}”? Yes, no, or maybe? {answer}",
        before_query: "",
        query: template(
            9,
            "Given that {sentence1} Does it follow that {sentence2}? Yes, no, or maybe?",
            &FOLLOW,
            Rules::STRIP,
        ),
        words: ["Yes.", "Neutral.", "No."],
    },
    Shots {
        header: "",
        example: "Does “{sentence1}” mean that \"{sentence2}\"?\n\nOptions:\n-Yes\n-No\n-It's impossible to say \n{answer}",
        before_query: "\n\n",
        query: template(
            12,
            "Does \"{sentence1}\" mean that \"{sentence2}\"?\n\nOptions:\n-Yes\n-No\n-It's impossible to say",
            &OPTIONS,
            Rules::BOTH,
        ),
        words: ["Yes", "No", "It’s impossible to say"],
    },
    Shots {
        header: "",
        example: "Does “{sentence1}” mean that \"{sentence2}\"?\n\n Options:\n-Yes\n-No\n-It's impossible to say \n{answer}",
        before_query: "",
        query: template(
            13,
            "Does \"{sentence1}\" mean that \"{sentence2}\"?\n\nOptions:\n-Yes\n-No\n-It's impossible to say",
            &OPTIONS,
            Rules::BOTH,
        ),
        words: ["Yes", "It’s impossible to say", "No"],
    },
];

impl FewShot {
    /// The published numbers; the others are [`ZeroShot`].
    pub const NUMBERS: [u8; 6] = [5, 6, 8, 9, 12, 13];

    /// How many solved examples every template shows.
    pub const EXAMPLES: usize = 3;

    /// The template with this number.
    ///
    /// # Errors
    /// [`Error::UnknownTemplate`] for a number that is not in [`FewShot::NUMBERS`].
    pub fn new(number: u8) -> Result<Self> {
        let found = FEW_SHOT.iter().find(|shots| shots.query.number == number);
        found.map(Self).ok_or(Error::UnknownTemplate {
            family: "MedNLI few-shot",
            number,
            known: &Self::NUMBERS,
        })
    }

    /// The published number.
    pub fn number(self) -> u8 {
        self.0.query.number
    }

    /// The word that the published examples print for a label.
    ///
    /// In template 12 the published answers to the neutral and the contradicting example are
    /// swapped (`No`, `It’s impossible to say`); this returns what was published. For the right
    /// words use those of template 13.
    pub fn answer_word(self, label: Label) -> &'static str {
        self.0.words[label.index()]
    }

    /// The prompt: the examples in the given order, then the question.
    ///
    /// Templates 9, 12 and 13 trim hypotheses; 12 and 13 shorten premises as
    /// [`ZeroShot::render`] says for template 11.
    ///
    /// # Errors
    /// [`Error::ExampleCount`] unless there are three examples, [`Error::Empty`] for a blank
    /// premise or hypothesis, [`Error::MarkerInText`] for a text with a marker.
    pub fn render(
        self,
        examples: &[Example<'_>],
        premise: &str,
        hypothesis: &str,
        options: &Options,
    ) -> Result<String> {
        let shots = self.0;
        let query = &shots.query;
        if examples.len() != Self::EXAMPLES {
            return Err(Error::ExampleCount {
                family: "MedNLI few-shot",
                number: query.number,
                expected: Self::EXAMPLES,
                found: examples.len(),
            });
        }
        let mut prompt = shots.header.to_owned();
        for (i, example) in examples.iter().enumerate() {
            if i > 0 {
                prompt.push_str("\n\n");
            }
            let guard = |text| guard_required(Field::Example(i), text, query.markers, options);
            let texts: [Cow<'_, str>; 3] = [
                guard(example.premise)?,
                guard(example.hypothesis)?,
                guard(example.answer)?,
            ];
            let values = [
                ("sentence1", query.rules.premise(&texts[0])),
                ("sentence2", query.rules.hypothesis(&texts[1])),
                ("answer", &texts[2]),
            ];
            prompt.push_str(&fill(shots.example, &values));
        }
        prompt.push_str(shots.before_query);
        prompt.push_str(&ZeroShot::render(
            ZeroShot(query),
            premise,
            hypothesis,
            options,
        )?);
        Ok(prompt)
    }
}
