//! Layers that are computed twice: the same loss and gradients, and less memory.

#[path = "../../../tests/files/memory.rs"]
#[allow(dead_code)] // its bounds are those for hostile files
mod memory;

use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};
use clinical_bert::{BertConfig, BertDropout, BertModel, Row, Targets};
use clinical_llama::{Llama, LlamaConfig};
use clinical_nn::{Adapter, Dropout, Linears, Loss, set_adapter_dropout_seed, train_adapters_only};
use clinical_t5::{Seq2SeqBatch, T5, T5Config};
use clinical_weights::{LoadOptions, load};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The loss, and the gradients of all parameters in order, with the first name of their paths.
fn found<M: Module>(model: &M, loss: &Loss) -> Vec<(String, Vec<f32>)> {
    struct Reader {
        gradients: Gradients,
        names: Vec<String>,
        found: Vec<(String, Vec<f32>)>,
    }

    impl ModuleVisitor for Reader {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.names.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.names.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad(&self.gradients);
            assert_eq!(gradient.is_some(), param.is_require_grad());
            if let Some(gradient) = gradient {
                let values = gradient.into_data().iter::<f32>().collect();
                self.found.push((self.names[0].clone(), values));
            }
        }
    }

    let mut reader = Reader {
        gradients: loss.mean.backward(),
        names: Vec::new(),
        found: Vec::new(),
    };
    model.visit(&mut reader);
    let loss = vec![loss.mean.clone().into_scalar::<f32>()];
    reader.found.push(("loss".to_owned(), loss));
    reader.found
}

/// Adapters on all dense layers of a model, which alone are trained; they drop inputs.
fn adapted<M: Module + Linears>(mut model: M, rank: usize) -> M {
    model.linears("", &mut |path, layer| {
        let mut adapter = Adapter::new(layer, path, rank, 2.0, 7);
        adapter.dropout = 0.2;
        let b = adapter.b.val();
        let values = (0..b.shape().num_elements()).map(|i| (i as f32).sin());
        let values = TensorData::new(values.collect::<Vec<f32>>(), b.shape());
        adapter.b = Param::from_data(values, &b.device());
        layer.attach(path, adapter).unwrap();
    });
    let mut model = train_adapters_only(model);
    set_adapter_dropout_seed(&mut model, 3);
    model
}

fn t5(case: &str) -> T5 {
    let dir = folder("clinical-t5/tests/data").join(case);
    let config = T5Config::from_file(dir.join("config.json")).unwrap();
    let mut model = config.init(&clinical_kernels::cpu()).unwrap();
    load(&mut model, &dir, &LoadOptions::new()).unwrap();
    model.train().with_dropout(Dropout::new(0.1, 5))
}

fn t5_loss(model: &T5) -> Loss {
    let inputs: [&[u32]; 2] = [&[5, 9, 30, 31, 32, 7, 1], &[8, 40, 1]];
    let targets: [&[u32]; 2] = [&[11, 12, 1], &[13, 14, 15, 16, 1]];
    let batch = Seq2SeqBatch::from_rows(&inputs, &targets, 0, &model.device());
    model.loss(&batch).unwrap()
}

/// The decoder's gradients are the same, bit for bit. That of the encoder's states is a sum over the layers of the
/// decoder, which Burn takes in the order in which it walks through a graph, from the first layer on, and here is taken
/// from the last layer on: what comes of it agrees but for rounding.
#[test]
fn t5_has_the_same_gradients() {
    for case in ["v1_0", "v1_1", "uneven"] {
        for adapters in [false, true] {
            let mut model = t5(case);
            if adapters {
                model = adapted(model, 2);
            }
            let kept = found(&model, &t5_loss(&model));
            model.set_recompute(true);
            let again = found(&model, &t5_loss(&model));
            assert_eq!(again.len(), kept.len());
            for ((part, again), (other, kept)) in again.iter().zip(&kept) {
                assert_eq!(part, other);
                if part == "decoder" || part == "loss" {
                    assert!(again == kept, "{case} {adapters}: {part}");
                    continue;
                }
                let apart = again.iter().zip(kept).map(|(a, b)| (a - b).abs());
                let apart = apart.fold(0.0, f32::max);
                let largest = kept.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                assert!(
                    apart <= 1e-5 * largest,
                    "{case} {adapters}: {part}, {apart} of {largest}"
                );
            }
        }
    }
}

fn llama_loss(model: &Llama) -> Loss {
    let ids: [&[u32]; 2] = [&[1, 7, 9, 20, 21, 22, 2], &[1, 8, 30, 31, 2]];
    let labels = ids.map(|row| Llama::labels_after(row, 2));
    model
        .loss(&ids, &labels.each_ref().map(Vec::as_slice))
        .unwrap()
}

#[test]
fn llama_has_the_same_gradients() {
    for case in ["gqa", "tied", "bias"] {
        for adapters in [false, true] {
            let dir = folder("clinical-llama/tests/data").join(case);
            let config = LlamaConfig::from_file(dir.join("config.json")).unwrap();
            let mut model = config.init(&clinical_kernels::cpu()).unwrap();
            load(&mut model, &dir, &LoadOptions::new()).unwrap();
            let mut model = model.train();
            if adapters {
                model = adapted(model, 2);
            }
            let kept = found(&model, &llama_loss(&model));
            model.set_recompute(true);
            assert!(
                found(&model, &llama_loss(&model)) == kept,
                "{case} {adapters}"
            );
        }
    }
}

fn bert_loss(model: &BertModel) -> Loss {
    let ids: [&[u32]; 2] = [&[2, 7, 9, 20, 21, 22, 3], &[2, 8, 3]];
    let rows = ids.map(|ids| Row { ids, types: &[] });
    let labels = [vec![-100, 2, -100, 0, -100, 3, -100], vec![-100, 1, -100]];
    model.loss(&rows, Targets::Tokens(&labels)).unwrap()
}

#[test]
fn bert_has_the_same_gradients() {
    for case in ["bert_token", "roberta_token", "megatron_token"] {
        for adapters in [false, true] {
            let dir = folder("clinical-bert/tests/data").join(case);
            let config = BertConfig::from_file(dir.join("config.json")).unwrap();
            let mut dropout = BertDropout::of(&config);
            dropout.seed = Some(4);
            let mut model = config.init(&clinical_kernels::cpu()).unwrap();
            load(&mut model, &dir, &LoadOptions::new()).unwrap();
            let mut model = model.train();
            model.set_dropout(dropout);
            if adapters {
                model = adapted(model, 2);
            }
            let kept = found(&model, &bert_loss(&model));
            model.set_recompute(true);
            assert!(
                found(&model, &bert_loss(&model)) == kept,
                "{case} {adapters}"
            );
        }
    }
}

/// The highest point of a step of a model of eight layers.
#[test]
fn a_step_takes_less_memory() {
    let mut config = LlamaConfig::llama_1b();
    config.vocab_size = 40;
    (config.hidden_size, config.intermediate_size) = (64, 192);
    config.num_hidden_layers = 8;
    (
        config.num_attention_heads,
        config.num_key_value_heads,
        config.head_dim,
    ) = (4, 2, 16);
    let device = clinical_kernels::cpu().autodiff();
    let ids: Vec<u32> = (0..512).map(|i| 3 + i % 30).collect();
    let labels: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
    let mut model = config.init(&device).unwrap();
    let step = |model: &Llama| {
        let loss = model.loss(&[&ids], &[&labels]).unwrap();
        drop(loss.mean.backward());
    };
    // What is used again and again is there after the first time.
    step(&model);
    let (_, kept) = memory::measure(|| step(&model));
    model.set_recompute(true);
    let (_, again) = memory::measure(|| step(&model));
    let [kept, again] = [kept, again].map(|cost| cost.bytes);
    assert!(2 * again < kept, "{again} bytes for {kept}");
}
