//! The tiny model of `scripts/make_weight_fixtures.py`, and the values that must arrive in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Initializer, Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Int, Tensor};
use clinical_weights::{FromCheckpoint, KeyMap};

/// `[d_input, d_output]`, as `clinical-nn` has it.
#[derive(Module, Debug)]
pub struct Linear {
    pub weight: Param<Tensor<2>>,
    pub bias: Option<Param<Tensor<1>>>,
}

#[derive(Module, Debug)]
pub struct Embedding {
    pub weight: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
pub struct Norm {
    pub weight: Param<Tensor<1>>,
}

/// An enum between the layers and their parameters: variants are no part of the names.
#[derive(Module, Debug)]
pub enum Dense {
    Plain(Linear),
}

#[derive(Module, Debug)]
pub struct Layer {
    pub dense: Dense,
    pub norm: Norm,
}

#[derive(Module, Debug)]
pub struct Encoder {
    pub block: Vec<Layer>,
}

#[derive(Module, Debug)]
pub struct Tiny {
    pub shared: Embedding,
    pub encoder: Encoder,
    pub lm_head: Option<Linear>,
    pub scale: Param<Tensor<1>>,
    pub ids: Param<Tensor<1, Int>>,
    #[module(skip)]
    pub legacy_names: bool,
}

impl Tiny {
    pub fn new(tied: bool) -> Self {
        Self::sized(tied, 7, &clinical_kernels::cpu())
    }

    /// Nothing is allocated, whatever the vocabulary.
    pub fn sized(tied: bool, vocabulary: usize, device: &Device) -> Self {
        let normal = Initializer::Normal {
            mean: 0.0,
            std: 1.0,
        };
        let linear = |d_output, bias: bool| Linear {
            weight: normal.init([4, d_output], device),
            bias: bias.then(|| normal.init([d_output], device)),
        };
        Self {
            shared: Embedding {
                weight: normal.init([vocabulary, 4], device),
            },
            encoder: Encoder {
                block: (0..2)
                    .map(|_| Layer {
                        dense: Dense::Plain(linear(6, true)),
                        norm: Norm {
                            weight: normal.init([4], device),
                        },
                    })
                    .collect(),
            },
            lm_head: (!tied).then(|| linear(vocabulary, false)),
            scale: normal.init([1], device),
            ids: Param::initialized(ParamId::new(), Tensor::zeros([5], device)),
            legacy_names: false,
        }
    }

    pub fn legacy(mut self) -> Self {
        self.legacy_names = true;
        self
    }
}

impl FromCheckpoint for Tiny {
    fn key_map(&self) -> KeyMap {
        let keys = KeyMap::new();
        let keys = if self.legacy_names {
            keys.accept("model.**", "**")
                .accept("**.gamma", "**.weight")
                .ignore("**.inv_freq")
        } else {
            keys
        };
        match self.lm_head {
            Some(_) => keys,
            None => keys.tied(&[
                "shared.weight",
                "encoder.embed_tokens.weight",
                "decoder.embed_tokens.weight",
                "lm_head.weight",
            ]),
        }
    }
}

pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// Tensor name to values, as the named type holds them.
pub fn expected(dtype: &str) -> BTreeMap<String, Vec<f32>> {
    let text = std::fs::read_to_string(data("expected.json")).unwrap();
    let mut all: BTreeMap<String, BTreeMap<String, Vec<f32>>> =
        serde_json::from_str(&text).unwrap();
    all.remove(dtype).unwrap()
}

/// Every parameter of a module under its checkpoint name, matrices of `Linear` back in `[d_output, d_input]`.
pub fn values<M: Module>(module: &M) -> BTreeMap<String, Vec<f32>> {
    struct Reader(Vec<String>, Vec<String>, BTreeMap<String, Vec<f32>>);
    impl Reader {
        fn name(&self) -> String {
            self.0.join(".")
        }
    }
    impl ModuleVisitor for Reader {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.1.push(container.to_owned());
            if !container.starts_with("Enum:") {
                self.0.push(name.to_owned());
            }
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            self.1.pop();
            if !container.starts_with("Enum:") {
                self.0.pop();
            }
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let is_linear = D == 2 && self.1.last().unwrap() == "Struct:Linear";
            let tensor = param.val();
            let tensor = if is_linear {
                tensor.swap_dims(0, 1)
            } else {
                tensor
            };
            let values = tensor.into_data().convert::<f32>().try_to_vec().unwrap();
            self.2.insert(self.name(), values);
        }
        fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
            let values = param
                .val()
                .into_data()
                .convert::<f32>()
                .try_to_vec()
                .unwrap();
            self.2.insert(self.name(), values);
        }
    }
    let mut reader = Reader(Vec::new(), Vec::new(), BTreeMap::new());
    module.visit(&mut reader);
    reader.2
}
