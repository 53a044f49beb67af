//! Choices, whole and in chunks, as OpenAI's clients expect them.

use asclepius::{Answer, LikelyToken, StopReason, Token, Usage};
use axum::response::sse::Event;
use serde_json::{Map, Value, json};

use crate::answers::{Message, event};

/// Which of the two calls it is.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Chat,
    Text,
}

impl Kind {
    fn object(self, is_chunk: bool) -> &'static str {
        match (self, is_chunk) {
            (Self::Chat, false) => "chat.completion",
            (Self::Chat, true) => "chat.completion.chunk",
            (Self::Text, _) => "text_completion",
        }
    }
}

/// What all chunks of an answer, and the answer, have.
pub(crate) struct Head {
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) model: String,
    pub(crate) kind: Kind,
}

impl Head {
    pub(crate) fn value(&self, is_chunk: bool, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id, "object": self.kind.object(is_chunk), "created": self.created, "model": self.model,
            "system_fingerprint": concat!("clinical-serve-", env!("CARGO_PKG_VERSION")), "choices": choices,
        })
    }
}

/// A whole choice.
pub(crate) fn choice(kind: Kind, index: usize, answer: &Answer, log_probs: bool) -> Value {
    let finish = finish_reason(answer.stop);
    match kind {
        Kind::Chat => json!({
            "index": index, "finish_reason": finish,
            "message": {"role": "assistant", "content": answer.text, "refusal": null},
            "logprobs": log_probs.then(|| chat_log_probs(answer)),
        }),
        Kind::Text => json!({
            "index": index, "finish_reason": finish, "text": answer.text,
            "logprobs": log_probs.then(|| text_log_probs(answer)),
        }),
    }
}

fn finish_reason(stop: StopReason) -> &'static str {
    if stop.is_complete() { "stop" } else { "length" }
}

fn chat_log_probs(answer: &Answer) -> Value {
    let tokens = answer.tokens.iter().map(|token| {
        let top = token.top.iter().map(|likely| {
            let (text, is_text) = label(token, likely);
            let bytes = is_text.then_some(text.as_bytes());
            json!({"token": text, "logprob": likely.log_prob, "bytes": bytes})
        });
        json!({
            "token": token.text, "logprob": token.log_prob, "bytes": token.text.as_bytes(),
            "top_logprobs": top.collect::<Vec<_>>(),
        })
    });
    json!({"content": tokens.collect::<Vec<_>>(), "refusal": null})
}

/// What stands for a likely token at the place of a chosen one, and whether that is the text it writes: one that writes
/// nothing by itself has its name in the vocabulary instead. The chosen one is called as among the tokens.
fn label<'a>(chosen: &'a Token, likely: &'a LikelyToken) -> (&'a str, bool) {
    if likely.id == chosen.id {
        (&chosen.text, true)
    } else if likely.text.is_empty() {
        (&likely.name, false)
    } else {
        (&likely.text, true)
    }
}

fn text_log_probs(answer: &Answer) -> Value {
    let tokens = &answer.tokens;
    // OpenAI counts characters.
    let offset = |at: usize| answer.text.get(..at).map_or(0, |text| text.chars().count());
    let top = tokens.iter().map(|token| {
        let likely = token.top.iter();
        let mut all: Map<String, Value> = Map::new();
        for (text, log_prob) in likely
            .map(|likely| (label(token, likely).0, likely.log_prob))
            // The chosen one is always there.
            .chain([(token.text.as_str(), token.log_prob)])
        {
            // Of two that write the same, the likelier.
            all.entry(text).or_insert_with(|| json!(log_prob));
        }
        Value::Object(all)
    });
    let has_top = tokens.iter().any(|token| !token.top.is_empty());
    json!({
        "tokens": tokens.iter().map(|token| token.text.as_str()).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|token| token.log_prob).collect::<Vec<_>>(),
        "text_offset": tokens.iter().map(|token| offset(token.range.start)).collect::<Vec<_>>(),
        "top_logprobs": has_top.then(|| top.collect::<Vec<_>>()),
    })
}

/// The tokens of some answers; the prompt of several choices counts once.
pub(crate) fn usage(usages: &[Usage], different: usize) -> Value {
    let (mut prompt, mut reused, mut new) = (0, 0, 0);
    for (number, usage) in usages.iter().enumerate() {
        if number % different.max(1) == 0 {
            prompt += usage.prompt_tokens;
            reused += usage.reused_tokens;
        }
        new += usage.new_tokens;
    }
    json!({
        "prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new,
        "prompt_tokens_details": {"cached_tokens": reused},
    })
}

/// Makes chunks of what comes.
pub(crate) struct Chunks {
    pub(crate) head: Head,
    pub(crate) copies: usize,
    pub(crate) log_probs: bool,
    pub(crate) with_usage: bool,
    /// Choices whose first chunk was sent.
    pub(crate) begun: Vec<bool>,
    pub(crate) usages: Vec<Usage>,
    pub(crate) different: usize,
}

impl Chunks {
    pub(crate) fn of(&mut self, message: Option<Message>) -> Vec<Event> {
        match message {
            Some(Message::Piece { at, text }) => {
                self.each(at, |chunks, index| chunks.piece(index, &text))
            }
            Some(Message::Answer { at, answer }) => {
                if let Some(usage) = self.usages.get_mut(at) {
                    *usage = answer.usage;
                }
                self.each(at, |chunks, index| chunks.last(index, &answer))
            }
            Some(Message::Failed { error, .. }) => vec![event(&error.to_json())],
            None => {
                let mut events = Vec::new();
                if self.with_usage {
                    let mut value = self.head.value(true, Vec::new());
                    value["usage"] = usage(&self.usages, self.different);
                    events.push(event(&value));
                }
                events.push(Event::default().data("[DONE]"));
                events
            }
        }
    }

    /// The chunks of all choices that an answer is for.
    fn each(&mut self, at: usize, make: impl Fn(&mut Self, usize) -> Vec<Value>) -> Vec<Event> {
        let mut events = Vec::new();
        for index in at * self.copies..(at + 1) * self.copies {
            for choice in make(self, index) {
                let mut value = self.head.value(true, vec![choice]);
                if self.with_usage {
                    value["usage"] = Value::Null;
                }
                events.push(event(&value));
            }
        }
        events
    }

    fn piece(&mut self, index: usize, text: &str) -> Vec<Value> {
        let first = self
            .begun
            .get_mut(index)
            .is_some_and(|begun| !std::mem::replace(begun, true));
        match self.head.kind {
            Kind::Chat => {
                let mut choices = Vec::new();
                if first {
                    let delta = json!({"role": "assistant", "content": ""});
                    choices.push(json!({"index": index, "delta": delta, "finish_reason": null}));
                }
                if !text.is_empty() {
                    let delta = json!({"content": text});
                    choices.push(json!({"index": index, "delta": delta, "finish_reason": null}));
                }
                choices
            }
            Kind::Text if text.is_empty() => Vec::new(),
            Kind::Text => {
                vec![json!({"index": index, "text": text, "finish_reason": null, "logprobs": null})]
            }
        }
    }

    /// The last chunk of a choice, with the log-probabilities of all its tokens.
    fn last(&mut self, index: usize, answer: &Answer) -> Vec<Value> {
        // An answer without text has had no piece.
        let mut choices = self.piece(index, "");
        let finish = finish_reason(answer.stop);
        choices.push(match self.head.kind {
            Kind::Chat => json!({
                "index": index, "delta": {}, "finish_reason": finish,
                "logprobs": self.log_probs.then(|| chat_log_probs(answer)),
            }),
            Kind::Text => json!({
                "index": index, "text": "", "finish_reason": finish,
                "logprobs": self.log_probs.then(|| text_log_probs(answer)),
            }),
        });
        choices
    }
}
