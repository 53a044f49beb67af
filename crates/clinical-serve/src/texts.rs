//! `/v1/embeddings`, `/v1/tag`, `/v1/deid`: what is done with a text without a question.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clinical_bert::{Aggregation, ClinicalBert, EmbedOptions, TagOptions};
use clinical_deid::{Normalizer, UnknownTag};
use serde_json::{Value, json};

use crate::app::App;
use crate::fields::Fields;
use crate::openai::check_model;
use crate::reply::{ApiError, json_response};
use crate::server::body;

/// Bytes of a text that are taken for one token until it is read.
const BYTES: u64 = 4;

/// `/v1/embeddings`.
pub(crate) async fn embed(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let (context, bytes) = body(&app, request).await?;
    let loaded = app.loaded()?;
    let Some((name, embedder)) = loaded.embedder.clone() else {
        let message = "this server has no model for vectors: start it with one";
        return Err(ApiError::not_found("no_embeddings", message));
    };
    let mut fields = Fields::parse(&bytes)?;
    check_model(&mut fields, &name)?;
    let texts = fields.strings("input")?.unwrap_or_default();
    let limit = app.options.limits.items;
    if texts.is_empty() || texts.len() > limit {
        let message = format!(
            "`input` must be a text or 1 to {limit} texts (the server's limit `items`); token ids are not taken"
        );
        return Err(ApiError::param("input", message));
    }
    let what = "`float` or `base64`";
    let format: Option<String> = fields.take("encoding_format", what)?;
    let is_base64 = match format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => {
            let message = format!("`encoding_format` must be {what}");
            return Err(ApiError::param("encoding_format", message));
        }
    };
    let width = "vectors have the width of the model";
    fields.only("dimensions", |_| false, width)?;
    fields.ignore(&["user"]);
    fields.finish()?;
    let cost = texts.iter().map(|text| text.len() as u64).sum::<u64>() / BYTES;
    let guard = app.guard();
    let flag = guard.flag();
    let work = move || {
        let options = EmbedOptions::default().with_cancel(flag);
        let vectors = embedder.embed_with(&texts, &options).into_iter();
        let vectors = vectors.collect::<Result<Vec<_>, _>>()?;
        for vector in &vectors {
            // Others have answered with zeros, and nobody noticed.
            let is_good = vector.iter().all(|x| x.is_finite()) && vector.iter().any(|x| *x != 0.0);
            if !is_good {
                let message = "the model gave a vector that is zero or not finite";
                return Err(ApiError::internal(message));
            }
        }
        let count = |text: &String| embedder.tokenizer().count(text).unwrap_or_default();
        let tokens: usize = texts.iter().map(count).sum();
        Ok((vectors, tokens))
    };
    let (vectors, tokens) = app.compute(cost, work).await?;
    drop(guard);
    let usage = &context.counts.prompt_tokens;
    usage.fetch_add(tokens as u64, std::sync::atomic::Ordering::Relaxed);
    let data = vectors.into_iter().enumerate().map(|(index, vector)| {
        let value = match is_base64 {
            false => json!(vector),
            true => {
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            }
        };
        json!({"object": "embedding", "index": index, "embedding": value})
    });
    Ok(json_response(&json!({
        "object": "list", "model": name, "data": data.collect::<Vec<_>>(),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    })))
}

/// `/v1/tag`.
pub(crate) async fn tag(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let (context, bytes) = body(&app, request).await?;
    let Some(tagger) = app.loaded()?.tagger.clone() else {
        let message = "this server has no model that tags: start it with one";
        return Err(ApiError::not_found("no_tagger", message));
    };
    let mut fields = Fields::parse(&bytes)?;
    let note: String = fields.need("note", "a text")?;
    let what = "`none`, `simple`, `first`, `average` or `max`";
    let aggregation = match fields.take::<String>("aggregation", what)? {
        None => Aggregation::First,
        Some(name) => name
            .parse()
            .map_err(|_| ApiError::param("aggregation", format!("`aggregation` must be {what}")))?,
    };
    fields.finish()?;
    let cost = note.len() as u64 / BYTES;
    let guard = app.guard();
    let flag = guard.flag();
    let work = move || {
        let options = TagOptions::default()
            .with_aggregation(aggregation)
            .with_cancel(flag);
        let mut all = ClinicalBert::tag_with(&tagger, &[&note], &options);
        match all.pop() {
            Some(spans) => Ok(spans?),
            None => Err(crate::app::lost()),
        }
    };
    let spans = app.compute(cost, work).await?;
    drop(guard);
    Ok(json_response(
        &json!({"type": "tag", "id": context.id, "spans": spans}),
    ))
}

/// `/v1/deid`.
pub(crate) async fn deid(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let (context, bytes) = body(&app, request).await?;
    // It needs no model, and is refused while the server stops.
    let mut fields = Fields::parse(&bytes)?;
    let note: String = fields.need("note", "a text")?;
    let what = "`mimic-iii` or `mimic-iv`";
    let kind: Option<String> = fields.take("kind", what)?;
    let normalizer = match kind.as_deref() {
        None | Some("mimic-iii") => Normalizer::mimic_iii(),
        Some("mimic-iv") => Normalizer::mimic_iv(),
        Some(_) => return Err(ApiError::param("kind", format!("`kind` must be {what}"))),
    };
    let what = "`error`, `keep` or `misc`";
    let unknown: Option<String> = fields.take("unknown", what)?;
    let unknown = match unknown.as_deref() {
        None | Some("error") => UnknownTag::Error,
        Some("keep") => UnknownTag::Keep,
        Some("misc") => UnknownTag::Misc,
        Some(_) => {
            let message = format!("`unknown` must be {what}");
            return Err(ApiError::param("unknown", message));
        }
    };
    let types = fields.strings("types")?;
    fields.finish()?;
    let normalizer = normalizer.with_unknown(unknown);
    let work = move || {
        let normalized = match types {
            None => normalizer.normalize(&note),
            Some(types) => normalizer.normalize_with_types(&note, &types),
        };
        // Its errors name the tag, which is text of the sender's.
        normalized.map_err(|error| ApiError::bad("unknown_tag", error.to_string()))
    };
    let normalized = app.compute(0, work).await?;
    let spans = normalized.spans.iter().map(|span| {
        json!({
            "old": span.old, "new": span.new,
            "tag": span.tag.token().map_or_else(|| format!("{:?}", span.tag), str::to_owned),
        })
    });
    let spans: Vec<Value> = spans.collect();
    Ok(json_response(&json!({
        "type": "deid", "id": context.id, "text": normalized.text, "spans": spans,
    })))
}
