//! A loaded model and the ways to ask it.

use std::ops::ControlFlow;
use std::path::Path;

use clinical_generate::{Cancel, EndTokens, Generated, Step, TextDecoder, TextStream, generate};
use clinical_llama::{Llama, LlamaConfig};
use clinical_tokenizer::{DecodeStream, Note, Tokenizer};
use clinical_weights::{CheckpointDir, FromCheckpoint, LoadOptions, LoadReport};

use crate::answer::{Answer, Usage, Window};
use crate::chat::ChatTemplate;
use crate::combine::{best, first_found};
use crate::options::{AnswerOptions, Combine, LongNote};
use crate::plan::{Part, plan};
use crate::prompt::Prompter;
use crate::{Result, demo, gguf};

/// What published chat models end a turn with.
const END_OF_TURN: [&str; 2] = ["<|im_end|>", "<|eot_id|>"];

/// A model that answers questions about clinical notes: Asclepius, or any LLaMA or Mistral of the same layout.
///
/// It is used through `&self`, so threads can share it; each call has its own cache.
#[derive(Debug)]
pub struct Asclepius {
    pub(crate) model: Llama,
    pub(crate) tokenizer: Tokenizer,
    report: LoadReport,
    corrections: Vec<Note>,
    end: Vec<u32>,
    special: Vec<String>,
    chat: Option<ChatTemplate>,
    own: bool,
}

impl Asclepius {
    /// Opens a Hugging Face directory as it was published, or a GGUF file (the path of the file, or of a directory with one
    /// and no other weights), which brings its own configuration and tokenizer.
    ///
    /// The end token is the tokenizer's, not `config.json`'s: the published Asclepius-7B says `eos_token_id` 1 there, which
    /// is its start token.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) with one sentence that says what is wrong with the directory and what to do.
    pub fn load(dir: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        let path = dir.as_ref();
        let dir = CheckpointDir::open_with(path, options.allow_links)?;
        let config = dir.config(&["llama", "mistral"])?;
        let own = [config["_name_or_path"].as_str(), path.to_str()]
            .into_iter()
            .flatten()
            .any(|name| name.to_lowercase().contains("asclepius"));
        let config = LlamaConfig::from_value(config)?;
        let weights = dir.weights()?;
        weights.check_size(config.parameters()?, options)?;
        let tokenizer = match dir.gguf()? {
            Some(file) => gguf::tokenizer(file.vocabulary()?)?,
            None => Tokenizer::from_dir(dir.path())?,
        };
        let mut model = config.init(&options.device)?;
        let keys = model.key_map();
        let report = clinical_weights::load_from(&mut model, &keys, &weights, options)?;
        Self::new(model, tokenizer, report, own)
    }

    /// The demonstration model inside this crate: a toy trained on invented notes (`docs/demo-models.md`).
    ///
    /// # Errors
    ///
    /// None in practice; those of [`load`](Self::load).
    pub fn embedded() -> Result<Self> {
        Self::embedded_with(&LoadOptions::default())
    }

    /// The demonstration model, with a device or a precision of the caller's.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn embedded_with(options: &LoadOptions) -> Result<Self> {
        let config = LlamaConfig::from_json(demo::CONFIG)?;
        let tokenizer = demo::tokenizer()?;
        let mut model = config.init(&options.device)?;
        let report = clinical_weights::load_bytes(&mut model, demo::WEIGHTS, options)?;
        Self::new(model, tokenizer, report, true)
    }

    fn new(model: Llama, tokenizer: Tokenizer, mut report: LoadReport, own: bool) -> Result<Self> {
        let corrections = tokenizer.corrections(model.config().vocab_size);
        report.notes.extend(corrections.iter().map(Note::to_string));
        let special = tokenizer.special();
        let text = |id: Option<u32>| {
            id.and_then(|id| tokenizer.id_to_token(id))
                .unwrap_or_default()
        };
        let eos = special.eos.first().copied();
        let chat = tokenizer
            .chat_template()
            .map(|source| ChatTemplate::new(source, &text(special.bos), &text(eos)))
            .transpose();
        // A template that cannot be used matters only to those who ask through it.
        let chat = if own { chat.unwrap_or(None) } else { chat? };
        let mut end = special.eos.clone();
        // Chat models end a turn with a token of their own, whatever the tokenizer calls the end of a text.
        end.extend(
            END_OF_TURN
                .iter()
                .filter_map(|token| tokenizer.token_to_id(token)),
        );
        let spelled = tokenizer
            .added_tokens()
            .into_iter()
            .filter_map(|(_, token)| token.special.then_some(token.content));
        let named = [special.bos, special.pad, special.unk]
            .into_iter()
            .chain(special.eos.iter().copied().map(Some));
        let mut spellings: Vec<String> = spelled
            .chain(named.map(text))
            .filter(|token| !token.is_empty())
            .collect();
        spellings.sort();
        spellings.dedup();
        Ok(Self {
            end,
            special: spellings,
            model,
            tokenizer,
            report,
            corrections,
            chat,
            own,
        })
    }

    /// What was loaded, and how.
    #[must_use]
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// What the files of the directory say wrongly or leave open, and what is used instead. [`Self::report`] has these as
    /// sentences among its notes.
    #[must_use]
    pub fn corrections(&self) -> &[Note] {
        &self.corrections
    }

    /// The ids that end an answer.
    #[must_use]
    pub fn end_ids(&self) -> &[u32] {
        &self.end
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The model, for callers who write their own loops.
    #[must_use]
    pub fn model(&self) -> &Llama {
        &self.model
    }

    /// Answers a question about a note with the default [`AnswerOptions`].
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error): an empty question, a note that is too long, a prompt marker inside a text, a model whose
    /// numbers are not finite.
    pub fn answer(&self, note: &str, question: &str) -> Result<Answer> {
        self.answer_with(note, question, &AnswerOptions::default(), |_| {
            ControlFlow::Continue(())
        })
    }

    /// As [`answer`](Self::answer), with options and with the text as it is written.
    ///
    /// `on_piece` gets whole characters; the pieces make up [`Answer::text`]. It stops the answer by returning
    /// [`ControlFlow::Break`]. Where a long note is read in windows the answer is known only at the end, and comes in
    /// one piece.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn answer_with(
        &self,
        note: &str,
        question: &str,
        options: &AnswerOptions,
        mut on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let prompter = self.prompter(options)?;
        let parts = self.plan(&prompter, note, question, options)?;
        if parts.len() > 1 {
            let answer = self.combine(&prompter, parts, question, options)?;
            let _ = on_piece(&answer.text);
            return Ok(answer);
        }
        let mut trim = Trim::default();
        let mut results = self.run(&parts, options, |step| match trim.push(step.text) {
            Some(piece) if on_piece(&piece).is_break() => ControlFlow::Break(Cancel::All),
            _ => ControlFlow::Continue(()),
        })?;
        let result = results.swap_remove(0);
        let mut answer = answer(&parts[0], &result);
        // What the decoder held back comes with the last token of all.
        if let Some(rest) = answer.text.strip_prefix(trim.written.as_str())
            && !rest.is_empty()
        {
            let _ = on_piece(rest);
        }
        answer.window = Some(0);
        Ok(answer)
    }

    /// Answers many questions, several at a time; each answer is what [`answer_with`](Self::answer_with) gives alone.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer), for the first question that fails; nothing is answered before all prompts are built.
    pub fn answer_batch(
        &self,
        questions: &[(&str, &str)],
        options: &AnswerOptions,
    ) -> Result<Vec<Answer>> {
        let prompter = self.prompter(options)?;
        let plans = questions
            .iter()
            .map(|(note, question)| self.plan(&prompter, note, question, options))
            .collect::<Result<Vec<_>>>()?;
        let mut answers: Vec<Option<Answer>> = Vec::new();
        answers.resize_with(questions.len(), || None);
        // Prompts of like length share a batch: padding costs time.
        let mut single: Vec<usize> = (0..plans.len())
            .filter(|&at| plans[at].len() == 1)
            .collect();
        single.sort_by_key(|&at| plans[at][0].ids.len());
        for rows in single.chunks(options.batch) {
            let parts: Vec<&Part> = rows.iter().map(|&at| &plans[at][0]).collect();
            let results = self.run_all(&parts, options)?;
            for ((&at, part), result) in rows.iter().zip(parts).zip(&results) {
                let mut answer = answer(part, result);
                answer.window = Some(0);
                answers[at] = Some(answer);
            }
        }
        for ((slot, parts), (_, question)) in answers.iter_mut().zip(plans).zip(questions) {
            if slot.is_none() {
                *slot = Some(self.combine(&prompter, parts, question, options)?);
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    fn prompter(&self, options: &AnswerOptions) -> Result<Prompter<'_>> {
        Prompter::new(
            &self.tokenizer,
            &self.special,
            self.chat.as_ref(),
            self.own,
            &options.prompt,
            options.markers,
        )
    }

    fn plan(
        &self,
        prompter: &Prompter<'_>,
        note: &str,
        question: &str,
        options: &AnswerOptions,
    ) -> Result<Vec<Part>> {
        plan(
            prompter,
            note,
            question,
            self.model.config().max_positions(),
            options,
        )
    }

    /// Asks the question of every window, and makes one answer of theirs.
    fn combine(
        &self,
        prompter: &Prompter<'_>,
        parts: Vec<Part>,
        question: &str,
        options: &AnswerOptions,
    ) -> Result<Answer> {
        let LongNote::Windows { combine, .. } = &options.long_note else {
            unreachable!("only windows give several parts");
        };
        let mut answers = Vec::with_capacity(parts.len());
        for rows in parts.chunks(options.batch) {
            let rows: Vec<&Part> = rows.iter().collect();
            let results = self.run_all(&rows, options)?;
            answers.extend(
                rows.iter()
                    .zip(&results)
                    .map(|(part, result)| answer(part, result)),
            );
            if *combine == Combine::FirstFound
                && answers
                    .iter()
                    .any(|answer| !options.is_no_answer(&answer.text))
            {
                break;
            }
        }
        let chosen = match combine {
            Combine::FirstFound => first_found(&answers, options),
            Combine::BestScore | Combine::AskAgain => best(&answers, options),
        };
        let mut usage = Usage::default();
        for answer in &answers {
            usage.prompt_tokens += answer.usage.prompt_tokens;
            usage.new_tokens += answer.usage.new_tokens;
        }
        let mut windows: Vec<Window> = parts
            .iter()
            .map(|part| Window {
                range: part.range.clone(),
                answer: None,
            })
            .collect();
        for (window, answer) in windows.iter_mut().zip(&answers) {
            window.answer = Some(answer.text.clone());
        }
        let mut answer = answers.swap_remove(chosen);
        answer.window = Some(chosen);
        if *combine == Combine::AskAgain
            && let Some(again) = self.ask_again(prompter, &windows, question, options)?
        {
            usage.prompt_tokens += again.usage.prompt_tokens;
            usage.new_tokens += again.usage.new_tokens;
            answer = again;
        }
        answer.usage = usage;
        answer.windows = windows;
        Ok(answer)
    }

    /// The question over the answers of the windows; `None` where they do not fit, or only one of them found anything.
    fn ask_again(
        &self,
        prompter: &Prompter<'_>,
        windows: &[Window],
        question: &str,
        options: &AnswerOptions,
    ) -> Result<Option<Answer>> {
        let found: Vec<&str> = windows
            .iter()
            .filter_map(|window| window.answer.as_deref())
            .filter(|answer| !options.is_no_answer(answer))
            .collect();
        if found.len() < 2 {
            return Ok(None);
        }
        let note = found.join("\n");
        let once = options.clone().with_long_note(LongNote::Error);
        let parts = match self.plan(prompter, &note, question, &once) {
            Err(crate::Error::NoteTooLong { .. }) => return Ok(None),
            parts => parts?,
        };
        let result = self.run_all(&[&parts[0]], options)?;
        Ok(Some(answer(&parts[0], &result[0])))
    }

    fn run_all(&self, parts: &[&Part], options: &AnswerOptions) -> Result<Vec<Generated>> {
        let prompts: Vec<&[u32]> = parts.iter().map(|part| part.ids.as_slice()).collect();
        self.generate(&prompts, options, |_| ControlFlow::Continue(()))
    }

    fn run(
        &self,
        parts: &[Part],
        options: &AnswerOptions,
        on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
    ) -> Result<Vec<Generated>> {
        let prompts: Vec<&[u32]> = parts.iter().map(|part| part.ids.as_slice()).collect();
        self.generate(&prompts, options, on_token)
    }

    /// The best sequence of each prompt.
    fn generate(
        &self,
        prompts: &[&[u32]],
        options: &AnswerOptions,
        on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
    ) -> Result<Vec<Generated>> {
        let text = Text(&self.tokenizer);
        let end = EndTokens::new(self.end.iter().copied()).with_text(&text);
        let mut results = generate(&self.model, prompts, &end, &options.generation, on_token)?;
        results.retain(|result| result.sequence == 0);
        Ok(results)
    }
}

/// The answer from one part alone.
fn answer(part: &Part, result: &Generated) -> Answer {
    Answer {
        text: result.text.as_deref().unwrap_or_default().trim().to_owned(),
        stop: result.stop,
        usage: Usage {
            prompt_tokens: part.ids.len(),
            new_tokens: result.ids.len(),
        },
        log_prob: result.log_prob().unwrap_or(0.0),
        windows: vec![Window {
            range: part.range.clone(),
            answer: None,
        }],
        window: None,
    }
}

/// Holds white space back until text follows it: an answer has none at either end.
#[derive(Default)]
struct Trim {
    held: String,
    written: String,
}

impl Trim {
    fn push(&mut self, piece: &str) -> Option<String> {
        self.held.push_str(piece);
        let end = self.held.trim_end().len();
        if end == 0 {
            return None;
        }
        let rest = self.held.split_off(end);
        let mut piece = std::mem::replace(&mut self.held, rest);
        if self.written.is_empty() {
            piece = piece.trim_start().to_owned();
        }
        self.written.push_str(&piece);
        Some(piece)
    }
}

/// Decodes the new tokens of a row for the engine.
struct Text<'a>(&'a Tokenizer);

impl TextDecoder for Text<'_> {
    fn stream(&self, _row: usize) -> Box<dyn TextStream + '_> {
        Box::new(Stream(self.0.decode_stream(true)))
    }
}

#[derive(Clone)]
struct Stream(DecodeStream);

impl TextStream for Stream {
    fn push(&mut self, id: u32) -> String {
        // An id without a piece has no text; the engine has already checked it against the vocabulary.
        self.0.push(id).ok().flatten().unwrap_or_default()
    }

    fn finish(&mut self) -> String {
        self.0.finish().unwrap_or_default()
    }

    fn fork<'b>(&self) -> Box<dyn TextStream + 'b>
    where
        Self: 'b,
    {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::Trim;

    #[test]
    fn pieces_have_no_white_space_at_either_end() {
        let mut trim = Trim::default();
        let pieces: Vec<Option<String>> = [" ", "\nA", " ", "b ", "\n"]
            .map(|piece| trim.push(piece))
            .into();
        let pieces: Vec<&str> = pieces.iter().flatten().map(String::as_str).collect();
        assert_eq!(pieces, ["A", " b"]);
        assert_eq!(trim.written, "A b");
    }
}
