//! Every published layout gives the same values.

use burn::tensor::DType;
use clinical_weights::{
    Checkpoint, CheckpointDir, Error, Format, LinearLayout, LoadOptions, Precision, load,
    load_bytes,
};

use crate::files::{copy_of, directory};
use crate::model::{Tiny, data, expected, values};

fn loaded(fixture: &str, options: &LoadOptions) -> Tiny {
    let mut model = Tiny::new(false);
    let report = load(&mut model, data(fixture), options)
        .unwrap_or_else(|error| panic!("{fixture}: {error}"));
    assert!(report.fits(), "{report}");
    assert_eq!(report.applied.len(), 10);
    model
}

const LAYOUTS: [LinearLayout; 3] = [
    LinearLayout::Automatic,
    LinearLayout::InputMajor,
    LinearLayout::OutputMajor,
];

#[test]
fn single_and_sharded_files_of_both_formats() {
    for fixture in [
        "safetensors_f32",
        "safetensors_sharded",
        "bin_f32",
        "bin_sharded",
        "bin_legacy",
        "bin_fsdp",
        "bin_views",
    ] {
        for layout in LAYOUTS {
            let model = loaded(fixture, &LoadOptions::new().with_linear_layout(layout));
            assert_eq!(values(&model), expected("f32"), "{fixture} {layout:?}");
        }
    }
}

#[test]
fn every_float_type_arrives_exactly() {
    for dtype in ["f16", "bf16", "f64"] {
        for container in ["safetensors", "bin"] {
            let fixture = format!("{container}_{dtype}");
            let model = loaded(&fixture, &LoadOptions::new());
            assert_eq!(values(&model), expected(dtype), "{fixture}");
            assert_eq!(model.shared.weight.val().dtype(), DType::F32);
        }
    }
}

#[test]
fn half_precisions_round_once() {
    for (precision, dtype, name) in [
        (Precision::F16, DType::F16, "f16"),
        (Precision::BF16, DType::BF16, "bf16"),
    ] {
        for source in [
            "safetensors_f32",
            "bin_f32",
            &format!("safetensors_{name}"),
            &format!("bin_{name}"),
        ] {
            for layout in LAYOUTS {
                let options = LoadOptions::new()
                    .with_precision(precision)
                    .with_linear_layout(layout);
                let model = loaded(source, &options);
                assert_eq!(
                    values(&model),
                    expected(name),
                    "{source} as {name}, {layout:?}"
                );
                assert_eq!(model.shared.weight.val().dtype(), dtype);
            }
        }
    }
}

#[test]
fn conversions_are_counted() {
    let mut model = Tiny::new(false);
    let report = load(&mut model, data("bin_bf16"), &LoadOptions::new()).unwrap();
    let counts: Vec<_> = report.conversions.into_iter().collect();
    assert_eq!(counts.len(), 1);
    assert_eq!(counts[0].1, 9);
    assert!(report.overflowed.is_empty());
}

#[test]
fn tied_embeddings_in_every_direction() {
    for fixture in [
        "tied_shared",
        "tied_encoder",
        "tied_decoder",
        "tied_head",
        "tied_all",
    ] {
        let mut model = Tiny::new(true);
        let report = load(&mut model, data(fixture), &LoadOptions::new())
            .unwrap_or_else(|error| panic!("{fixture}: {error}"));
        let mut wanted = expected("f32");
        wanted.remove("lm_head.weight");
        assert_eq!(values(&model), wanted, "{fixture}");
        match fixture {
            "tied_shared" => assert!(report.aliases.is_empty()),
            "tied_all" => assert_eq!(report.aliases[0].duplicates.len(), 3),
            _ => assert_ne!(report.aliases[0].tensor, "shared.weight"),
        }
    }
}

#[test]
fn tied_names_with_different_values_are_an_error_or_reported() {
    let mut model = Tiny::new(true);
    let error = load(&mut model, data("tied_differ"), &LoadOptions::new()).unwrap_err();
    assert!(
        matches!(&error, Error::TiedDisagree { first, second } if first == "shared.weight" && second == "lm_head.weight"),
        "{error}"
    );

    let report = load(
        &mut model,
        data("tied_differ"),
        &LoadOptions::new().with_strict(false),
    )
    .unwrap();
    assert!(report.aliases[0].differ);
    assert_eq!(
        values(&model)["shared.weight"],
        expected("f32")["shared.weight"]
    );
}

#[test]
fn old_names_are_understood() {
    let mut model = Tiny::new(false).legacy();
    let report = load(&mut model, data("old_names"), &LoadOptions::new()).unwrap();
    assert_eq!(values(&model), expected("f32"));
    assert_eq!(report.ignored, ["model.rotary_emb.inv_freq"]);
}

#[test]
fn an_embedded_file_loads_from_static_and_owned_bytes() {
    static EMBEDDED: &[u8] = include_bytes!("../data/safetensors_f32/model.safetensors");
    let mut model = Tiny::new(false);
    load_bytes(&mut model, EMBEDDED, &LoadOptions::new()).unwrap();
    assert_eq!(values(&model), expected("f32"));

    // At every alignment: a value must not depend on where the file begins.
    for shift in 0..8 {
        let mut bytes = vec![0; shift];
        bytes.extend(EMBEDDED);
        let leaked: &'static [u8] = Box::leak(bytes.into_boxed_slice());
        let mut model = Tiny::new(false);
        load_bytes(&mut model, &leaked[shift..], &LoadOptions::new()).unwrap();
        assert_eq!(values(&model), expected("f32"), "shift {shift}");
    }
    let mut model = Tiny::new(false);
    load_bytes(&mut model, EMBEDDED.to_vec(), &LoadOptions::new()).unwrap();
    assert_eq!(values(&model), expected("f32"));
}

#[test]
fn the_documented_file_is_chosen() {
    let single = std::fs::read(data("safetensors_f32").join("model.safetensors")).unwrap();
    let torch = std::fs::read(data("bin_f32").join("pytorch_model.bin")).unwrap();
    let dir = copy_of(&data("safetensors_sharded"));
    let chosen = || CheckpointDir::open(dir.path()).unwrap().weights().unwrap();

    std::fs::write(dir.path().join("pytorch_model.bin"), &torch).unwrap();
    assert_eq!(chosen().chosen(), "model.safetensors.index.json");
    assert_eq!(chosen().others(), ["pytorch_model.bin"]);

    std::fs::write(dir.path().join("model.safetensors"), &single).unwrap();
    assert_eq!(chosen().chosen(), "model.safetensors");
    assert_eq!(
        chosen().others(),
        ["model.safetensors.index.json", "pytorch_model.bin"]
    );

    let dir = directory(&[("pytorch_model.bin", &torch)]);
    let weights = CheckpointDir::open(dir.path()).unwrap().weights().unwrap();
    assert_eq!(weights.files()[0].format, Format::TorchZip);
}

#[test]
fn content_counts_more_than_the_name() {
    let single = std::fs::read(data("safetensors_f32").join("model.safetensors")).unwrap();
    let dir = directory(&[("pytorch_model.bin", &single)]);
    let mut model = Tiny::new(false);
    let report = load(&mut model, dir.path(), &LoadOptions::new()).unwrap();
    assert_eq!(report.notes, ["pytorch_model.bin holds safetensors data"]);
    assert_eq!(values(&model), expected("f32"));
}

#[test]
fn shards_without_an_index_are_put_together() {
    let dir = copy_of(&data("bin_sharded"));
    std::fs::remove_file(dir.path().join("pytorch_model.bin.index.json")).unwrap();
    let mut model = Tiny::new(false);
    let report = load(&mut model, dir.path(), &LoadOptions::new()).unwrap();
    assert_eq!(values(&model), expected("f32"));
    assert_eq!(report.notes.len(), 1);

    std::fs::remove_file(dir.path().join("pytorch_model-00002-of-00003.bin")).unwrap();
    let error = load(&mut model, dir.path(), &LoadOptions::new()).unwrap_err();
    assert!(
        matches!(error, Error::ShardMissing { name, .. } if name == "pytorch_model-00002-of-00003.bin")
    );
}

#[test]
fn an_index_that_is_wrong_about_places_is_put_right() {
    let dir = copy_of(&data("safetensors_sharded"));
    let path = dir.path().join("model.safetensors.index.json");
    let mut index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    index["weight_map"]["lm_head.weight"] = "model-00001-of-00003.safetensors".into();
    index["weight_map"].as_object_mut().unwrap().remove("ids");
    std::fs::write(&path, index.to_string()).unwrap();
    let mut model = Tiny::new(false);
    let report = load(&mut model, dir.path(), &LoadOptions::new()).unwrap();
    assert_eq!(values(&model), expected("f32"));
    assert_eq!(report.notes.len(), 2, "{report}");
}

#[test]
fn headers_are_listed_without_values() {
    let weights = CheckpointDir::open(data("bin_f16"))
        .unwrap()
        .weights()
        .unwrap();
    let info = weights.tensor("encoder.block.0.dense.weight").unwrap();
    assert_eq!(
        (info.shape.as_slice(), info.bytes, info.dtype.name()),
        (&[6, 4][..], 48, "F16")
    );
    assert_eq!(weights.tensors().count(), 10);
    let embedded: Checkpoint = Checkpoint::from_bytes(
        std::fs::read(data("safetensors_f32").join("model.safetensors")).unwrap(),
    )
    .unwrap();
    assert_eq!(embedded.tensors().count(), 10);
}

#[test]
#[cfg(unix)]
fn a_hub_cache_is_followed_and_other_links_are_not() {
    use std::os::unix::fs::symlink;
    let cache = tempfile::tempdir().unwrap();
    let repository = cache.path().join("models--someone--tiny");
    let snapshot = repository.join("snapshots/0123abcd");
    let blobs = repository.join("blobs");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::copy(
        data("safetensors_f32").join("model.safetensors"),
        blobs.join("beef"),
    )
    .unwrap();
    symlink("../../blobs/beef", snapshot.join("model.safetensors")).unwrap();
    let mut model = Tiny::new(false);
    load(&mut model, &snapshot, &LoadOptions::new()).unwrap();
    assert_eq!(values(&model), expected("f32"));

    let elsewhere = tempfile::tempdir().unwrap();
    symlink(
        blobs.join("beef"),
        elsewhere.path().join("model.safetensors"),
    )
    .unwrap();
    let error = load(&mut model, elsewhere.path(), &LoadOptions::new()).unwrap_err();
    assert!(matches!(error, Error::OutsideDirectory { .. }), "{error}");
    load(
        &mut model,
        elsewhere.path(),
        &LoadOptions::new().with_allow_links(true),
    )
    .unwrap();
}

#[test]
fn loading_twice_replaces_every_value() {
    let mut model = loaded("safetensors_f32", &LoadOptions::new());
    load(&mut model, data("safetensors_bf16"), &LoadOptions::new()).unwrap();
    assert_eq!(values(&model), expected("bf16"));
}

#[test]
fn gradients_flow_into_loaded_parameters() {
    let device = clinical_kernels::cpu().autodiff();
    let mut model = Tiny::sized(false, 7, &device);
    load(
        &mut model,
        data("safetensors_f32"),
        &LoadOptions::new().with_linear_layout(LinearLayout::OutputMajor),
    )
    .unwrap();
    let gradients = model
        .lm_head
        .as_ref()
        .unwrap()
        .weight
        .val()
        .powi_scalar(2)
        .sum()
        .backward();
    let weight = model.lm_head.as_ref().unwrap().weight.val();
    let gradient: Vec<f32> = weight
        .grad(&gradients)
        .unwrap()
        .into_data()
        .convert::<f32>()
        .try_to_vec()
        .unwrap();
    let weight: Vec<f32> = weight.into_data().convert::<f32>().try_to_vec().unwrap();
    assert!(gradient.iter().zip(&weight).all(|(g, w)| *g == 2.0 * w));
}
