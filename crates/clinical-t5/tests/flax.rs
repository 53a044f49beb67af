//! Flax checkpoints (`scripts/make_flax_fixtures.py`) give the models that PyTorch's give.

use std::path::{Path, PathBuf};

use clinical_t5::T5Config;
use clinical_weights::{CheckpointDir, Format, LinearLayout, LoadOptions, load, save_safetensors};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// All parameters of a loaded model, as the bytes of a file under their published names.
fn parameters(name: &str, options: &LoadOptions) -> Vec<u8> {
    let config = T5Config::from_file(data(name).join("config.json")).unwrap();
    let mut model = config.init(&options.device).unwrap();
    let report = load(&mut model, data(name), options).unwrap();
    assert!(report.fits(), "{name}: {report}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    save_safetensors(&model, &path).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn every_parameter_is_that_of_the_pytorch_checkpoint() {
    for variant in ["v1_0", "v1_1"] {
        let flax = format!("flax_{variant}");
        let weights = CheckpointDir::open(data(&flax)).unwrap().weights().unwrap();
        assert_eq!(weights.files()[0].format, Format::Flax);
        let query = "encoder.block.0.layer.0.SelfAttention.q.weight";
        let original = CheckpointDir::open(data(variant))
            .unwrap()
            .weights()
            .unwrap();
        assert_eq!(
            weights.tensor(query).unwrap().shape,
            original.tensor(query).unwrap().shape
        );
        for layout in [LinearLayout::InputMajor, LinearLayout::OutputMajor] {
            let options = LoadOptions::new().with_linear_layout(layout);
            assert!(
                parameters(&flax, &options) == parameters(variant, &options),
                "{variant}, {layout:?}"
            );
        }
        // Packed matrices are made of rows, which a kernel has as columns.
        let states = |name: &str| {
            let config = T5Config::from_file(data(name).join("config.json")).unwrap();
            let options = LoadOptions::new().with_precision(clinical_weights::Precision::Int8);
            let mut model = config.init(&options.device).unwrap();
            load(&mut model, data(name), &options).unwrap();
            let states = model.encode(&[&[5, 9, 3, 17]]).unwrap().states;
            states.into_data().iter::<f32>().collect::<Vec<f32>>()
        };
        assert_eq!(states(&flax), states(variant));
        let half = LoadOptions::new().with_precision(clinical_weights::Precision::F16);
        assert!(parameters(&flax, &half) == parameters(variant, &half));
    }
}
