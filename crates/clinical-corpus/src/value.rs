//! The values of rows.

/// A row of the output.
pub type Row = Vec<Value>;

/// One value of a row. [`row!`](crate::row) makes them of what Rust has.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing: an empty field in CSV, null in Parquet.
    Missing,
    /// A whole number.
    Integer(i64),
    /// A number of 32 bits, such as a score.
    Float(f32),
    /// A number of 64 bits.
    Double(f64),
    /// Yes or no.
    Flag(bool),
    /// Text.
    Text(String),
    /// A vector.
    Vector(Vec<f32>),
}

/// A row of these values, in the order of the job's columns.
///
/// ```
/// use clinical_corpus::{Value, row};
///
/// let row = row![7_u64, "fever", 0.5_f32, None::<i64>];
/// assert_eq!(row[1], Value::Text("fever".to_owned()));
/// assert_eq!(row[3], Value::Missing);
/// ```
#[macro_export]
macro_rules! row {
    ($($value:expr),* $(,)?) => { vec![$($crate::Value::from($value)),*] };
}

/// A number that no column of whole numbers can hold is refused there.
macro_rules! integers {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Value {
            fn from(value: $kind) -> Self {
                i64::try_from(value).map_or(Self::Double(value as f64), Self::Integer)
            }
        }
    )*};
}

integers!(i8, i16, i32, i64, u8, u16, u32, u64, usize);

impl From<f32> for Value {
    fn from(value: f32) -> Self {
        Self::Float(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<Vec<f32>> for Value {
    fn from(value: Vec<f32>) -> Self {
        Self::Vector(value)
    }
}

impl From<&[f32]> for Value {
    fn from(value: &[f32]) -> Self {
        Self::Vector(value.to_vec())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}

/// How far a number may lie from one that is computed again alone, as a part of its size (of a vector's length): what
/// the order of additions in a batch changes, and less than what another precision does.
const TOLERANCE: f64 = 1e-4;

impl Value {
    /// Whether a run that computes this value again would have written the other one.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(one), Self::Float(other)) => near(&[*one], &[*other]),
            (Self::Double(one), Self::Double(other)) => {
                (one - other).abs() <= TOLERANCE * one.abs() || one.to_bits() == other.to_bits()
            }
            (Self::Vector(one), Self::Vector(other)) => near(one, other),
            _ => self == other,
        }
    }
}

fn near(one: &[f32], other: &[f32]) -> bool {
    let square = |sum: f64, value: f32| sum + f64::from(value) * f64::from(value);
    let length = one.iter().copied().fold(0.0, square).sqrt();
    let pairs = one.iter().zip(other);
    let distance = pairs
        .map(|(one, other)| one - other)
        .fold(0.0, square)
        .sqrt();
    let same_bits = || {
        one.iter()
            .zip(other)
            .all(|(one, other)| one.to_bits() == other.to_bits())
    };
    one.len() == other.len() && (distance <= TOLERANCE * length || same_bits())
}
