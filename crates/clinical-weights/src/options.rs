//! What a caller may choose about loading.

use std::fmt;
use std::sync::Arc;

use burn::tensor::{DType, Device};
use clinical_kernels::Packing;

/// The type that floating point weights have in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floats, whatever the file holds. The reference: results equal those of `transformers` in f32.
    #[default]
    F32,
    /// IEEE half precision for weights and activations: half the memory. Values beyond 65,504 become infinite; the
    /// report counts them. Meant for GPUs.
    F16,
    /// Brain floating point for weights and activations: half the memory, the range of f32. Meant for GPUs: Burn's CPU
    /// backend converts every weight again at every product.
    BF16,
    /// Matrices kept in IEEE half precision, multiplied by f32 activations and summed in f32. Meant for CPUs.
    StoredF16,
    /// Matrices kept in brain floating point, multiplied by f32 activations and summed in f32. Meant for CPUs.
    StoredBF16,
    /// Matrices as 8-bit integers in blocks of 32 with a scale each; activations become 8-bit integers on the way.
    /// Parameters that a model marks ([`PackingPolicy::outliers`](crate::PackingPolicy::outliers),
    /// [`PackingPolicy::sensitive`](crate::PackingPolicy::sensitive)) meet 16-bit activations.
    Int8,
    /// Matrices as 4-bit integers in blocks of 32 with a scale and a zero point each. Embedding tables, output layers
    /// ([`PackingPolicy::eight_bits`](crate::PackingPolicy::eight_bits)) and parameters marked as above are as in
    /// [`Self::Int8`].
    Int4,
}

impl Precision {
    const ALL: [Self; 7] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::StoredF16,
        Self::StoredBF16,
        Self::Int8,
        Self::Int4,
    ];

    /// The name that examples use: `f32`, `f16`, `bf16`, `stored-f16`, `stored-bf16`, `int8`, `int4`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::StoredF16 => "stored-f16",
            Self::StoredBF16 => "stored-bf16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }

    /// Burn's type of the parameters, `None` where matrices are packed and the rest is f32.
    #[must_use]
    pub fn dtype(self) -> Option<DType> {
        match self {
            Self::F32 => Some(DType::F32),
            Self::F16 => Some(DType::F16),
            Self::BF16 => Some(DType::BF16),
            Self::StoredF16 | Self::StoredBF16 | Self::Int8 | Self::Int4 => None,
        }
    }

    /// How most matrices are packed, `None` where none is.
    #[must_use]
    pub fn packing(self) -> Option<Packing> {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => None,
            Self::StoredF16 => Some(Packing::F16),
            Self::StoredBF16 => Some(Packing::BF16),
            Self::Int8 => Some(Packing::Int8),
            Self::Int4 => Some(Packing::Int4Affine),
        }
    }
}

impl serde::Serialize for Precision {
    /// As its name.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Precision {
    type Err = crate::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|precision| precision.name() == name)
            .ok_or_else(|| crate::Error::UnknownPrecision {
                name: clinical_files::shown(name),
            })
    }
}

/// How the matrices of `Linear` layers lie in memory. The shape is `[d_input, d_output]` either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LinearLayout {
    /// [`Self::OutputMajor`] for f32 weights on the CPU without gradients, whose kernels read either at the same speed;
    /// [`Self::InputMajor`] for everything else.
    #[default]
    Automatic,
    /// Rows of `d_output` values: transposed while loading. The fastest for Burn's own products.
    InputMajor,
    /// Rows of `d_input` values, as checkpoints have them: the tensor is a transposed view. An f32 safetensors file is
    /// then used from its memory map without any copy; Burn's own products of more than one row are slower (see the
    /// README for figures).
    OutputMajor,
}

impl LinearLayout {
    /// Whether matrices of this type on this device are views of what checkpoints have.
    pub(crate) fn is_output_major(self, device: &Device, dtype: DType) -> bool {
        match self {
            Self::Automatic => dtype == DType::F32 && clinical_kernels::fused::applies(device),
            Self::InputMajor => false,
            Self::OutputMajor => true,
        }
    }
}

/// How far a load has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The parameter that was just loaded, as the module names it.
    pub parameter: &'a str,
    /// Bytes of the checkpoint that were read so far.
    pub bytes: u64,
    /// Bytes of the checkpoint that will be read in all.
    pub total: u64,
}

type Callback = Arc<dyn Fn(&Progress<'_>) + Send + Sync>;

/// How a checkpoint is loaded. The same options serve every facade.
///
/// ```
/// use clinical_weights::{LoadOptions, Precision};
///
/// let options = LoadOptions::new()
///     .with_precision(Precision::F16)
///     .with_strict(false)
///     .with_max_bytes(8 << 30);
/// assert!(!options.strict);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct LoadOptions {
    /// Where a facade builds its model. Default: the CPU. [`load`](crate::load) itself fills a model where it is.
    pub device: Device,
    /// The type of the weights in memory. Default: [`Precision::F32`].
    pub precision: Precision,
    /// Whether a missing, mismatched or unexpected tensor is an error. Default: true.
    pub strict: bool,
    /// The most bytes that all parameters together may take, `None` (the default) for no limit.
    pub max_bytes: Option<u64>,
    /// How `Linear` matrices lie in memory. Default: [`LinearLayout::Automatic`].
    pub linear_layout: LinearLayout,
    /// Whether files may be symbolic links that leave the directory. Default: false; the links of a Hugging Face
    /// cache, which lead to that cache's own `blobs` folder, are followed in any case.
    pub allow_links: bool,
    pub(crate) progress: Option<Callback>,
}

impl LoadOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`Self::device`].
    #[must_use]
    pub fn with_device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Sets [`Self::precision`].
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Sets [`Self::strict`].
    #[must_use]
    pub fn with_strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Sets [`Self::max_bytes`].
    #[must_use]
    pub fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Sets [`Self::linear_layout`].
    #[must_use]
    pub fn with_linear_layout(mut self, layout: LinearLayout) -> Self {
        self.linear_layout = layout;
        self
    }

    /// Sets [`Self::allow_links`].
    #[must_use]
    pub fn with_allow_links(mut self, allow: bool) -> Self {
        self.allow_links = allow;
        self
    }

    /// Calls `callback` after every parameter.
    #[must_use]
    pub fn with_progress(
        mut self,
        callback: impl Fn(&Progress<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.progress = Some(Arc::new(callback));
        self
    }
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            device: clinical_kernels::cpu(),
            precision: Precision::F32,
            strict: true,
            max_bytes: None,
            linear_layout: LinearLayout::Automatic,
            allow_links: false,
            progress: None,
        }
    }
}

impl fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions")
            .field("device", &self.device)
            .field("precision", &self.precision)
            .field("strict", &self.strict)
            .field("max_bytes", &self.max_bytes)
            .field("linear_layout", &self.linear_layout)
            .field("allow_links", &self.allow_links)
            .field("progress", &self.progress.is_some())
            .finish()
    }
}
