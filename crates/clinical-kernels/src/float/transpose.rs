//! Rows that become columns.

use super::simd::{Simd, dispatch};

dispatch! {
    /// `to[j * to_row + i] = from[i * from_row + j]` for `rows` rows of `columns` values.
    pub(crate) unsafe fn transpose = transpose_kernel(
        rows: usize, columns: usize, from: *const f32, from_row: isize, to: *mut f32, to_row: usize
    )
}

#[inline(always)]
unsafe fn transpose_kernel<S: Simd>(
    rows: usize,
    columns: usize,
    from: *const f32,
    from_row: isize,
    to: *mut f32,
    to_row: usize,
) {
    let whole = [rows, columns].map(|count| count - count % S::LANES);
    unsafe {
        for i in (0..whole[0]).step_by(S::LANES) {
            let from = from.offset(i as isize * from_row);
            for j in (0..whole[1]).step_by(S::LANES) {
                S::turn(from.add(j), from_row, to.add(j * to_row + i), to_row);
            }
        }
        for i in 0..rows {
            let from = from.offset(i as isize * from_row);
            let first = if i < whole[0] { whole[1] } else { 0 };
            for j in first..columns {
                *to.add(j * to_row + i) = *from.add(j);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::Level;
    use super::*;

    #[test]
    fn every_value_has_its_place() {
        for (rows, columns) in [(1, 1), (16, 16), (17, 40), (3, 33), (64, 5)] {
            let from: Vec<f32> = (0..rows * (columns + 3)).map(|i| i as f32).collect();
            for level in Level::all() {
                let mut to = vec![-1.0; columns * (rows + 2)];
                // SAFETY: both have room for rows that lie further apart than they are long.
                unsafe {
                    let (from, to) = (from.as_ptr(), to.as_mut_ptr());
                    transpose(
                        level,
                        rows,
                        columns,
                        from,
                        columns as isize + 3,
                        to,
                        rows + 2,
                    );
                }
                for i in 0..rows {
                    for j in 0..columns {
                        assert_eq!(to[j * (rows + 2) + i], from[i * (columns + 3) + j]);
                    }
                }
            }
        }
    }
}
