//! Memory that a thread's kernels use again and again.

use std::cell::RefCell;

/// A cache line, so that no vector lies across two.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [f32; 16]);

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with room for `len` values, of any content, at the start of a cache line. The room goes back to the
/// thread, so in steady state nothing is allocated and no page is touched for the first time.
pub(crate) fn scratch<T>(len: usize, work: impl FnOnce(*mut f32) -> T) -> T {
    let mut lines = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    let wanted = len.div_ceil(16);
    if lines.len() < wanted {
        lines = vec![Line([0.0; 16]); wanted];
    }
    let result = work(lines.as_mut_ptr().cast());
    FREE.with_borrow_mut(|free| free.push(lines));
    result
}
