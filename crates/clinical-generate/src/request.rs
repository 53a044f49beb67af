//! What an engine is asked, and how its answer is waited for.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::batch::Each;
use crate::{Cancel, CancelFlag, EndTokens, Error, Generation, Prefix, Step};

pub(crate) type OnStep = Box<dyn FnMut(Step<'_>) -> ControlFlow<Cancel> + Send>;

/// One prompt for an [`Engine`](crate::Engine), and everything about its answer. `C` is the model's cache.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use clinical_generate::{EndTokens, Generation, Request};
///
/// let request: Request<()> = Request::new([5, 6, 7], Generation::greedy().with_max_new_tokens(40))
///     .with_end(EndTokens::new([1]))
///     .with_deadline(Instant::now() + Duration::from_secs(10));
/// ```
pub struct Request<C> {
    pub(crate) prompt: Arc<[u32]>,
    pub(crate) generation: Generation,
    pub(crate) end: EndTokens<'static>,
    pub(crate) on_token: Option<OnStep>,
    pub(crate) prefix: Option<Arc<Prefix<C>>>,
}

impl<C> Request<C> {
    /// Continues `prompt` as `generation` says; its deadline and its flag are those of this request. No token ends the
    /// answer, and nobody listens.
    #[must_use]
    pub fn new(prompt: impl Into<Arc<[u32]>>, generation: Generation) -> Self {
        Self {
            prompt: prompt.into(),
            generation,
            end: EndTokens::none(),
            on_token: None,
            prefix: None,
        }
    }

    /// What ends the answer, and how it becomes text ([`EndTokens::with_shared_text`]).
    #[must_use]
    pub fn with_end(mut self, end: EndTokens<'static>) -> Self {
        self.end = end;
        self
    }

    /// A closure that gets every new token as it is chosen, on the engine's thread: all other answers wait for it. It
    /// may end one sequence or all of this request's. A panic in it ends this request only.
    #[must_use]
    pub fn with_on_token(
        mut self,
        on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel> + Send + 'static,
    ) -> Self {
        self.on_token = Some(Box::new(on_token));
        self
    }

    /// The answer ends with the first token chosen after this moment; one that has not begun has none. The earlier of
    /// this and [`Generation::deadline`] counts.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        let earlier = self
            .generation
            .deadline
            .map_or(deadline, |d| d.min(deadline));
        self.generation.deadline = Some(earlier);
        self
    }

    /// A flag that ends this request; the same as [`Generation::cancel`].
    #[must_use]
    pub fn with_cancel(mut self, flag: CancelFlag) -> Self {
        self.generation.cancel = Some(flag);
        self
    }

    /// A prefix of the prompt that was read before, and is not read again. The prompt is still given whole.
    #[must_use]
    pub fn with_prefix(mut self, prefix: Arc<Prefix<C>>) -> Self {
        self.prefix = Some(prefix);
        self
    }
}

impl<C> fmt::Debug for Request<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("tokens", &self.prompt.len())
            .field("generation", &self.generation)
            .field("end", &self.end)
            .field(
                "prefix",
                &self.prefix.as_ref().map(|prefix| prefix.ids().len()),
            )
            .finish_non_exhaustive()
    }
}

/// The answer to come of a request that an [`Engine`](crate::Engine) has admitted.
///
/// Dropping it cancels the request: nobody waits for the answer any more. [`detach`](Self::detach) lets it run on.
#[derive(Debug)]
#[must_use = "dropping a ticket cancels its request: wait for it, or detach it"]
pub struct Ticket {
    pub(crate) result: Receiver<Each>,
    pub(crate) flag: CancelFlag,
    pub(crate) attached: bool,
    /// Whether the answer was given.
    pub(crate) given: bool,
}

impl Ticket {
    /// Waits for the answer: the sequences, the best first. Those of a request that was cancelled or timed out are as
    /// long as they had become, without any token if it had not begun.
    ///
    /// # Errors
    ///
    /// Those of [`generate`](crate::generate) for this prompt, [`Error::Panicked`], and [`Error::EngineStopped`] if the
    /// engine's thread ended by a panic.
    pub fn wait(self) -> Each {
        self.result.recv().unwrap_or(Err(Error::EngineStopped))
    }

    /// Waits for at most `timeout`; `None` if there is no answer yet. It is given once: later calls give
    /// [`Error::EngineStopped`].
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<Each> {
        if self.given {
            return Some(Err(Error::EngineStopped));
        }
        match self.result.recv_timeout(timeout) {
            Ok(result) => {
                self.given = true;
                Some(result)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(Error::EngineStopped)),
        }
    }

    /// Ends the request at its next token. Its answer up to there can still be waited for.
    pub fn cancel(&self) {
        self.flag.cancel();
    }

    /// Lets the request run on without anybody who waits: its closure gets the tokens.
    pub fn detach(mut self) {
        self.attached = false;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.attached {
            self.flag.cancel();
        }
    }
}
