//! What is written can be read again, here and in Python.

use clinical_weights::{
    CheckpointDir, Error, LinearLayout, LoadOptions, Precision, SAVED_MODEL, SaveOptions, load,
    load_burnpack, save_burnpack, save_pretrained, save_safetensors,
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
    assert!(matches!(error, Error::Files(_)), "{error}");
    // A directory in the place of the file cannot be replaced.
    std::fs::create_dir(dir.path().join("taken")).unwrap();
    std::fs::write(dir.path().join("taken/x"), "x").unwrap();
    let error = save_safetensors(&Tiny::new(false), dir.path().join("taken")).unwrap_err();
    assert!(matches!(error, Error::Files(_)), "{error}");
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

/// The names in a directory, sorted.
fn names(dir: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn loaded() -> Tiny {
    let mut model = Tiny::new(false);
    load(&mut model, data("bin_f32"), &LoadOptions::new()).unwrap();
    model
}

const CONFIG: &str = r#"{"model_type": "t5", "d_model": 4}"#;

#[test]
fn a_directory_is_written_in_one_file_or_in_shards() {
    let parent = directory(&[]);
    let dir = parent.path().join("model");
    let model = loaded();
    let all = expected("f32");
    let read = || {
        let mut again = Tiny::new(false);
        load(&mut again, &dir, &LoadOptions::new()).unwrap();
        assert_eq!(values(&again), all);
    };
    save_pretrained(&model, CONFIG, &dir, &SaveOptions::new()).unwrap();
    assert_eq!(names(&dir), ["config.json", "model.safetensors"]);
    read();
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["torch_dtype"], "float32");
    assert_eq!(config["d_model"], 4);

    // 150 bytes: the tables need a file of their own each.
    std::fs::write(dir.join("tokenizer.json"), "{}").unwrap();
    let small = SaveOptions::new().with_max_shard_bytes(150);
    save_pretrained(&model, CONFIG, &dir, &small).unwrap();
    let found = names(&dir);
    let shards: Vec<&String> = found
        .iter()
        .filter(|name| name.starts_with("model-"))
        .collect();
    assert!(shards.len() > 3, "{found:?}");
    assert!(shards[0].ends_with(&format!("-of-{:05}.safetensors", shards.len())));
    assert!(found.contains(&"model.safetensors.index.json".to_owned()));
    // What would be taken for these weights is gone, what else was there is not.
    assert!(!found.contains(&"model.safetensors".to_owned()));
    assert!(found.contains(&"tokenizer.json".to_owned()));
    let index = dir.join("model.safetensors.index.json");
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(index).unwrap()).unwrap();
    assert_eq!(index["weight_map"].as_object().unwrap().len(), 10);
    let bytes: usize = all.values().map(|values| values.len() * 4).sum();
    assert_eq!(index["metadata"]["total_size"], bytes);
    read();

    save_pretrained(&model, CONFIG, &dir, &SaveOptions::new()).unwrap();
    assert_eq!(
        names(&dir),
        ["config.json", "model.safetensors", "tokenizer.json"]
    );
    read();
    assert_eq!(names(parent.path()), ["model"], "nothing is left beside it");
}

#[test]
fn a_failed_save_changes_nothing() {
    let parent = directory(&[]);
    let dir = parent.path().join("model");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("model.safetensors"), "old").unwrap();
    let error = save_pretrained(&loaded(), "{", &dir, &SaveOptions::new()).unwrap_err();
    assert!(matches!(error, Error::Json { .. }), "{error}");
    let stop = || Error::UnknownPrecision {
        name: "any".to_owned(),
    };
    let error = clinical_files::replace_directory(&dir, &SAVED_MODEL, |part| {
        std::fs::write(part.join("model.safetensors"), "new").unwrap();
        Err::<(), _>(stop())
    });
    assert!(matches!(error, Err(Error::UnknownPrecision { .. })));
    assert_eq!(
        std::fs::read(dir.join("model.safetensors")).unwrap(),
        b"old"
    );
    assert_eq!(names(parent.path()), ["model"]);
    let nowhere = parent.path().join("missing/model");
    assert!(matches!(
        save_pretrained(
            &loaded(),
            "{}",
            parent.path().join("model/model.safetensors/x"),
            &SaveOptions::new()
        ),
        Err(Error::Files(clinical_files::Error::Write { .. }))
    ));
    // Folders above it are made.
    save_pretrained(&loaded(), "{}", &nowhere, &SaveOptions::new()).unwrap();
}

#[test]
fn a_saved_model_is_not_read_with_an_old_tokenizer() {
    let parent = directory(&[]);
    let dir = parent.path().join("model");
    std::fs::create_dir(&dir).unwrap();
    for name in [
        "tokenizer.json",
        "model-00001-of-00002.safetensors",
        "README.md",
    ] {
        std::fs::write(dir.join(name), "old").unwrap();
    }
    clinical_files::replace_directory(&dir, &SAVED_MODEL, |part| {
        clinical_files::write_file(part.join("spiece.model"), b"new")
    })
    .unwrap();
    assert_eq!(names(&dir), ["README.md", "spiece.model"]);
}

#[test]
fn burns_own_format_reads_back() {
    let dir = directory(&[]);
    let path = dir.path().join("model.bpk");
    for layout in [LinearLayout::InputMajor, LinearLayout::OutputMajor] {
        let mut model = Tiny::new(false);
        let options = LoadOptions::new().with_linear_layout(layout);
        load(&mut model, data("bin_f32"), &options).unwrap();
        save_burnpack(&model, &path).unwrap();
        let mut again = Tiny::new(false);
        load_burnpack(&mut again, &path).unwrap();
        assert_eq!(values(&again), expected("f32"));
    }
    // Another shape, and a file that is none.
    let mut other = Tiny::sized(false, 8, &clinical_kernels::cpu());
    let before = values(&other);
    assert!(matches!(
        load_burnpack(&mut other, &path),
        Err(Error::Burnpack { .. })
    ));
    assert_eq!(values(&other), before);
    let bytes = std::fs::read(&path).unwrap();
    for cut in [0, 5, 20, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        assert!(
            matches!(
                load_burnpack(&mut other, &path),
                Err(Error::Burnpack { .. })
            ),
            "cut at {cut}"
        );
    }
}
