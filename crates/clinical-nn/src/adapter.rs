//! Low-rank adapters beside dense layers (LoRA, Hu et al. 2021).

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use clinical_kernels::fused::{self, Then};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::{Dropout, Linear};

/// The part `scale (x A) B` beside the weights of a [`Linear`].
///
/// Its parameters have names of their own in the module, `q_proj.adapter.a` beside `q_proj.weight`, so optimizers,
/// records and devices see them. They are no part of a checkpoint: `clinical_weights::AdapterFiles` reads and writes
/// them as `peft` does.
#[derive(Module, Debug)]
pub struct Adapter {
    /// `[d_input, rank]`.
    pub a: Param<Tensor<2>>,
    /// `[rank, d_output]`.
    pub b: Param<Tensor<2>>,
    /// What the product is multiplied by: `alpha / rank`, or `alpha / sqrt(rank)`.
    pub scale: f64,
    /// The share of inputs that are dropped in front of `A` in training, once there is a seed.
    pub dropout: f64,
    /// The seed of this layer's dropout, of [`set_adapter_dropout_seed`]. Without one nothing is dropped.
    #[module(skip)]
    pub dropout_seed: Option<u64>,
}

/// An adapter that cannot be used as wished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The factors are not those of this layer.
    #[error(
        "the adapter of {path} has factors of {a:?} and {b:?}, the layer {d_input} inputs and {d_output} outputs: it \
         belongs to another base model"
    )]
    Shape {
        /// The layer.
        path: String,
        /// The shape of `A`, to be `[d_input, rank]`.
        a: [usize; 2],
        /// The shape of `B`, to be `[rank, d_output]`.
        b: [usize; 2],
        /// Inputs of the layer.
        d_input: usize,
        /// Outputs of the layer.
        d_output: usize,
    },
    /// The adapter's scale is no number.
    #[error("the adapter of {path} has the scale {scale}: give a finite one")]
    Scale {
        /// The layer.
        path: String,
        /// The scale.
        scale: f64,
    },
    /// Packed weights cannot take an adapter in.
    #[error(
        "the weights of {path} are packed, so an adapter cannot become a part of them: load the base model at f32, f16 \
         or bf16, merge, and load the result"
    )]
    Packed {
        /// The layer.
        path: String,
    },
}

impl Adapter {
    /// An adapter that changes nothing yet, for training: `A` uniform between plus and minus `1 / sqrt(d_input)` as
    /// `peft` draws it, from a stream that depends on `seed` and `path` alone, `B` of zeros. In f32, on the layer's
    /// device.
    #[must_use]
    pub fn new(layer: &Linear, path: &str, rank: usize, scale: f64, seed: u64) -> Self {
        let [d_input, d_output] = layer.dims();
        let device = layer.weight.lazy_device();
        let mut random = stream(path, seed);
        let bound = 1.0 / (d_input.max(1) as f64).sqrt();
        // 24 bits, as many as an f32 has.
        let mut draw = || (random.next_u64() >> 40) as f64 / f64::from(1 << 24) * 2.0 - 1.0;
        let values = (0..d_input * rank).map(|_| (draw() * bound) as f32);
        let a = TensorData::new(values.collect::<Vec<f32>>(), [d_input, rank]);
        Self {
            a: Param::from_tensor(Tensor::from_data(a, (&device, DType::F32))),
            b: Param::from_tensor(Tensor::zeros([rank, d_output], (&device, DType::F32))),
            scale,
            dropout: 0.0,
            dropout_seed: None,
        }
    }

    /// Columns of `A` and rows of `B`.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.b.lazy_shape()[0]
    }

    /// `scale (x A) B`, `[rows, d_input]` to `[rows, d_output]` in the type of `x`. With a seed
    /// ([`set_adapter_dropout_seed`]), on a device with autodiff, `A` reads `x` with [`Dropout`].
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let dtype = x.dtype();
        let factor = |factor: &Param<Tensor<2>>| factor.val().cast(dtype);
        let x = match self.dropout_seed {
            Some(seed) => Dropout::new(self.dropout, seed).apply(0, x),
            None => x,
        };
        let low = product(x, factor(&self.a)).mul_scalar(self.scale);
        product(low, factor(&self.b))
    }

    /// `scale A B`, `[d_input, d_output]`: what the adapter adds to the weights.
    #[must_use]
    pub fn delta(&self) -> Tensor<2> {
        product(self.a.val(), self.b.val()).mul_scalar(self.scale)
    }

    fn check(&self, path: &str, [d_input, d_output]: [usize; 2]) -> Result<(), AdapterError> {
        let (a, b) = (self.a.lazy_shape().dims(), self.b.lazy_shape().dims());
        if a[0] != d_input || b[1] != d_output || a[1] != b[0] || b[0] == 0 {
            return Err(AdapterError::Shape {
                path: path.to_owned(),
                a,
                b,
                d_input,
                d_output,
            });
        }
        match self.scale.is_finite() {
            true => Ok(()),
            false => Err(AdapterError::Scale {
                path: path.to_owned(),
                scale: self.scale,
            }),
        }
    }
}

fn product(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    fused::linear(&x, &weight, Then::default())
        .or_else(|| fused::few_rows(&x, &weight))
        .unwrap_or_else(|| x.matmul(weight))
}

/// A number for a path: FNV-1a.
fn path_number(path: &str) -> u64 {
    path.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A stream of its own for each layer, whatever the order in which layers are met.
fn stream(path: &str, seed: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(b"adapter1");
    key[8..16].copy_from_slice(&seed.to_le_bytes());
    key[16..24].copy_from_slice(&path_number(path).to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

impl Linear {
    /// Puts an adapter beside the weights, in the place of one that is there.
    ///
    /// # Errors
    ///
    /// [`AdapterError::Shape`], [`AdapterError::Scale`]; `path` is the layer's name in them.
    pub fn attach(&mut self, path: &str, adapter: Adapter) -> Result<(), AdapterError> {
        adapter.check(path, self.dims())?;
        self.adapter = Some(adapter);
        Ok(())
    }

    /// Adds the adapter to dense weights and subtracts it: `W + scale A B` with the weights' identity, type and need
    /// for gradients. Says whether there was one. The sum is made in f32.
    ///
    /// # Errors
    ///
    /// [`AdapterError::Packed`]; `path` is the layer's name in it. The layer is then unchanged.
    pub fn merge(&mut self, path: &str) -> Result<bool, AdapterError> {
        let Some(adapter) = &self.adapter else {
            return Ok(false);
        };
        if self.is_packed() {
            return Err(AdapterError::Packed {
                path: path.to_owned(),
            });
        }
        let trained = self.weight.is_require_grad();
        let weight = self.weight.val().detach().set_require_grad(false);
        let dtype = weight.dtype();
        let delta = adapter.delta().detach().set_require_grad(false);
        let sum = weight.cast(FloatDType::F32) + delta.cast(FloatDType::F32);
        let weight = Param::initialized(self.weight.id, sum.cast(dtype));
        self.weight = weight.set_require_grad(trained);
        self.adapter = None;
        Ok(true)
    }
}

/// A module whose dense layers can be reached by their paths; see [`linears!`](crate::linears).
pub trait Linears {
    /// Calls `each` with every dense layer and its path in the module, which begins with `path`.
    fn linears(&mut self, path: &str, each: &mut dyn FnMut(&str, &mut Linear));
}

impl Linears for Linear {
    fn linears(&mut self, path: &str, each: &mut dyn FnMut(&str, &mut Linear)) {
        each(path, self);
    }
}

impl<T: Linears> Linears for Option<T> {
    fn linears(&mut self, path: &str, each: &mut dyn FnMut(&str, &mut Linear)) {
        if let Some(part) = self {
            part.linears(path, each);
        }
    }
}

impl<T: Linears> Linears for Vec<T> {
    fn linears(&mut self, path: &str, each: &mut dyn FnMut(&str, &mut Linear)) {
        for (number, part) in self.iter_mut().enumerate() {
            part.linears(&joined(path, &number.to_string()), each);
        }
    }
}

/// Two parts of a path.
#[doc(hidden)]
#[must_use]
pub fn joined(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        _ => format!("{path}.{name}"),
    }
}

/// Makes a module [`Linears`](crate::Linears): names its fields that are dense layers, or hold some.
///
/// ```
/// use burn::module::Module;
/// use clinical_nn::{Linear, Linears, linears};
///
/// #[derive(Module, Debug)]
/// struct Gate {
///     up: Linear,
///     down: Option<Linear>,
/// }
/// linears!(Gate: up, down);
///
/// let device = clinical_kernels::cpu();
/// let mut layers = vec![Gate { up: Linear::new(2, 4, false, 0.1, &device), down: None }];
/// let mut paths = Vec::new();
/// layers.linears("layers", &mut |path, _| paths.push(path.to_owned()));
/// assert_eq!(paths, ["layers.0.up"]);
/// ```
#[macro_export]
macro_rules! linears {
    ($module:ty: $($field:ident),+ $(,)?) => {
        impl $crate::Linears for $module {
            fn linears(&mut self, path: &str, each: &mut dyn FnMut(&str, &mut $crate::Linear)) {
                $($crate::Linears::linears(&mut self.$field, &$crate::joined(path, stringify!($field)), each);)+
            }
        }
    };
}

/// Makes all adapters of a module a part of its weights, and says how many there were.
///
/// # Errors
///
/// [`AdapterError::Packed`]; the module is then unchanged.
pub fn merge_adapters(model: &mut impl Linears) -> Result<usize, AdapterError> {
    let mut problem = None;
    model.linears("", &mut |path, layer| {
        if layer.adapter.is_some() && layer.is_packed() && problem.is_none() {
            problem = Some(AdapterError::Packed {
                path: path.to_owned(),
            });
        }
    });
    let mut merged = 0;
    model.linears("", &mut |path, layer| {
        if problem.is_none() {
            match layer.merge(path) {
                Ok(there) => merged += usize::from(there),
                Err(error) => problem = Some(error),
            }
        }
    });
    problem.map_or(Ok(merged), Err)
}

/// Gives the dropout of all adapters of a module a seed, and each layer a mask of its own: a function of `seed` and the
/// layer's path. Call it before every step ([`Dropout::seed_of`]); `None` stops dropping.
///
/// How much is dropped is [`Adapter::dropout`]. A layer that runs twice in one pass drops the same values twice. A
/// clone of a module shares its parameters, so a replica that is borrowed can be cloned, given its seed and
/// differentiated; the gradients are those of the original.
pub fn set_adapter_dropout_seed(model: &mut impl Linears, seed: impl Into<Option<u64>>) {
    let seed = seed.into();
    model.linears("", &mut |path, layer| {
        if let Some(adapter) = &mut layer.adapter {
            adapter.dropout_seed = seed.map(|seed| Dropout::seed_of(&[seed, path_number(path)]));
        }
    });
}

/// Removes all adapters of a module, and gives them back with the paths of their layers.
pub fn detach_adapters(model: &mut impl Linears) -> Vec<(String, Adapter)> {
    let mut all = Vec::new();
    model.linears("", &mut |path, layer| {
        all.extend(
            layer
                .adapter
                .take()
                .map(|adapter| (path.to_owned(), adapter)),
        );
    });
    all
}

/// The name of the container that visitors meet around the parameters of an [`Adapter`].
pub const ADAPTER_CONTAINER: &str = "Struct:Adapter";

/// The paths of the dense layers of a module that have an adapter.
#[must_use]
pub fn adapted_layers<M: Module>(model: &M) -> Vec<String> {
    let factors = paths(model, ADAPTER_CONTAINER, "a");
    let layer = |path: &String| path.trim_end_matches(".adapter").to_owned();
    factors.iter().map(layer).collect()
}

/// The paths of all dense layers of a module, whether it is [`Linears`] or not.
#[must_use]
pub fn dense_layers<M: Module>(model: &M) -> Vec<String> {
    paths(model, "Struct:Linear", "weight")
}

/// The paths of the containers of this kind, each of which has a field of this name.
fn paths<M: Module>(model: &M, container: &str, field: &str) -> Vec<String> {
    struct Finder<'a> {
        wanted: [&'a str; 2],
        names: Vec<String>,
        found: Vec<String>,
    }

    impl ModuleVisitor for Finder<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            if [container, name] == self.wanted {
                self.found.push(self.names.join("."));
            }
            // The variant of an enum is no part of a path.
            if !container.starts_with("Enum:") {
                self.names.push(name.to_owned());
            }
        }

        fn exit_module(&mut self, _: &str, container: &str) {
            if !container.starts_with("Enum:") {
                self.names.pop();
            }
        }
    }

    let mut finder = Finder {
        wanted: [container, field],
        names: Vec::new(),
        found: Vec::new(),
    };
    model.visit(&mut finder);
    finder.found
}

/// The module with its adapters trained and everything else frozen.
#[must_use]
pub fn train_adapters_only<M: Module>(model: M) -> M {
    struct Freeze {
        inside: usize,
    }

    impl ModuleMapper for Freeze {
        fn enter_module(&mut self, _: &str, container: &str) {
            self.inside += usize::from(container == ADAPTER_CONTAINER);
        }

        fn exit_module(&mut self, _: &str, container: &str) {
            self.inside -= usize::from(container == ADAPTER_CONTAINER);
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.set_require_grad(self.inside > 0)
        }
    }

    model.map(&mut Freeze { inside: 0 })
}

#[cfg(test)]
mod tests;
