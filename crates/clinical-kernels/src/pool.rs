//! Threads for products that take microseconds.
//!
//! Why not Rayon, which packing uses: a decoding step is hundreds of products of some tens of microseconds. There a
//! caller that is no worker hands its job over, sleeps and is woken; all callers' jobs share the workers, so that one
//! answer's products wait for another's; and how long a worker looks for work before it sleeps cannot be set. Here the
//! caller works, waits for nobody who has not begun, and the only kind of job is "call this with 0 to n", so there are
//! no queues and nothing is allocated.
//!
//! Waking a sleeping thread costs more than a small product. The workers here look for the next job for a short while
//! before they sleep, the caller takes part in its own job, and a job that the caller has finished alone does not wait
//! for a worker that is still waking up. A job that finds the pool at work for another caller runs on its own thread
//! alone, so several callers never use more threads than there are callers and workers.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long a worker looks for work before it sleeps: longer than the pauses between the products of one decoding step,
/// short enough that other thread pools get the core.
const PATIENCE: Duration = Duration::from_micros(100);

/// Runs `task(0)`, ..., `task(count - 1)` on the pool's threads and the caller's, each once, in any order.
///
/// The number of threads is that of [`crate::set_threads`]. A panic in a task reaches the caller when the task ran on
/// the caller's thread; on a worker it ends the process, since the job's borrowed data could not be given back.
pub(crate) fn run(count: usize, task: impl Fn(usize) + Sync) {
    let serial = || (0..count).for_each(&task);
    let threads = crate::threads().min(count);
    if threads <= 1 {
        return serial();
    }
    static POOL: Mutex<Option<Pool>> = Mutex::new(None);
    let mut pool = match POOL.try_lock() {
        Ok(pool) => pool,
        // A task that panicked left the pool itself in order.
        Err(TryLockError::Poisoned(pool)) => pool.into_inner(),
        Err(TryLockError::WouldBlock) => return serial(),
    };
    let pool = pool.get_or_insert_with(|| Pool::new(crate::host::pool_threads() - 1));
    pool.run(count, threads - 1, &task);
}

/// What the workers see of a job.
#[derive(Clone, Copy)]
struct Job {
    task: *const (dyn Fn(usize) + Sync),
    count: usize,
}

struct Shared {
    /// The number of the job in the upper half; in the lower half twice the workers inside, plus one while it is open.
    state: AtomicU64,
    /// How many more workers may enter.
    places: AtomicUsize,
    job: UnsafeCell<Option<Job>>,
    next: AtomicUsize,
    sleeping: Vec<AtomicBool>,
}

// SAFETY: `job` is written only while the job is closed and no worker is inside, and read only by workers inside; the
// task it points to is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is not tied to a thread.
unsafe impl Send for Shared {}

const OPEN: u64 = 1;
const WORKER: u64 = 2;
const NEXT_JOB: u64 = 1 << 32;

struct Pool {
    shared: Arc<Shared>,
    workers: Vec<Thread>,
}

impl Pool {
    fn new(workers: usize) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            places: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            next: AtomicUsize::new(0),
            sleeping: (0..workers).map(|_| AtomicBool::new(false)).collect(),
        });
        let workers = (0..workers)
            .map_while(|index| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("clinical-kernels-{index}"))
                    .spawn(move || shared.serve(index))
                    .ok()
            })
            .map(|handle| handle.thread().clone())
            .collect();
        Self { shared, workers }
    }

    fn run(&self, count: usize, places: usize, task: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.shared;
        // SAFETY: only the lifetime is changed. The task is used by workers inside this job alone, and `Guard` lets
        // this function return only when none is left.
        let task: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(task) };
        // SAFETY: no job is open and no worker inside: `run` is called under a lock and waits for that at its end.
        unsafe { *shared.job.get() = Some(Job { task, count }) };
        shared.next.store(0, Ordering::Relaxed);
        shared.places.store(places, Ordering::Relaxed);
        let number = shared.state.load(Ordering::Relaxed) & !(NEXT_JOB - 1);
        shared
            .state
            .store(number.wrapping_add(NEXT_JOB) | OPEN, Ordering::SeqCst);
        let _guard = Guard(shared);
        for (worker, sleeping) in self.workers.iter().zip(&shared.sleeping).take(places) {
            if sleeping.swap(false, Ordering::SeqCst) {
                worker.unpark();
            }
        }
        shared.work(Job { task, count });
    }
}

/// Closes the job and waits for the workers inside, also when a task panics.
struct Guard<'a>(&'a Shared);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // Nothing is left to take, so workers leave soon.
        self.0.next.store(usize::MAX / 2, Ordering::Relaxed);
        self.0.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut rounds = 0u32;
        while self.0.state.load(Ordering::Acquire) & (NEXT_JOB - 1) != 0 {
            pause(&mut rounds);
        }
    }
}

impl Shared {
    fn work(&self, job: Job) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= job.count {
                return;
            }
            // SAFETY: the job is open or this worker is inside it, so the caller's frame is alive.
            unsafe { (*job.task)(index) };
        }
    }

    /// Enters the open job, if there is one that is newer than `seen` and admits another worker.
    fn enter(&self, seen: &mut u64) -> Option<Job> {
        let mut state = self.state.load(Ordering::SeqCst);
        loop {
            let number = state & !(NEXT_JOB - 1);
            if state & OPEN == 0 || number == *seen {
                return None;
            }
            match self.state.compare_exchange_weak(
                state,
                state + WORKER,
                Ordering::SeqCst,
                Ordering::SeqCst,
            ) {
                Ok(_) => {
                    *seen = number;
                    let place =
                        self.places
                            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
                                n.checked_sub(1)
                            });
                    if place.is_err() {
                        self.leave();
                        return None;
                    }
                    // SAFETY: this worker is inside, so nobody writes the job.
                    return unsafe { *self.job.get() };
                }
                Err(now) => state = now,
            }
        }
    }

    fn leave(&self) {
        self.state.fetch_sub(WORKER, Ordering::AcqRel);
    }

    fn serve(&self, index: usize) {
        // A panic must not unwind past the caller's borrowed data.
        struct Abort;
        impl Drop for Abort {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    std::process::abort();
                }
            }
        }
        let _abort = Abort;
        let mut seen = 0;
        let mut idle_since = Instant::now();
        let mut rounds = 0u32;
        loop {
            if let Some(job) = self.enter(&mut seen) {
                self.work(job);
                self.leave();
                idle_since = Instant::now();
                rounds = 0;
            } else if idle_since.elapsed() < PATIENCE {
                pause(&mut rounds);
            } else {
                self.sleeping[index].store(true, Ordering::SeqCst);
                // A job that was opened before the flag was seen must not be slept through.
                let state = self.state.load(Ordering::SeqCst);
                if state & OPEN == 0 || state & !(NEXT_JOB - 1) == seen {
                    std::thread::park();
                }
                self.sleeping[index].store(false, Ordering::SeqCst);
                idle_since = Instant::now();
                rounds = 0;
            }
        }
    }
}

/// Waits a moment, and now and then lets another thread have the core.
fn pause(rounds: &mut u32) {
    *rounds = rounds.wrapping_add(1);
    if rounds.is_multiple_of(64) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

/// Runs `work` on pieces of `0..items` of about `piece` items, in parallel when there are several.
pub(crate) fn pieces(items: usize, piece: usize, work: impl Fn(std::ops::Range<usize>) + Sync) {
    let piece = piece.max(1);
    match items.div_ceil(piece) {
        0 => {}
        1 => work(0..items),
        count => run(count, |index| {
            work(index * piece..items.min((index + 1) * piece));
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_whoever_calls() {
        std::thread::scope(|scope| {
            for caller in 0..4 {
                scope.spawn(move || {
                    for round in 0..500 {
                        let count = (round * 7 + caller) % 40;
                        let hits: Vec<AtomicUsize> =
                            (0..count).map(|_| AtomicUsize::new(0)).collect();
                        run(count, |index| {
                            hits[index].fetch_add(1, Ordering::Relaxed);
                        });
                        assert!(hits.iter().all(|hit| hit.load(Ordering::Relaxed) == 1));
                    }
                });
            }
        });
    }

    #[test]
    fn sleeping_workers_wake_up() {
        for _ in 0..20 {
            std::thread::sleep(PATIENCE * 3);
            let sum = AtomicUsize::new(0);
            run(64, |index| {
                sum.fetch_add(index, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 64 * 63 / 2);
        }
    }

    #[test]
    fn pieces_cover_everything() {
        for items in [0, 1, 5, 64, 65] {
            let sum = AtomicUsize::new(0);
            pieces(items, 16, |range| {
                sum.fetch_add(range.len(), Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), items);
        }
    }
}
