//! The running sequences of one prompt.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::beam::Search;
use crate::call::{Call, Strategy};
use crate::chooser::{Chooser, Chosen};
use crate::row::{Row, Rules};
use crate::shortlist::{Line, Part};
use crate::text::Tail;
use crate::{Cancel, Error, Generated, Step, StepModel, StopReason};

/// The running sequences of one prompt, which lie side by side in the cache, and those that have ended.
pub(crate) struct Answer {
    /// Whose prompt it is.
    pub(crate) key: u64,
    /// The caller's number of the prompt.
    pub(crate) row: usize,
    pub(crate) prompt: Arc<[u32]>,
    running: Running,
    done: Vec<Generated>,
}

enum Running {
    Rows(Vec<Row>),
    Search(Box<Search>),
}

/// How the rows of the cache go on after a step.
#[derive(Default)]
pub(crate) struct Moves {
    /// The row that each row continues.
    pub(crate) parents: Vec<usize>,
    /// Whether some prompt has another number of rows than before.
    pub(crate) resized: bool,
    /// How many of its last tokens a row may not share with the one that lay there.
    pub(crate) differing: usize,
}

impl Answer {
    pub(crate) fn new<M: StepModel>(
        model: &M,
        call: &Call<'_>,
        (key, row): (u64, usize),
        prompt: Arc<[u32]>,
    ) -> Result<Self, Error> {
        let rules = &call.rules;
        let running = match call.strategy {
            Strategy::Rows(_) => {
                let sequences = 0..rules.options.num_return_sequences;
                let rows = sequences.map(|at| Row::new(model, row, at, &prompt, rules));
                Running::Rows(rows.collect::<Result<_, _>>()?)
            }
            Strategy::Beams(_) => {
                let search = Search::new(model, row, &prompt, rules)?;
                Running::Search(Box::new(search))
            }
        };
        Ok(Self {
            key,
            row,
            prompt,
            running,
            done: Vec::new(),
        })
    }

    /// The results of a prompt that is never read.
    pub(crate) fn unread<M: StepModel>(
        model: &M,
        rules: &Rules<'_>,
        row: usize,
        prompt: &Arc<[u32]>,
        reason: StopReason,
    ) -> Result<Vec<Generated>, Error> {
        let sequences = match rules.options.beams {
            1 => rules.options.num_return_sequences,
            _ => 1,
        };
        let rows = (0..sequences).map(|at| Row::new(model, row, at, prompt, rules));
        rows.map(|row| Ok(row?.finish(reason, rules))).collect()
    }

    /// Its rows in the cache.
    pub(crate) fn rows(&self) -> usize {
        match &self.running {
            Running::Rows(rows) => rows.len(),
            Running::Search(search) => search.running.len(),
        }
    }

    /// The new tokens that each of its sequences may have.
    pub(crate) fn budget(&self) -> usize {
        let first = match &self.running {
            Running::Rows(rows) => rows.first(),
            Running::Search(search) => search.running.first().map(|beam| &beam.row),
        };
        first.map_or(0, |row| row.budget.tokens)
    }

    /// Adds the last token of each sequence.
    pub(crate) fn last_ids(&self, ids: &mut Vec<u32>) {
        match &self.running {
            Running::Rows(rows) => ids.extend(rows.iter().filter_map(Row::last)),
            Running::Search(search) => {
                ids.extend(search.running.iter().filter_map(|beam| beam.row.last()));
            }
        }
    }

    /// The new tokens of each sequence, of the same number.
    pub(crate) fn new_ids(&self) -> Vec<&[u32]> {
        match &self.running {
            Running::Rows(rows) => rows.iter().map(Row::new_ids).collect(),
            Running::Search(search) => {
                let rows = search.running.iter().map(|beam| &beam.row);
                rows.map(Row::new_ids).collect()
            }
        }
    }

    /// What is to be read of the logits of its sequences.
    pub(crate) fn lines(&self, call: &Call<'_>, lines: &mut Vec<Line>) {
        let needs = call.needs();
        match (&self.running, &call.strategy) {
            (Running::Search(search), Strategy::Beams(ranker)) => {
                let line = |beam| Line {
                    needs,
                    base: Some(ranker.base(beam)),
                };
                lines.extend(search.running.iter().map(line));
            }
            _ => lines.extend((0..self.rows()).map(|_| Line { needs, base: None })),
        }
    }

    /// Sets the scores of what the options forbid for the next token of one sequence to minus infinity.
    pub(crate) fn forbid(&mut self, call: &mut Call<'_>, at: usize, scores: &mut [f32]) {
        match (&mut self.running, &mut call.strategy) {
            (Running::Rows(rows), Strategy::Rows(chooser)) => chooser.forbid(&mut rows[at], scores),
            (Running::Search(search), Strategy::Beams(ranker)) => {
                ranker.forbid(&mut search.running[at], scores);
            }
            _ => {}
        }
    }

    /// One more token for each sequence, whose first row in the cache is `first`. Those that end leave.
    pub(crate) fn step<M: StepModel>(
        &mut self,
        model: &M,
        call: &mut Call<'_>,
        mut logits: Part<'_>,
        first: usize,
        moves: &mut Moves,
    ) -> Result<(), Error> {
        let before = self.rows();
        match (&mut self.running, &mut call.strategy) {
            (Running::Rows(rows), Strategy::Rows(chooser)) => {
                let mut kept = Vec::with_capacity(before);
                for (at, row) in std::mem::take(rows).into_iter().enumerate() {
                    if call.cancelled {
                        let result = row.finish(StopReason::Cancelled, &call.rules);
                        self.done.push(result);
                        continue;
                    }
                    let logits = logits.row(at, model.vocabulary());
                    let mut told = Told {
                        rules: &call.rules,
                        on_token: &mut *call.on_token,
                        cancelled: &mut call.cancelled,
                    };
                    let (row, stop) = advance(model, chooser, row, logits, &mut told)?;
                    match stop {
                        Some(reason) => self.done.push(row.finish(reason, &call.rules)),
                        None => {
                            kept.push(row);
                            moves.parents.push(first + at);
                        }
                    }
                }
                *rows = kept;
            }
            (Running::Search(search), Strategy::Beams(ranker)) => {
                search.step(model, logits, ranker, &call.rules)?;
                moves.differing = moves.differing.max(search.differing);
                let parents = search.running.iter().map(|beam| first + beam.parent);
                moves.parents.extend(parents);
                if search.running.is_empty() {
                    let listener = Some(&mut call.on_token);
                    call.cancelled |= search.emit(&call.rules, listener, &mut self.done);
                }
            }
            _ => {}
        }
        moves.resized |= self.rows() != before;
        Ok(())
    }

    /// Ends all sequences as they are; nobody listens any more.
    pub(crate) fn give_up(&mut self, reason: StopReason, rules: &Rules<'_>) {
        match &mut self.running {
            Running::Rows(rows) => {
                let ended = std::mem::take(rows).into_iter();
                self.done.extend(ended.map(|row| row.finish(reason, rules)));
            }
            Running::Search(search) => {
                search.conclude(reason, &rules.options);
                search.emit(rules, None, &mut self.done);
            }
        }
    }

    /// What was generated, the best sequence first.
    pub(crate) fn into_results(mut self) -> Vec<Generated> {
        self.done.sort_by_key(|result| result.sequence);
        self.done
    }
}

/// Where a token goes once it is chosen.
struct Told<'c, 'm> {
    rules: &'c Rules<'m>,
    on_token: &'c mut (dyn FnMut(Step<'_>) -> ControlFlow<Cancel> + 'm),
    cancelled: &'c mut bool,
}

/// One more token of a row, and why it ends with it, if it does.
fn advance<M: StepModel>(
    model: &M,
    chooser: &mut Chooser,
    mut row: Row,
    logits: Part<'_>,
    told: &mut Told<'_, '_>,
) -> Result<(Row, Option<StopReason>), Error> {
    let Chosen { id, log_prob, top } = chooser.choose(model, &mut row, logits)?;
    row.log_probs.extend(log_prob);
    if !top.is_empty() {
        row.top_log_probs.push(top);
    }
    let mark = row.tail.as_ref().map_or(0, Tail::mark);
    let stop = row.push(id, told.rules);
    let step = Step {
        row: row.row,
        sequence: row.sequence,
        index: row.len() - 1,
        id,
        text: row.tail.as_ref().map_or("", |tail| tail.since(mark)),
        log_prob,
        stop,
    };
    let stop = match (told.on_token)(step) {
        ControlFlow::Continue(()) => stop,
        ControlFlow::Break(cancel) => {
            *told.cancelled = cancel == Cancel::All;
            stop.or(Some(StopReason::Cancelled))
        }
    };
    Ok((row, stop))
}
