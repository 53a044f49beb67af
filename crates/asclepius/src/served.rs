//! Answers for many callers at a time, through one engine.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use burn::tensor::Tensor;
use clinical_facade::TokenText;
use clinical_generate::{
    Cancel, EndTokens, Engine, EngineLoad, EngineOptions, Prefix, Request, StepModel, TextDecoder,
    TextStream, Ticket,
};
use clinical_llama::LlamaCache;
use clinical_nn::ModelError;

use crate::answer::Answer;
use crate::ask::Asked;
use crate::kept::KeptNotes;
use crate::options::AnswerOptions;
use crate::plan::Part;
use crate::prefix::goes_on;
use crate::prompt::Prompter;
use crate::run::{OnToken, Piece, Read, Reader, best};
use crate::{Asclepius, Result, Style};

/// Answers questions of many threads with one pass of the model for all of them ([`Engine`]): what a server stands on.
///
/// Each method blocks the thread that calls it until its answer is there, and is as its namesake of [`Asclepius`]: the
/// same answers, up to the rounding of the logits. Whoever waits ends a question by the flag or the deadline of its
/// options, at the next token. Notes that were read are kept within a budget of bytes, the last used longest, so that
/// the next question about one reads only itself; two callers with one note share what is kept.
///
/// ```
/// use std::sync::Arc;
/// use asclepius::{AnswerEngine, AnswerOptions, Asclepius, EngineOptions};
///
/// let model = Arc::new(Asclepius::embedded()?);
/// let engine = AnswerEngine::new(Arc::clone(&model), EngineOptions::new().with_slots(4), 64 << 20)?;
/// let (note, question) = ("Discharge Diagnosis: pneumonia", "What is the discharge diagnosis?");
/// let ask = || engine.answer_with(note, question, &AnswerOptions::default());
/// let answers: Vec<_> = std::thread::scope(|scope| {
///     let threads: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
///     threads.into_iter().map(|thread| thread.join().unwrap()).collect()
/// });
/// let alone = model.answer(note, question)?.text;
/// for answer in answers {
///     assert_eq!(answer?.text, alone);
/// }
/// # Ok::<(), asclepius::Error>(())
/// ```
pub struct AnswerEngine {
    model: Arc<Asclepius>,
    engine: Engine<Shared>,
    kept: KeptNotes,
}

impl AnswerEngine {
    /// Starts the thread of an engine for a model. Notes that were read are kept within `kept_bytes` of keys and values
    /// (0: none is); those of running answers have the budget of the options.
    ///
    /// # Errors
    ///
    /// [`Error::Generate`](crate::Error::Generate) if the system gives no thread.
    pub fn new(model: Arc<Asclepius>, options: EngineOptions, kept_bytes: u64) -> Result<Self> {
        let engine = Engine::new(Arc::new(Shared(Arc::clone(&model))), options)?;
        let kept = KeptNotes::new(kept_bytes);
        Ok(Self {
            model,
            engine,
            kept,
        })
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Arc<Asclepius> {
        &self.model
    }

    /// What runs and waits now.
    #[must_use]
    pub fn load(&self) -> EngineLoad {
        self.engine.load()
    }

    /// Notes that are kept, and the bytes of their keys and values.
    #[must_use]
    pub fn kept(&self) -> (usize, u64) {
        self.kept.size(self.model.model())
    }

    /// As [`Asclepius::answer_with`].
    ///
    /// # Errors
    ///
    /// As [`Asclepius::answer_with`], and what an [`Engine`] refuses.
    pub fn answer_with(
        &self,
        note: &str,
        question: &str,
        options: &AnswerOptions,
    ) -> Result<Answer> {
        self.answer_streaming(note, question, options, |_| ControlFlow::Continue(()))
    }

    /// As [`Asclepius::answer_streaming`]; the closure is called on the caller's thread.
    ///
    /// # Errors
    ///
    /// As [`answer_with`](Self::answer_with).
    pub fn answer_streaming(
        &self,
        note: &str,
        question: &str,
        options: &AnswerOptions,
        on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let asked = Asked::new(&self.model, note, question, options)?;
        asked.answer(&mut self.reader(note), on_piece)
    }

    /// As [`Asclepius::complete_streaming`]; the closure is called on the caller's thread.
    ///
    /// # Errors
    ///
    /// As [`answer_with`](Self::answer_with).
    pub fn complete_streaming(
        &self,
        text: &str,
        options: &AnswerOptions,
        on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let prompter = Prompter::with_style(&self.model, options, Style::Text)?;
        let asked = Asked::with(prompter, text, "")?;
        asked.answer(&mut self.reader(""), on_piece)
    }

    /// As [`Asclepius::chat_streaming`]; the closure is called on the caller's thread.
    ///
    /// # Errors
    ///
    /// As [`answer_with`](Self::answer_with), and [`Error::NoChatTemplate`](crate::Error::NoChatTemplate).
    pub fn chat_streaming(
        &self,
        messages: &[(&str, &str)],
        options: &AnswerOptions,
        on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        crate::chat::answer(
            &self.model,
            messages,
            options,
            &mut self.reader(""),
            on_piece,
        )
    }

    fn reader<'e>(&'e self, note: &'e str) -> ServedReader<'e> {
        ServedReader { engine: self, note }
    }
}

impl fmt::Debug for AnswerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerEngine")
            .field("engine", &self.engine)
            .field("kept", &self.kept())
            .finish_non_exhaustive()
    }
}

/// Prompts through the engine; the thread that asks waits.
struct ServedReader<'e> {
    engine: &'e AnswerEngine,
    /// Empty where nothing is to be kept.
    note: &'e str,
}

impl ServedReader<'_> {
    /// What of a prompt is read already, or is worth reading for prompts to come.
    fn prefix(
        &self,
        prompter: &Prompter<'_>,
        part: &Part,
        keep: bool,
    ) -> Result<Option<Arc<Prefix<LlamaCache>>>> {
        let model = &self.engine.model;
        let start = model.prompt_prefix(prompter, &[&part.ids])?;
        let start = start.filter(|prefix| goes_on(&part.ids, prefix.ids()));
        let note = self.note.get(part.range.clone()).unwrap_or_default();
        if !keep || note.is_empty() {
            return Ok(start);
        }
        let shared = prompter.note_ids(note)?;
        if !goes_on(&part.ids, &shared) {
            return Ok(start);
        }
        let kept = &self.engine.kept;
        kept.read(model.model(), &shared, start, prompter.options)
    }

    /// Puts a prompt into the engine; `pieces` gets the text of its sequences. Also says how many tokens are not read
    /// again.
    fn admit(
        &self,
        prompter: &Prompter<'_>,
        part: &Part,
        keep: bool,
        pieces: Option<Sender<(usize, String)>>,
    ) -> Result<(Ticket, usize)> {
        let model = &self.engine.model;
        let text = SharedText {
            tokens: TokenText::new(model.tokenizer()),
            before: match prompter.style {
                Style::Text => part.ids.clone(),
                _ => Vec::new(),
            },
        };
        let end = EndTokens::new(model.end_ids().iter().copied()).with_shared_text(Arc::new(text));
        let generation = prompter.options.generation();
        let mut request = Request::new(part.ids.as_slice(), generation).with_end(end);
        if let Some(pieces) = pieces {
            request = request.with_on_token(move |step| {
                let piece = (step.sequence, step.text.to_owned());
                match pieces.send(piece) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(Cancel::All),
                }
            });
        }
        let prefix = self.prefix(prompter, part, keep)?;
        let reused = prefix.as_ref().map_or(0, |prefix| prefix.ids().len());
        if let Some(prefix) = prefix {
            request = request.with_prefix(prefix);
        }
        Ok((self.engine.engine.admit(request)?, reused))
    }

    /// Whether notes of these prompts may all be kept: one that pushes the others out is read for nothing.
    fn keeps(&self, parts: &[&Part]) -> bool {
        let model = self.engine.model.model();
        let bytes = parts.iter().map(|part| model.cache_bytes(part.ids.len()));
        self.engine.kept.has_room(bytes.sum())
    }
}

impl Reader for ServedReader<'_> {
    fn read(
        &mut self,
        prompter: &Prompter<'_>,
        part: &Part,
        on_token: &mut OnToken<'_>,
    ) -> Result<Read> {
        let (pieces, came) = channel();
        let keep = self.keeps(&[part]);
        let (ticket, reused) = self.admit(prompter, part, keep, Some(pieces))?;
        // The other end is dropped with the request.
        for (sequence, text) in came {
            let text = text.as_str();
            if on_token(Piece { sequence, text }).is_break() {
                ticket.cancel();
                break;
            }
        }
        best(ticket.wait()?, reused)
    }

    fn read_all(
        &mut self,
        prompter: &Prompter<'_>,
        parts: &[&Part],
        on_done: &mut dyn FnMut(),
    ) -> Vec<Result<Read>> {
        let keep = self.keeps(parts);
        let admitted: Vec<Result<(Ticket, usize)>> = parts
            .iter()
            .map(|part| self.admit(prompter, part, keep, None))
            .collect();
        let wait = |admitted: Result<(Ticket, usize)>| {
            let (ticket, reused) = admitted?;
            let result = best(ticket.wait()?, reused);
            on_done();
            result
        };
        admitted.into_iter().map(wait).collect()
    }

    fn after_prefix<T>(
        &mut self,
        prompter: &Prompter<'_>,
        part: &Part,
        run: impl FnOnce(Option<&Prefix<LlamaCache>>) -> Result<T>,
    ) -> Result<T> {
        let keep = self.keeps(&[part]);
        run(self.prefix(prompter, part, keep)?.as_deref())
    }
}

/// The text of new tokens; one that goes on with the prompt has no seam.
struct SharedText {
    tokens: TokenText,
    before: Vec<u32>,
}

impl TextDecoder for SharedText {
    fn stream(&self, row: usize) -> Box<dyn TextStream> {
        let mut stream = self.tokens.stream(row);
        for &id in &self.before {
            stream.push(id);
        }
        stream
    }
}

/// The model of an engine, which shares it with its callers.
struct Shared(Arc<Asclepius>);

impl StepModel for Shared {
    type Cache = LlamaCache;

    fn vocabulary(&self) -> usize {
        self.0.model().vocabulary()
    }

    fn max_positions(&self) -> Option<usize> {
        self.0.model().max_positions()
    }

    fn prompt_counts(&self) -> bool {
        self.0.model().prompt_counts()
    }

    fn decoder_start(&self) -> Option<u32> {
        self.0.model().decoder_start()
    }

    fn prefill(
        &self,
        prompts: &[&[u32]],
        reserve: usize,
    ) -> Result<(LlamaCache, Tensor<2>), ModelError> {
        self.0.model().prefill(prompts, reserve)
    }

    fn step(&self, ids: &[u32], cache: &mut LlamaCache) -> Result<Tensor<2>, ModelError> {
        self.0.model().step(ids, cache)
    }

    fn select(&self, cache: &mut LlamaCache, rows: &[usize]) {
        self.0.model().select(cache, rows);
    }

    fn reorder(&self, cache: &mut LlamaCache, rows: &[usize], differing: usize) {
        self.0.model().reorder(cache, rows, differing);
    }

    fn extend(
        &self,
        tokens: &[&[u32]],
        last_only: bool,
        cache: &mut LlamaCache,
    ) -> Result<Tensor<3>, ModelError> {
        self.0.model().extend(tokens, last_only, cache)
    }

    fn prefill_after(
        &self,
        prefix: &LlamaCache,
        prompts: &[&[u32]],
        reserve: usize,
    ) -> Result<(LlamaCache, Tensor<2>), ModelError> {
        self.0.model().prefill_after(prefix, prompts, reserve)
    }

    fn can_share(&self) -> bool {
        self.0.model().can_share()
    }

    fn first_non_finite(&self, prompt: &[u32], new: &[u32]) -> Option<String> {
        self.0.model().first_non_finite(prompt, new)
    }

    fn can_merge(&self) -> bool {
        self.0.model().can_merge()
    }

    fn merge(&self, cache: &mut LlamaCache, other: LlamaCache) -> Result<(), ModelError> {
        self.0.model().merge(cache, other)
    }

    fn can_extend(&self) -> bool {
        self.0.model().can_extend()
    }

    fn check_cache(&self, cache: &LlamaCache) -> Result<(), ModelError> {
        self.0.model().check_cache(cache)
    }

    fn cache_bytes(&self, tokens: usize) -> u64 {
        self.0.model().cache_bytes(tokens)
    }

    fn copies_share(&self) -> bool {
        self.0.model().copies_share()
    }
}
