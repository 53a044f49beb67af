//! Notes that were read, kept for questions to come.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use clinical_generate::{Prefix, StepModel};
use clinical_llama::{Llama, LlamaCache};

use crate::options::AnswerOptions;
use crate::{Error, Result};

/// So many tokens are read before it is looked whether the caller still waits.
const PIECE: usize = 512;

/// A caller that waits while another note is read looks this often whether that is over.
const PATIENCE: Duration = Duration::from_millis(5);

/// A note adds at least this many tokens to what is read already, or keeping it saves nothing.
const WORTH_KEEPING: usize = 16;

type Read = Arc<Prefix<LlamaCache>>;

/// What prompts about a note start with, within a budget of bytes.
#[derive(Debug)]
pub(crate) struct KeptNotes {
    budget: u64,
    /// The last used last.
    notes: Mutex<Vec<Read>>,
    /// One note is read at a time: others would only make it slower.
    reading: Mutex<()>,
}

impl KeptNotes {
    pub(crate) fn new(budget: u64) -> Self {
        Self {
            budget,
            notes: Mutex::new(Vec::new()),
            reading: Mutex::new(()),
        }
    }

    /// Whether so many bytes can be kept together.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        bytes <= self.budget
    }

    /// How many notes there are, and their bytes.
    pub(crate) fn size(&self, model: &Llama) -> (usize, u64) {
        let notes = self.notes();
        (notes.len(), bytes(model, &notes))
    }

    /// What was read of `ids`, or `start`, which they begin with, where that is as good. Reads them otherwise.
    pub(crate) fn read(
        &self,
        model: &Llama,
        ids: &[u32],
        start: Option<Read>,
        options: &AnswerOptions,
    ) -> Result<Option<Read>> {
        let begun = start.as_ref().map_or(0, |start| start.ids().len());
        if ids.len() < begun + WORTH_KEEPING || !self.has_room(model.cache_bytes(ids.len())) {
            return Ok(start);
        }
        let deadline = options.generation().deadline;
        let is_over = || {
            options.call.is_cancelled()
                || deadline.is_some_and(|deadline| deadline <= Instant::now())
        };
        let found = self.find(ids);
        if found.is_some() {
            return Ok(found);
        }
        let _turn = self.turn(is_over)?;
        // Perhaps it is what was waited for.
        let found = self.find(ids);
        if found.is_some() {
            return Ok(found);
        }
        let mut read = match start.filter(|start| ids.starts_with(start.ids())) {
            Some(start) => Prefix::clone(&start),
            None => Prefix::read(model, &ids[..ids.len().min(PIECE)])?,
        };
        while read.ids().len() < ids.len() {
            if is_over() {
                return Err(Error::Cancelled);
            }
            let at = read.ids().len();
            let end = ids.len().min(at + PIECE);
            read = read.extended(model, &ids[at..end])?;
        }
        let read = Arc::new(read);
        let mut notes = self.notes();
        notes.push(Arc::clone(&read));
        while bytes(model, &notes) > self.budget && notes.len() > 1 {
            notes.remove(0);
        }
        Ok(Some(read))
    }

    fn find(&self, ids: &[u32]) -> Option<Read> {
        let mut notes = self.notes();
        let at = notes.iter().position(|note| note.ids() == ids)?;
        let note = notes.remove(at);
        notes.push(Arc::clone(&note));
        Some(note)
    }

    fn notes(&self) -> MutexGuard<'_, Vec<Read>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody reads.
    fn turn(&self, is_over: impl Fn() -> bool) -> Result<MutexGuard<'_, ()>> {
        loop {
            match self.reading.try_lock() {
                Ok(turn) => return Ok(turn),
                Err(TryLockError::Poisoned(turn)) => return Ok(turn.into_inner()),
                Err(TryLockError::WouldBlock) if is_over() => return Err(Error::Cancelled),
                Err(TryLockError::WouldBlock) => thread::sleep(PATIENCE),
            }
        }
    }
}

fn bytes(model: &Llama, notes: &[Read]) -> u64 {
    let each = notes.iter().map(|note| model.cache_bytes(note.ids().len()));
    each.fold(0, u64::saturating_add)
}
