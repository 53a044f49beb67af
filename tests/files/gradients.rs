//! The loss and all gradients of a model against those that `scripts/gradients_reference.py` wrote.
#![allow(dead_code)] // each test uses some of it

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};
use clinical_nn::{ADAPTER_CONTAINER, Loss};
use clinical_weights::{FromCheckpoint, KeyMap};
use safetensors::{Dtype, SafeTensors};

/// The largest difference within a tensor, over its largest value; also that of the losses.
const TOLERANCE: f64 = 1e-5;

#[derive(Debug)]
struct Values {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Values {
    fn largest(&self) -> f64 {
        self.values.iter().fold(0.0, |most, x| most.max(x.abs()))
    }
}

/// One file: `loss`, `grad.<name in the checkpoint>`, `batch.<name>`.
pub struct Expected {
    case: String,
    tensors: BTreeMap<String, Values>,
    zeros: &'static [&'static str],
    tolerance: f64,
}

impl Expected {
    pub fn read(dir: &Path, case: &str) -> Self {
        let bytes = std::fs::read(dir.join(format!("{case}.safetensors"))).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.iter().map(|(name, view)| {
            let words = view.data().chunks_exact(4);
            let words = words.map(|word| <[u8; 4]>::try_from(word).unwrap());
            let values = match view.dtype() {
                Dtype::F32 => words.map(|word| f32::from_le_bytes(word).into()).collect(),
                Dtype::I32 => words.map(|word| i32::from_le_bytes(word).into()).collect(),
                other => panic!("{name}: {other:?}"),
            };
            let shape = view.shape().to_vec();
            (name.to_owned(), Values { shape, values })
        });
        Self {
            case: case.to_owned(),
            tensors: tensors.collect(),
            zeros: &[],
            tolerance: TOLERANCE,
        }
    }

    /// Names end so whose gradients are zero in theory, and rounding in practice: they are held against the largest
    /// gradient of the model.
    pub fn with_zeros(mut self, zeros: &'static [&'static str]) -> Self {
        self.zeros = zeros;
        self
    }

    /// Instead of [`TOLERANCE`].
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(&format!("batch.{name}"))
    }

    /// The numbers of the batch under this name, in one row.
    pub fn flat(&self, name: &str) -> &[f64] {
        &self.tensors[&format!("batch.{name}")].values
    }

    /// The rows of the batch under this name.
    pub fn rows(&self, name: &str) -> Vec<Vec<f64>> {
        let width = self.tensors[&format!("batch.{name}")].shape[1];
        self.flat(name).chunks(width).map(<[f64]>::to_vec).collect()
    }

    /// Values under a name of the file's own.
    pub fn values(&self, name: &str) -> Option<&[f64]> {
        self.tensors
            .get(name)
            .map(|values| values.values.as_slice())
    }

    /// [`rows`](Self::rows) without padding.
    pub fn real<T>(&self, name: &str, number: impl Fn(f64) -> T) -> Vec<Vec<T>> {
        let rows = self.rows(name).into_iter().zip(self.flat("lengths"));
        rows.map(|(row, &length)| row.into_iter().take(length as usize).map(&number).collect())
            .collect()
    }

    /// That the loss is the one of the file, and that the parameters which need gradients are those of the file and
    /// have its gradients.
    #[track_caller]
    pub fn check<M: FromCheckpoint>(&self, model: &M, loss: Loss) {
        let case = &self.case;
        let gradients = loss.mean.backward();
        let found = f64::from(loss.mean.into_scalar::<f32>());
        let wanted = self.tensors["loss"].values[0];
        let error = (found - wanted).abs() / wanted.abs();
        assert!(
            error <= self.tolerance,
            "{case}: the loss {found} for {wanted}"
        );

        let mut reader = Reader {
            keys: model.key_map(),
            gradients: Some(gradients),
            names: Vec::new(),
            containers: Vec::new(),
            found: BTreeMap::new(),
        };
        model.visit(&mut reader);
        let expected: BTreeMap<&str, &Values> = self
            .tensors
            .iter()
            .filter_map(|(name, values)| Some((name.strip_prefix("grad.")?, values)))
            .collect();
        let names = reader.found.keys().map(String::as_str);
        assert!(
            names.clone().eq(expected.keys().copied()),
            "{case}: gradients of {:?} for {:?}",
            names.collect::<Vec<_>>(),
            expected.keys()
        );
        let of_all = expected.values().map(|values| values.largest());
        let of_all = of_all.fold(0.0, f64::max);
        for (name, found) in &reader.found {
            let wanted = expected[name.as_str()];
            assert_eq!(found.shape, wanted.shape, "{case}: {name}");
            let zero = self.zeros.iter().any(|end| name.ends_with(end));
            let is_small = wanted.largest() < 1e-6 * of_all;
            assert_eq!(zero, is_small, "{case}: {name} is zero or not");
            let scale = if zero { of_all } else { wanted.largest() };
            let pairs = found.values.iter().zip(&wanted.values);
            let error = pairs.fold(0.0, |worst: f64, (found, wanted)| {
                match (found - wanted).abs() / scale {
                    not_a_number if not_a_number.is_nan() => f64::INFINITY,
                    difference => worst.max(difference),
                }
            });
            assert!(
                error <= self.tolerance,
                "{case}: {name} is off by {error:e}"
            );
        }
    }
}

/// The values of all parameters by their names in a checkpoint, in the order that a checkpoint has them.
pub fn parameters<M: FromCheckpoint>(model: &M) -> BTreeMap<String, Vec<f64>> {
    let mut reader = Reader {
        keys: model.key_map(),
        gradients: None,
        names: Vec::new(),
        containers: Vec::new(),
        found: BTreeMap::new(),
    };
    model.visit(&mut reader);
    let found = reader.found.into_iter();
    found.map(|(name, values)| (name, values.values)).collect()
}

/// Collects the gradients of a module, or its parameters, by the names of checkpoints, in the shapes of checkpoints.
struct Reader {
    keys: KeyMap,
    gradients: Option<Gradients>,
    names: Vec<String>,
    containers: Vec<String>,
    found: BTreeMap<String, Values>,
}

impl Reader {
    /// The name of the parameter in a checkpoint, and whether that has it the other way round.
    fn place(&self) -> (String, bool) {
        let path = self.names.join(".");
        let container = self.containers.last().map_or("", String::as_str);
        if container == ADAPTER_CONTAINER {
            let (layer, factor) = path.split_once(".adapter.").unwrap();
            let name = self.keys.checkpoint_name(&format!("{layer}.weight"));
            let layer = name.strip_suffix("weight").unwrap();
            let factor = factor.to_uppercase();
            return (format!("{layer}lora_{factor}.weight"), true);
        }
        let turned = container == "Struct:Linear"
            && path.ends_with(".weight")
            && !self.keys.is_input_major(&path);
        (self.keys.checkpoint_name(&path), turned)
    }
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.containers.push(container.to_owned());
        // The variant of an enum is no part of a path.
        if !container.starts_with("Enum:") {
            self.names.push(name.to_owned());
        }
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.containers.pop();
        if !container.starts_with("Enum:") {
            self.names.pop();
        }
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (name, turned) = self.place();
        let gradient = match &self.gradients {
            Some(gradients) => {
                let gradient = param.val().grad(gradients);
                assert_eq!(gradient.is_some(), param.is_require_grad(), "{name}");
                gradient
            }
            None => Some(param.val()),
        };
        let Some(gradient) = gradient else {
            return;
        };
        let gradient = match turned {
            true => gradient.swap_dims(0, 1),
            false => gradient,
        };
        let shape = gradient.dims().to_vec();
        let values = gradient.into_data().iter::<f64>().collect();
        let twice = self.found.insert(name.clone(), Values { shape, values });
        assert!(twice.is_none(), "{name} twice");
    }
}
