//! From ids back to text, at once or token by token.

mod cleanup;
pub(crate) mod fast;
mod slow;

use std::sync::Arc;

use crate::backend::Backend;
use crate::error::Result;
use crate::inner::Inner;
use cleanup::CleanUp;
use fast::FastDecoder;
use slow::SlowDecoder;

/// Turns ids into text as they are generated.
///
/// The parts never split a character, and they concatenate exactly to [`Tokenizer::decode`](crate::Tokenizer::decode)
/// of all ids, whatever the ids are. The cost of all steps together is linear in their number: nothing is decoded
/// twice.
///
/// Text is held back only as long as the rest of it is open: bytes that are not a whole character yet, blanks that may
/// have to go at the end, and with `skip_special = false` on a legacy LLaMA or T5 tokenizer everything since the last
/// special token (those decoders put a blank *before* the text when a special token follows).
#[derive(Debug, Clone)]
pub struct DecodeStream {
    tokenizer: Arc<Inner>,
    state: State,
    clean_up: Option<CleanUp>,
}

#[derive(Debug, Clone)]
enum State {
    Slow(SlowDecoder),
    Fast {
        decoder: FastDecoder,
        skip: bool,
    },
    /// A decoder whose text cannot be known before the end.
    Whole {
        ids: Vec<u32>,
        skip: bool,
    },
}

impl DecodeStream {
    pub(crate) fn new(tokenizer: Arc<Inner>, skip: bool) -> Self {
        let state = match &tokenizer.backend {
            Backend::Engine(engine) => match engine.steps() {
                Some(steps) => State::Fast {
                    decoder: FastDecoder::new(steps),
                    skip,
                },
                None => State::Whole {
                    ids: Vec::new(),
                    skip,
                },
            },
            _ => State::Slow(SlowDecoder::new(skip)),
        };
        let clean_up = tokenizer.clean_up.then(CleanUp::default);
        Self {
            tokenizer,
            state,
            clean_up,
        }
    }

    /// Adds an id and returns the text that is certain now, if there is any. An id without a token adds nothing.
    ///
    /// # Errors
    ///
    /// None today; the `Result` leaves room for decoders that can fail.
    pub fn push(&mut self, id: u32) -> Result<Option<String>> {
        let mut out = String::new();
        self.step(id, &mut out);
        Ok(self.cleaned(out))
    }

    /// Ends the text and returns the rest of it, if there is any. The stream can then be used for a new text.
    pub fn finish(&mut self) -> Option<String> {
        self.try_finish().unwrap_or_default()
    }

    /// [`DecodeStream::finish`] that tells when the engine failed, which only decoders that need all ids at once can.
    pub(crate) fn try_finish(&mut self) -> Result<Option<String>> {
        let tokenizer = Arc::clone(&self.tokenizer);
        let skip = match &self.state {
            State::Slow(decoder) => decoder.skips(),
            State::Fast { skip, .. } | State::Whole { skip, .. } => *skip,
        };
        let mut done = std::mem::replace(self, Self::new(tokenizer, skip));
        let mut out = String::new();
        match (&mut done.state, &self.tokenizer.backend) {
            (State::Slow(decoder), backend) => {
                if let Some(slow) = backend.slow() {
                    decoder.finish(slow, &mut out);
                }
            }
            (State::Fast { decoder, .. }, Backend::Engine(engine)) => {
                decoder.finish(engine.steps().unwrap_or_default(), &mut out)
            }
            // The engine's own decoders may break down on nothing at all.
            (State::Whole { ids, .. }, Backend::Engine(engine)) if !ids.is_empty() => {
                out = engine.decode_whole(ids, skip)?
            }
            _ => {}
        }
        let mut text = done.cleaned(out).unwrap_or_default();
        if let Some(mut clean_up) = done.clean_up.take() {
            clean_up.finish(&mut text);
        }
        Ok((!text.is_empty()).then_some(text))
    }

    fn step(&mut self, id: u32, out: &mut String) {
        match (&mut self.state, &self.tokenizer.backend) {
            (State::Slow(decoder), backend) => {
                if let Some(slow) = backend.slow() {
                    decoder.push(slow, id, out);
                }
            }
            (State::Fast { decoder, skip }, Backend::Engine(engine)) => {
                let Some(steps) = engine.steps() else { return };
                let skipped = *skip && engine.is_special_id(id);
                if let Some(token) = engine.id_to_token(id).filter(|_| !skipped) {
                    decoder.push(steps, &token, out);
                }
            }
            (State::Whole { ids, .. }, _) => ids.push(id),
            _ => {}
        }
    }

    fn cleaned(&mut self, text: String) -> Option<String> {
        let text = match &mut self.clean_up {
            Some(clean_up) => {
                let mut out = String::new();
                clean_up.push(&text, &mut out);
                out
            }
            None => text,
        };
        (!text.is_empty()).then_some(text)
    }
}
