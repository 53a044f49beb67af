//! Everything that can be wrong with a configuration or a call, one variant for each rule.

use clinical_generate::ModelError;
use clinical_nn::{LossError, RopeError};

/// Why a model could not be configured, loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is not JSON, or a field has the wrong type or is missing.
    #[error(
        "the configuration is not one of a LLaMA model ({0}): give the config.json that was published with the weights"
    )]
    Json(#[from] serde_json::Error),
    /// The weights belong to another architecture.
    #[error("the configuration is of a `{found}` model: this crate reads llama and mistral")]
    ModelType {
        /// What `model_type` says.
        found: String,
    },
    /// The feed-forward activation is not the one that LLaMA has.
    #[error("the activation `{found}` is not supported: LLaMA and Mistral have silu")]
    Activation {
        /// What `hidden_act` says.
        found: String,
    },
    /// A size is zero.
    #[error("{field} is zero: a model needs at least one")]
    Zero {
        /// The config field.
        field: &'static str,
    },
    /// A size is beyond any real model.
    #[error(
        "{field} is {value}, more than the {limit} that this crate allows: check the config.json"
    )]
    TooBig {
        /// The config field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The largest value that is allowed.
        limit: usize,
    },
    /// There is no `head_dim`, and the hidden size cannot be split evenly.
    #[error(
        "hidden_size {hidden} cannot be split into {heads} heads: give a head_dim, or a multiple of the heads"
    )]
    HeadSize {
        /// `hidden_size`.
        hidden: usize,
        /// `num_attention_heads`.
        heads: usize,
    },
    /// Query heads cannot be shared out over the key/value heads.
    #[error(
        "{heads} attention heads cannot share {key_value_heads} key/value heads evenly: the first must be a multiple \
         of the second"
    )]
    KeyValueHeads {
        /// `num_attention_heads`.
        heads: usize,
        /// `num_key_value_heads`.
        key_value_heads: usize,
    },
    /// A number that must be positive and finite is not.
    #[error("{field} is {value}: it must be a positive, finite number")]
    NotPositive {
        /// The config field.
        field: &'static str,
        /// Its value.
        value: f64,
    },
    /// Only a part of each head would be rotated.
    #[error("partial_rotary_factor {value} is not supported: LLaMA rotates whole heads")]
    PartialRotary {
        /// The factor.
        value: f64,
    },
    /// A way to stretch positions that this crate does not know.
    #[error("rope_scaling of type `{found}` is not supported: linear, dynamic and llama3 are")]
    RopeType {
        /// What `rope_type` says.
        found: String,
    },
    /// `rope_scaling` lacks a number that its type needs.
    #[error("rope_scaling of type {kind} needs `{field}`")]
    RopeField {
        /// The type.
        kind: &'static str,
        /// The missing field.
        field: &'static str,
    },
    /// The rotary embedding cannot be built.
    #[error(transparent)]
    Rope(#[from] RopeError),
    /// The number of parameters does not fit into 64 bits.
    #[error(
        "the number of parameters does not fit into 64 bits: check the sizes in the config.json"
    )]
    ParameterCount,
    /// The files cannot be read, or do not belong to this model.
    #[error(transparent)]
    Weights(#[from] clinical_weights::Error),
    /// The ids cannot be read by this model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The loss cannot be computed.
    #[error(transparent)]
    Loss(#[from] LossError),
    /// A row has not as many labels as ids.
    #[error(
        "row {row} has {labels} labels for {ids} ids: give one label for each id, negative where it does not count"
    )]
    LabelCount {
        /// The row in the batch.
        row: usize,
        /// Labels given.
        labels: usize,
        /// Ids given.
        ids: usize,
    },
}
