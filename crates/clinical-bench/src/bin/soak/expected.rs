//! What the server must answer.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use asclepius::{AnswerOptions, Asclepius, Generation};
use clinical_bench::http::Client;
use clinical_bert::ClinicalBert;
use clinical_synth::Generator;
use serde_json::{Value, json};

use crate::shared::Shared;

/// Notes, and questions about each.
const NOTES: usize = 24;
const QUESTIONS: usize = 3;

/// The tokens of a text that is gone on with, and of a sampled answer.
pub const LENGTH: usize = 24;

/// Vectors may differ by rounding.
const NEAR: f64 = 1e-4;

/// A note with its questions.
pub struct Case {
    pub note: String,
    /// Questions and the library's answers.
    pub pairs: Vec<(String, String)>,
    /// The library's answer to the first question, sampled at temperature 0.7 with this seed.
    pub sampled: (u64, String),
    /// What the fresh server says to `/v1/tag` and `/v1/deid`.
    pub texts: [Value; 2],
    /// The library's vector of the first question.
    pub vector: Vec<f32>,
}

pub struct Expected {
    pub cases: Vec<Case>,
    /// Texts, and how the library goes on with them.
    pub texts: Vec<(String, String)>,
}

impl Expected {
    pub fn new(address: SocketAddr) -> Result<Self> {
        let (model, bert) = (Asclepius::embedded()?, ClinicalBert::embedded()?);
        let mut client = Client::new(address, Duration::from_secs(300));
        let mut cases = Vec::new();
        let invented = Generator::held_out(18).with_pairs(QUESTIONS).take(NOTES);
        for (number, case) in invented.enumerate() {
            let note = case.note;
            let mut pairs = Vec::new();
            for pair in case.pairs {
                let answer = model.answer(&note, &pair.question)?.text;
                pairs.push((pair.question, answer));
            }
            let question = pairs.first().context("no question")?.0.clone();
            let seed = number as u64;
            let generation = Generation::sample()
                .with_top_k(0)
                .with_temperature(0.7)
                .with_seed(seed)
                .with_max_new_tokens(LENGTH);
            let options = AnswerOptions::new().with_generation(generation);
            let sampled = model.answer_with(&note, &question, &options)?.text;
            let vectors = bert.embed(&[question.as_str()], None);
            let vector = vectors.into_iter().next().context("no vector")??;
            let body = json!({"note": note}).to_string();
            let mut texts = [Value::Null, Value::Null];
            for (text, path) in texts.iter_mut().zip(["/v1/tag", "/v1/deid"]) {
                let reply = client.post(path, &body)?;
                ensure!(reply.status == 200, "{path}: {}", reply.status);
                *text = reply.json();
            }
            cases.push(Case {
                note,
                pairs,
                sampled: (seed, sampled),
                texts,
                vector,
            });
        }
        let options = AnswerOptions::new().with_max_new_tokens(LENGTH);
        let texts = [
            "Discharge Diagnosis:",
            "Allergies:",
            "The patient was",
            "Medications: aspirin",
        ]
        .into_iter()
        .map(|text| -> Result<(String, String)> {
            Ok((text.to_owned(), model.complete(text, &options)?.text))
        });
        Ok(Self {
            cases,
            texts: texts.collect::<Result<_>>()?,
        })
    }

    /// Asks everything once more, one after another.
    pub fn ask_all(&self, shared: &Shared) -> Result<()> {
        let mut client = shared.client();
        for case in &self.cases {
            let questions: Vec<&str> = case.pairs.iter().map(|(question, _)| &**question).collect();
            let body = json!({"note": case.note, "questions": questions});
            let reply = client.post("/v1/ask", &body.to_string())?;
            let value = reply.json();
            for (at, (_, answer)) in case.pairs.iter().enumerate() {
                let got = &value["answers"][at]["answer"]["text"];
                shared.judge(got == answer, || {
                    format!("asked at the end: {got} for {answer:?}")
                });
            }
        }
        Ok(())
    }
}

impl Case {
    /// Whether a vector is that of the first question.
    pub fn is_vector(&self, value: &Value) -> bool {
        let Some(numbers) = value.as_array() else {
            return false;
        };
        numbers.len() == self.vector.len()
            && numbers.iter().zip(&self.vector).all(|(got, &expected)| {
                let got = got.as_f64().unwrap_or(f64::NAN);
                (got - f64::from(expected)).abs() < NEAR
            })
    }
}
