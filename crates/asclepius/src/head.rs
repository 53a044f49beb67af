//! What every prompt of a style begins with, read once for each model.

use std::sync::{Arc, Mutex, PoisonError};

use clinical_generate::Prefix;
use clinical_llama::LlamaCache;

use crate::plan::Part;
use crate::prompt::Prompter;
use crate::{Asclepius, Result};

/// Texts that have no character in common: what prompts share whatever they are about is there for both.
pub(crate) const PROBES: [&str; 2] = ["A", "0"];

/// The most heads that are kept: callers use one style, or a few; system messages may be of any number.
const KEPT: usize = 4;

/// A shorter head is not kept: it costs less to read than to keep.
const WORTH_KEEPING: usize = 16;

/// The beginnings that were read for a model, the last used last.
#[derive(Debug, Default)]
pub(crate) struct Heads(Mutex<Vec<Arc<Prefix<LlamaCache>>>>);

impl Heads {
    fn kept(&self, ids: &[u32]) -> Option<Arc<Prefix<LlamaCache>>> {
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = heads.iter().position(|head| head.ids() == ids)?;
        let head = heads.remove(at);
        heads.push(Arc::clone(&head));
        Some(head)
    }

    fn keep(&self, head: &Arc<Prefix<LlamaCache>>) {
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heads.retain(|kept| kept.ids() != head.ids());
        if heads.len() == KEPT {
            heads.remove(0);
        }
        heads.push(Arc::clone(head));
    }
}

impl Asclepius {
    /// The head of the prompts of these parts, which all go on behind it; `None` where there is none worth reading.
    ///
    /// Only tokens that the prompts have count: where a tokenizer joins the end of the head with the beginning of a note,
    /// the head ends before.
    pub(crate) fn head(
        &self,
        prompter: &Prompter<'_>,
        parts: &[&Part],
    ) -> Result<Option<Arc<Prefix<LlamaCache>>>> {
        let [first, second] = [
            prompter.ids(PROBES[0], PROBES[0])?,
            prompter.ids(PROBES[1], PROBES[1])?,
        ];
        let ids = &first[..alike(&first, &second)];
        let follows = |part: &&Part| part.ids.len() > ids.len() && part.ids.starts_with(ids);
        if ids.len() < WORTH_KEEPING || !parts.iter().all(follows) {
            return Ok(None);
        }
        if let Some(head) = self.heads.kept(ids) {
            return Ok(Some(head));
        }
        let head = Arc::new(Prefix::read(self.model(), ids)?);
        self.heads.keep(&head);
        Ok(Some(head))
    }
}

/// How many tokens two texts begin with alike.
pub(crate) fn alike(first: &[u32], second: &[u32]) -> usize {
    first.iter().zip(second).take_while(|(a, b)| a == b).count()
}
