//! `/v1/chat/completions`, `/v1/completions`, `/v1/models`: as OpenAI's clients expect them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use asclepius::{Style, Usage};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answers::{Ask, Sampling, start};
use crate::app::{App, Context, Loaded};
use crate::choices::{Chunks, Head, Kind, choice, usage};
use crate::fields::Fields;
use crate::grammar;
use crate::reply::{ApiError, json_response};
use crate::server::body;

/// The tokens of a chat answer unless the client says: the length of the published evaluation.
const CHAT_TOKENS: usize = 400;

/// The tokens of a completion unless the client says: OpenAI's default.
const COMPLETION_TOKENS: usize = 16;

/// The most likely tokens that are told at each place of a chat answer, and of a completion: OpenAI's limits.
const TOP_CHAT: usize = 20;
const TOP_COMPLETION: usize = 5;

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
    let told = fields.take::<bool>("logprobs", "true or false")? == Some(true);
    let top = fields.count("top_logprobs", 0, TOP_CHAT)?.unwrap_or(0);
    if top > 0 && !told {
        let message = "`top_logprobs` needs `logprobs`: true";
        return Err(ApiError::param("top_logprobs", message));
    }
    sampling.tell(told.then_some(top));
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
    sampling.tell(fields.count("logprobs", 0, TOP_COMPLETION)?);
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

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
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
    /// Log-probabilities are told, and so many of the likeliest tokens at each place; or nothing is.
    fn tell(&mut self, top: Option<usize>) {
        self.log_probs = top.is_some();
        self.generation.top_log_probs = top.unwrap_or(0);
    }

    fn generation_of(&self, number: usize) -> asclepius::Generation {
        let seed = self.generation.seed.wrapping_add(number as u64);
        self.generation.clone().with_seed(seed)
    }
}
