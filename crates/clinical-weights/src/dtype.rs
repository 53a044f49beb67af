//! Element types, as files name them.

use std::fmt;

use crate::BlockType;

/// The type of a tensor's elements in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Dtype {
    /// 64-bit floating point.
    F64,
    /// 32-bit floating point.
    #[default]
    F32,
    /// IEEE half precision.
    F16,
    /// Brain floating point: the upper half of an `f32`.
    BF16,
    /// 64-bit signed integer.
    I64,
    /// 32-bit signed integer.
    I32,
    /// 16-bit signed integer.
    I16,
    /// 8-bit signed integer.
    I8,
    /// 64-bit unsigned integer.
    U64,
    /// 32-bit unsigned integer.
    U32,
    /// 16-bit unsigned integer.
    U16,
    /// 8-bit unsigned integer.
    U8,
    /// One byte per truth value.
    Bool,
    /// Quantised values of a GGUF file.
    Block(BlockType),
    /// A type that this crate lists but does not load, such as the 8-bit floats.
    Other(&'static str),
}

impl Dtype {
    /// The name that safetensors uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U64 => "U64",
            Self::U32 => "U32",
            Self::U16 => "U16",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
            Self::Block(block) => block.name(),
            Self::Other(name) => name,
        }
    }

    /// Bytes of one element; 0 for [`Self::Block`], whose elements have no bytes of their own, and for [`Self::Other`],
    /// whose size this crate does not need.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::Block(_) | Self::Other(_) => 0,
        }
    }

    /// Whether weights of this type can be loaded into a floating point parameter.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(
            self,
            Self::F64 | Self::F32 | Self::F16 | Self::BF16 | Self::Block(_)
        )
    }

    /// Whether values of this type can be loaded into an integer parameter.
    #[must_use]
    pub fn is_int(self) -> bool {
        matches!(
            self,
            Self::I64
                | Self::I32
                | Self::I16
                | Self::I8
                | Self::U64
                | Self::U32
                | Self::U16
                | Self::U8
        )
    }

    /// The bytes of this many elements, which are whole blocks where there are blocks.
    pub(crate) fn span(self, elements: usize) -> usize {
        match self {
            Self::Block(block) => elements / block.values() * block.bytes(),
            other => elements * other.size(),
        }
    }

    pub(crate) fn from_safetensors(dtype: safetensors::Dtype) -> Self {
        use safetensors::Dtype as St;
        match dtype {
            St::F64 => Self::F64,
            St::F32 => Self::F32,
            St::F16 => Self::F16,
            St::BF16 => Self::BF16,
            St::I64 => Self::I64,
            St::I32 => Self::I32,
            St::I16 => Self::I16,
            St::I8 => Self::I8,
            St::U64 => Self::U64,
            St::U32 => Self::U32,
            St::U16 => Self::U16,
            St::U8 => Self::U8,
            St::BOOL => Self::Bool,
            St::F8_E4M3 => Self::Other("F8_E4M3"),
            St::F8_E5M2 => Self::Other("F8_E5M2"),
            St::F8_E8M0 => Self::Other("F8_E8M0"),
            St::F4 => Self::Other("F4"),
            St::C64 => Self::Other("C64"),
            _ => Self::Other("a type this crate does not know"),
        }
    }

    pub(crate) fn from_torch(dtype: pytorch_reader::DType) -> Self {
        use pytorch_reader::DType as Pt;
        match dtype {
            Pt::F64 => Self::F64,
            Pt::F32 => Self::F32,
            Pt::F16 => Self::F16,
            Pt::BF16 => Self::BF16,
            Pt::I64 => Self::I64,
            Pt::I32 => Self::I32,
            Pt::I16 => Self::I16,
            Pt::I8 => Self::I8,
            Pt::U64 => Self::U64,
            Pt::U32 => Self::U32,
            Pt::U16 => Self::U16,
            Pt::U8 => Self::U8,
            Pt::Bool => Self::Bool,
        }
    }
}

impl serde::Serialize for Dtype {
    /// As its name.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
