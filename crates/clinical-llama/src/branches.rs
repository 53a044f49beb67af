//! The training loss of many continuations of one prefix: several instructions about one note.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use clinical_nn::{Loss, LossError, ModelError, rows_to_tensor};

use crate::attention::Context;
use crate::{Error, Llama};

/// Branches of like length go through the layers together, in so many groups: more pad less, in smaller products.
const GROUPS: usize = 4;

/// A prefix and what may follow it.
#[derive(Debug, Clone)]
pub struct Branches<'a> {
    /// What every branch begins with; nothing of it is learnt.
    pub prefix: &'a [u32],
    /// What follows, each by itself.
    pub branches: Vec<Branch<'a>>,
}

/// One continuation.
#[derive(Debug, Clone, Copy)]
pub struct Branch<'a> {
    /// Its ids.
    pub ids: &'a [u32],
    /// A label beside each id, as [`Llama::loss`] takes them: not shifted, negative where nothing is learnt. The first one
    /// is not used.
    pub labels: &'a [i64],
}

/// Branches that are read together, `[branches, longest, hidden]`.
struct Group {
    x: Tensor<3>,
    context: Context,
    /// The row of the prefixes that each branch follows.
    rows: Tensor<1, Int>,
    /// Positions in the flattened `[branches, longest]` that predict something.
    predicting: Vec<i64>,
}

impl Llama {
    /// [`loss`](Self::loss) of `prefix + branch` for every branch of every row, where each prefix is read once: a branch
    /// sees the prefix and itself. The mean is over the targets of all branches.
    ///
    /// With frequencies that change with the length of a row (`dynamic` scaling) every branch is read with its prefix.
    ///
    /// # Errors
    ///
    /// Those of [`loss`](Self::loss).
    pub fn branched_loss(&self, rows: &[Branches<'_>]) -> Result<Loss, Error> {
        if self.rope.is_dynamic() {
            return self.loss_of_whole_rows(rows);
        }
        let prefixes: Vec<&[u32]> = rows.iter().map(|row| row.prefix).collect();
        self.check(&prefixes)?;
        let mut branches = self.checked(rows)?;
        // Stable: the same rows give the same sums.
        branches.sort_by_key(|(_, branch)| branch.ids.len());
        let device = self.device();
        let longest = prefixes.iter().map(|row| row.len()).max().unwrap_or(0);
        let lengths: Vec<usize> = prefixes.iter().map(|row| row.len()).collect();
        let (mut groups, mut targets) = (Vec::new(), Vec::new());
        for part in branches.chunks(branches.len().div_ceil(GROUPS).max(1)) {
            groups.push(self.group(part, &lengths, longest, &mut targets, &device));
        }
        if targets.is_empty() {
            return Err(LossError::NoTargets.into());
        }
        let context = self.context(0, longest, &lengths, &device);
        let ids = rows_to_tensor(&prefixes, 0, &device);
        self.read(self.model.embed_tokens.forward(ids), &context, &mut groups);
        let hidden = self.config().hidden_size as i64;
        let states = groups.into_iter().map(|group| {
            let count = group.predicting.len();
            let predicting = TensorData::new(group.predicting, [count]);
            let states = group.x.reshape([-1, hidden]);
            states.select(0, Tensor::from_data(predicting, &device))
        });
        let states = Tensor::cat(states.collect(), 0).unsqueeze_dim(0);
        Ok(self.loss_of_states(self.model.norm.forward(states), &targets)?)
    }

    /// Runs the layers. Of the last one only the keys and values of the prefixes are needed.
    fn read(&self, mut prefix: Tensor<3>, context: &Context, groups: &mut [Group]) {
        for (number, layer) in self.model.layers.iter().enumerate() {
            let seen = if number + 1 == self.model.layers.len() {
                layer.keys_and_values(prefix.clone(), context)
            } else {
                let (x, seen) = layer.attend_after(prefix, context, None);
                prefix = layer.feed_forward(x);
                seen
            };
            for group in groups.iter_mut() {
                let before = seen.clone().map(|part| part.select(0, group.rows.clone()));
                let (x, _) = layer.attend_after(group.x.clone(), &group.context, Some(before));
                group.x = layer.feed_forward(x);
            }
        }
    }

    /// Embeds branches and adds their labels to `targets`.
    fn group(
        &self,
        branches: &[(usize, Branch<'_>)],
        lengths: &[usize],
        prefix: usize,
        targets: &mut Vec<i64>,
        device: &Device,
    ) -> Group {
        let longest = branches.iter().map(|(_, one)| one.ids.len()).max();
        let longest = longest.unwrap_or(0);
        let ids: Vec<&[u32]> = branches.iter().map(|(_, branch)| branch.ids).collect();
        let starts: Vec<usize> = branches.iter().map(|(row, _)| lengths[*row]).collect();
        let mut predicting = Vec::new();
        for (number, (_, branch)) in branches.iter().enumerate() {
            for (at, &label) in branch.labels.iter().enumerate().skip(1) {
                if label >= 0 {
                    predicting.push((number * longest + at - 1) as i64);
                    targets.push(label);
                }
            }
        }
        let positions = starts.iter().flat_map(|&start| start..start + longest);
        let positions: Vec<usize> = positions.collect();
        let rows: Vec<i64> = branches.iter().map(|(row, _)| *row as i64).collect();
        Group {
            x: self
                .model
                .embed_tokens
                .forward(rows_to_tensor(&ids, 0, device)),
            context: Context {
                // How much a row has read matters to `dynamic` scaling alone.
                rope: self.rope.tables(&positions, &starts, device),
                hidden: self.hidden_before(&starts, prefix, longest, device),
                // Layers share the prefix with other groups, and keep everything.
                recompute: false,
            },
            rows: Tensor::from_data(TensorData::new(rows, [branches.len()]), device),
            predicting,
        }
    }

    /// Hides the padding of shorter prefixes, and what lies outside the window of a query: `[branches, 1, branch or 1,
    /// prefix + branch]`. The order inside a branch concerns the attention alone.
    fn hidden_before(
        &self,
        starts: &[usize],
        prefix: usize,
        branch: usize,
        device: &Device,
    ) -> Option<Tensor<4, Bool>> {
        let window = self.config().sliding_window;
        let window = window.filter(|&window| starts.iter().any(|start| start + branch > window));
        if window.is_none() && starts.iter().all(|&start| start == prefix) {
            return None;
        }
        let (keys, queries) = (prefix + branch, if window.is_some() { branch } else { 1 });
        let mut hidden = Vec::with_capacity(starts.len() * queries * keys);
        for &start in starts {
            for query in 0..queries {
                hidden.extend((0..keys).map(|key| {
                    let position = match key {
                        key if key < start => key,
                        key if key < prefix => return true,
                        key => start + key - prefix,
                    };
                    window.is_some_and(|window| position + window <= start + query)
                }));
            }
        }
        let shape = [starts.len(), 1, queries, keys];
        Some(Tensor::from_data(TensorData::new(hidden, shape), device))
    }

    /// All branches with the numbers of their rows, if the model can read them.
    fn checked<'a>(&self, rows: &[Branches<'a>]) -> Result<Vec<(usize, Branch<'a>)>, Error> {
        let vocabulary = self.config().vocab_size;
        let mut all = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            for branch in &row.branches {
                ModelError::check_prompts(&[branch.ids], vocabulary)?;
                self.check_length(row.prefix.len() + branch.ids.len())?;
                if branch.labels.len() != branch.ids.len() {
                    return Err(Error::LabelCount {
                        row: all.len(),
                        labels: branch.labels.len(),
                        ids: branch.ids.len(),
                    });
                }
                all.push((number, *branch));
            }
        }
        Ok(all)
    }

    fn loss_of_whole_rows(&self, rows: &[Branches<'_>]) -> Result<Loss, Error> {
        let (mut ids, mut labels) = (Vec::new(), Vec::new());
        for row in rows {
            for branch in &row.branches {
                ids.push([row.prefix, branch.ids].concat());
                let mut whole = vec![clinical_nn::IGNORED; row.prefix.len() + 1];
                whole.extend(branch.labels.iter().skip(1));
                labels.push(whole);
            }
        }
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let labels: Vec<&[i64]> = labels.iter().map(Vec::as_slice).collect();
        self.loss(&ids, &labels)
    }
}
