//! `/v1/ask` and `/v1/extract`: questions about a note, or about each document of a FHIR bundle.

use std::sync::Arc;

use asclepius::{Answer, AnswerOptions, FindEvidence, Generation};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use serde_json::{Value, json};

use crate::answers::{Ask, Message, Sampling, event, note_options, start};
use crate::app::{App, Context, Loaded};
use crate::fhir::{self, Document};
use crate::fields::Fields;
use crate::grammar;
use crate::openai::check_model;
use crate::reply::{ApiError, json_response};
use crate::server::body;

/// The tokens of an answer unless the client says: the length of the published evaluation.
const TOKENS: usize = 400;

/// What is to be read.
enum Texts {
    Note(Arc<str>),
    Documents(Vec<Document>),
}

impl Texts {
    fn take(fields: &mut Fields, limit: usize) -> Result<Self, ApiError> {
        let note: Option<String> = fields.take("note", "a text")?;
        let fhir: Option<Value> = fields.take("fhir", "a DocumentReference or a Bundle")?;
        match (note, fhir) {
            (Some(note), None) => Ok(Self::Note(note.into())),
            (None, Some(resource)) => {
                let documents = fhir::documents(&resource, limit)
                    .map_err(|error| ApiError::param("fhir", error.to_string()))?;
                Ok(Self::Documents(documents))
            }
            _ => Err(ApiError::param("note", "give `note`, or `fhir`")),
        }
    }

    fn all(&self) -> Vec<Arc<str>> {
        match self {
            Self::Note(note) => vec![Arc::clone(note)],
            Self::Documents(documents) => documents
                .iter()
                .map(|document| Arc::clone(&document.text))
                .collect(),
        }
    }
}

/// `/v1/ask`.
pub(crate) async fn ask(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let (context, bytes) = body(&app, request).await?;
    let loaded = Arc::clone(app.loaded()?);
    let limits = &app.options.limits;
    let mut fields = Fields::parse(&bytes)?;
    drop(bytes);
    check_model(&mut fields, &loaded.name)?;
    let texts = Texts::take(&mut fields, limits.items)?;
    let mut questions = fields.strings("questions")?.unwrap_or_default();
    if let Some(question) = fields.take::<String>("question", "a text")? {
        questions.push(question);
    }
    let notes = texts.all();
    let count = notes.len().saturating_mul(questions.len());
    if questions.is_empty() || count > limits.items {
        let message = format!(
            "`questions` must be 1 to {} texts, over all documents (the server's limit `items`)",
            limits.items
        );
        return Err(ApiError::param("questions", message));
    }
    let sampling = Sampling::take(&mut fields, limits, TOKENS)?;
    if sampling.n != 1 {
        return Err(ApiError::param("n", "ask the question several times"));
    }
    let options = note_options(&mut fields, sampling.options(0))?;
    let options = options
        .with_evidence(evidence(&mut fields)?)
        .with_calibration(loaded.calibration.clone());
    let streams = fields
        .take::<bool>("stream", "true or false")?
        .unwrap_or_default();
    fields.finish()?;
    let mut asks = Vec::new();
    for note in &notes {
        for question in &questions {
            let ask = Ask::Note {
                note: Arc::clone(note),
                question: question.clone(),
            };
            asks.push((ask, options.clone(), sampling.generation.clone()));
        }
    }
    let events = start(&app, &loaded, &context, asks)?;
    let each = questions.len();
    if streams {
        let id = context.id.clone();
        let mut opening = Some(opening(&id, &loaded, &texts));
        return events
            .stream(move |message| {
                let value = match message {
                    Some(Message::Piece { at, text }) => {
                        json!({"type": "piece", "document": at / each, "question": at % each, "text": text})
                    }
                    Some(Message::Answer { at, answer }) => {
                        json!({"type": "answer", "document": at / each, "question": at % each, "answer": *answer})
                    }
                    Some(Message::Failed { at, error }) => {
                        let error = &error.to_json()["error"];
                        json!({"type": "error", "document": at / each, "question": at % each, "error": error})
                    }
                    None => json!({"type": "end"}),
                };
                let first = opening.take().map(|value| event(&value));
                first.into_iter().chain([event(&value)]).collect()
            })
            .await;
    }
    let mut answers = Vec::new();
    let mut failed = None;
    for (at, answer) in events.all().await.into_iter().enumerate() {
        let question = questions.get(at % each);
        answers.push(match answer {
            Ok(answer) => json!({"question": question, "answer": answer}),
            Err(error) => {
                let value = json!({"question": question, "error": &error.to_json()["error"]});
                failed = Some(error);
                value
            }
        });
    }
    // Where nothing was answered the request as a whole failed.
    if let Some(error) = failed
        && answers.iter().all(|answer| answer.get("answer").is_none())
    {
        return Err(error);
    }
    let mut value = opening(&context.id, &loaded, &texts);
    match &texts {
        Texts::Note(_) => value["answers"] = answers.into(),
        Texts::Documents(_) => {
            for (document, answers) in answers.chunks(each).enumerate() {
                value["documents"][document]["answers"] = answers.into();
            }
        }
    }
    Ok(json_response(&value))
}

/// What an answer starts with; for documents their texts, to which ranges refer.
fn opening(id: &str, loaded: &Loaded, texts: &Texts) -> Value {
    let mut value = json!({"type": "answers", "id": id, "model": loaded.name});
    if let Texts::Documents(documents) = texts {
        let documents = documents
            .iter()
            .map(|document| json!({"id": document.id, "note": &*document.text}));
        value["documents"] = documents.collect();
    }
    value
}

/// What is looked for: nothing, quotes, or the passages that the model used, too.
fn evidence(fields: &mut Fields) -> Result<FindEvidence, ApiError> {
    let what = "true, false or `quotes`";
    match fields.take::<Value>("evidence", what)? {
        None | Some(Value::Bool(false)) => Ok(FindEvidence::Nothing),
        Some(Value::Bool(true)) => Ok(FindEvidence::QuotesAndUse),
        Some(value) if value == "quotes" => Ok(FindEvidence::Quotes),
        Some(_) => Err(ApiError::param(
            "evidence",
            format!("`evidence` must be {what}"),
        )),
    }
}

/// `/v1/extract`.
pub(crate) async fn extract(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let (context, bytes) = body(&app, request).await?;
    let loaded = Arc::clone(app.loaded()?);
    let limits = &app.options.limits;
    let mut fields = Fields::parse(&bytes)?;
    check_model(&mut fields, &loaded.name)?;
    let note: String = fields.need("note", "a text")?;
    let instruction = fields.take::<String>("instruction", "a text")?;
    let instruction = match instruction {
        Some(instruction) => instruction,
        None => fields.need("question", "a text")?,
    };
    let schema: Value = fields.need("schema", "a JSON schema")?;
    let mut sampling = Sampling::take(&mut fields, limits, TOKENS)?;
    if sampling.n != 1 {
        return Err(ApiError::param("n", "ask several times"));
    }
    let constraint = grammar::of_schema(&loaded, &schema, "schema")?;
    sampling.generation = sampling.generation.with_constraint(constraint);
    let options = note_options(&mut fields, sampling.options(0))?;
    fields.finish()?;
    let ask = Ask::Note {
        note: note.into(),
        question: instruction,
    };
    let answer = one(&app, &loaded, &context, ask, options, sampling.generation).await?;
    // A text that was cut off is no value.
    let value: Option<Value> = serde_json::from_str(answer.text.trim()).ok();
    Ok(json_response(&json!({
        "type": "extract", "id": context.id, "model": loaded.name,
        "complete": value.is_some(), "value": value, "answer": answer,
    })))
}

async fn one(
    app: &Arc<App>,
    loaded: &Arc<Loaded>,
    context: &Context,
    ask: Ask,
    options: AnswerOptions,
    generation: Generation,
) -> Result<Answer, ApiError> {
    let events = start(app, loaded, context, vec![(ask, options, generation)])?;
    let mut answers = events.all().await;
    answers.pop().unwrap_or_else(|| Err(crate::app::lost()))
}
