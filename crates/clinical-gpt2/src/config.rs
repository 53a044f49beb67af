//! Sizes and constants of a model.

use std::fmt;

use clinical_nn::Activation;
use clinical_weights::limits::{MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH};
use clinical_weights::{Architecture, Checkpoint, Facade};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// Most positions: each has a row in a table, and no published model has more than a few thousand.
const MAX_POSITIONS: usize = 1 << 20;

/// Most classes of a head.
const MAX_CLASSES: usize = 1 << 16;

/// What stands on the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Gpt2Head {
    /// A logit for each token of the vocabulary: `GPT2LMHeadModel`. Also of a `GPT2Model`, whose embedding table is the
    /// output projection.
    #[default]
    Language,
    /// A logit for each of so many classes, from the last token of a row: `GPT2ForSequenceClassification`.
    Classes(usize),
    /// Two logits for each token, as the first and as the last of an answer: `GPT2ForQuestionAnswering`, and the study's
    /// `GPT2ModelForQuestionAnswering`.
    Spans,
}

impl fmt::Display for Gpt2Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Language => f.write_str("a language head"),
            Self::Classes(classes) => write!(f, "a head of {classes} classes"),
            Self::Spans => f.write_str("a span head"),
        }
    }
}

/// Sizes and constants of a GPT-2 model, under the names of the published `config.json`.
///
/// Read one with [`from_file`](Self::from_file), [`from_json`](Self::from_json) or [`from_value`](Self::from_value), or
/// take a preset and change it; [`init`](Self::init) makes the model. Every way into a model goes through
/// [`validate`](Self::validate).
#[derive(Debug, Clone, PartialEq)]
pub struct Gpt2Config {
    /// `gpt2`.
    pub model_type: String,
    /// Rows of the embedding table, and logits.
    pub vocab_size: usize,
    /// Rows of the table of positions: the most that a row may have.
    pub n_positions: usize,
    /// Size of a token's vector.
    pub n_embd: usize,
    /// Number of layers.
    pub n_layer: usize,
    /// Heads of each layer.
    pub n_head: usize,
    /// Inner size of the feed-forward layer; `None` for four times `n_embd`.
    pub n_inner: Option<usize>,
    /// The feed-forward activation as the file names it: `gelu_new` in every published model.
    pub activation_function: String,
    /// Dropout of what each sub-layer adds.
    pub resid_pdrop: f64,
    /// Dropout of the embeddings.
    pub embd_pdrop: f64,
    /// Dropout of the weights of the attention.
    pub attn_pdrop: f64,
    /// Added to the variance in each norm.
    pub layer_norm_epsilon: f64,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Whether scores are divided by the square root of a head's size.
    pub scale_attn_weights: bool,
    /// Whether the scores of layer `i`, counted from 1, are divided by `i` as well (BioMedLM).
    pub scale_attn_by_inverse_layer_idx: bool,
    /// Whether PyTorch multiplies queries and keys in f32. It changes rounding alone, and here the softmax is always in
    /// f32.
    pub reorder_and_upcast_attn: bool,
    /// Whether the output projection is the embedding table.
    pub tie_word_embeddings: bool,
    /// What stands on the decoder.
    pub head: Gpt2Head,
    /// `bos_token_id` as the file has it.
    pub bos_token_id: Option<i64>,
    /// `eos_token_id` as the file has it, a number or a list.
    pub eos_token_id: Vec<i64>,
    /// `pad_token_id` as the file has it.
    pub pad_token_id: Option<i64>,
    /// The names of the classes by their numbers (`id2label`); empty where the file has none.
    pub labels: Vec<String>,
    /// The keys of the file that this library does not know, as they were found; [`to_value`](Self::to_value) keeps
    /// them.
    pub other: Map<String, Value>,
}

impl Gpt2Config {
    /// Checks every rule that a model relies on.
    ///
    /// # Errors
    ///
    /// One variant of [`Error`] for each rule.
    pub fn validate(&self) -> Result<()> {
        check_kind(&self.model_type)?;
        self.activation()?;
        let classes = match self.head {
            Gpt2Head::Classes(classes) => classes,
            _ => 1,
        };
        for (field, value, limit) in [
            ("vocab_size", self.vocab_size, MAX_VOCABULARY),
            ("n_positions", self.n_positions, MAX_POSITIONS),
            ("n_embd", self.n_embd, MAX_WIDTH),
            // Queries, keys and values are one matrix.
            ("3 * n_embd", self.n_embd.saturating_mul(3), 3 * MAX_WIDTH),
            ("n_layer", self.n_layer, MAX_LAYERS),
            ("n_head", self.n_head, MAX_WIDTH),
            ("n_inner", self.inner(), 4 * MAX_WIDTH),
            ("num_labels", classes, MAX_CLASSES),
        ] {
            if value == 0 {
                return Err(Error::Zero { field });
            }
            if value > limit {
                return Err(Error::TooBig {
                    field,
                    value: value as u64,
                    limit,
                });
            }
        }
        if !self.n_embd.is_multiple_of(self.n_head) {
            return Err(Error::HeadSize {
                width: self.n_embd,
                heads: self.n_head,
            });
        }
        for (field, value) in [
            ("layer_norm_epsilon", self.layer_norm_epsilon),
            ("initializer_range", self.initializer_range),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::NotPositive { field, value });
            }
        }
        for (field, rate) in [
            ("resid_pdrop", self.resid_pdrop),
            ("embd_pdrop", self.embd_pdrop),
            ("attn_pdrop", self.attn_pdrop),
        ] {
            if !(0.0..1.0).contains(&rate) {
                return Err(Error::Dropout { field, rate });
            }
        }
        self.parameters()?;
        Ok(())
    }

    /// The head that the weights have, whatever the name of the class says.
    pub fn fit(&mut self, weights: &Checkpoint) {
        if let Some(score) = weights.find("score.weight") {
            self.head = Gpt2Head::Classes(score.shape.first().copied().unwrap_or(0));
        } else if weights.find("qa_outputs.weight").is_some() {
            self.head = Gpt2Head::Spans;
        } else {
            self.head = Gpt2Head::Language;
        }
    }

    /// Inner size of the feed-forward layer.
    #[must_use]
    pub fn inner(&self) -> usize {
        self.n_inner.unwrap_or(self.n_embd.saturating_mul(4))
    }

    /// Size of one head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.n_embd / self.n_head.max(1)
    }

    /// What the scores of a layer, counted from 0, are multiplied by.
    pub(crate) fn scale(&self, layer: usize) -> f64 {
        let mut scale = 1.0;
        if self.scale_attn_weights {
            scale /= (self.head_dim() as f64).sqrt();
        }
        if self.scale_attn_by_inverse_layer_idx {
            scale /= (layer + 1) as f64;
        }
        scale
    }

    pub(crate) fn activation(&self) -> Result<Activation> {
        match self.activation_function.as_str() {
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
            "gelu" => Ok(Activation::Gelu),
            "relu" => Ok(Activation::Relu),
            "silu" | "swish" => Ok(Activation::Silu),
            other => Err(Error::Activation {
                found: clinical_files::shown(other),
            }),
        }
    }

    /// Whether the embedding table is the output projection.
    pub(crate) fn is_tied(&self) -> bool {
        self.head == Gpt2Head::Language && self.tie_word_embeddings
    }

    /// The number of parameters with the head; a tied output projection counts once.
    ///
    /// # Errors
    ///
    /// [`Error::ParameterCount`] when it does not fit into 64 bits.
    pub fn parameters(&self) -> Result<u64> {
        self.checked_parameters().ok_or(Error::ParameterCount)
    }

    fn checked_parameters(&self) -> Option<u64> {
        let (width, inner) = (self.n_embd as u64, self.inner() as u64);
        let dense = |inputs: u64, outputs: u64| inputs.checked_mul(outputs)?.checked_add(outputs);
        let norm = width.checked_mul(2)?;
        let layer = [
            norm,
            dense(width, width.checked_mul(3)?)?,
            dense(width, width)?,
            norm,
            dense(width, inner)?,
            dense(inner, width)?,
        ];
        let sum = |terms: &[u64]| {
            let mut terms = terms.iter();
            terms.try_fold(0u64, |sum, &term| sum.checked_add(term))
        };
        let table = width.checked_mul(self.vocab_size as u64)?;
        let head = match self.head {
            Gpt2Head::Language if self.tie_word_embeddings => 0,
            Gpt2Head::Language => table,
            Gpt2Head::Classes(classes) => width.checked_mul(classes as u64)?,
            Gpt2Head::Spans => dense(width, 2)?,
        };
        sum(&[
            table,
            width.checked_mul(self.n_positions as u64)?,
            sum(&layer)?.checked_mul(self.n_layer as u64)?,
            norm,
            head,
        ])
    }

    /// Shapes of PubMedGPT, later called BioMedLM: 2.7 billion parameters. For measurements without files.
    #[must_use]
    pub fn biomedlm() -> Self {
        Self {
            model_type: "gpt2".to_owned(),
            vocab_size: 28_896,
            n_positions: 1024,
            n_embd: 2560,
            n_layer: 32,
            n_head: 20,
            n_inner: None,
            activation_function: "gelu_new".to_owned(),
            resid_pdrop: 0.1,
            embd_pdrop: 0.1,
            attn_pdrop: 0.1,
            layer_norm_epsilon: 1e-5,
            initializer_range: 0.02,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: true,
            reorder_and_upcast_attn: false,
            tie_word_embeddings: true,
            head: Gpt2Head::Language,
            bos_token_id: Some(28_895),
            eos_token_id: vec![28_895],
            pad_token_id: None,
            labels: Vec::new(),
            other: Map::new(),
        }
    }

    /// Shapes of GPT-2 itself (124 million parameters).
    #[must_use]
    pub fn gpt2() -> Self {
        Self {
            vocab_size: 50_257,
            n_embd: 768,
            n_layer: 12,
            n_head: 12,
            scale_attn_by_inverse_layer_idx: false,
            bos_token_id: Some(50_256),
            eos_token_id: vec![50_256],
            ..Self::biomedlm()
        }
    }
}

/// That a `model_type` is one that this crate reads.
pub(crate) fn check_kind(model_type: &str) -> Result<()> {
    let known = Architecture::by_model_type(model_type);
    match known.is_some_and(|one| one.facade == Facade::ClinicalGpt2) {
        true => Ok(()),
        false => Err(Error::ModelType {
            found: clinical_files::shown(model_type),
        }),
    }
}
