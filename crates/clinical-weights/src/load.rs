//! Filling a module, one parameter at a time.

use std::path::Path;
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{AllocationProperty, Bool, Bytes, Device, Int, Tensor, TensorData};

use clinical_kernels::{Packed, PackedMatrix, Packing};

use crate::ahead::Ahead;
use crate::checkpoint::Checkpoint;
use crate::convert::{self, Layout};
use crate::options::Progress;
use crate::plan::{Plan, Step, plan as make_plan};
use crate::slots::Position;
use crate::table::{Values, WeightBytes};
use crate::{CheckpointDir, Error, KeyMap, LoadOptions, LoadReport};
use clinical_files::shown;

/// A module that knows the names its parameters have in published checkpoints.
pub trait FromCheckpoint: Module {
    /// The map from a checkpoint's names to this module's. It may depend on the module: on whether its embeddings are
    /// tied, for example.
    fn key_map(&self) -> KeyMap;
}

/// Fills a module from a directory.
///
/// Everything is checked before memory is taken: the files against their headers, the names and shapes against the
/// module, the bytes of all parameters against the files and the caller's limit. Then tensors are read one by one, so
/// the peak is the model, the largest tensor and a few megabytes. On an error the module is unchanged.
///
/// Parameters stay on the device where the module was made. A module whose parameters have not been used yet (as
/// `config.init(&device)` leaves them) is never allocated with its initial values.
///
/// # Errors
///
/// Everything in [`Error`]; with [`LoadOptions::strict`] also [`Error::DoesNotFit`] with the whole report when a
/// parameter has no tensor, a tensor no parameter (unless the key map ignores it), or two shapes differ. Whatever
/// `strict` says, a checkpoint that has less than half of the model's values is [`Error::HardlyAny`]: the rest would be
/// noise.
pub fn load<M: FromCheckpoint>(
    model: &mut M,
    dir: impl AsRef<Path>,
    options: &LoadOptions,
) -> Result<LoadReport, Error> {
    let dir = CheckpointDir::open_with(dir.as_ref(), options.allow_links)?;
    load_from(model, &model.key_map(), &dir.weights()?, options)
}

/// Fills a module from a safetensors file in memory, an embedded one for example.
///
/// Values that need no conversion are used where they are when their alignment allows it.
///
/// # Errors
///
/// Those of [`load`].
pub fn load_bytes<M: FromCheckpoint>(
    model: &mut M,
    safetensors: impl Into<WeightBytes>,
    options: &LoadOptions,
) -> Result<LoadReport, Error> {
    let checkpoint = Checkpoint::from_bytes(safetensors)?;
    load_from(model, &model.key_map(), &checkpoint, options)
}

/// Fills any module from opened weights by any key map: what [`load`] and [`load_bytes`] do.
///
/// # Errors
///
/// Those of [`load`].
pub fn load_from<M: Module>(
    model: &mut M,
    keys: &KeyMap,
    checkpoint: &Checkpoint,
    options: &LoadOptions,
) -> Result<LoadReport, Error> {
    clinical_kernels::check_level()?;
    let Plan {
        steps,
        report,
        bytes,
        values,
    } = make_plan(model, keys, checkpoint, options)?;
    if values.is_little() {
        return Err(Error::HardlyAny {
            found: values.found,
            wanted: values.wanted,
            report: Box::new(report),
        });
    }
    let span = tracing::debug_span!("load_weights", chosen = report.chosen, bytes);
    let _entered = span.enter();
    std::thread::scope(|scope| {
        let mut loader = Loader {
            position: Position::default(),
            ahead: Ahead::start(scope, &report.applied, &steps),
            steps,
            checkpoint,
            options,
            report,
            read: 0,
            total: bytes,
            error: None,
        };
        // A clone shares the parameters, initialised or not, so this copies no values; and a failure leaves the
        // original.
        let loaded = model.clone().map(&mut loader);
        match loader.error {
            Some(error) => Err(error),
            None => {
                *model = loaded;
                Ok(loader.report)
            }
        }
    })
}

/// What [`load_from`] would do, without reading any value (except to compare tied ones).
///
/// # Errors
///
/// Those of [`load_from`] that do not come from reading values. With `strict` off in `options`, what does not fit is
/// in the report instead.
pub fn plan<M: Module>(
    model: &M,
    keys: &KeyMap,
    checkpoint: &Checkpoint,
    options: &LoadOptions,
) -> Result<LoadReport, Error> {
    Ok(make_plan(model, keys, checkpoint, options)?.report)
}

/// What a floating point parameter is filled with; it lives for a moment only.
#[allow(clippy::large_enum_variant)]
enum Value<const D: usize> {
    Tensor(Tensor<D>),
    Packed(Arc<PackedMatrix>, bool),
}

struct Loader<'c> {
    position: Position,
    steps: std::collections::HashMap<String, Step<'c>>,
    ahead: Ahead,
    checkpoint: &'c Checkpoint,
    options: &'c LoadOptions,
    report: LoadReport,
    read: u64,
    total: u64,
    /// The first failure. Nothing is read after it.
    error: Option<Error>,
}

impl<'c> Loader<'c> {
    /// Runs `read` for the parameter at this index, if a tensor fills it.
    fn fill<T>(
        &mut self,
        read: impl FnOnce(&mut Self, &str, &Step<'c>, Values<'c>) -> std::io::Result<T>,
    ) -> Option<T> {
        if self.error.is_some() {
            return None;
        }
        let path = self.position.path()?;
        let step = self.steps.remove(&path)?;
        let checkpoint = self.checkpoint;
        let values = match self.ahead.take(&path) {
            Some(bytes) => bytes.map(Values::Owned),
            None => checkpoint.values(step.entry),
        };
        let result = values.and_then(|values| read(self, &path, &step, values));
        match result {
            Ok(value) => {
                self.read = (self.read + step.entry.info.bytes).min(self.total);
                if let Some(progress) = &self.options.progress {
                    progress(&Progress {
                        parameter: &path,
                        bytes: self.read,
                        total: self.total,
                    });
                }
                Some(value)
            }
            Err(source) => {
                self.error = Some(Error::ReadTensor {
                    name: shown(&step.entry.info.name),
                    source,
                });
                None
            }
        }
    }

    /// Reads a matrix into its packed form. Only matrices whose shape has been checked are packed.
    fn packed(
        &mut self,
        path: &str,
        step: &Step<'_>,
        values: &Values<'_>,
        format: Packing,
    ) -> std::io::Result<Arc<PackedMatrix>> {
        let info = &step.entry.info;
        let &[first, second] = info.shape.as_slice() else {
            return Err(std::io::ErrorKind::InvalidInput.into());
        };
        let (outputs, inputs) = match step.input_major {
            true => (second, first),
            false => (first, second),
        };
        let pack = match step.is_turned() {
            true => convert::packed_turned,
            false => convert::packed,
        };
        let (matrix, lost) = pack(values, info.dtype, format, outputs, inputs)?;
        if lost > 0 {
            self.report.overflowed.push((path.to_owned(), lost));
        }
        Ok(Arc::new(matrix))
    }

    fn floats<const D: usize>(
        &mut self,
        path: &str,
        step: &Step<'_>,
        values: Values<'_>,
        shape: [usize; D],
        device: &Device,
    ) -> std::io::Result<Tensor<D>> {
        let Some(dtype) = step.float else {
            return Err(std::io::ErrorKind::InvalidInput.into());
        };
        let from = step.entry.info.dtype;
        // A file that holds the module's own order needs neither a transposition nor a view.
        let turned = step.is_turned();
        let transposed = step.transposed != turned;
        let layout = self.options.linear_layout;
        let view = transposed && !turned && layout.is_output_major(device, dtype);
        // The shape in memory before the view.
        let mut stored = shape.to_vec();
        if view {
            stored.reverse();
        }
        let keep = convert::is_same(from, dtype) && (!transposed || view);
        let data = match values {
            Values::Owned(bytes) if keep => {
                tensor_data(Bytes::from_bytes_vec(bytes), &stored, dtype)?
            }
            Values::Shared { bytes, file, .. }
                if keep && bytes.as_ptr().addr().is_multiple_of(dtype.size()) =>
            {
                let property = match file {
                    Some(_) => AllocationProperty::File,
                    None => AllocationProperty::Other,
                };
                tensor_data(Bytes::from_shared(bytes, property), &stored, dtype)?
            }
            values => {
                let layout = if transposed && !view {
                    // `[d_input, d_output]` in the module: the file has the rows of the other.
                    Layout::Transposed {
                        rows: shape[1],
                        columns: shape[0],
                    }
                } else {
                    Layout::Same {
                        elements: shape.iter().product(),
                    }
                };
                let (data, lost) = convert::floats(&values, from, dtype, layout, &stored)?;
                if lost > 0 {
                    self.report.overflowed.push((path.to_owned(), lost));
                }
                data
            }
        };
        let tensor = Tensor::<D>::from_data(data, (device, dtype));
        Ok(if view { tensor.swap_dims(0, 1) } else { tensor })
    }
}

fn tensor_data(
    bytes: Bytes,
    shape: &[usize],
    dtype: burn::tensor::DType,
) -> std::io::Result<TensorData> {
    TensorData::try_from_bytes(bytes, shape.to_vec(), dtype)
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.position.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.position.exit(container_type);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (shape, device) = (param.lazy_shape().dims(), param.lazy_device());
        let value = self.fill(|loader, path, step, values| match step.packing {
            Some(format) => loader
                .packed(path, step, &values, format)
                .map(|matrix| Value::Packed(matrix, step.transposed)),
            None => loader
                .floats::<D>(path, step, values, shape, &device)
                .map(Value::Tensor),
        });
        match value {
            Some(Value::Tensor(tensor)) => {
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Some(Value::Packed(matrix, transposed)) => Packed::attach(param, matrix, transposed),
            None => param,
        }
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        let (shape, device) = (param.lazy_shape(), param.lazy_device());
        let tensor = self.fill(|_, _, step, values| {
            let dtype = device.settings().int_dtype.into();
            let data = convert::integers(&values, step.entry.info.dtype, dtype, shape.as_slice())?;
            Ok(Tensor::<D, Int>::from_data(data, &device))
        });
        match tensor {
            Some(tensor) => {
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            None => param,
        }
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        let (shape, device) = (param.lazy_shape(), param.lazy_device());
        let tensor = self.fill(|_, _, step, values| {
            let data = convert::truths(&values, step.entry.info.dtype, shape.as_slice())?;
            Ok(Tensor::<D, Bool>::from_data(data, &device))
        });
        match tensor {
            Some(tensor) => {
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            None => param,
        }
    }
}
