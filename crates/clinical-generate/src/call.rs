//! What one call asks for all its prompts.

use std::ops::ControlFlow;

use crate::chooser::Chooser;
use crate::rank::Ranker;
use crate::row::Rules;
use crate::shortlist::Needs;
use crate::{Cancel, Step};

/// Gets each token as it is chosen.
pub(crate) type OnToken<'m> = Box<dyn FnMut(Step<'_>) -> ControlFlow<Cancel> + 'm>;

/// How the tokens of a call are chosen and where they go.
pub(crate) struct Call<'m> {
    pub(crate) rules: Rules<'m>,
    pub(crate) strategy: Strategy,
    pub(crate) on_token: OnToken<'m>,
    /// The closure wants no more of anything.
    pub(crate) cancelled: bool,
}

pub(crate) enum Strategy {
    /// Rows that know nothing of each other: argmax or sampling.
    Rows(Chooser),
    /// Beam search.
    Beams(Ranker),
}

impl<'m> Call<'m> {
    pub(crate) fn new(rules: Rules<'m>, vocabulary: usize, on_token: OnToken<'m>) -> Self {
        let (options, end) = (&rules.options, rules.end.ids());
        let strategy = match options.beams {
            1 => Strategy::Rows(Chooser::new(options, end, vocabulary)),
            _ => Strategy::Beams(Ranker::new(options, end, vocabulary)),
        };
        Self {
            rules,
            strategy,
            on_token,
            cancelled: false,
        }
    }

    pub(crate) fn needs(&self) -> Needs {
        match &self.strategy {
            Strategy::Rows(chooser) => chooser.needs,
            Strategy::Beams(ranker) => ranker.needs,
        }
    }
}
