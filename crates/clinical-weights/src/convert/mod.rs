//! From the bytes of a file to the values of a parameter: another float type, the transpose, or both in one pass.
//!
//! The source is read in chunks, so the memory beside the result is a few megabytes, and the pages of a map are not
//! touched at all.

mod columns;
mod pack;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::{DType, TensorData, bf16, f16};
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

pub(crate) use pack::{packed, packed_turned};

use crate::Dtype;
use crate::gguf::LARGEST;
use crate::table::{Input, Values};
use columns::Columns;

#[cfg(target_endian = "big")]
compile_error!("checkpoints are little-endian, and this crate uses their values in place");

/// Most threads that convert at once. Memory bandwidth is used up by fewer, and each holds buffers.
const MAX_LANES: usize = 8;

/// Elements of one chunk: with 12 bytes of buffers for each and [`MAX_LANES`], 24 MiB in all.
const CHUNK: usize = 1 << 18;

/// How the values lie in the file and how they should lie in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Layout {
    /// As they are.
    Same { elements: usize },
    /// `[rows, columns]` in the file, `[columns, rows]` in memory.
    Transposed { rows: usize, columns: usize },
}

impl Layout {
    fn elements(self) -> usize {
        match self {
            Self::Same { elements } => elements,
            Self::Transposed { rows, columns } => rows * columns,
        }
    }
}

/// Whether values of the file's type can be used as the memory's type without a change.
pub(crate) fn is_same(from: Dtype, to: DType) -> bool {
    matches!(
        (from, to),
        (Dtype::F32, DType::F32) | (Dtype::F16, DType::F16) | (Dtype::BF16, DType::BF16)
    )
}

/// Values of type `from` as tensor data of type `to`, and how many finite values became infinite on the way.
///
/// `shape` is that of the result. Only float types are converted.
pub(crate) fn floats(
    values: &Values<'_>,
    from: Dtype,
    to: DType,
    layout: Layout,
    shape: &[usize],
) -> io::Result<(TensorData, u64)> {
    let input = Input::of(values);
    match to {
        DType::F32 => convert::<f32>(&input, from, layout, shape),
        DType::F16 => convert::<f16>(&input, from, layout, shape),
        DType::BF16 => convert::<bf16>(&input, from, layout, shape),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn convert<T: Target>(
    input: &Input<'_>,
    from: Dtype,
    layout: Layout,
    shape: &[usize],
) -> io::Result<(TensorData, u64)> {
    let (values, lost) = converted::<T>(input, from, layout)?;
    Ok((TensorData::new(values, shape.to_vec()), lost))
}

fn converted<T: Target>(
    input: &Input<'_>,
    from: Dtype,
    layout: Layout,
) -> io::Result<(Vec<T>, u64)> {
    let mut out = vec![T::default(); layout.elements()];
    let lanes = rayon::current_num_threads().clamp(1, MAX_LANES);
    let overflowed = AtomicU64::new(0);
    match layout {
        Layout::Same { elements } => {
            // Between blocks, where the source has blocks; chunks end there by themselves.
            let lane = elements.div_ceil(lanes).max(1).next_multiple_of(LARGEST);
            out.par_chunks_mut(lane)
                .enumerate()
                .try_for_each(|(number, out)| {
                    let mut buffers = Buffers::default();
                    for (chunk, out) in out.chunks_mut(CHUNK).enumerate() {
                        let first = number * lane + chunk * CHUNK;
                        let lost = buffers.read(input, from, first, out)?;
                        overflowed.fetch_add(lost, Ordering::Relaxed);
                    }
                    io::Result::Ok(())
                })?;
        }
        Layout::Transposed { rows, columns } => {
            let lane = rows.div_ceil(lanes).max(1);
            let step = (CHUNK / columns.max(1)).max(1);
            let target = Columns {
                start: out.as_mut_ptr(),
                rows,
            };
            (0..rows.div_ceil(lane))
                .into_par_iter()
                .try_for_each(|number| {
                    let mut buffers = Buffers::default();
                    let mut values: Vec<T> = Vec::new();
                    let end = rows.min((number + 1) * lane);
                    for first in (number * lane..end).step_by(step) {
                        let count = step.min(end - first);
                        values.resize(count * columns, T::default());
                        let lost = buffers.read(input, from, first * columns, &mut values)?;
                        overflowed.fetch_add(lost, Ordering::Relaxed);
                        // SAFETY: `first..first + count` lies in this lane's rows, which no other lane writes, and
                        // below `rows`; `values` holds `count * columns` elements.
                        unsafe { target.write(&values, first, columns) };
                    }
                    io::Result::Ok(())
                })?;
        }
    }
    Ok((out, overflowed.into_inner()))
}

#[derive(Default)]
struct Buffers {
    bytes: Vec<u8>,
    floats: Vec<f32>,
}

impl Buffers {
    /// Elements of the source from `first` on, as many as `out` takes.
    fn read<T: Target>(
        &mut self,
        input: &Input<'_>,
        from: Dtype,
        first: usize,
        out: &mut [T],
    ) -> io::Result<u64> {
        let part = input.part(from.span(first), from.span(out.len()), &mut self.bytes)?;
        T::take(part, from, out, &mut self.floats)
    }
}

/// A float type that parameters can have.
trait Target: burn::tensor::Element + Default + Send + Sync {
    /// Fills `out` from bytes of type `from`; returns how many finite values became infinite.
    fn take(part: &[u8], from: Dtype, out: &mut [Self], floats: &mut Vec<f32>) -> io::Result<u64>;
}

impl Target for f32 {
    fn take(part: &[u8], from: Dtype, out: &mut [Self], _: &mut Vec<f32>) -> io::Result<u64> {
        decode(part, from, out)?;
        Ok(match from {
            // The only source with a larger range.
            Dtype::F64 => {
                infinite(out.iter().map(|value| value.is_infinite())).saturating_sub(infinite(
                    part.as_chunks()
                        .0
                        .iter()
                        .map(|bytes| f64::from_le_bytes(*bytes).is_infinite()),
                ))
            }
            _ => 0,
        })
    }
}

impl Target for f16 {
    fn take(part: &[u8], from: Dtype, out: &mut [Self], floats: &mut Vec<f32>) -> io::Result<u64> {
        floats.resize(out.len(), 0.0);
        decode(part, from, floats)?;
        out.convert_from_f32_slice(floats);
        Ok(infinite(out.iter().map(|value| value.is_infinite()))
            .saturating_sub(infinite(floats.iter().map(|value| value.is_infinite()))))
    }
}

impl Target for bf16 {
    fn take(part: &[u8], from: Dtype, out: &mut [Self], floats: &mut Vec<f32>) -> io::Result<u64> {
        floats.resize(out.len(), 0.0);
        decode(part, from, floats)?;
        out.convert_from_f32_slice(floats);
        Ok(infinite(out.iter().map(|value| value.is_infinite()))
            .saturating_sub(infinite(floats.iter().map(|value| value.is_infinite()))))
    }
}

fn infinite(values: impl Iterator<Item = bool>) -> u64 {
    values.map(u64::from).sum()
}

/// Bytes of type `from` as f32, which holds every value of the smaller types exactly.
fn decode(part: &[u8], from: Dtype, out: &mut [f32]) -> io::Result<()> {
    match from {
        Dtype::F32 => {
            for (out, bytes) in out.iter_mut().zip(part.as_chunks().0) {
                *out = f32::from_le_bytes(*bytes);
            }
        }
        Dtype::F64 => {
            for (out, bytes) in out.iter_mut().zip(part.as_chunks().0) {
                *out = f64::from_le_bytes(*bytes) as f32;
            }
        }
        Dtype::Block(block) => block.decode(part, out),
        Dtype::BF16 => {
            for (out, bytes) in out.iter_mut().zip(part.as_chunks().0) {
                *out = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
            }
        }
        Dtype::F16 => {
            // A block at a time, so that the conversion can use the processor's own instruction.
            const BLOCK: usize = 512;
            let mut block = [f16::ZERO; BLOCK];
            for (out, bytes) in out.chunks_mut(BLOCK).zip(part.chunks(BLOCK * 2)) {
                for (value, bytes) in block.iter_mut().zip(bytes.as_chunks().0) {
                    *value = f16::from_le_bytes(*bytes);
                }
                block[..out.len()].convert_to_f32_slice(out);
            }
        }
        _ => return Err(io::ErrorKind::Unsupported.into()),
    }
    Ok(())
}

/// Whether two tensors hold the same values. Types may differ; NaN equals NaN.
pub(crate) fn equal(
    (first, first_type): (&Values<'_>, Dtype),
    (second, second_type): (&Values<'_>, Dtype),
    elements: usize,
) -> io::Result<bool> {
    let (first, second) = (Input::of(first), Input::of(second));
    let mut bytes = (Vec::new(), Vec::new());
    let mut floats = (vec![0.0; CHUNK], vec![0.0; CHUNK]);
    for start in (0..elements).step_by(CHUNK) {
        let count = CHUNK.min(elements - start);
        let one = first.part(first_type.span(start), first_type.span(count), &mut bytes.0)?;
        let two = second.part(
            second_type.span(start),
            second_type.span(count),
            &mut bytes.1,
        )?;
        if first_type == second_type {
            if one != two {
                return Ok(false);
            }
            continue;
        }
        decode(one, first_type, &mut floats.0[..count])?;
        decode(two, second_type, &mut floats.1[..count])?;
        let same = floats.0[..count]
            .iter()
            .zip(&floats.1[..count])
            .all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Integers, which must all fit into the type `to` that the device uses.
pub(crate) fn integers(
    values: &Values<'_>,
    from: Dtype,
    to: DType,
    shape: &[usize],
) -> io::Result<TensorData> {
    let too_large = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "it holds an integer that is too large for this device",
        )
    };
    let range = match to {
        DType::I64 | DType::U64 => i64::MIN..=i64::MAX,
        DType::I16 => i16::MIN.into()..=i16::MAX.into(),
        DType::I8 => i8::MIN.into()..=i8::MAX.into(),
        _ => i32::MIN.into()..=i32::MAX.into(),
    };
    let values = whole(values, from, shape)?
        .chunks_exact(from.size().max(1))
        .map(|bytes| {
            let mut wide = [0; 8];
            wide[..bytes.len()].copy_from_slice(bytes);
            let wide = i64::from_le_bytes(wide);
            let value = match from {
                Dtype::I32 => (wide as i32).into(),
                Dtype::I16 => (wide as i16).into(),
                Dtype::I8 => (wide as i8).into(),
                Dtype::U64 if wide < 0 => return Err(too_large()),
                _ => wide,
            };
            Some(value)
                .filter(|value| range.contains(value))
                .ok_or_else(too_large)
        })
        .collect::<io::Result<Vec<i64>>>()?;
    Ok(TensorData::new(values, shape.to_vec()))
}

/// Truth values: everything but zero is true.
pub(crate) fn truths(values: &Values<'_>, from: Dtype, shape: &[usize]) -> io::Result<TensorData> {
    let values: Vec<bool> = whole(values, from, shape)?
        .iter()
        .map(|byte| *byte != 0)
        .collect();
    Ok(TensorData::new(values, shape.to_vec()))
}

fn whole(values: &Values<'_>, from: Dtype, shape: &[usize]) -> io::Result<Vec<u8>> {
    let elements: usize = shape.iter().product();
    let mut buffer = Vec::new();
    Ok(Input::of(values)
        .part(0, elements * from.size(), &mut buffer)?
        .to_vec())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn owned<const N: usize>(values: impl IntoIterator<Item = [u8; N]>) -> Values<'static> {
        Values::Owned(values.into_iter().flatten().collect())
    }

    fn to_f32(values: &Values<'_>, from: Dtype, layout: Layout) -> Vec<f32> {
        let shape = [layout.elements()];
        floats(values, from, DType::F32, layout, &shape)
            .unwrap()
            .0
            .try_to_vec()
            .unwrap()
    }

    #[test]
    fn every_half_value_is_exact() {
        let every: Vec<u16> = (0..=u16::MAX).collect();
        let layout = Layout::Same {
            elements: every.len(),
        };
        let values = owned(every.iter().map(|bits| bits.to_le_bytes()));
        for (bits, value) in every.iter().zip(to_f32(&values, Dtype::F16, layout)) {
            let expected = f16::from_bits(*bits).to_f32();
            assert!(value == expected || (value.is_nan() && expected.is_nan()));
        }
        for (bits, value) in every.iter().zip(to_f32(&values, Dtype::BF16, layout)) {
            assert_eq!(value.to_bits(), u32::from(*bits) << 16);
        }
    }

    #[test]
    fn transposes_any_shape() {
        for (rows, columns) in [(1, 1), (1, 40), (40, 1), (3, 5), (17, 33), (700, 601)] {
            let source: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            let values = owned(source.iter().map(|value| value.to_le_bytes()));
            let out = to_f32(&values, Dtype::F32, Layout::Transposed { rows, columns });
            for row in 0..rows {
                for column in 0..columns {
                    assert_eq!(out[column * rows + row], source[row * columns + column]);
                }
            }
        }
    }

    #[test]
    fn chunks_and_files_give_the_same_as_memory() {
        let elements = CHUNK * 3 + 7;
        let source: Vec<f64> = (0..elements).map(|i| i as f64 * 0.37 - 1e5).collect();
        let bytes: Vec<u8> = source
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("values");
        std::fs::write(&path, [&[7; 5], bytes.as_slice()].concat()).unwrap();
        let file = File::open(&path).unwrap();
        let in_file = Values::Shared {
            bytes: bytes::Bytes::new(),
            file: Some(&file),
            offset: 5,
        };
        let in_memory = Values::Owned(bytes);
        let layout = Layout::Same { elements };
        let expected: Vec<f32> = source.iter().map(|value| *value as f32).collect();
        assert_eq!(to_f32(&in_memory, Dtype::F64, layout), expected);
        assert_eq!(to_f32(&in_file, Dtype::F64, layout), expected);
        assert!(equal((&in_file, Dtype::F64), (&in_memory, Dtype::F64), elements).unwrap());
    }

    #[test]
    fn values_that_become_infinite_are_counted() {
        let values =
            owned([65504.0f32, 65520.0, -1e10, f32::INFINITY, f32::NAN].map(f32::to_le_bytes));
        let layout = Layout::Same { elements: 5 };
        let (data, lost) = floats(&values, Dtype::F32, DType::F16, layout, &[5]).unwrap();
        assert_eq!(lost, 2);
        let data: Vec<f16> = data.try_to_vec().unwrap();
        assert_eq!(data[0].to_f32(), 65504.0);
        assert!(data[4].is_nan());
        let values = owned([1e300f64, 2.0].map(f64::to_le_bytes));
        let layout = Layout::Same { elements: 2 };
        assert_eq!(
            floats(&values, Dtype::F64, DType::F32, layout, &[2])
                .unwrap()
                .1,
            1
        );
    }

    #[test]
    fn values_of_different_types_can_be_equal() {
        let full = owned([1.5f32, f32::NAN].map(f32::to_le_bytes));
        let half = owned([f16::from_f32(1.5), f16::NAN].map(f16::to_le_bytes));
        let other = owned([f16::from_f32(1.25), f16::NAN].map(f16::to_le_bytes));
        assert!(equal((&full, Dtype::F32), (&half, Dtype::F16), 2).unwrap());
        assert!(!equal((&full, Dtype::F32), (&other, Dtype::F16), 2).unwrap());
    }

    #[test]
    fn integers_keep_their_sign_and_their_limits() {
        let read = |bytes: Vec<u8>, from: Dtype, to| {
            let count = bytes.len() / from.size();
            integers(&Values::Owned(bytes), from, to, &[count])
                .map(|data| data.try_to_vec::<i64>().unwrap())
        };
        assert_eq!(
            read(vec![0xff, 0x7f], Dtype::I8, DType::I32).unwrap(),
            [-1, 127]
        );
        assert_eq!(
            read(vec![0xff, 0x7f], Dtype::U8, DType::I32).unwrap(),
            [255, 127]
        );
        let long = |value: i64| value.to_le_bytes().to_vec();
        assert_eq!(read(long(-5), Dtype::I64, DType::I32).unwrap(), [-5]);
        assert!(read(long(1 << 31), Dtype::I64, DType::I32).is_err());
        assert!(read(long(1 << 31), Dtype::I64, DType::I64).is_ok());
        assert!(read(long(-1), Dtype::U64, DType::I64).is_err());
    }
}
