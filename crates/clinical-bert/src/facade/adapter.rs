//! Adapters (LoRA) of a model.

use std::path::Path;

use clinical_weights::LoadOptions;

use super::ClinicalBert;
use crate::Result;

impl ClinicalBert {
    /// The model with the LoRA adapter of a directory (`adapter_config.json` and `adapter_model.safetensors` of
    /// Python's `peft`) beside its weights, at whatever precision these are. A load applies an adapter that lies beside
    /// the weights by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`](crate::Error::Weights): an adapter of another kind or another base model.
    pub fn with_adapter(mut self, dir: impl AsRef<Path>) -> Result<Self> {
        let options = LoadOptions::default();
        let remark = clinical_facade::add_adapter(&mut self.model, dir, &options)?;
        self.report.notes.push(remark.to_string());
        self.remarks.push(remark);
        Ok(self)
    }

    /// Makes the adapter a part of the weights, and says how many layers it had.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`](crate::Error::Weights) for packed weights, and where there is no adapter; the model is then
    /// unchanged.
    pub fn merge_adapter(&mut self) -> Result<usize> {
        Ok(clinical_facade::merge_adapter(&mut self.model)?)
    }

    /// Writes the adapter alone, as `peft` does.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`](crate::Error::Weights).
    pub fn save_adapter(&self, dir: impl AsRef<Path>) -> Result<()> {
        Ok(clinical_facade::save_adapter(&self.model, dir)?)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, Tensor, Tolerance};
    use clinical_nn::{Adapter, Linears, adapted_layers, dense_layers, merge_adapters};
    use clinical_weights::{AdapterFiles, FromCheckpoint};

    use crate::{BertConfig, BertModel, TaskHead};

    const HEADS: [TaskHead; 5] = [
        TaskHead::Encoder,
        TaskHead::MaskedLanguage,
        TaskHead::Sequence,
        TaskHead::Token,
        TaskHead::Span,
    ];

    fn model(head: TaskHead) -> BertModel {
        let config = serde_json::json!({
            "model_type": "bert", "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 24, "max_position_embeddings": 32, "type_vocab_size": 2, "num_labels": 3,
        });
        let config = BertConfig::from_value(config).unwrap();
        let device = clinical_kernels::cpu();
        let bert = crate::Bert::new(&config, true, &device).unwrap();
        BertModel::on(bert, &config, head)
    }

    fn attach(model: &mut BertModel) {
        let device = clinical_kernels::cpu();
        model.linears("", &mut |path, layer| {
            let mut adapter = Adapter::new(layer, path, 3, 1.5, 1);
            let shape = adapter.b.dims();
            let b = Tensor::random(shape, Distribution::Normal(0.0, 0.1), &device);
            adapter.b = adapter.b.map(|_| b);
            layer.attach(path, adapter).unwrap();
        });
    }

    #[test]
    fn every_dense_layer_can_be_reached() {
        for head in HEADS {
            let mut model = model(head);
            let mut paths = Vec::new();
            model.linears("", &mut |path, _| paths.push(path.to_owned()));
            paths.sort();
            let mut dense = dense_layers(&model);
            dense.sort();
            assert_eq!(paths, dense);
            assert!(paths.len() >= 2 * 6);
        }
    }

    #[test]
    fn an_adapter_is_written_read_and_merged() {
        clinical_kernels::cpu().seed(4);
        let device = clinical_kernels::cpu();
        for head in HEADS {
            let plain = model(head);
            let mut adapted = plain.clone();
            attach(&mut adapted);
            let dir = tempfile::tempdir().unwrap();
            let keys = adapted.key_map();
            AdapterFiles::of(&adapted, &keys)
                .unwrap()
                .save(dir.path())
                .unwrap();
            let mut read = plain.clone();
            AdapterFiles::read(dir.path())
                .unwrap()
                .apply(&mut read, &keys)
                .unwrap();
            assert_eq!(adapted_layers(&read), adapted_layers(&adapted));
            let x = Tensor::<2>::random([3, 16], Distribution::Default, &device);
            let run = |model: &BertModel| {
                let layer = &model.encoder().layers[1].attention.query;
                layer.forward(x.clone()).into_data()
            };
            assert!(run(&read) != run(&plain));
            run(&read).assert_approx_eq::<f32>(&run(&adapted), Tolerance::absolute(1e-6));
            let count = adapted_layers(&read).len();
            assert_eq!(merge_adapters(&mut read).unwrap(), count);
            run(&read).assert_approx_eq::<f32>(&run(&adapted), Tolerance::absolute(1e-6));
        }
    }
}
