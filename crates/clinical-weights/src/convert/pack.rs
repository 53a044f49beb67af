//! Packed matrices from the values of a file, a panel at a time.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use clinical_kernels::{Block, PackedMatrix, Packing};

use super::{Buffers, Layout, converted, infinite};
use crate::Dtype;
use crate::table::{Input, Values};

/// Packs the matrix `[outputs, inputs]` of values of type `from`, a panel at a time; also how many finite values became
/// infinite. Integers of a file that fit the format stay as they are.
pub(crate) fn packed(
    values: &Values<'_>,
    from: Dtype,
    format: Packing,
    outputs: usize,
    inputs: usize,
) -> io::Result<(PackedMatrix, u64)> {
    thread_local! {
        static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers::default());
    }
    let input = Input::of(values);
    if let Dtype::Block(kind) = from
        && kind.fits(format)
    {
        let read = |row: usize, out: &mut [Block]| {
            BUFFERS.with_borrow_mut(|buffers| {
                let (first, count) = (row * inputs, out.len() * Block::VALUES);
                let part = input.part(from.span(first), from.span(count), &mut buffers.bytes)?;
                kind.take(format, part, out);
                Ok::<_, io::Error>(())
            })
        };
        return Ok((PackedMatrix::from_blocks(format, outputs, inputs, read)?, 0));
    }
    pack(format, outputs, inputs, |first, out| {
        BUFFERS.with_borrow_mut(|buffers| buffers.read(&input, from, first, out))
    })
}

/// [`packed`] of a file that holds `[inputs, outputs]`: the matrix is turned as floats, then packed.
pub(crate) fn packed_turned(
    values: &Values<'_>,
    from: Dtype,
    format: Packing,
    outputs: usize,
    inputs: usize,
) -> io::Result<(PackedMatrix, u64)> {
    let layout = Layout::Transposed {
        rows: inputs,
        columns: outputs,
    };
    let (floats, lost) = converted::<f32>(&Input::of(values), from, layout)?;
    let (matrix, more) = pack(format, outputs, inputs, |first, out| {
        out.copy_from_slice(&floats[first..first + out.len()]);
        Ok(0)
    })?;
    Ok((matrix, lost + more))
}

/// Packs floats. `read` fills some of them from the given one on, and returns how many finite values became infinite.
fn pack(
    format: Packing,
    outputs: usize,
    inputs: usize,
    read: impl Fn(usize, &mut [f32]) -> io::Result<u64> + Sync,
) -> io::Result<(PackedMatrix, u64)> {
    let overflowed = AtomicU64::new(0);
    let matrix = PackedMatrix::from_rows(format, outputs, inputs, |row, out: &mut [f32]| {
        let mut lost = read(row * inputs, out)?;
        if format == Packing::F16 {
            // The first value that rounds to infinity.
            lost += infinite(out.iter().map(|v| v.is_finite() && v.abs() >= 65_520.0));
        }
        overflowed.fetch_add(lost, Ordering::Relaxed);
        Ok::<_, io::Error>(())
    })?;
    Ok((matrix, overflowed.into_inner()))
}
