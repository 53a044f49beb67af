//! Writing a module as one safetensors file that Python reads.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, DType, Int, Tensor, TensorData};
use clinical_kernels::Packed;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::slots::{Position, REPARAMETERIZATION};
use crate::{Error, FromCheckpoint, KeyMap};

/// Writes all parameters of a module, under the names and in the layout of published checkpoints, to `path`.
///
/// The file is written beside its place and renamed when it is complete, so a failure leaves what was there before.
/// Values are fetched one tensor at a time.
///
/// # Errors
///
/// [`Error::Write`], [`Error::Unwritable`] for quantised parameters, [`Error::KeyMap`].
pub fn save_safetensors<M: FromCheckpoint>(model: &M, path: impl AsRef<Path>) -> Result<(), Error> {
    save_module(model, &model.key_map(), path.as_ref())
}

/// [`save_safetensors`] for any module and key map.
///
/// # Errors
///
/// Those of [`save_safetensors`].
pub fn save_module<M: Module>(model: &M, keys: &KeyMap, path: &Path) -> Result<(), Error> {
    let tensors = collect(model, keys)?;
    clinical_files::replace_file(path, |file| write(file, path, tensors))
}

pub(crate) fn failed(path: &Path, detail: &dyn std::fmt::Display) -> Error {
    Error::Write {
        path: path.to_owned(),
        detail: detail.to_string(),
    }
}

/// All parameters of a module in the spelling of checkpoints; values are fetched when they are written.
pub(crate) fn collect<M: Module>(model: &M, keys: &KeyMap) -> Result<Vec<Saved>, Error> {
    keys.check()?;
    if let Some(layer) = clinical_nn::adapted_layers(model).into_iter().next() {
        return Err(Error::AdapterInModel { layer });
    }
    let mut collector = Collector {
        position: Position::default(),
        keys,
        tensors: Vec::new(),
    };
    model.visit(&mut collector);
    for tensor in &collector.tensors {
        safetensors_dtype(tensor)?;
    }
    Ok(collector.tensors)
}

/// Writes one file.
/// Writes the tensors into the file, whose name is for errors.
pub(crate) fn write(file: &mut File, path: &Path, mut tensors: Vec<Saved>) -> Result<(), Error> {
    // Larger elements first, as the format's own writer does: every tensor is then aligned.
    tensors.sort_by(|a, b| {
        b.dtype
            .size()
            .cmp(&a.dtype.size())
            .then(a.name.cmp(&b.name))
    });
    let mut end = 0;
    let infos = tensors
        .iter()
        .map(|tensor| {
            let start = end;
            end += tensor.bytes() as usize;
            let info = TensorInfo {
                dtype: safetensors_dtype(tensor)?,
                shape: tensor.shape.clone(),
                data_offsets: (start, end),
            };
            Ok((tensor.name.clone(), info))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    // Python's transformers insists on this entry.
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata =
        Metadata::new(Some(format), infos.clone()).map_err(|error| failed(path, &error))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|error| failed(path, &error))?;
    header.resize(header.len().next_multiple_of(8), b' ');

    let failed = |error: &dyn std::fmt::Display| failed(path, error);
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut put = |bytes: &[u8]| out.write_all(bytes).map_err(|error| failed(&error));
    put(&(header.len() as u64).to_le_bytes())?;
    put(&header)?;
    for (tensor, (_, info)) in tensors.iter().zip(infos) {
        let data = (tensor.read)().map_err(|error| failed(&error))?;
        if data.bytes().len() != info.data_offsets.1 - info.data_offsets.0 {
            let name = clinical_files::shown(&tensor.name);
            return Err(failed(&format!("{name} has an unexpected number of bytes")));
        }
        put(data.bytes())?;
    }
    out.flush().map_err(|error| failed(&error))
}

/// One parameter, whose values are fetched when they are written.
pub(crate) struct Saved {
    name: String,
    dtype: DType,
    /// As checkpoints have it.
    shape: Vec<usize>,
    /// Whether packed weights stand in for its values.
    packed: bool,
    read: Box<dyn Fn() -> Result<TensorData, String>>,
}

impl Saved {
    /// Values that are there already.
    pub(crate) fn of(name: String, data: TensorData) -> Self {
        Self {
            name,
            dtype: data.dtype(),
            shape: data.shape().to_vec(),
            packed: false,
            read: Box::new(move || Ok(data.clone())),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn bytes(&self) -> u64 {
        let elements: usize = self.shape.iter().product();
        elements as u64 * self.dtype.size() as u64
    }

    /// The name that `transformers` has for a float type.
    pub(crate) fn torch_dtype(&self) -> Option<&'static str> {
        match self.dtype {
            DType::F32 => Some("float32"),
            DType::F16 => Some("float16"),
            DType::BF16 => Some("bfloat16"),
            _ => None,
        }
    }
}

fn safetensors_dtype(tensor: &Saved) -> Result<Dtype, Error> {
    if tensor.packed {
        return Err(Error::Unwritable {
            name: tensor.name.clone(),
            dtype: "packed weights".to_owned(),
        });
    }
    Ok(match tensor.dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        DType::Bool(burn::tensor::BoolStore::Native | burn::tensor::BoolStore::U8) => Dtype::BOOL,
        other => {
            return Err(Error::Unwritable {
                name: tensor.name.clone(),
                dtype: format!("{other:?}"),
            });
        }
    })
}

struct Collector<'k> {
    position: Position,
    keys: &'k KeyMap,
    tensors: Vec<Saved>,
}

impl Collector<'_> {
    fn add(
        &mut self,
        dtype: DType,
        shape: Vec<usize>,
        read: impl Fn() -> Result<TensorData, String> + 'static,
    ) {
        if let Some(path) = self.position.path() {
            self.tensors.push(Saved {
                name: self.keys.checkpoint_name(&path),
                dtype,
                shape,
                packed: false,
                read: Box::new(read),
            });
        }
    }
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.position.enter(name, container_type);
        // What is attached to a parameter comes right after it.
        if container_type == REPARAMETERIZATION
            && name == Packed::NAME
            && let Some(tensor) = self.tensors.last_mut()
        {
            tensor.packed = true;
        }
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.position.exit(container_type);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let path = self.position.path().unwrap_or_default();
        let turned = self.position.is_linear_weight(D) && !self.keys.is_input_major(&path);
        let tensor = if turned {
            tensor.swap_dims(0, 1)
        } else {
            tensor
        };
        self.add(tensor.dtype(), tensor.dims().to_vec(), move || {
            tensor
                .clone()
                .try_into_data()
                .map_err(|error| error.to_string())
        });
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let tensor = param.val();
        self.add(tensor.dtype(), tensor.dims().to_vec(), move || {
            tensor
                .clone()
                .try_into_data()
                .map_err(|error| error.to_string())
        });
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        let tensor = param.val();
        self.add(tensor.dtype(), tensor.dims().to_vec(), move || {
            tensor
                .clone()
                .try_into_data()
                .map_err(|error| error.to_string())
        });
    }
}
