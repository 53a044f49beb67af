//! Whether two tensors of one tied parameter hold the same values.

use burn::tensor::DType;

use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::convert::{self, Layout};
use crate::table::{Entry, Values};
use clinical_files::shown;

pub(crate) fn same_values(
    checkpoint: &Checkpoint,
    first: &Entry,
    second: &Entry,
) -> Result<bool, Error> {
    if first.info.shape != second.info.shape {
        return Ok(false);
    }
    for entry in [first, second] {
        if !entry.info.dtype.is_float() {
            return Err(entry.wrong_dtype("floating point"));
        }
    }
    let (one, two) = (read(checkpoint, first)?, read(checkpoint, second)?);
    let elements = first.info.shape.iter().product();
    if first.turned != second.turned {
        return same_turned((first, &one), (second, &two));
    }
    convert::equal(
        (&one, first.info.dtype),
        (&two, second.info.dtype),
        elements,
    )
    .map_err(|source| Error::ReadTensor {
        name: shown(&second.info.name),
        source,
    })
}

fn read<'c>(checkpoint: &'c Checkpoint, entry: &'c Entry) -> Result<Values<'c>, Error> {
    checkpoint
        .values(entry)
        .map_err(|source| Error::ReadTensor {
            name: shown(&entry.info.name),
            source,
        })
}

/// [`same_values`] of two matrices of which one file holds the transpose.
fn same_turned(first: (&Entry, &Values<'_>), second: (&Entry, &Values<'_>)) -> Result<bool, Error> {
    let read = |(entry, values): (&Entry, &Values<'_>)| {
        let shape = &entry.info.shape;
        let layout = match (entry.turned, shape.as_slice()) {
            (true, &[rows, columns]) => Layout::Transposed {
                rows: columns,
                columns: rows,
            },
            _ => Layout::Same {
                elements: shape.iter().product(),
            },
        };
        convert::floats(values, entry.info.dtype, DType::F32, layout, shape)
            .map_err(|source| Error::ReadTensor {
                name: shown(&entry.info.name),
                source,
            })
            .map(|(data, _)| data)
    };
    let (one, two) = (read(first)?, read(second)?);
    Ok(one
        .iter::<f32>()
        .zip(two.iter::<f32>())
        .all(|(a, b)| a == b || (a.is_nan() && b.is_nan())))
}
