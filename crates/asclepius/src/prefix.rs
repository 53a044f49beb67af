//! What every prompt of a style starts with, read once for each model.

use std::sync::{Arc, Mutex, PoisonError};

use clinical_generate::Prefix;
use clinical_llama::LlamaCache;

use crate::prompt::Prompter;
use crate::{Asclepius, Result, Style};

/// Texts that have no character in common: what prompts share whatever they are about is there for both.
pub(crate) const PROBES: [&str; 2] = ["A", "0"];

/// The most prefixes that are kept: callers use one style, or a few; system messages may be of any number.
const KEPT: usize = 4;

/// A shorter prefix is not read by itself: it costs less to read than to keep.
const WORTH_KEEPING: usize = 16;

/// The prefix of all prompts of one style and system message.
#[derive(Debug)]
struct Kept {
    style: Style,
    system: Option<String>,
    ids: Vec<u32>,
    /// `None` where it is not worth keeping.
    read: Option<Arc<Prefix<LlamaCache>>>,
}

/// The prefixes of a model, the last used last.
#[derive(Debug, Default)]
pub(crate) struct Prefixes(Mutex<Vec<Arc<Kept>>>);

impl Prefixes {
    fn find(&self, prompter: &Prompter<'_>) -> Option<Arc<Kept>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = all.iter().position(|kept| kept.is_for(prompter))?;
        let kept = all.remove(at);
        all.push(Arc::clone(&kept));
        Some(kept)
    }

    fn keep(&self, kept: Arc<Kept>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| (other.style, &other.system) != (kept.style, &kept.system));
        if all.len() == KEPT {
            all.remove(0);
        }
        all.push(kept);
    }
}

impl Kept {
    fn is_for(&self, prompter: &Prompter<'_>) -> bool {
        self.style == prompter.style && self.system.as_deref() == prompter.system()
    }
}

impl Asclepius {
    /// The prefix that the prompts of this style share, and which of `prompts` go on after it; `None` where there is
    /// none worth reading.
    ///
    /// Only tokens that the prompts have count: where a tokenizer joins the end of the prefix with the start of a note,
    /// that prompt has another.
    pub(crate) fn prompt_prefix(
        &self,
        prompter: &Prompter<'_>,
        prompts: &[&[u32]],
    ) -> Result<Option<Arc<Prefix<LlamaCache>>>> {
        let follows = |kept: &Kept| prompts.iter().any(|ids| goes_on(ids, &kept.ids));
        if let Some(kept) = self.prefixes.find(prompter) {
            // A chat template may tell the day, which changes.
            if prompter.style != Style::Chat || kept.read.is_none() || follows(&kept) {
                return Ok(kept.read.clone());
            }
        }
        let [first, second] = [
            prompter.ids(PROBES[0], PROBES[0])?,
            prompter.ids(PROBES[1], PROBES[1])?,
        ];
        let ids = first[..alike(&first, &second)].to_vec();
        let read = match ids.len() {
            0..WORTH_KEEPING => None,
            _ => Some(Arc::new(Prefix::read(self.model(), &ids)?)),
        };
        let system = prompter.system().map(str::to_owned);
        self.prefixes.keep(Arc::new(Kept {
            style: prompter.style,
            system,
            ids,
            read: read.clone(),
        }));
        Ok(read)
    }
}

/// Whether a prompt goes on after a prefix.
pub(crate) fn goes_on(ids: &[u32], prefix: &[u32]) -> bool {
    ids.len() > prefix.len() && ids.starts_with(prefix)
}

/// How many tokens two texts start with alike.
pub(crate) fn alike(first: &[u32], second: &[u32]) -> usize {
    first.iter().zip(second).take_while(|(a, b)| a == b).count()
}
