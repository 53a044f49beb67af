//! One token after another.

use burn::tensor::{DType, Int, Tensor, TensorData};
use clinical_generate::{ModelError, StepModel};
use clinical_nn::{KvCache, KvKind, KvSizes, Pass};

use crate::T5;
use crate::attention::{Attention, Cached};
use crate::bucket::StepBias;
use crate::dropout::DropAt;

/// New tokens that a cache has room for at the start, whatever the caller reserves; beyond them it grows.
const MAX_RESERVED: usize = 4096;

/// Prompts that are encoded side by side although padding makes the shorter ones longer, where rows need no padding
/// later: up to an eighth of the longest, or up to this many positions in all, of which products are not worth
/// dividing.
const FEW_POSITIONS: usize = 256;

/// What the decoder remembers of the running rows: keys and values of the tokens so far, and those of the prompts,
/// which are computed once.
///
/// Rows beside each other that have one prompt (beams) share its keys and values, so that re-ordering them moves no
/// prompt.
#[derive(Debug, Clone)]
pub struct T5Cache {
    own: KvCache,
    /// A row for each prompt.
    prompts: KvCache,
    /// How many rows beside each other share each prompt.
    shared: Vec<usize>,
    /// All rows look at their prompts.
    look: Pass,
    bias: Option<StepBias>,
}

impl T5Cache {
    /// The running rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.own.rows()
    }

    /// Decoder positions of each row so far, the start token included.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        self.own.lengths()
    }
}

impl T5 {
    fn empty_cache(&self, reserve: usize) -> KvCache {
        let KvKind {
            sizes,
            dtype,
            device,
        } = self.kind();
        KvCache::new(sizes, reserve, &device, dtype)
    }

    /// What keys and values are, those of the prompts and those of the new tokens.
    fn kind(&self) -> KvKind {
        let blocks = self.decoder_blocks();
        let first = blocks.first().map(|block| &block.self_attention);
        let dtype = first.map_or(DType::F32, |attention| attention.k.dtype());
        let [heads, d] = first.map_or([0; 2], Attention::heads);
        KvKind {
            sizes: KvSizes {
                layers: blocks.len(),
                heads,
                d,
                half: first.is_some_and(|attention| attention.q.is_quantised()),
            },
            dtype,
            device: self.device(),
        }
    }

    /// A cache of prompts without rows, and the encoder states `[1, length, d_model]` of each, to a cache of rows.
    fn cache_of(
        &self,
        mut prompts: KvCache,
        states: Vec<Tensor<3>>,
        lengths: &[usize],
        reserve: usize,
    ) -> T5Cache {
        let rows = lengths.len();
        prompts.add_rows(rows);
        let states = Tensor::cat(states, 1);
        let pass = prompts.read(lengths, None);
        for (layer, block) in self.decoder_blocks().iter().enumerate() {
            let (key, value) = block.cross_attention.keys_values(states.clone());
            prompts.append(layer, &pass, key, value);
        }
        let capacity = reserve.clamp(1, MAX_RESERVED);
        let mut own = self.empty_cache(capacity);
        own.add_rows(rows);
        let shared = vec![1; rows];
        T5Cache {
            own,
            look: prompts.look(&shared),
            prompts,
            shared,
            bias: self.step_bias(capacity),
        }
    }

    /// Encoder states of each prompt, `[1, length, d_model]`. With `apart` prompts of different lengths are encoded by
    /// themselves.
    fn encode_rows(&self, prompts: &[&[u32]], apart: bool) -> Vec<Tensor<3>> {
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        order.sort_by_key(|&row| std::cmp::Reverse(prompts[row].len()));
        let mut found = vec![None; prompts.len()];
        let mut rest = &order[..];
        while let [first, ..] = rest {
            let longest = prompts[*first].len();
            let alike = |&(at, row): &(usize, &usize)| {
                let few = (at + 1) * longest <= FEW_POSITIONS;
                !apart || few || prompts[*row].len() * 8 >= longest * 7
            };
            let count = rest.iter().enumerate().take_while(alike).count();
            let (group, others) = rest.split_at(count);
            rest = others;
            let encoded = self.encode_checked(&pick(prompts, group));
            for (&row, states) in group.iter().zip(encoded.rows()) {
                found[row] = Some(states);
            }
        }
        found.into_iter().flatten().collect()
    }

    fn step_bias(&self, capacity: usize) -> Option<StepBias> {
        let decoder = self.decoder.as_ref()?;
        let first = &decoder.block.first()?.self_attention;
        let table = first.relative_attention_bias.as_ref()?;
        Some(StepBias::new(table, decoder.max_distance(), capacity))
    }
}

impl StepModel for T5 {
    type Cache = T5Cache;

    fn vocabulary(&self) -> usize {
        self.vocabulary_out()
    }

    /// None: positions are relative, and all distances beyond the last bucket are alike.
    fn max_positions(&self) -> Option<usize> {
        None
    }

    fn prompt_counts(&self) -> bool {
        false
    }

    fn decoder_start(&self) -> Option<u32> {
        Some(self.start())
    }

    fn prefill(
        &self,
        prompts: &[&[u32]],
        reserve: usize,
    ) -> Result<(T5Cache, Tensor<2>), ModelError> {
        self.decoder()?;
        ModelError::check_prompts(prompts, self.shared.vocabulary())?;
        let lengths: Vec<usize> = prompts.iter().map(|prompt| prompt.len()).collect();
        let empty = self.empty_cache(0);
        let states = self.encode_rows(prompts, empty.is_ragged());
        let mut cache = self.cache_of(empty, states, &lengths, reserve);
        let logits = self.step(&vec![self.start(); prompts.len()], &mut cache)?;
        Ok((cache, logits))
    }

    fn step(&self, ids: &[u32], cache: &mut T5Cache) -> Result<Tensor<2>, ModelError> {
        self.check_cache(cache)?;
        if ids.len() != cache.rows() {
            return Err(ModelError::RowMismatch {
                ids: ids.len(),
                rows: cache.rows(),
            });
        }
        if ids.is_empty() {
            return Err(ModelError::NoRows);
        }
        let decoder = self.decoder()?;
        let vocabulary = self.shared.vocabulary();
        if let Some(row) = ids.iter().position(|&id| id as usize >= vocabulary) {
            return Err(ModelError::TokenOutOfRange {
                id: ids[row],
                row,
                vocabulary,
            });
        }
        let longest = cache.own.longest() + 1;
        let holds = |bias: &StepBias| bias.capacity() >= longest;
        if !cache.bias.as_ref().is_none_or(holds) {
            cache.bias = self.step_bias(longest.saturating_mul(2));
        }
        let bias = cache.bias.as_ref().map(StepBias::line);

        let rows = ids.len();
        let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, rows]), &self.device());
        let mut x = self.shared.forward(ids).cast(DType::F32);
        let pass = cache.own.read(&vec![1; rows], None);
        for (layer, block) in decoder.block.iter().enumerate() {
            let own = Cached {
                cache: &mut cache.own,
                pass: &pass,
                layer,
            };
            x = block.self_attention.step(x, bias, own);
            let prompts = Cached {
                cache: &mut cache.prompts,
                pass: &cache.look,
                layer,
            };
            x = block.cross_attention.step_to_other(x, prompts);
            x = block.feed_forward.forward(x, DropAt::NONE);
        }
        let logits = self.project(decoder.final_layer_norm.forward(x));
        Ok(logits.squeeze_dim::<2>(0).cast(DType::F32))
    }

    fn first_non_finite(&self, prompt: &[u32], new: &[u32]) -> Option<String> {
        self.non_finite_part(prompt, &[&[self.start()], new].concat())
    }

    fn reorder(&self, cache: &mut T5Cache, rows: &[usize], differing: usize) {
        cache.own.reorder(rows, differing);
    }

    fn select(&self, cache: &mut T5Cache, rows: &[usize]) {
        cache.own.select(rows);
        let before = cache.shared.len();
        let of_rows: Vec<usize> = (cache.shared.iter().enumerate())
            .flat_map(|(prompt, &count)| std::iter::repeat_n(prompt, count))
            .collect();
        let of_rows: Vec<usize> = rows.iter().map(|&row| of_rows[row]).collect();
        let runs = of_rows.chunk_by(|one, next| one == next);
        let (kept, shared): (Vec<usize>, Vec<usize>) = runs.map(|run| (run[0], run.len())).unzip();
        if !kept.iter().copied().eq(0..before) {
            cache.prompts.select(&kept);
        }
        cache.look = cache.prompts.look(&shared);
        cache.shared = shared;
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn check_cache(&self, cache: &T5Cache) -> Result<(), ModelError> {
        match *cache.own.kind() == self.kind() {
            true => Ok(()),
            false => Err(ModelError::OtherModel),
        }
    }

    fn cache_bytes(&self, tokens: usize) -> u64 {
        self.kind().bytes(tokens)
    }

    /// The keys and values of a prompt are there once for all its rows.
    fn copies_share(&self) -> bool {
        true
    }

    fn merge(&self, cache: &mut T5Cache, other: T5Cache) -> Result<(), ModelError> {
        self.check_cache(cache)?;
        self.check_cache(&other)?;
        cache.own.merge(other.own)?;
        cache.prompts.merge(other.prompts)?;
        cache.shared.extend(other.shared);
        cache.look = cache.prompts.look(&cache.shared);
        Ok(())
    }
}

fn pick<'p>(prompts: &[&'p [u32]], rows: &[usize]) -> Vec<&'p [u32]> {
    rows.iter().map(|&row| prompts[row]).collect()
}
