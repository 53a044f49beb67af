//! Adapters (LoRA) of a model.

use std::path::Path;

use clinical_weights::LoadOptions;

use crate::{Asclepius, Result};

impl Asclepius {
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
        self.remarks.push(remark);
        // What was read by the model without it counts no more.
        self.read_tokenizer();
        Ok(self)
    }

    /// Makes the adapter a part of the weights, and says how many layers it had.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`](crate::Error::Weights) for packed weights, and where there is no adapter; the model is then
    /// unchanged.
    pub fn merge_adapter(&mut self) -> Result<usize> {
        let merged = clinical_facade::merge_adapter(&mut self.model)?;
        self.read_tokenizer();
        Ok(merged)
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
    use burn::tensor::{Tensor, TensorData};
    use clinical_nn::{Adapter, Linears, adapted_layers};
    use clinical_weights::{Error as WeightsError, Precision, SaveOptions};

    use super::*;
    use crate::Error;

    /// An adapter strong enough to change what is written.
    fn adapted() -> Asclepius {
        let mut model = Asclepius::embedded().unwrap();
        let device = model.device();
        model.model.linears("", &mut |path, layer| {
            let mut adapter = Adapter::new(layer, path, 4, 2.0, 1);
            // Not from the device's generator: tests beside this one draw from it, too.
            let shape = adapter.b.dims();
            let wave = (0..shape[0] * shape[1]).map(|at| (1.7 * at as f32).sin());
            let b = Tensor::from_data(TensorData::new(wave.collect::<Vec<_>>(), shape), &device);
            adapter.b = adapter.b.map(|_| b);
            layer.attach(path, adapter).unwrap();
        });
        model
    }

    #[test]
    fn an_adapter_is_saved_applied_and_merged() {
        let answer = |model: &Asclepius| {
            let note = "Ms. Ortiz was admitted with pneumonia and treated with ceftriaxone.";
            model.answer(note, "What was the diagnosis?").unwrap().text
        };
        let adapted = adapted();
        let expected = answer(&adapted);
        assert_ne!(expected, answer(&Asclepius::embedded().unwrap()));
        let dir = tempfile::tempdir().unwrap();
        let (own, base) = (dir.path().join("adapter"), dir.path().join("base"));
        adapted.save_adapter(&own).unwrap();
        let options = SaveOptions::default();
        let refused = adapted.save(&base, &options).unwrap_err();
        assert!(matches!(
            refused,
            Error::Weights(WeightsError::AdapterInModel { .. })
        ));
        Asclepius::embedded()
            .unwrap()
            .save(&base, &options)
            .unwrap();

        // Given to a model, and lying beside its weights.
        let mut given = Asclepius::embedded().unwrap().with_adapter(&own).unwrap();
        assert_eq!(answer(&given), expected);
        assert!(
            given
                .remarks()
                .iter()
                .any(|remark| remark.to_string().contains("LoRA adapter"))
        );
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            std::fs::copy(own.join(name), base.join(name)).unwrap();
        }
        let beside = Asclepius::load(&base, &LoadOptions::default()).unwrap();
        assert_eq!(answer(&beside), expected);
        let said = beside.report().notes.join(" ");
        assert!(said.contains("a LoRA adapter is applied"), "{said}");

        // Over weights of 8 bits, which cannot take it in.
        let eight = LoadOptions::default().with_precision(Precision::Int8);
        let mut eight = Asclepius::load(&base, &eight).unwrap();
        assert!(!adapted_layers(eight.model()).is_empty());
        drop(answer(&eight));
        let refused = eight.merge_adapter().unwrap_err();
        assert!(matches!(
            refused,
            Error::Weights(WeightsError::AdapterFit(_))
        ));

        // Merged, it is a model like any other.
        let layers = given.merge_adapter().unwrap();
        assert_eq!(layers, adapted_layers(adapted.model()).len());
        assert_eq!(answer(&given), expected);
        let merged = dir.path().join("merged");
        given.save(&merged, &options).unwrap();
        let merged = Asclepius::load(&merged, &LoadOptions::default()).unwrap();
        assert_eq!(answer(&merged), expected);
        let none = given.merge_adapter().unwrap_err();
        assert!(matches!(none, Error::Weights(WeightsError::NoAdapter)));
    }

    #[test]
    fn an_adapter_alone_is_no_model() {
        let dir = tempfile::tempdir().unwrap();
        adapted().save_adapter(dir.path().join("adapter")).unwrap();
        let alone = Asclepius::load(dir.path().join("adapter"), &LoadOptions::default());
        let said = alone.unwrap_err().to_string();
        assert!(said.contains("with_adapter"), "{said}");
    }
}
