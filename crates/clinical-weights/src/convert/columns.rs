//! The result of a transposition.

/// Rows and columns that are transposed together: a cache line of f32 in either direction.
const TILE: usize = 16;

/// The result of a transposition, written by several threads, each to its own rows of the source.
pub(super) struct Columns<T> {
    pub(super) start: *mut T,
    pub(super) rows: usize,
}

// SAFETY: threads write to disjoint elements only, as `write` demands, and nobody reads before they are joined.
unsafe impl<T: Send> Sync for Columns<T> {}

impl<T: Copy> Columns<T> {
    /// Writes whole rows of the source, the first of them `first`, into the columns of the result.
    ///
    /// # Safety
    ///
    /// `start` points to `rows * columns` elements, `values` has whole rows of `columns` elements, those rows exist,
    /// and no other thread writes any of them.
    pub(super) unsafe fn write(&self, values: &[T], first: usize, columns: usize) {
        // A block of rows and columns at a time, through a copy on the stack: every cache line of source and result is
        // then touched once, whatever the strides are (powers of two would evict each other).
        for tile in (0..columns).step_by(TILE) {
            let width = TILE.min(columns - tile);
            for (block, values) in values.chunks(columns * TILE).enumerate() {
                let height = values.len() / columns;
                let mut local = [[values[tile]; TILE]; TILE];
                for (row, line) in values.chunks_exact(columns).enumerate() {
                    let line = &line[tile..tile + width];
                    for (column, value) in line.iter().enumerate() {
                        local[column][row] = *value;
                    }
                }
                for (column, line) in local[..width].iter().enumerate() {
                    // SAFETY: `tile + column < columns`, and these rows exist, so this is inside the result.
                    unsafe {
                        let start = self
                            .start
                            .add((tile + column) * self.rows + first + block * TILE);
                        std::ptr::copy_nonoverlapping(line.as_ptr(), start, height);
                    }
                }
            }
        }
    }
}
