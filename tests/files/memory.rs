//! How much memory and time a call takes: an allocator that counts for each thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// To be made the `#[global_allocator]` of a test.
pub struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // At the end of a thread its counters are gone.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While it moves, both blocks are there.
        count(size as isize);
        // SAFETY: the caller's promise.
        let moved = unsafe { System.realloc(pointer, layout, size) };
        count(-(layout.size() as isize));
        moved
    }
}

/// What a call took on this thread.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Bytes beyond what was held before, at the highest point.
    pub bytes: usize,
    pub time: Duration,
}

/// A fixed allowance: buffers, paths, messages, the JSON and zip readers' own tables.
const ALLOWANCE: usize = 1 << 20;
/// Bytes of memory for each byte of the files.
///
/// The worst are a pickle of empty lists (one instruction for 8 bytes of the file, 170 bytes each) and a header of
/// safetensors with nothing but names (50 bytes of JSON for a tensor become some 700).
const MULTIPLE: usize = 24;

/// What a call may take: a second on a machine of its own, three where others take a part of the processor. What this guards
/// against, time that grows with the square of a hostile number, takes minutes.
pub const LIMIT: Duration = Duration::from_secs(3);

impl Cost {
    /// Checks the call against the bounds for hostile files: a small multiple of them, below a second.
    #[track_caller]
    pub fn check(self, files: usize, what: &str) {
        let limit = ALLOWANCE + MULTIPLE * files;
        assert!(
            self.bytes <= limit,
            "{what}: {} bytes of memory for files of {files}",
            self.bytes
        );
        assert!(self.time < LIMIT, "{what}: {:?}", self.time);
    }
}

/// How long this thread has had a processor, where Linux tells: other programs do not count.
fn busy() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ')
        .next()?
        .parse()
        .ok()
        .map(Duration::from_nanos)
}

/// Runs `call` and measures it: the least time of up to three runs where one takes too long, since on a shared machine
/// other work takes a part of any one.
pub fn measure<T>(mut call: impl FnMut() -> T) -> (T, Cost) {
    let (mut result, mut cost) = once(&mut call);
    for _ in 1..3 {
        if cost.time < LIMIT {
            break;
        }
        let (again, found) = once(&mut call);
        (result, cost.time) = (again, cost.time.min(found.time));
    }
    (result, cost)
}

fn once<T>(call: &mut impl FnMut() -> T) -> (T, Cost) {
    let (start, clock) = (Instant::now(), busy());
    let before = HELD.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    let result = call();
    let time = match (clock, busy()) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => start.elapsed(),
    };
    let bytes = (PEAK.with(Cell::get) - before).max(0) as usize;
    (result, Cost { bytes, time })
}
