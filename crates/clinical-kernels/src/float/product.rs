//! Products of matrices.
//!
//! Three ways, by the number of rows on the left: [`thin`] and [`dots`] read the right side once, as it lies, for a few
//! rows; [`product`] packs both sides into panels that the inner loop reads in order (Goto and van de Geijn 2008).

use super::math::Activation;
use super::scratch::scratch;
use super::simd::{Level, Simd, dispatch};
use crate::pool;

/// A matrix somewhere in memory: element `[i, j]` lies at `i * row + j * column`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix {
    pub data: *const f32,
    pub row: isize,
    pub column: isize,
}

// SAFETY: a pointer to values that nobody writes while a kernel runs, which is the promise of every caller.
unsafe impl Sync for Matrix {}
// SAFETY: as above.
unsafe impl Send for Matrix {}

impl Matrix {
    #[inline(always)]
    pub(crate) unsafe fn at(self, i: usize, j: usize) -> *const f32 {
        unsafe {
            self.data
                .offset(i as isize * self.row + j as isize * self.column)
        }
    }

    pub(crate) unsafe fn from(self, i: usize, j: usize) -> Self {
        Self {
            data: unsafe { self.at(i, j) },
            ..self
        }
    }
}

/// Where results go: row `i` begins at `i * row`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub data: *mut f32,
    pub row: usize,
}

// SAFETY: threads write different parts.
unsafe impl Sync for Target {}
// SAFETY: as above.
unsafe impl Send for Target {}

impl Target {
    #[inline(always)]
    pub(crate) unsafe fn at(self, i: usize, j: usize) -> *mut f32 {
        unsafe { self.data.add(i * self.row + j) }
    }

    pub(crate) unsafe fn from(self, i: usize, j: usize) -> Self {
        Self {
            data: unsafe { self.at(i, j) },
            ..self
        }
    }
}

/// What is done with a sum before it is written: `residual + activation(sum + bias)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finish {
    /// As many values as there are columns, or null.
    pub bias: *const f32,
    pub activation: Activation,
    /// Laid out as the target, or null.
    pub residual: *const f32,
    /// Distance of the residual's rows.
    pub residual_row: usize,
}

// SAFETY: as `Matrix`.
unsafe impl Sync for Finish {}
// SAFETY: as `Matrix`.
unsafe impl Send for Finish {}

impl Finish {
    pub(crate) const NONE: Self = Self {
        bias: std::ptr::null(),
        activation: Activation::None,
        residual: std::ptr::null(),
        residual_row: 0,
    };

    fn is_none(&self) -> bool {
        self.bias.is_null() && self.residual.is_null() && self.activation == Activation::None
    }

    /// The same for the part that begins at `[i, j]`.
    pub(crate) unsafe fn from(self, i: usize, j: usize) -> Self {
        let mut part = self;
        unsafe {
            if !self.bias.is_null() {
                part.bias = self.bias.add(j);
            }
            if !self.residual.is_null() {
                part.residual = self.residual.add(i * self.residual_row + j);
            }
        }
        part
    }

    #[inline(always)]
    unsafe fn apply<S: Simd>(&self, x: S::V, i: usize, j: usize, count: usize) -> S::V {
        unsafe {
            let mut x = x;
            if !self.bias.is_null() {
                x = S::add(x, S::load_some(self.bias.add(j), count));
            }
            x = self.activation.apply::<S>(x);
            if !self.residual.is_null() {
                let residual = self.residual.add(i * self.residual_row + j);
                x = S::add(x, S::load_some(residual, count));
            }
            x
        }
    }
}

/// The inner dimension is cut into blocks of this many: a panel of the right side then stays in the second-level cache.
const DEPTH: usize = 256;

/// Distance of the rows of the packed left side, whatever the depth of a block: a constant, so that the kernel needs one
/// address for all rows, and not a multiple of the cache's period, so that they do not displace each other.
const LEFT: usize = DEPTH + 16;

/// The most columns of one piece of work: its results and its packed right side stay in the second-level cache.
const WIDTH: usize = 128;

/// The most rows that are packed at once.
const HEIGHT: usize = 768;

/// Rows up to which the right side is read as it lies.
pub(crate) const THIN: usize = 8;

/// `out = finish(a b)` on all threads: `a` is `[m, k]`, `b` is `[k, n]`.
///
/// # Safety
///
/// The matrices must be as large as said, and `out` must not overlap them.
pub(crate) unsafe fn product(
    level: Level,
    [m, n, k]: [usize; 3],
    a: Matrix,
    b: Matrix,
    out: Target,
    finish: Finish,
) {
    if m == 0 || n == 0 {
        return;
    }
    unsafe {
        if k == 0 {
            for i in 0..m {
                std::slice::from_raw_parts_mut(out.at(i, 0), n).fill(0.0);
            }
            return finish_rows(level, m, n, out, finish);
        }
        if m <= THIN && a.column == 1 && b.column == 1 && n >= 16 {
            return few_rows(level, [m, n, k], a, b, out, finish);
        }
        if m <= THIN && a.column == 1 && b.row == 1 {
            return few_rows_transposed(level, [m, n, k], a, b, out, finish);
        }
        let chunks = m.div_ceil(HEIGHT);
        for chunk in 0..chunks {
            let (start, end) = (chunk * m / chunks, (chunk + 1) * m / chunks);
            let (a, out) = (a.from(start, 0), out.from(start, 0));
            many_rows(level, [end - start, n, k], a, b, out, finish.from(start, 0));
        }
    }
}

/// A few rows, the right side as `[k, n]`: threads take columns.
unsafe fn few_rows(
    level: Level,
    [m, n, k]: [usize; 3],
    a: Matrix,
    b: Matrix,
    out: Target,
    finish: Finish,
) {
    // A piece reads at least 32 KiB; more pieces than threads let a late helper take fewer.
    let least = (8192 / k.max(1)).max(64);
    ranges(n, least, 16, 2, |columns| unsafe {
        let (start, n) = (columns.start, columns.len());
        let out = out.from(0, start);
        thin(level, m, n, k, a, b.from(0, start), out);
        finish_rows(level, m, n, out, finish.from(0, start));
    });
}

/// A few rows, the right side as `[n, k]`: threads take its rows.
unsafe fn few_rows_transposed(
    level: Level,
    [m, n, k]: [usize; 3],
    a: Matrix,
    b: Matrix,
    out: Target,
    finish: Finish,
) {
    let least = (8192 / k.max(1)).max(8);
    ranges(n, least, 4, 2, |columns| unsafe {
        let (start, n) = (columns.start, columns.len());
        let out = out.from(0, start);
        dots(level, m, n, k, a, b.from(0, start), out);
        finish_rows(level, m, n, out, finish.from(0, start));
    });
}

dispatch! {
    /// `out = a b` for up to [`THIN`] rows with unit column strides; `k` is not zero.
    pub(crate) unsafe fn thin = thin_kernel(m: usize, n: usize, k: usize, a: Matrix, b: Matrix, out: Target)
}

#[inline(always)]
unsafe fn thin_kernel<S: Simd>(m: usize, n: usize, k: usize, a: Matrix, b: Matrix, out: Target) {
    unsafe {
        match m {
            1 => thin_rows::<S, 1, 8>(n, k, a, b, out),
            2 => thin_rows::<S, 2, 8>(n, k, a, b, out),
            3 => thin_rows::<S, 3, 4>(n, k, a, b, out),
            4 => thin_rows::<S, 4, 4>(n, k, a, b, out),
            5 => thin_rows::<S, 5, 4>(n, k, a, b, out),
            6 => thin_rows::<S, 6, 4>(n, k, a, b, out),
            7 => thin_rows::<S, 7, 4>(n, k, a, b, out),
            _ => thin_rows::<S, 8, 4>(n, k, a, b, out),
        }
    }
}

/// The sums that [`thin_rows`] goes over with one group of rows of the right side: they stay in the first-level cache. Shorter
/// strips leave a page of the right side after a few lines, which halves the rate on wide matrices.
const STRIP: usize = 4096;

#[inline(always)]
unsafe fn thin_rows<S: Simd, const M: usize, const U: usize>(
    n: usize,
    k: usize,
    a: Matrix,
    b: Matrix,
    out: Target,
) {
    unsafe {
        let strip = STRIP / M;
        for start in (0..n).step_by(strip) {
            let n = strip.min(n - start);
            let (b, out) = (b.from(0, start), out.from(0, start));
            let mut depth = 0;
            while depth + U <= k {
                thin_group::<S, M, U>(n, depth, a, b, out);
                depth += U;
            }
            while depth < k {
                thin_group::<S, M, 1>(n, depth, a, b, out);
                depth += 1;
            }
        }
    }
}

/// Adds the products with rows `depth..depth + U` of the right side, over `n` columns.
#[inline(always)]
unsafe fn thin_group<S: Simd, const M: usize, const U: usize>(
    n: usize,
    depth: usize,
    a: Matrix,
    b: Matrix,
    out: Target,
) {
    unsafe {
        let factors: [[f32; U]; M] =
            std::array::from_fn(|i| std::array::from_fn(|u| *a.at(i, depth + u)));
        let rows: [*const f32; U] = std::array::from_fn(|u| b.at(depth + u, 0));
        let mut j = 0;
        while j + S::LANES <= n {
            let mut sums = [S::splat(0.0); M];
            if depth > 0 {
                for i in 0..M {
                    sums[i] = S::load(out.at(i, j));
                }
            }
            for u in 0..U {
                let x = S::load(rows[u].add(j));
                for i in 0..M {
                    sums[i] = S::fma(S::splat(factors[i][u]), x, sums[i]);
                }
            }
            for i in 0..M {
                S::store(out.at(i, j), sums[i]);
            }
            j += S::LANES;
        }
        if j < n {
            let count = n - j;
            for i in 0..M {
                let mut sum = match depth {
                    0 => S::splat(0.0),
                    _ => S::load_some(out.at(i, j), count),
                };
                for u in 0..U {
                    let x = S::load_some(rows[u].add(j), count);
                    sum = S::fma(S::splat(factors[i][u]), x, sum);
                }
                S::store_some(out.at(i, j), sum, count);
            }
        }
    }
}

dispatch! {
    /// `out[i, j] = sum(a[i, .] * b[., j])` for `b` as `[n, k]` in memory; both with unit strides along `k`.
    pub(crate) unsafe fn dots = dots_kernel(m: usize, n: usize, k: usize, a: Matrix, b: Matrix, out: Target)
}

#[inline(always)]
unsafe fn dots_kernel<S: Simd>(m: usize, n: usize, k: usize, a: Matrix, b: Matrix, out: Target) {
    unsafe {
        // As many columns at a time as there are registers for: each is a stream from memory.
        match m {
            1 => return dots_columns::<S, 1, 8>(n, k, a, b, out),
            2 if S::ROWS > 8 => return dots_columns::<S, 2, 8>(n, k, a, b, out),
            _ => {}
        }
        // A group of columns stays in the cache for the second half of the rows.
        for j in (0..n).step_by(4) {
            let (n, b) = (4.min(n - j), b.from(0, j));
            for i in (0..m).step_by(4) {
                let (a, out) = (a.from(i, 0), out.from(i, j));
                match m - i {
                    1 => dots_columns::<S, 1, 4>(n, k, a, b, out),
                    2 => dots_columns::<S, 2, 4>(n, k, a, b, out),
                    3 => dots_columns::<S, 3, 4>(n, k, a, b, out),
                    _ => dots_columns::<S, 4, 4>(n, k, a, b, out),
                }
            }
        }
    }
}

/// `M` rows against `C` columns at a time.
#[inline(always)]
unsafe fn dots_columns<S: Simd, const M: usize, const C: usize>(
    n: usize,
    k: usize,
    a: Matrix,
    b: Matrix,
    out: Target,
) {
    unsafe {
        for j in (0..n).step_by(C) {
            let columns = C.min(n - j);
            // A column beyond the last is the last again.
            let at: [*const f32; C] = std::array::from_fn(|c| b.at(0, j + c.min(columns - 1)));
            let mut sums = [[S::splat(0.0); C]; M];
            let mut p = 0;
            while p + S::LANES <= k {
                let mut x = [S::splat(0.0); M];
                for i in 0..M {
                    x[i] = S::load(a.at(i, p));
                }
                for c in 0..C {
                    let y = S::load(at[c].add(p));
                    for i in 0..M {
                        sums[i][c] = S::fma(x[i], y, sums[i][c]);
                    }
                }
                p += S::LANES;
            }
            if p < k {
                let mut x = [S::splat(0.0); M];
                for i in 0..M {
                    x[i] = S::load_some(a.at(i, p), k - p);
                }
                for c in 0..C {
                    let y = S::load_some(at[c].add(p), k - p);
                    for i in 0..M {
                        sums[i][c] = S::fma(x[i], y, sums[i][c]);
                    }
                }
            }
            for i in 0..M {
                for c in 0..columns {
                    *out.at(i, j + c) = S::sum(sums[i][c]);
                }
            }
        }
    }
}

/// `finish` over rows that are written already.
unsafe fn finish_rows(level: Level, m: usize, n: usize, out: Target, finish: Finish) {
    if !finish.is_none() {
        unsafe { finish_all(level, m, n, out, finish) };
    }
}

dispatch! {
    unsafe fn finish_all = finish_kernel(m: usize, n: usize, out: Target, finish: Finish)
}

#[inline(always)]
unsafe fn finish_kernel<S: Simd>(m: usize, n: usize, out: Target, finish: Finish) {
    unsafe {
        for i in 0..m {
            for j in (0..n).step_by(S::LANES) {
                let count = S::LANES.min(n - j);
                let x = S::load_some(out.at(i, j), count);
                let x = finish.apply::<S>(x, i, j, count);
                S::store_some(out.at(i, j), x, count);
            }
        }
    }
}

/// Up to [`HEIGHT`] rows: the left side is packed once, then threads take columns.
unsafe fn many_rows(
    level: Level,
    [m, n, k]: [usize; 3],
    a: Matrix,
    b: Matrix,
    out: Target,
    finish: Finish,
) {
    scratch(left_size(m, k), |packed| {
        let packed = Target {
            data: packed,
            row: LEFT,
        };
        let least = (16384 / k.max(1)).max(1);
        ranges(m, least, 1, 2, |rows| unsafe {
            pack_left(a, rows, m, k, packed.at(0, 0));
        });
        // Narrow results are cut finer, so that every thread has some.
        let width = n.div_ceil(3 * crate::threads());
        let width = width.next_multiple_of(32).min(WIDTH);
        pool::run(n.div_ceil(width), |i| unsafe {
            let start = i * width;
            let n = width.min(n - start);
            let (b, out) = (b.from(0, start), out.from(0, start));
            let finish = finish.from(0, start);
            scratch(DEPTH * n.next_multiple_of(32), |right| {
                strip(level, m, n, k, packed.at(0, 0), right, b, out, finish);
            });
        });
    });
}

/// `out = a b` on the calling thread; `k` is not zero.
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
) {
    scratch(left_size(m, k), |packed| unsafe {
        pack_left(a, 0..m, m, k, packed);
        for start in (0..n).step_by(WIDTH) {
            let n = WIDTH.min(n - start);
            let (b, out) = (b.from(0, start), out.from(0, start));
            scratch(DEPTH * n.next_multiple_of(32), |right| {
                strip(level, m, n, k, packed, right, b, out, Finish::NONE);
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

/// Packs some of the `m` rows of the left side.
unsafe fn pack_left(a: Matrix, rows: std::ops::Range<usize>, m: usize, k: usize, packed: *mut f32) {
    for i in rows {
        for (block, start) in (0..k).step_by(DEPTH).enumerate() {
            let depth = DEPTH.min(k - start);
            unsafe {
                let (from, to) = (a.from(i, start), packed.add((block * m + i) * LEFT));
                if a.column == 1 {
                    std::ptr::copy_nonoverlapping(from.data, to, depth);
                } else {
                    for p in 0..depth {
                        *to.add(p) = *from.at(0, p);
                    }
                }
            }
        }
    }
}

dispatch! {
    /// A strip of columns: `n` is at most [`WIDTH`], the left side is packed, and there is room for the right side's panels.
    unsafe fn strip = strip_kernel(
        m: usize, n: usize, k: usize, packed: *const f32, right: *mut f32, b: Matrix, out: Target, finish: Finish
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
                    add: start > 0,
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

/// Packs `[depth, columns]` of the right side as `[depth, 2 vectors]`, zeros behind the last column.
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
    /// Onto what earlier blocks of the inner dimension left there.
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

/// `work` on all threads over `0..len` in pieces of at least `least`, a multiple of `step` but for the last, at most
/// `per_thread` for each thread.
pub(crate) fn ranges(
    len: usize,
    least: usize,
    step: usize,
    per_thread: usize,
    work: impl Fn(std::ops::Range<usize>) + Sync,
) {
    let pieces = (crate::threads() * per_thread).min(len.div_ceil(least.max(1)));
    let size = len.div_ceil(pieces.max(1)).next_multiple_of(step.max(1));
    pool::pieces(len, size, work);
}
