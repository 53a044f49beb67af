//! What all users share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use clinical_bench::http::Client;

use crate::expected::Expected;

/// How long a user waits for the next piece: longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is wrong is listed up to this number.
const LISTED: usize = 20;

pub struct Shared {
    pub address: SocketAddr,
    pub expected: Expected,
    pub stop: AtomicBool,
    /// Answers that were as they must be.
    pub answers: AtomicU64,
    /// Requests that were refused with the status that they must be refused with, or told to come later.
    pub refused: AtomicU64,
    /// Requests that were given up in the middle, by either side.
    pub left: AtomicU64,
    pause: u64,
    wrong: Mutex<(u64, Vec<String>)>,
    slowest_health: Mutex<Duration>,
}

impl Shared {
    pub fn new(address: SocketAddr, expected: Expected, pause: u64) -> Self {
        Self {
            address,
            expected,
            stop: AtomicBool::new(false),
            answers: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            left: AtomicU64::new(0),
            pause,
            wrong: Mutex::default(),
            slowest_health: Mutex::default(),
        }
    }

    pub fn client(&self) -> Client {
        Client::new(self.address, PATIENCE)
    }

    pub fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Time to think.
    pub fn think(&self, chance: &mut Chance) {
        self.wait(Duration::from_millis(chance.below(2 * self.pause + 1)));
    }

    /// Waits, unless it is over; says whether it goes on.
    pub fn wait(&self, mut time: Duration) -> bool {
        while self.goes_on() && !time.is_zero() {
            let step = time.min(Duration::from_millis(100));
            thread::sleep(step);
            time -= step;
        }
        self.goes_on()
    }

    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub fn wrong(&self, what: String) {
        let mut wrong = lock(&self.wrong);
        wrong.0 += 1;
        if wrong.1.len() < LISTED {
            wrong.1.push(what);
        }
    }

    /// Counts an answer, or says that it is wrong.
    pub fn judge(&self, is_right: bool, what: impl FnOnce() -> String) {
        match is_right {
            true => Self::count(&self.answers),
            false => self.wrong(what()),
        }
    }

    pub fn wrongs(&self) -> u64 {
        lock(&self.wrong).0
    }

    pub fn all_wrong(&self) -> Vec<String> {
        lock(&self.wrong).1.clone()
    }

    pub fn health_took(&self, time: Duration) {
        let mut slowest = lock(&self.slowest_health);
        *slowest = slowest.max(time);
    }

    pub fn take_slowest_health(&self) -> Duration {
        std::mem::take(&mut lock(&self.slowest_health))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Numbers that look random, from a seed (xorshift64*).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound.max(1)
    }

    pub fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len() as u64) as usize)
    }
}
