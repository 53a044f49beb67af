//! Padded batches.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

/// Rows of ids as one tensor `[batch, longest]`, padded on the right with `pad`.
#[must_use]
pub fn rows_to_tensor(rows: &[&[u32]], pad: u32, device: &Device) -> Tensor<2, Int> {
    let longest = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let mut ids = Vec::with_capacity(rows.len() * longest);
    for row in rows {
        ids.extend(row.iter().map(|&id| i64::from(id)));
        ids.extend(std::iter::repeat_n(i64::from(pad), longest - row.len()));
    }
    Tensor::from_data(TensorData::new(ids, [rows.len(), longest]), device)
}

/// The mask `[batch, 1, 1, length]` that hides padding keys from every query; `true` is hidden. `None` when all rows
/// fill the length.
#[must_use]
pub fn key_mask(lengths: &[usize], length: usize, device: &Device) -> Option<Tensor<4, Bool>> {
    if lengths.iter().all(|&filled| filled >= length) {
        return None;
    }
    let hidden: Vec<bool> = lengths
        .iter()
        .flat_map(|&filled| (0..length).map(move |position| position >= filled))
        .collect();
    Some(Tensor::from_data(
        TensorData::new(hidden, [lengths.len(), 1, 1, length]),
        device,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_on_the_right_and_hides_it() {
        let device = clinical_kernels::cpu();
        let ids = rows_to_tensor(&[&[5, 6, 7], &[8]], 0, &device);
        let ids: Vec<i64> = ids.try_into_vec_as().unwrap();
        assert_eq!(ids, [5, 6, 7, 8, 0, 0]);
        let mask = key_mask(&[3, 1], 3, &device).unwrap();
        let hidden: Vec<bool> = mask.into_data().iter::<bool>().collect();
        assert_eq!(hidden, [false, false, false, false, true, true]);
        assert!(key_mask(&[3, 3], 3, &device).is_none());
    }
}
