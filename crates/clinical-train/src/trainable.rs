//! The facades, as a run takes them.

use std::path::Path;

use burn::module::Module;
use clinical_bert::{BertConfig, BertDropout, BertModel, ClinicalBert};
use clinical_facade::Parts;
use clinical_gpt2::{ClinicalGpt2, Gpt2, Gpt2Config, Gpt2Dropout};
use clinical_llama::{Llama, LlamaConfig};
use clinical_nn::{Dropout, Linears};
use clinical_t5::{ClinicalT5, SaveOptions, T5, T5Config};

use crate::{Error, Result};

/// A facade that can be trained: it comes apart into a model and the rest, and is put together again.
pub trait Trainable: Sized {
    /// The shape of its model.
    type Config;
    /// Its model.
    type Model: Module + Linears + Clone + Send + Sync + 'static;

    /// The facade, taken apart.
    fn into_parts(self) -> Parts<Self::Config, Self::Model>;

    /// The facade again.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] for parts that do not belong together.
    fn from_parts(parts: Parts<Self::Config, Self::Model>) -> Result<Self>;

    /// Gives the model dropout whose masks follow from `seed`; at the rates of its configuration where `rate` is `None`.
    /// Without a seed nothing is dropped.
    fn set_dropout(
        model: &mut Self::Model,
        config: &Self::Config,
        rate: Option<f64>,
        seed: Option<u64>,
    );

    /// Whether each layer of the model keeps its input alone for the backward pass, and is computed twice.
    fn set_recompute(model: &mut Self::Model, recompute: bool);

    /// Saves the facade's model, or its adapter alone.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] with that of the facade.
    fn save_trained(&self, dir: &Path, only_adapter: bool) -> Result<()>;
}

macro_rules! as_models_do {
    () => {
        fn set_recompute(model: &mut Self::Model, recompute: bool) {
            model.set_recompute(recompute);
        }

        fn save_trained(&self, dir: &Path, only_adapter: bool) -> Result<()> {
            match only_adapter {
                true => self.save_adapter(dir),
                false => self.save(dir, &SaveOptions::new()),
            }
            .map_err(Error::model)
        }
    };
}

impl Trainable for ClinicalT5 {
    type Config = T5Config;
    type Model = T5;

    fn into_parts(self) -> Parts<T5Config, T5> {
        self.into_parts()
    }

    fn from_parts(parts: Parts<T5Config, T5>) -> Result<Self> {
        Ok(Self::from_parts(parts))
    }

    fn set_dropout(model: &mut T5, config: &T5Config, rate: Option<f64>, seed: Option<u64>) {
        let rate = rate.unwrap_or(config.dropout_rate);
        model.set_dropout(seed.map_or(Dropout::NONE, |seed| Dropout::new(rate, seed)));
    }

    as_models_do!();
}

impl Trainable for asclepius::Asclepius {
    type Config = LlamaConfig;
    type Model = Llama;

    fn into_parts(self) -> Parts<LlamaConfig, Llama> {
        self.into_parts()
    }

    fn from_parts(parts: Parts<LlamaConfig, Llama>) -> Result<Self> {
        Ok(Self::from_parts(parts))
    }

    /// LLaMA has no dropout but that of its adapters.
    fn set_dropout(_: &mut Llama, _: &LlamaConfig, _: Option<f64>, _: Option<u64>) {}

    as_models_do!();
}

impl Trainable for ClinicalGpt2 {
    type Config = Gpt2Config;
    type Model = Gpt2;

    fn into_parts(self) -> Parts<Gpt2Config, Gpt2> {
        self.into_parts()
    }

    fn from_parts(parts: Parts<Gpt2Config, Gpt2>) -> Result<Self> {
        Ok(Self::from_parts(parts))
    }

    fn set_dropout(model: &mut Gpt2, config: &Gpt2Config, rate: Option<f64>, seed: Option<u64>) {
        let mut dropout = Gpt2Dropout::of(config);
        // A model that drops nothing has the rates of its configuration.
        if let Some(rate) = rate.filter(|_| seed.is_some()) {
            (dropout.embeddings, dropout.attention, dropout.residual) = (rate, rate, rate);
        }
        dropout.seed = seed;
        model.set_dropout(dropout);
    }

    as_models_do!();
}

impl Trainable for ClinicalBert {
    type Config = BertConfig;
    type Model = BertModel;

    fn into_parts(self) -> Parts<BertConfig, BertModel> {
        self.into_parts()
    }

    fn from_parts(parts: Parts<BertConfig, BertModel>) -> Result<Self> {
        Self::from_parts(parts).map_err(Error::model)
    }

    fn set_dropout(
        model: &mut BertModel,
        config: &BertConfig,
        rate: Option<f64>,
        seed: Option<u64>,
    ) {
        let mut dropout = BertDropout::of(config);
        // A model that drops nothing has the rates of its configuration.
        if let Some(rate) = rate.filter(|_| seed.is_some()) {
            (dropout.hidden, dropout.attention, dropout.classifier) = (rate, rate, rate);
        }
        dropout.seed = seed;
        model.set_dropout(dropout);
    }

    as_models_do!();
}
