//! `/v1/chat/completions`, `/v1/completions`, `/v1/models`: as OpenAI's clients expect them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use asclepius::{Answer, StopReason, Style, Usage};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::response::sse::Event;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answers::{Ask, Message, Sampling, event, start};
use crate::app::{App, Context, Loaded};
use crate::fields::Fields;
use crate::grammar;
use crate::reply::{ApiError, json_response};
use crate::server::body;

/// The tokens of a chat answer unless the client says: the length of the published evaluation.
const CHAT_TOKENS: usize = 400;

/// The tokens of a completion unless the client says: OpenAI's default.
const COMPLETION_TOKENS: usize = 16;

/// What says something about a request, and changes nothing about its answer.
const SILENT: [&str; 7] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "parallel_tool_calls",
];

/// `/v1/models`.
pub(crate) async fn models(State(app): State<Arc<App>>) -> Result<Response<Body>, ApiError> {
    let loaded = app.loaded()?;
    let mut names = vec![loaded.name.as_str()];
    if let Some((name, _)) = &loaded.embedder
        && *name != loaded.name
    {
        names.push(name);
    }
    let models = names.into_iter().map(
        |name| json!({"id": name, "object": "model", "created": 0, "owned_by": "clinical-serve"}),
    );
    Ok(json_response(
        &json!({"object": "list", "data": models.collect::<Vec<_>>()}),
    ))
}

/// `/v1/chat/completions`.
pub(crate) async fn chat(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let (context, bytes) = body(&app, request).await?;
    let loaded = Arc::clone(app.loaded()?);
    let mut fields = Fields::parse(&bytes)?;
    check_model(&mut fields, &loaded.name)?;
    let ask = conversation(&mut fields, &loaded)?;
    let mut sampling = Sampling::take(&mut fields, &app.options.limits, CHAT_TOKENS)?;
    sampling.log_probs = fields
        .take("logprobs", "true or false")?
        .unwrap_or_default();
    let zero = |value: &Value| value.as_u64() == Some(0);
    let reason = "of each token its own log-probability is told (`logprobs`), not those of others";
    fields.only("top_logprobs", zero, reason)?;
    if let Some(format) = fields.take::<Value>("response_format", "an object")?
        && let Some(constraint) = grammar::of_format(&loaded, format)?
    {
        sampling.generation = sampling.generation.with_constraint(constraint);
    }
    let none = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    fields.only("tools", none, "this server calls no functions")?;
    fields.only(
        "tool_choice",
        |value| value == "none",
        "this server calls no functions",
    )?;
    let text = |value: &Value| value.as_array().is_some_and(|all| all == &[json!("text")]);
    fields.only("modalities", text, "answers are text")?;
    answer(
        app,
        loaded,
        context,
        fields,
        sampling,
        vec![ask],
        Kind::Chat,
    )
    .await
}

/// `/v1/completions`.
pub(crate) async fn complete(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let (context, bytes) = body(&app, request).await?;
    let loaded = Arc::clone(app.loaded()?);
    let mut fields = Fields::parse(&bytes)?;
    check_model(&mut fields, &loaded.name)?;
    let limits = &app.options.limits;
    let texts = fields.strings("prompt")?.unwrap_or_default();
    if texts.is_empty() || texts.len() > limits.items {
        let message = format!(
            "`prompt` must be a text or 1 to {} texts (the server's limit `items`)",
            limits.items
        );
        return Err(ApiError::param("prompt", message));
    }
    let mut sampling = Sampling::take(&mut fields, limits, COMPLETION_TOKENS)?;
    let reason = "give 0 for the log-probability of each token that was chosen";
    sampling.log_probs = fields.has("logprobs");
    fields.only("logprobs", |value| value.as_u64() == Some(0), reason)?;
    let is_false = |value: &Value| value == &Value::Bool(false);
    fields.only("echo", is_false, "join the prompt and the answer yourself")?;
    fields.only("suffix", |value| value == "", "a model only goes on")?;
    fields.only("best_of", |value| value.as_u64() == Some(1), "use `n`")?;
    let asks = texts.into_iter().map(|text| Ask::Text(text.into()));
    let asks = asks.collect();
    answer(app, loaded, context, fields, sampling, asks, Kind::Text).await
}

/// Refuses another model than the one that is served.
pub(crate) fn check_model(fields: &mut Fields, name: &str) -> Result<(), ApiError> {
    match fields.take::<String>("model", "the name of a model")? {
        Some(asked) if asked != name => {
            let message = format!("this server has the model `{name}`, not the one asked for");
            Err(ApiError::not_found("model_not_found", message).of("model"))
        }
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
struct ChatMessage {
    role: String,
    content: Content,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

/// The messages: for a model with a chat template as they are, else a note and a question about it.
fn conversation(fields: &mut Fields, loaded: &Loaded) -> Result<Ask, ApiError> {
    let what = "a list of messages with `role` and `content`, a text";
    let wrong = || ApiError::param("messages", format!("`messages` must be {what}"));
    let mut messages: Vec<(String, String)> = Vec::new();
    for message in fields.need::<Vec<ChatMessage>>("messages", what)? {
        let text = match message.content {
            Content::Text(text) => text,
            Content::Parts(parts) => {
                let texts = parts.into_iter().map(|part| match part.kind.as_str() {
                    "text" => part.text.ok_or_else(wrong),
                    _ => Err(ApiError::param(
                        "messages",
                        "parts of a message must be of the type `text`",
                    )),
                });
                texts.collect::<Result<Vec<_>, _>>()?.join("\n")
            }
        };
        let role = match message.role.as_str() {
            "developer" => "system",
            role @ ("system" | "user" | "assistant") => role,
            _ => {
                let message = "the `role` of a message must be `system`, `user` or `assistant`";
                return Err(ApiError::param("messages", message));
            }
        };
        messages.push((role.to_owned(), text));
    }
    if messages.is_empty() {
        return Err(wrong());
    }
    if loaded.model().style() == Style::Chat {
        return Ok(Ask::Chat(messages.into()));
    }
    let mut messages = messages.into_iter();
    match (messages.next(), messages.next(), messages.next()) {
        (Some((first, note)), Some((second, question)), None)
            if first != "assistant" && second == "user" =>
        {
            let note = note.into();
            Ok(Ask::Note { note, question })
        }
        _ => Err(ApiError::param(
            "messages",
            "this model has no chat template: send two messages, the note (of `system` or `user`) and the question (of \
             `user`), or use /v1/ask",
        )),
    }
}

/// Which of the two calls it is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
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

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// What all chunks of an answer, and the answer, have.
struct Head {
    id: String,
    created: u64,
    model: String,
    kind: Kind,
}

impl Head {
    fn value(&self, is_chunk: bool, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id, "object": self.kind.object(is_chunk), "created": self.created, "model": self.model,
            "system_fingerprint": concat!("clinical-serve-", env!("CARGO_PKG_VERSION")), "choices": choices,
        })
    }
}

async fn answer(
    app: Arc<App>,
    loaded: Arc<Loaded>,
    context: Context,
    mut fields: Fields,
    sampling: Sampling,
    asks: Vec<Ask>,
    kind: Kind,
) -> Result<Response<Body>, ApiError> {
    let streams = fields
        .take::<bool>("stream", "true or false")?
        .unwrap_or_default();
    let what = "an object with `include_usage`";
    let stream: Option<StreamOptions> = fields.take("stream_options", what)?;
    let with_usage = stream.unwrap_or_default().include_usage;
    fields.ignore(&SILENT);
    fields.finish()?;
    let prompts = asks.len();
    if prompts.saturating_mul(sampling.n) > app.options.limits.items {
        let limit = app.options.limits.items;
        let message = format!("more than {limit} choices (the server's limit `items`)");
        return Err(ApiError::param("n", message));
    }
    let different = sampling.different();
    let mut all = Vec::new();
    for ask in asks {
        for number in 0..different {
            let ask = match &ask {
                Ask::Note { note, question } => Ask::Note {
                    note: Arc::clone(note),
                    question: question.clone(),
                },
                Ask::Chat(messages) => Ask::Chat(Arc::clone(messages)),
                Ask::Text(text) => Ask::Text(Arc::clone(text)),
            };
            all.push((
                ask,
                sampling.options(number),
                sampling.generation_of(number),
            ));
        }
    }
    let created = SystemTime::now().duration_since(UNIX_EPOCH);
    let head = Head {
        id: match kind {
            Kind::Chat => format!("chatcmpl-{}", context.id),
            Kind::Text => format!("cmpl-{}", context.id),
        },
        created: created.map_or(0, |now| now.as_secs()),
        model: loaded.name.clone(),
        kind,
    };
    let events = start(&app, &loaded, &context, all)?;
    // Choices that are alike are computed once.
    let copies = sampling.n / different;
    let log_probs = sampling.log_probs;
    if streams {
        let mut chunks = Chunks {
            head,
            copies,
            log_probs,
            with_usage,
            begun: vec![false; prompts * sampling.n],
            usages: vec![Usage::default(); prompts * different],
            different,
        };
        return events.stream(move |message| chunks.of(message)).await;
    }
    let mut choices = Vec::new();
    let mut usages = Vec::new();
    for answer in events.all().await {
        let answer = answer?;
        for _ in 0..copies {
            choices.push(choice(kind, choices.len(), &answer, log_probs));
        }
        usages.push(answer.usage);
    }
    let mut value = head.value(false, choices);
    value["usage"] = usage(&usages, different);
    Ok(json_response(&value))
}

impl Sampling {
    fn generation_of(&self, number: usize) -> asclepius::Generation {
        let seed = self.generation.seed.wrapping_add(number as u64);
        self.generation.clone().with_seed(seed)
    }
}

/// A whole choice.
fn choice(kind: Kind, index: usize, answer: &Answer, log_probs: bool) -> Value {
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
        json!({
            "token": token.text, "logprob": token.log_prob, "bytes": token.text.as_bytes(), "top_logprobs": [],
        })
    });
    json!({"content": tokens.collect::<Vec<_>>(), "refusal": null})
}

fn text_log_probs(answer: &Answer) -> Value {
    let tokens = &answer.tokens;
    // OpenAI counts characters.
    let offset = |at: usize| answer.text.get(..at).map_or(0, |text| text.chars().count());
    json!({
        "tokens": tokens.iter().map(|token| token.text.as_str()).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|token| token.log_prob).collect::<Vec<_>>(),
        "text_offset": tokens.iter().map(|token| offset(token.range.start)).collect::<Vec<_>>(),
        "top_logprobs": null,
    })
}

/// The tokens of some answers; the prompt of several choices counts once.
fn usage(usages: &[Usage], different: usize) -> Value {
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
struct Chunks {
    head: Head,
    copies: usize,
    log_probs: bool,
    with_usage: bool,
    /// Choices whose first chunk was sent.
    begun: Vec<bool>,
    usages: Vec<Usage>,
    different: usize,
}

impl Chunks {
    fn of(&mut self, message: Option<Message>) -> Vec<Event> {
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
