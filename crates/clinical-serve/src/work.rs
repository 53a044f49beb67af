//! The threads on which models are asked: never those that serve connections.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// What is to be done.
type Run = Box<dyn FnOnce() + Send>;

/// Tokens a second that are assumed until some were counted.
const GUESS: f64 = 500.0;

/// The longest time after which a client is told to come again, in seconds.
const LONGEST: f64 = 60.0;

/// A pool of threads, each of which does one task at a time, and a bounded queue before them.
pub(crate) struct Work {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    limits: (usize, u64),
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    come: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(u64, Run)>,
    /// Tokens of what waits.
    tokens: u64,
    running: usize,
    stopped: bool,
    /// Tokens a second of late.
    speed: Option<f64>,
}

/// The queue is full.
#[derive(Debug, PartialEq)]
pub(crate) struct Full {
    pub(crate) limit: &'static str,
    /// When to come again, in seconds.
    pub(crate) retry_after: u64,
}

impl Work {
    /// Starts `threads` threads; at most `queue` tasks of `tokens` tokens wait.
    pub(crate) fn new(threads: usize, queue: usize, tokens: u64) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut work = Self {
            shared,
            threads: Vec::new(),
            limits: (queue, tokens),
        };
        for _ in 0..threads.max(1) {
            let shared = Arc::clone(&work.shared);
            let thread = thread::Builder::new().name("clinical-serve work".to_owned());
            work.threads.push(thread.spawn(move || shared.work())?);
        }
        Ok(work)
    }

    /// Puts tasks into the queue, all or none of them; each needs so many tokens.
    pub(crate) fn submit(&self, tasks: Vec<(u64, Run)>) -> Result<(), Full> {
        let mut state = self.shared.lock();
        let (queue, limit) = self.limits;
        let tokens = tasks.iter().map(|(tokens, _)| *tokens);
        let tokens = tokens.fold(0, u64::saturating_add);
        let idle = self.threads.len().saturating_sub(state.running);
        // What is taken at once does not wait.
        let waiting = (state.waiting.len() + tasks.len()).saturating_sub(idle);
        let full = if !state.waiting.is_empty() && waiting > queue {
            Some("queue")
        } else if !state.waiting.is_empty() && state.tokens.saturating_add(tokens) > limit {
            Some("queue_tokens")
        } else {
            None
        };
        if let Some(limit) = full {
            let seconds = state.tokens as f64 / state.speed.unwrap_or(GUESS);
            return Err(Full {
                limit,
                retry_after: seconds.clamp(1.0, LONGEST).ceil() as u64,
            });
        }
        state.tokens = state.tokens.saturating_add(tokens);
        state.waiting.extend(tasks);
        drop(state);
        self.shared.come.notify_all();
        Ok(())
    }

    /// Tasks that wait, and that run.
    pub(crate) fn load(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.waiting.len(), state.running)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopped = true;
        let left = std::mem::take(&mut state.waiting);
        drop(state);
        drop(left);
        self.shared.come.notify_all();
        for thread in self.threads.drain(..) {
            // The last owner may be a task, on one of them.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some((tokens, run)) = self.next() {
            let began = Instant::now();
            // Whoever waits for it sees that its end of the channel is gone.
            let _ = catch_unwind(AssertUnwindSafe(run));
            let speed = tokens as f64 / began.elapsed().as_secs_f64().max(1e-6);
            let mut state = self.lock();
            state.running -= 1;
            if tokens > 0 {
                let before = state.speed.unwrap_or(speed);
                state.speed = Some(0.9 * before + 0.1 * speed);
            }
        }
    }

    fn next(&self) -> Option<(u64, Run)> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(task) = state.waiting.pop_front() {
                state.tokens = state.tokens.saturating_sub(task.0);
                state.running += 1;
                return Some(task);
            }
            state = self
                .come
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_full_queue_says_so_and_a_panic_costs_only_itself() {
        let work = Work::new(1, 2, 100).unwrap();
        let (release, held) = channel::<()>();
        let (begun, has_begun) = channel();
        let hold = move || {
            begun.send(()).unwrap();
            let _ = held.recv();
        };
        work.submit(vec![(1, Box::new(hold))]).unwrap();
        has_begun.recv().unwrap();
        // One task alone may need any number of tokens.
        work.submit(vec![(1000, Box::new(|| panic!("a task")))])
            .unwrap();
        let refused = work.submit(vec![(1, Box::new(|| ()))]).unwrap_err();
        assert_eq!(refused.limit, "queue_tokens");
        assert!((1..=60).contains(&refused.retry_after));
        assert_eq!(work.load(), (1, 1));
        release.send(()).unwrap();
        let (done, is_done) = channel();
        while work.load().0 > 0 {
            thread::yield_now();
        }
        work.submit(vec![(0, Box::new(move || done.send(()).unwrap()))])
            .unwrap();
        is_done.recv().unwrap();
    }

    #[test]
    fn tasks_are_taken_all_or_none() {
        let work = Work::new(1, 2, 100).unwrap();
        let (release, held) = channel::<()>();
        let (begun, has_begun) = channel();
        let hold = move || {
            begun.send(()).unwrap();
            let _ = held.recv();
        };
        work.submit(vec![(0, Box::new(hold))]).unwrap();
        has_begun.recv().unwrap();
        work.submit(vec![(0, Box::new(|| ()))]).unwrap();
        let two: Vec<(u64, Run)> = vec![(0, Box::new(|| ())), (0, Box::new(|| ()))];
        assert_eq!(work.submit(two).unwrap_err().limit, "queue");
        assert_eq!(work.load(), (1, 1));
        drop(release);
    }
}
