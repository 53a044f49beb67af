//! Adapters as `peft` writes them, against weights to which they were added by hand.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Distribution, Tensor, TensorData, Tolerance};
use clinical_nn::{Linear, Linears, adapted_layers, linears, merge_adapters};
use clinical_weights::{
    AdapterFiles, AdapterOptions, CheckpointDir, Error, KeyMap, attach_adapters, save_module,
};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

#[derive(Module, Debug)]
struct Attention {
    query: Linear,
    value: Linear,
}

#[derive(Module, Debug)]
struct Model {
    layers: Vec<Attention>,
    classifier: Linear,
}

linears!(Attention: query, value);
linears!(Model: layers, classifier);

const WIDTH: usize = 6;
const LABELS: usize = 3;

fn keys() -> KeyMap {
    KeyMap::new().rename("bert.encoder.layer.*.attention.self.**", "layers.*.**")
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 0.5), device)
}

fn model(device: &Device) -> Model {
    let linear = |outputs: usize| Linear {
        weight: Param::from_tensor(random([WIDTH, outputs], device)),
        bias: Some(Param::from_tensor(random([outputs], device))),
        adapter: None,
    };
    let attention = || Attention {
        query: linear(WIDTH),
        value: linear(WIDTH),
    };
    Model {
        layers: vec![attention(), attention()],
        classifier: linear(LABELS),
    }
}

fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let number = |i: usize| ((i * 7919 + seed * 104_729) % 1013) as f32 / 1013.0 - 0.5;
    (0..count).map(number).collect()
}

/// A file of f32 tensors.
fn write_tensors(path: &Path, tensors: &[(String, Vec<usize>, Vec<f32>)]) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        })
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name.clone(), view)
    });
    let all = safetensors::serialize(views, None).unwrap();
    std::fs::write(path, all).unwrap();
}

fn config() -> Value {
    json!({
        "peft_type": "LORA", "base_model_name_or_path": "a/model", "r": 2, "lora_alpha": 5, "lora_dropout": 0.1,
        "bias": "none", "target_modules": ["query", "value"], "use_dora": false, "use_rslora": false, "rank_pattern": {},
        "alpha_pattern": {}, "fan_in_fan_out": false, "modules_to_save": null, "init_lora_weights": true,
    })
}

/// Factors of one layer under a name of `peft`.
fn factors(layer: &str, rank: usize, seed: usize) -> [(String, Vec<usize>, Vec<f32>); 2] {
    let name = |which: &str| format!("base_model.model.{layer}.lora_{which}.weight");
    [
        (name("A"), vec![rank, WIDTH], numbers(rank * WIDTH, seed)),
        (
            name("B"),
            vec![WIDTH, rank],
            numbers(WIDTH * rank, seed + 1),
        ),
    ]
}

const QUERY: &str = "bert.encoder.layer.0.attention.self.query";
const VALUE: &str = "bert.encoder.layer.1.attention.self.value";

fn write(dir: &Path, config: &Value, tensors: &[(String, Vec<usize>, Vec<f32>)]) {
    std::fs::write(dir.join("adapter_config.json"), config.to_string()).unwrap();
    write_tensors(&dir.join("adapter_model.safetensors"), tensors);
}

/// `W + scale B A` of a file, whose weights are `[d_output, d_input]`.
fn add(layer: &mut Linear, factors: &[(String, Vec<usize>, Vec<f32>); 2], scale: f64) {
    let device = layer.weight.lazy_device();
    let factor = |(_, shape, values): &(String, Vec<usize>, Vec<f32>)| {
        let data = TensorData::new(values.clone(), shape.clone());
        Tensor::<2>::from_data(data, (&device, DType::F32))
    };
    let delta = factor(&factors[1]).matmul(factor(&factors[0])) * scale;
    let sum = layer.weight.val() + delta.transpose();
    layer.weight = Param::from_tensor(sum);
}

fn close(found: &Linear, expected: &Linear) {
    let x = random([4, WIDTH], &found.weight.lazy_device());
    let (found, expected) = (found.forward(x.clone()), expected.forward(x));
    let near = Tolerance::absolute(1e-6);
    found
        .into_data()
        .assert_approx_eq::<f32>(&expected.into_data(), near);
}

#[test]
fn an_adapter_is_applied_with_its_ranks_and_scales() {
    let device = clinical_kernels::cpu();
    let dir = tempfile::tempdir().unwrap();
    let (query, value) = (factors(QUERY, 2, 1), factors(VALUE, 4, 3));
    let all = [query.clone(), value.clone()].concat();
    let mut settings = config();
    settings["rank_pattern"] = json!({"layer.1.attention.self.value": 4});
    settings["alpha_pattern"] =
        json!({"^bert\\.encoder\\.layer\\.1\\.attention\\.self\\.value$": 3.0});
    for (stabilised, scales) in [(false, [2.5, 0.75]), (true, [5.0 / 2f64.sqrt(), 1.5])] {
        settings["use_rslora"] = json!(stabilised);
        write(dir.path(), &settings, &all);
        let plain = model(&device);
        let mut adapted = plain.clone();
        let files = AdapterFiles::read(dir.path()).unwrap();
        assert_eq!(files.base(), Some("a/model"));
        assert!(files.layers().eq([QUERY, VALUE]));
        let layers = files.apply(&mut adapted, &keys()).unwrap();
        assert_eq!(layers, ["layers.0.query", "layers.1.value"]);
        assert_eq!(adapted_layers(&adapted), layers);
        let dropout = adapted.layers[0].query.adapter.as_ref().unwrap().dropout;
        assert_eq!(dropout, 0.1);
        let mut expected = plain.clone();
        add(&mut expected.layers[0].query, &query, scales[0]);
        add(&mut expected.layers[1].value, &value, scales[1]);
        for at in 0..2 {
            close(&adapted.layers[at].query, &expected.layers[at].query);
            close(&adapted.layers[at].value, &expected.layers[at].value);
        }
        // Written and read again: the same.
        let copy = tempfile::tempdir().unwrap();
        let written = AdapterFiles::of(&adapted, &keys()).unwrap().with_base("b");
        written.save(copy.path().join("adapter")).unwrap();
        let read = AdapterFiles::read(copy.path().join("adapter")).unwrap();
        assert_eq!(read.base(), Some("b"));
        let mut again = plain.clone();
        read.apply(&mut again, &keys()).unwrap();
        close(&again.layers[0].query, &adapted.layers[0].query);
        close(&again.layers[1].value, &adapted.layers[1].value);
        // Files of a model cannot hold it; merged, they do.
        let path = copy.path().join("model.safetensors");
        let refused = save_module(&adapted, &keys(), &path).unwrap_err();
        assert!(matches!(&refused, Error::AdapterInModel { layer } if layer == "layers.0.query"));
        assert_eq!(merge_adapters(&mut adapted).unwrap(), 2);
        close(&adapted.layers[0].query, &expected.layers[0].query);
        save_module(&adapted, &keys(), &path).unwrap();
    }
}

/// An adapter of the encoder alone, and one of a model with other leading names.
#[test]
fn leading_parts_of_names_may_differ() {
    let device = clinical_kernels::cpu();
    for layer in [
        "encoder.layer.1.attention.self.value",
        "model.bert.encoder.layer.1.attention.self.value",
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &config(), &factors(layer, 2, 1));
        let mut adapted = model(&device);
        let files = AdapterFiles::read(dir.path()).unwrap();
        let layers = files.apply(&mut adapted, &keys()).unwrap();
        assert_eq!(layers, ["layers.1.value"]);
    }
}

#[test]
fn whole_tensors_take_the_place_of_the_models_own() {
    let device = clinical_kernels::cpu();
    let dir = tempfile::tempdir().unwrap();
    let mut tensors = factors(QUERY, 2, 1).to_vec();
    let whole = |name: &str, shape: Vec<usize>| {
        let count = shape.iter().product();
        (format!("base_model.model.{name}"), shape, numbers(count, 9))
    };
    tensors.push(whole("classifier.weight", vec![LABELS, WIDTH]));
    tensors.push(whole("classifier.modules_to_save.bias", vec![LABELS]));
    tensors.push(whole(&format!("{QUERY}.base_layer.bias"), vec![WIDTH]));
    write(dir.path(), &config(), &tensors);
    let plain = model(&device);
    let mut adapted = plain.clone();
    let files = AdapterFiles::read(dir.path()).unwrap();
    files.apply(&mut adapted, &keys()).unwrap();
    let values = |tensor: Tensor<2>| tensor.into_data().try_to_vec::<f32>().unwrap();
    let head = &adapted.classifier;
    assert_eq!(values(head.weight.val().transpose()), tensors[2].2);
    assert_eq!(head.weight.id, plain.classifier.weight.id);
    let bias = |layer: &Linear| {
        let bias = layer.bias.as_ref().unwrap().val();
        bias.into_data().try_to_vec::<f32>().unwrap()
    };
    assert_eq!(bias(head), tensors[3].2);
    assert_eq!(bias(&adapted.layers[0].query), tensors[4].2);

    let mut packed = plain.clone();
    let matrix = clinical_kernels::PackedMatrix::new(
        clinical_kernels::Packing::Int8,
        LABELS,
        WIDTH,
        &[0.5; LABELS * WIDTH],
    );
    let weight = packed.classifier.weight;
    packed.classifier.weight = clinical_kernels::Packed::attach(weight, matrix.into(), true);
    let refused = files.apply(&mut packed, &keys()).unwrap_err();
    assert!(refused.to_string().contains("packed"), "{refused}");
    assert!(adapted_layers(&packed).is_empty());

    for (name, shape) in [
        ("classifier.weight", vec![WIDTH, LABELS]),
        ("head.weight", vec![1]),
    ] {
        let mut tensors = factors(QUERY, 2, 1).to_vec();
        tensors.push(whole(name, shape));
        write(dir.path(), &config(), &tensors);
        let mut model = plain.clone();
        let files = AdapterFiles::read(dir.path()).unwrap();
        let refused = files.apply(&mut model, &keys()).unwrap_err();
        assert!(refused.to_string().contains(name), "{refused}");
        assert!(adapted_layers(&model).is_empty());
    }
}

#[test]
fn adapters_of_other_kinds_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let settings: BTreeMap<&str, (Value, &str)> = BTreeMap::from([
        ("peft_type", (json!("IA3"), "IA3")),
        ("use_dora", (json!(true), "DoRA")),
        ("use_qalora", (json!(true), "use_qalora")),
        ("lora_bias", (json!(true), "bias of the second factor")),
        ("init_lora_weights", (json!("pissa_niter_16"), "pissa")),
        (
            "layer_replication",
            (json!([[0, 4], [2, 5]]), "several times"),
        ),
        (
            "trainable_token_indices",
            (json!([5]), "single trained tokens"),
        ),
    ]);
    for (key, (value, words)) in settings {
        let mut config = config();
        config[key] = value;
        write(dir.path(), &config, &factors(QUERY, 2, 1));
        let error = AdapterFiles::read(dir.path()).unwrap_err();
        assert!(matches!(error, Error::AdapterKind { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    for name in [
        "base_model.model.bert.embeddings.word_embeddings.lora_embedding_A",
        "base_model.model.bert.encoder.layer.0.attention.self.query.lora_magnitude_vector.weight",
        "base_model.model.bert.encoder.layer.0.attention.self.query.lora_B.bias",
        "base_model.model.bert.encoder.layer.0.attention.self.query.ia3_l",
        "prompt_embeddings",
    ] {
        let mut tensors = factors(QUERY, 2, 1).to_vec();
        tensors.push((name.to_owned(), vec![2], vec![1.0, 2.0]));
        write(dir.path(), &config(), &tensors);
        let error = AdapterFiles::read(dir.path()).unwrap_err();
        assert!(matches!(error, Error::AdapterKind { .. }), "{error}");
    }
}

#[test]
fn wrong_settings_are_refused_by_key() {
    let dir = tempfile::tempdir().unwrap();
    for (key, value) in [
        ("peft_type", Value::Null),
        ("r", json!(0)),
        ("r", json!(-1)),
        ("r", json!("8")),
        ("r", json!(1u64 << 60)),
        ("lora_alpha", json!("16")),
        ("lora_alpha", Value::Null),
        ("lora_dropout", json!(2.0)),
        ("rank_pattern", json!([])),
        ("rank_pattern", json!({"query": 0.5})),
        ("alpha_pattern", json!({"layers.[0-9]+.query": 4})),
    ] {
        let mut config = config();
        config[key] = value;
        write(dir.path(), &config, &factors(QUERY, 2, 1));
        let error = AdapterFiles::read(dir.path()).unwrap_err();
        let said = error.to_string();
        assert!(
            matches!(error, Error::AdapterConfig { .. }) && said.contains(key),
            "{said}"
        );
    }
    std::fs::write(dir.path().join("adapter_config.json"), "[]").unwrap();
    let error = AdapterFiles::read(dir.path()).unwrap_err();
    assert!(matches!(error, Error::AdapterConfig { .. }), "{error}");
}

#[test]
fn wrong_tensors_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = factors(QUERY, 2, 1);
    let wide = (a.0.clone(), vec![2, WIDTH + 1], numbers(2 * (WIDTH + 1), 1));
    let flat = (a.0.clone(), vec![2 * WIDTH], numbers(2 * WIDTH, 1));
    let deep = factors(QUERY, 3, 1);
    for tensors in [
        vec![a.clone()],
        vec![b.clone()],
        vec![],
        deep.to_vec(),
        vec![flat, b.clone()],
    ] {
        write(dir.path(), &config(), &tensors);
        let error = AdapterFiles::read(dir.path()).unwrap_err();
        assert!(matches!(error, Error::AdapterTensor { .. }), "{error}");
    }
    write(dir.path(), &config(), &[wide, b.clone()]);
    let mut model = model(&clinical_kernels::cpu());
    let files = AdapterFiles::read(dir.path()).unwrap();
    let error = files.apply(&mut model, &keys()).unwrap_err();
    assert!(matches!(error, Error::AdapterFit(_)), "{error}");
    for layer in [
        "bert.encoder.layer.7.attention.self.query",
        "query",
        "bert.encoder.layer.0.attention.self.quary",
    ] {
        write(dir.path(), &config(), &factors(layer, 2, 1));
        let files = AdapterFiles::read(dir.path()).unwrap();
        let error = files.apply(&mut model, &keys()).unwrap_err();
        assert!(matches!(error, Error::AdapterLayer { .. }), "{error}");
    }
    write(dir.path(), &config(), &[a, b]);
    let files = AdapterFiles::read(dir.path()).unwrap();
    files.apply(&mut model, &keys()).unwrap();
    let error = files.apply(&mut model, &keys()).unwrap_err();
    assert!(matches!(error, Error::AdapterTwice { .. }), "{error}");
    std::fs::remove_file(dir.path().join("adapter_model.safetensors")).unwrap();
    assert!(AdapterFiles::read(dir.path()).is_err());
}

#[test]
fn new_adapters_go_where_the_patterns_say() {
    let device = clinical_kernels::cpu();
    let options = AdapterOptions::new()
        .with_rank(3)
        .with_alpha(6.0)
        .with_seed(4);
    for (patterns, expected) in [
        (&["query"][..], &["layers.0.query", "layers.1.query"][..]),
        (&["layers.1.**"], &["layers.1.query", "layers.1.value"]),
        (
            &["layers.*.value", "classifier"],
            &["layers.0.value", "layers.1.value", "classifier"],
        ),
    ] {
        let plain = model(&device);
        let mut adapted = plain.clone();
        let layers = attach_adapters(&mut adapted, patterns, &options).unwrap();
        assert_eq!(layers, expected);
        adapted.linears("", &mut |path, layer| {
            let adapter = layer.adapter.as_ref();
            assert_eq!(adapter.is_some(), expected.contains(&path));
            if let Some(adapter) = adapter {
                assert_eq!((adapter.rank(), adapter.scale), (3, 2.0));
            }
        });
        // They change nothing yet.
        close(&adapted.layers[1].query, &plain.layers[1].query);
        let error = attach_adapters(&mut adapted, patterns, &options).unwrap_err();
        assert!(matches!(error, Error::AdapterTwice { .. }), "{error}");
    }
    let mut model = model(&device);
    for patterns in [&["key"][..], &["query", "key"], &["layers..query"]] {
        assert!(attach_adapters(&mut model, patterns, &options).is_err());
        assert!(adapted_layers(&model).is_empty());
    }
    assert!(matches!(
        AdapterFiles::of(&model, &keys()),
        Err(Error::NoAdapter)
    ));
}

/// The directory of an adapter is no model, and says what it is.
#[test]
fn an_adapter_alone_is_told() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &config(), &factors(QUERY, 2, 1));
    let dir = CheckpointDir::open(dir.path()).unwrap();
    for error in [dir.weights().unwrap_err(), dir.read_config().unwrap_err()] {
        assert!(matches!(error, Error::Adapter { .. }), "{error}");
        assert!(error.to_string().contains("a/model"), "{error}");
    }
}
