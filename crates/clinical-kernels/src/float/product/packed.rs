//! Many rows on the left: both sides are packed into panels that the inner loop reads in order.

use super::super::scratch::scratch;
use super::super::simd::{Level, Simd, dispatch};
use super::{Finish, Matrix, Target, ranges};
use crate::pool;

/// The inner dimension is cut into blocks of this many: a panel of the right side then stays in the second-level cache.
const DEPTH: usize = 256;

/// Distance of the rows of the packed left side, whatever the depth of a block: a constant, so that the kernel needs
/// one address for all rows, and not a multiple of the cache's period, so that they do not displace each other.
const LEFT: usize = DEPTH + 16;

/// The most columns of one piece of work: its results and its packed right side stay in the second-level cache.
const WIDTH: usize = 128;

/// The most rows that are packed at once.
pub(super) const HEIGHT: usize = 768;

/// Where the columns of a right side come from.
pub(crate) trait Right: Sync {
    /// Calls `work` with the columns from `start`, `count` of them, which live meanwhile.
    ///
    /// # Safety
    ///
    /// There are as many columns.
    unsafe fn columns(&self, start: usize, count: usize, work: impl FnOnce(Matrix));
}

impl Right for Matrix {
    unsafe fn columns(&self, start: usize, _: usize, work: impl FnOnce(Matrix)) {
        work(unsafe { self.from(0, start) });
    }
}

/// Up to [`HEIGHT`] rows: the left side is packed once, then threads take columns. With `onto` the product is added to
/// what is there. `b` is asked for columns from multiples of 32 on.
pub(super) unsafe fn many_rows(
    level: Level,
    [m, n, k]: [usize; 3],
    a: Matrix,
    b: &impl Right,
    out: Target,
    finish: Finish,
    onto: bool,
) {
    scratch(left_size(m, k), |packed| {
        let packed = Target {
            data: packed,
            row: LEFT,
        };
        let least = (16384 / k.max(1)).max(1);
        ranges(m, least, 1, 2, |rows| unsafe {
            pack_left(level, a, rows.start, rows.end, m, k, packed.at(0, 0));
        });
        // Narrow results are cut finer, so that every thread has some.
        let width = n.div_ceil(3 * crate::threads());
        let width = width.next_multiple_of(32).min(WIDTH);
        pool::run(n.div_ceil(width), |i| unsafe {
            let start = i * width;
            let n = width.min(n - start);
            let (out, finish) = (out.from(0, start), finish.from(0, start));
            b.columns(start, n, |b| {
                scratch(DEPTH * n.next_multiple_of(32), |right| {
                    let left = packed.at(0, 0);
                    strip(level, m, n, k, left, right, b, out, finish, onto);
                });
            });
        });
    });
}

/// `out = a b` on the calling thread, or with `onto` `out += a b`; `k` is not zero.
///
/// # Safety
///
/// That of [`product`].
pub(crate) unsafe fn product_alone(
    level: Level,
    [m, n, k]: [usize; 3],
    a: Matrix,
    b: Matrix,
    out: Target,
    onto: bool,
) {
    scratch(left_size(m, k), |packed| unsafe {
        pack_left(level, a, 0, m, m, k, packed);
        for start in (0..n).step_by(WIDTH) {
            let n = WIDTH.min(n - start);
            let (b, out) = (b.from(0, start), out.from(0, start));
            scratch(DEPTH * n.next_multiple_of(32), |right| {
                let finish = Finish::NONE;
                strip(level, m, n, k, packed, right, b, out, finish, onto);
            });
        }
    });
}

/// Rows in panels of nearly equal height, none higher than the kernel takes.
#[derive(Clone, Copy)]
struct Rows {
    rows: usize,
    panels: usize,
}

impl Rows {
    #[inline(always)]
    fn panel(self, i: usize) -> (usize, usize) {
        (
            i * self.rows / self.panels,
            (i + 1) * self.rows / self.panels,
        )
    }
}

/// Values of a packed left side `[blocks of the inner dimension, m, LEFT]`.
fn left_size(m: usize, k: usize) -> usize {
    k.div_ceil(DEPTH) * m * LEFT
}

dispatch! {
    /// Packs the rows from `first` to before `end` of the `m` rows of the left side.
    unsafe fn pack_left = pack_left_kernel(
        a: Matrix, first: usize, end: usize, m: usize, k: usize, packed: *mut f32
    )
}

#[inline(always)]
unsafe fn pack_left_kernel<S: Simd>(
    a: Matrix,
    first: usize,
    end: usize,
    m: usize,
    k: usize,
    packed: *mut f32,
) {
    for (block, start) in (0..k).step_by(DEPTH).enumerate() {
        let depth = DEPTH.min(k - start);
        unsafe {
            let to = packed.add(block * m * LEFT);
            // Columns that lie one value after another are turned a square at a time.
            let (rows, columns) = match a.row {
                1 if a.column != 1 => (
                    first + (end - first) / S::LANES * S::LANES,
                    depth / S::LANES * S::LANES,
                ),
                _ => (first, 0),
            };
            for p in (0..columns).step_by(S::LANES) {
                for i in (first..rows).step_by(S::LANES) {
                    let from = a.at(i, start + p);
                    S::turn(from, a.column, to.add(i * LEFT + p), LEFT);
                }
            }
            for i in first..end {
                let done = if i < rows { columns } else { 0 };
                let (from, to) = (a.from(i, start), to.add(i * LEFT));
                if a.column == 1 {
                    std::ptr::copy_nonoverlapping(from.data, to, depth);
                } else {
                    for p in done..depth {
                        *to.add(p) = *from.at(0, p);
                    }
                }
            }
        }
    }
}

dispatch! {
    /// A strip of columns: `n` is at most [`WIDTH`], the left side is packed, and there is room for the right side's
    /// panels.
    unsafe fn strip = strip_kernel(
        m: usize, n: usize, k: usize, packed: *const f32, right: *mut f32, b: Matrix, out: Target, finish: Finish,
        onto: bool
    )
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn strip_kernel<S: Simd>(
    m: usize,
    n: usize,
    k: usize,
    packed: *const f32,
    right: *mut f32,
    b: Matrix,
    out: Target,
    finish: Finish,
    onto: bool,
) {
    let width = 2 * S::LANES;
    let rows = Rows {
        rows: m,
        panels: m.div_ceil(S::ROWS),
    };
    let mut start = 0;
    unsafe {
        loop {
            let depth = DEPTH.min(k - start);
            let last = start + depth == k;
            for j in (0..n).step_by(width) {
                let columns = width.min(n - j);
                pack_right::<S>(b.from(start, j), depth, columns, right.add(j * depth));
            }
            for panel in 0..rows.panels {
                let (first, end) = rows.panel(panel);
                let left = packed.add((start / DEPTH * m + first) * LEFT);
                let write = Write {
                    out: out.from(first, 0),
                    add: onto || start > 0,
                    finish: last.then(|| finish.from(first, 0)),
                };
                for j in (0..n).step_by(width) {
                    let right = right.add(j * depth);
                    tile::<S>(end - first, n - j, depth, left, right, &write, j);
                }
            }
            start += depth;
            if last {
                return;
            }
        }
    }
}

/// Packs `[depth, columns]` of the right side as `[depth, 2 vectors]`, zeros after the last column.
#[inline(always)]
unsafe fn pack_right<S: Simd>(b: Matrix, depth: usize, columns: usize, to: *mut f32) {
    let width = 2 * S::LANES;
    unsafe {
        if b.column == 1 {
            for p in 0..depth {
                let (from, to) = (b.at(p, 0), to.add(p * width));
                if columns == width {
                    S::store(to, S::load(from));
                    S::store(to.add(S::LANES), S::load(from.add(S::LANES)));
                } else {
                    let first = columns.min(S::LANES);
                    S::store(to, S::load_some(from, first));
                    let second = S::load_some(from.wrapping_add(S::LANES), columns - first);
                    S::store(to.add(S::LANES), second);
                }
            }
        } else {
            // Rows that lie one after another are turned a square at a time.
            let squares = match b.row {
                1 => [columns / S::LANES, depth / S::LANES],
                _ => [0; 2],
            };
            let turned = squares.map(|count| count * S::LANES);
            for j in (0..turned[0]).step_by(S::LANES) {
                for p in (0..turned[1]).step_by(S::LANES) {
                    S::turn(b.at(p, j), b.column, to.add(p * width + j), width);
                }
            }
            for j in 0..width {
                let first = if j < turned[0] { turned[1] } else { 0 };
                for p in first..depth {
                    *to.add(p * width + j) = if j < columns { *b.at(p, j) } else { 0.0 };
                }
            }
        }
    }
}

/// How a tile's sums are written.
struct Write {
    out: Target,
    /// Onto what is there: of earlier blocks of the inner dimension, or from before.
    add: bool,
    /// After the last block.
    finish: Option<Finish>,
}

#[inline(always)]
unsafe fn tile<S: Simd>(
    rows: usize,
    n: usize,
    depth: usize,
    left: *const f32,
    right: *const f32,
    write: &Write,
    j: usize,
) {
    macro_rules! rows {
        ($($rows:literal)*) => {
            match rows {
                $($rows if $rows <= S::ROWS => unsafe {
                    tile_rows::<S, $rows>(n, depth, left, right, write, j);
                },)*
                _ => unreachable!("a panel is no higher than the kernel"),
            }
        };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

/// `R` rows by two vectors of columns; `depth` is not zero.
#[inline(always)]
unsafe fn tile_rows<S: Simd, const R: usize>(
    n: usize,
    depth: usize,
    left: *const f32,
    right: *const f32,
    write: &Write,
    j: usize,
) {
    unsafe {
        let mut sums = [[S::splat(0.0); 2]; R];
        let (mut left, mut right) = (left, right);
        for i in 0..R {
            S::prefetch(write.out.at(i, j));
        }
        // The first products are the first sums: zeros would be written to memory and read again.
        let (x, y) = (S::load(right), S::load(right.add(S::LANES)));
        for i in 0..R {
            let factor = S::splat(*left.add(i * LEFT));
            sums[i] = [S::mul(factor, x), S::mul(factor, y)];
        }
        for _ in 1..depth {
            left = left.add(1);
            right = right.add(2 * S::LANES);
            let (x, y) = (S::load(right), S::load(right.add(S::LANES)));
            for i in 0..R {
                let factor = S::splat(*left.add(i * LEFT));
                sums[i][0] = S::fma(factor, x, sums[i][0]);
                sums[i][1] = S::fma(factor, y, sums[i][1]);
            }
        }
        for half in 0..2 {
            let column = half * S::LANES;
            if column >= n {
                return;
            }
            let count = S::LANES.min(n - column);
            for i in 0..R {
                let to = write.out.at(i, j + column);
                let mut sum = sums[i][half];
                if write.add {
                    sum = S::add(sum, S::load_some(to, count));
                }
                if let Some(finish) = &write.finish {
                    sum = finish.apply::<S>(sum, i, j + column, count);
                }
                S::store_some(to, sum, count);
            }
        }
    }
}
