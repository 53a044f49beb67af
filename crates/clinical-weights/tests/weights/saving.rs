//! What is written can be read again, here and in Python.

use clinical_weights::{
    CheckpointDir, Error, LinearLayout, LoadOptions, Precision, load, save_safetensors,
};

use crate::files::directory;
use crate::model::{Tiny, data, expected, values};

#[test]
fn a_saved_model_has_the_names_shapes_and_values_of_the_published_one() {
    for layout in [LinearLayout::InputMajor, LinearLayout::OutputMajor] {
        let mut model = Tiny::new(false);
        load(
            &mut model,
            data("bin_f32"),
            &LoadOptions::new().with_linear_layout(layout),
        )
        .unwrap();
        let dir = directory(&[]);
        save_safetensors(&model, dir.path().join("model.safetensors")).unwrap();

        let saved = CheckpointDir::open(dir.path()).unwrap().weights().unwrap();
        let original = CheckpointDir::open(data("safetensors_f32"))
            .unwrap()
            .weights()
            .unwrap();
        for tensor in original.tensors() {
            // PyTorch's scalar is one value with a dimension here.
            let shape = if tensor.shape.is_empty() {
                vec![1]
            } else {
                tensor.shape.clone()
            };
            assert_eq!(saved.tensor(&tensor.name).unwrap().shape, shape);
        }
        let mut again = Tiny::new(false);
        load(&mut again, dir.path(), &LoadOptions::new()).unwrap();
        assert_eq!(values(&again), expected("f32"));
        // Nothing but the file is left.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn half_precision_stays_half_precision() {
    let mut model = Tiny::new(true);
    load(
        &mut model,
        data("tied_all"),
        &LoadOptions::new().with_precision(Precision::BF16),
    )
    .unwrap();
    let dir = directory(&[]);
    save_safetensors(&model, dir.path().join("model.safetensors")).unwrap();
    let saved = CheckpointDir::open(dir.path()).unwrap().weights().unwrap();
    assert_eq!(saved.tensor("shared.weight").unwrap().dtype.name(), "BF16");
    let mut again = Tiny::new(true);
    load(&mut again, dir.path(), &LoadOptions::new()).unwrap();
    assert_eq!(
        values(&again)["shared.weight"],
        expected("bf16")["shared.weight"]
    );
}

#[test]
fn a_failed_save_leaves_the_old_file() {
    let dir = directory(&[("model.safetensors", b"old")]);
    let error = save_safetensors(
        &Tiny::new(false),
        dir.path().join("missing/model.safetensors"),
    )
    .unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    // A directory in the place of the file cannot be replaced.
    std::fs::create_dir(dir.path().join("taken")).unwrap();
    std::fs::write(dir.path().join("taken/x"), "x").unwrap();
    let error = save_safetensors(&Tiny::new(false), dir.path().join("taken")).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    let mut names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["model.safetensors", "taken"]);
    assert_eq!(
        std::fs::read(dir.path().join("model.safetensors")).unwrap(),
        b"old"
    );
}
