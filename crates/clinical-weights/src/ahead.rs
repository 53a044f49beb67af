//! Reading ahead.
//!
//! The tensors of a PyTorch file are copied out of it and their checksums computed, which takes one thread longer than
//! the memory does.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use crate::plan::Step;
use crate::table::Place;

/// Threads that read.
const READERS: usize = 2;

/// Tensors that are being read, in the order in which parameters will ask for them.
#[derive(Default)]
pub(crate) struct Ahead {
    readers: Vec<Receiver<(usize, io::Result<Vec<u8>>)>>,
    /// Parameter path to the number of its tensor.
    places: HashMap<String, usize>,
    /// Tensors that came before they were asked for.
    early: HashMap<usize, io::Result<Vec<u8>>>,
}

impl Ahead {
    /// Begins to read what `paths` need of PyTorch files. Each reader holds one tensor until it is taken, or until this
    /// is dropped.
    pub(crate) fn start<'s, 'e>(
        scope: &'s Scope<'s, 'e>,
        paths: &[String],
        steps: &HashMap<String, Step<'e>>,
    ) -> Self {
        let sizes = steps.values().map(|step| step.entry.info.bytes);
        // Those that wait and the one that is used meanwhile take the room of the largest tensor, which is promised in
        // any case.
        let most = sizes.max().unwrap_or(0) / (READERS as u64 + 1);
        let list: Vec<_> = paths
            .iter()
            .filter_map(|path| match &steps.get(path)?.entry {
                entry if entry.info.bytes > most => None,
                entry => match &entry.place {
                    Place::Torch(tensor) => Some((path, tensor)),
                    _ => None,
                },
            })
            .collect();
        if list.is_empty() || clinical_kernels::threads() < 2 {
            return Self::default();
        }
        let readers = (0..READERS).map(|reader| {
            let (send, receive) = sync_channel(0);
            let own = list.iter().enumerate().skip(reader).step_by(READERS);
            let own: Vec<_> = own.map(|(number, (_, tensor))| (number, *tensor)).collect();
            scope.spawn(move || {
                for (number, tensor) in own {
                    if send.send((number, tensor.read())).is_err() {
                        return;
                    }
                }
            });
            receive
        });
        Self {
            readers: readers.collect(),
            early: HashMap::new(),
            places: list
                .iter()
                .enumerate()
                .map(|(number, (path, _))| ((*path).clone(), number))
                .collect(),
        }
    }

    /// The bytes for this parameter, if they are read here.
    pub(crate) fn take(&mut self, path: &str) -> Option<io::Result<Vec<u8>>> {
        let wanted = self.places.remove(path)?;
        loop {
            if let Some(found) = self.early.remove(&wanted) {
                return Some(found);
            }
            let (number, bytes) = self.readers[wanted % READERS].recv().ok()?;
            self.early.insert(number, bytes);
        }
    }
}
