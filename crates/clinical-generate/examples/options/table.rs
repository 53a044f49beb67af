//! Each option on the same input, as Markdown.

use std::fmt::Write;
use std::ops::ControlFlow;

use clinical_generate::{EarlyStopping, EndTokens, Error, Generation, Processor, generate};

use super::words::{END, Words};

const PROMPT: &str = "the patient was";

/// Runs options and writes a row for each, the code as it stands here.
macro_rules! rows {
    ($table:ident: $($options:expr),+ $(,)?) => {
        $($table.row(stringify!($options), &$options)?;)+
    };
}

struct Table<'w> {
    model: &'w Words,
    text: String,
}

impl Table<'_> {
    fn section(&mut self, title: &str, explanation: &str) {
        let _ = write!(
            self.text,
            "\n## {title}\n\n{explanation}\n\n| options | answer | ends by | score |\n|---|---|---|---|\n"
        );
    }

    fn row(&mut self, code: &str, options: &Generation) -> Result<(), Error> {
        let prompt = self.model.ids(PROMPT);
        let end = EndTokens::new([END]).with_text(self.model);
        let options = options.clone().with_log_probs(true);
        let results = generate(self.model, &[&prompt], &end, &options, |_| {
            ControlFlow::Continue(())
        })?;
        for (at, result) in results.iter().enumerate() {
            let code: String = code.split_whitespace().collect::<Vec<_>>().join(" ");
            let code = code
                .replace("Generation::", "")
                .replace(" .", ".")
                .replace("( ", "(")
                .replace('|', "\\|");
            let shown = if at == 0 {
                format!("`{code}`")
            } else {
                String::new()
            };
            let text = result.text.as_deref().unwrap_or_default().trim();
            let score = result
                .score
                .map(f64::from)
                .or(result.log_prob())
                .unwrap_or_default();
            let _ = writeln!(
                self.text,
                "| {shown} | {text} | {} | {score:.2} |",
                result.stop
            );
        }
        Ok(())
    }
}

/// The results part of `docs/generation.md`.
pub fn table() -> Result<String, Error> {
    let model = Words::new();
    let ids = |text: &str| model.ids(text);
    let id = |text: &str| model.ids(text)[0];
    let mut table = Table {
        model: &model,
        text: String::new(),
    };
    table.section(
        "Strategies",
        "Greedy takes the likeliest token. Sampling draws one. Beam search keeps several answers open and returns the \
         best.",
    );
    rows!(table:
        Generation::greedy(),
        Generation::sample().with_seed(1),
        Generation::sample().with_seed(2),
        Generation::beam(4),
        Generation::beam(4).with_sampling(true).with_seed(1),
    );
    table.section(
        "Length",
        "`max_new_tokens` cuts an answer; `min_new_tokens` forbids the end token before.",
    );
    rows!(table:
        Generation::greedy().with_max_new_tokens(2),
        Generation::greedy().with_max_new_tokens(2).with_forced_last(END),
        Generation::greedy().with_min_new_tokens(20),
    );
    table.section(
        "Sampling",
        "All with the same seed. A low temperature and each filter leave out unlikely tokens; a high temperature \
         brings them in.",
    );
    rows!(table:
        Generation::sample().with_seed(8),
        Generation::sample().with_seed(8).with_temperature(0.3),
        Generation::sample().with_seed(8).with_temperature(2.0),
        Generation::sample().with_seed(8).with_top_k(2),
        Generation::sample().with_seed(8).with_top_p(0.5),
        Generation::sample().with_seed(8).with_min_p(0.9),
        Generation::sample().with_seed(8).with_typical_p(0.3),
        Generation::sample().with_seed(8).with_num_return_sequences(3),
    );
    table.section(
        "Repetition",
        "A penalty makes words of the context less likely; an n-gram that stood before cannot come again. The prompt \
         counts for\nboth.",
    );
    rows!(table:
        Generation::greedy().with_min_new_tokens(20),
        Generation::greedy().with_min_new_tokens(20).with_repetition_penalty(1.5),
        Generation::greedy().with_min_new_tokens(20).with_no_repeat_ngram(2),
    );
    table.section(
        "Beam search",
        "Scores are the sum of log-probabilities divided by `length^length_penalty`. Several sequences come best \
         first.",
    );
    rows!(table:
        Generation::beam(4).with_num_return_sequences(4),
        Generation::beam(2),
        Generation::beam(4).with_length_penalty(0.0),
        Generation::beam(4).with_length_penalty(2.0).with_max_new_tokens(30),
        Generation::beam(5).with_early_stopping(EarlyStopping::True),
        Generation::beam(5).with_early_stopping(EarlyStopping::False),
        Generation::beam(2).with_length_penalty(1.3).with_early_stopping(EarlyStopping::False),
        Generation::beam(2).with_length_penalty(1.3).with_early_stopping(EarlyStopping::Never),
    );
    table.section(
        "Words that must, may or may not come",
        "`id` and `ids` look words up.",
    );
    rows!(table:
        Generation::greedy().with_forced_first(id("seen")),
        Generation::greedy().with_suppress([id("discharged")]),
        Generation::greedy().with_bad_words([ids("discharged home"), ids("good")]),
        Generation::greedy().with_logit_bias(id("home"), -3.0),
        Generation::greedy().with_sequence_bias(ids("discharged to"), 3.0),
        Generation::greedy().with_allowed([ids("stable"), ids("given aspirin"), ids("given fluids")]),
        Generation::greedy().with_processor(Processor::new(|_context, new, logits| {
            if new.len() < 3 {
                logits.reverse();
            }
        })),
    );
    table.section(
        "Stopping",
        "A stop string is found across token borders and is not part of the text. `deadline` and `cancel` end an \
         answer at the\nnext token.",
    );
    rows!(table:
        Generation::greedy().with_min_new_tokens(12).with_stop_sequences([ids(". the patient")]),
        Generation::greedy().with_min_new_tokens(12).with_stop_strings(["he pat"]),
    );
    Ok(table.text)
}
