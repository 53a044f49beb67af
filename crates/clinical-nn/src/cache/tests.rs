//! All forms of the cache against sums over one row after another, in f64.

use burn::tensor::TensorData;

use super::*;

const SIZES: KvSizes = KvSizes {
    layers: 2,
    heads: 2,
    d: 20,
    half: false,
};
const HALVES: KvSizes = KvSizes {
    half: true,
    ..SIZES
};
/// Query heads.
const HEADS: usize = 6;
const SCALE: f64 = 0.3;

/// Numbers between -1 and 1 from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.0 >> 33
    }

    fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit
    }

    /// None of them loses anything in f16.
    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| (self.next() % 2_049) as f32 / 1_024.0 - 1.0)
            .collect()
    }
}

/// What a cache should hold: keys and values `[heads, d]` of each layer, position by position, of each row.
#[derive(Clone, Default)]
struct Expected {
    rows: Vec<[Vec<[Vec<f32>; 2]>; SIZES.layers]>,
}

fn tensor(values: &[f32], heads: usize, positions: usize, device: &Device) -> Tensor<4> {
    // Heads after positions in memory, as projections leave them.
    let shape = [1, positions, heads, SIZES.d];
    let data = TensorData::new(values.to_vec(), shape);
    Tensor::from_data(data, device).swap_dims(1, 2)
}

/// The forms of one cache and what they should hold, and a pass over all of them.
struct Forms {
    blocks: KvCache,
    halves: KvCache,
    padded: KvCache,
    /// That of the padded form.
    device: Device,
    expected: Expected,
    random: Random,
    /// Whether every pass read as many positions of each row, so that a bias by distance can be given.
    even: bool,
}

impl Forms {
    fn new(seed: u64) -> Self {
        Self::on(seed, &clinical_kernels::cpu())
    }

    /// With the padded form on another device.
    fn on(seed: u64, device: &Device) -> Self {
        let cpu = clinical_kernels::cpu();
        Self {
            blocks: KvCache::new(SIZES, 3, &cpu, DType::F32),
            halves: KvCache::new(HALVES, 3, &cpu, DType::F32),
            padded: KvCache::padded(SIZES, 3, device, DType::F32),
            device: device.clone(),
            expected: Expected::default(),
            random: Random(seed),
            even: true,
        }
    }

    fn add_rows(&mut self, count: usize) {
        self.blocks.add_rows(count);
        self.halves.add_rows(count);
        self.padded.add_rows(count);
        let rows = self.expected.rows.len() + count;
        self.expected.rows.resize(rows, Default::default());
    }

    fn read(&mut self, counts: &[usize], window: Option<usize>) {
        let passes = [
            self.blocks.read(counts, window),
            self.halves.read(counts, window),
            self.padded.read(counts, window),
        ];
        self.even &= counts.iter().all(|&count| count == counts[0]);
        let total: usize = counts.iter().sum();
        for layer in 0..SIZES.layers {
            let [key, value] = [(); 2].map(|()| self.random.values(total * SIZES.heads * SIZES.d));
            let mut at = 0;
            let width = SIZES.heads * SIZES.d;
            for (row, &count) in self.expected.rows.iter_mut().zip(counts) {
                for _ in 0..count {
                    let of = |all: &[f32]| all[at * width..(at + 1) * width].to_vec();
                    row[layer].push([of(&key), of(&value)]);
                    at += 1;
                }
            }
            let cpu = clinical_kernels::cpu();
            let caches = [
                (&mut self.blocks, &cpu),
                (&mut self.halves, &cpu),
                (&mut self.padded, &self.device),
            ];
            for ((cache, device), pass) in caches.into_iter().zip(&passes) {
                let on_device = |x: &Vec<f32>| tensor(x, SIZES.heads, total, device);
                let [key, value] = [&key, &value].map(on_device);
                cache.append(layer, pass, key, value);
            }
            self.attend(layer, &passes, counts, window, true);
        }
    }

    fn look(&mut self, counts: &[usize]) {
        let passes = [&self.blocks, &self.halves, &self.padded].map(|cache| cache.look(counts));
        for layer in 0..SIZES.layers {
            self.attend(layer, &passes, counts, None, false);
        }
    }

    fn attend(
        &mut self,
        layer: usize,
        passes: &[Pass; 3],
        counts: &[usize],
        window: Option<usize>,
        causal: bool,
    ) {
        let total: usize = counts.iter().sum();
        let longest = self.blocks.longest();
        assert_eq!(self.blocks.lengths(), self.padded.lengths());
        let query = self.random.values(total * HEADS * SIZES.d);
        let single = self.even && counts.iter().all(|&count| count == 1);
        // More than the padded form's slots, which may be more than the longest row.
        let len = longest + 700;
        let bias = single.then(|| self.random.values(HEADS * len));
        let expected = self
            .expected
            .sums(layer, &query, counts, window, causal, bias.as_deref());
        let cpu = clinical_kernels::cpu();
        let caches = [
            (&self.blocks, &cpu),
            (&self.halves, &cpu),
            (&self.padded, &self.device),
        ];
        for ((cache, device), pass) in caches.into_iter().zip(passes) {
            let bias = bias.as_ref().map(|bias| {
                let data = TensorData::new(bias.clone(), [1, HEADS, 1, len]);
                Tensor::<4>::from_data(data, device)
            });
            let query = tensor(&query, HEADS, total, device);
            let found = cache.attend(layer, pass, query, bias.as_ref(), SCALE);
            assert_eq!(found.dims(), [1, HEADS, total, SIZES.d]);
            let found: Vec<f32> = found.swap_dims(1, 2).try_into_vec_as().unwrap();
            for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let off = (f64::from(*found) - expected).abs();
                assert!(
                    off < 2e-5,
                    "{counts:?} {window:?} at {at}: {found} {expected}"
                );
            }
        }
    }

    fn select(&mut self, rows: &[usize]) {
        self.blocks.select(rows);
        self.halves.select(rows);
        self.padded.select(rows);
        self.expected.rows = rows
            .iter()
            .map(|&row| self.expected.rows[row].clone())
            .collect();
    }

    fn merge(&mut self, other: Self) {
        self.blocks.merge(other.blocks).unwrap();
        self.halves.merge(other.halves).unwrap();
        self.padded.merge(other.padded).unwrap();
        self.expected.rows.extend(other.expected.rows);
        self.even &= other.even;
    }
}

impl Expected {
    /// `[positions, query heads, d]`.
    fn sums(
        &self,
        layer: usize,
        query: &[f32],
        counts: &[usize],
        window: Option<usize>,
        causal: bool,
        bias: Option<&[f32]>,
    ) -> Vec<f64> {
        let d = SIZES.d;
        let mut sums = Vec::new();
        let mut query = query.chunks(d);
        for (row, &count) in self.rows.iter().zip(counts) {
            let held = &row[layer];
            for position in 0..count {
                let end = if causal {
                    held.len() - count + position + 1
                } else {
                    held.len()
                };
                let start = window.map_or(0, |window| end.saturating_sub(window));
                for head in 0..HEADS {
                    let query = query.next().unwrap();
                    let group = head / (HEADS / SIZES.heads) * d;
                    let score = |at: usize| {
                        let dot: f64 = (0..d)
                            .map(|i| f64::from(query[i]) * f64::from(held[at][0][group + i]))
                            .sum();
                        let bias = bias.map_or(0.0, |bias| {
                            let len = bias.len() / HEADS;
                            f64::from(bias[head * len + len - held.len() + at])
                        });
                        (dot * SCALE + bias).exp()
                    };
                    let scores: Vec<f64> = (start..end).map(score).collect();
                    let whole: f64 = scores.iter().sum();
                    sums.extend((0..d).map(|i| {
                        let weighted = scores.iter().zip(&held[start..end]);
                        weighted
                            .map(|(score, kv)| score * f64::from(kv[1][group + i]) / whole)
                            .sum::<f64>()
                    }));
                }
            }
        }
        sums
    }
}

/// Rows join, leave, part and grow in any order, as prompts, steps, beams and queues make them.
#[test]
fn rows_are_those_of_a_row_alone() {
    for seed in 0..12 {
        join_leave_part_and_grow(seed, &clinical_kernels::cpu());
    }
}

/// The same where the padded form lies on a device that is not the host, with Burn's operations and with this project's
/// kernels: what a GPU is given to compute.
#[test]
fn rows_on_another_device() {
    let Ok(device) = clinical_kernels::cube_cpu() else {
        return;
    };
    for seed in 0..4 {
        clinical_kernels::set_gpu_kernels(seed >= 2);
        join_leave_part_and_grow(seed, &device);
    }
}

fn join_leave_part_and_grow(seed: u64, device: &Device) {
    let mut caches = Forms::on(seed, device);
    assert!(caches.blocks.is_ragged() && !caches.padded.is_ragged());
    caches.add_rows(3);
    for _ in 0..25 {
        let rows = caches.blocks.rows();
        let window = seed.is_multiple_of(3).then_some(20);
        let ragged: Vec<usize> = (0..rows).map(|_| caches.random.below(40)).collect();
        match caches.random.below(6) {
            0 if seed % 2 == 1 => caches.read(&vec![7; rows], window),
            0 if ragged.iter().sum::<usize>() > 0 => caches.read(&ragged, window),
            1 => {
                let kept: Vec<usize> = (0..1 + caches.random.below(5))
                    .map(|_| caches.random.below(rows))
                    .collect();
                caches.select(&kept);
            }
            2 if rows < 8 => {
                let mut other = Forms::on(seed + 100, device);
                other.add_rows(2);
                let first = 1 + caches.random.below(70);
                let second = 1 + caches.random.below(9);
                let counts = [first, if seed % 2 == 1 { first } else { second }];
                other.read(&counts, None);
                caches.merge(other);
            }
            3 if caches.blocks.lengths().iter().all(|&length| length > 0) => {
                let counts: Vec<usize> = (0..rows).map(|row| 1 + row % 3).collect();
                caches.look(&counts);
            }
            4 => caches.read(&vec![2; rows], window),
            _ => caches.read(&vec![1; rows], window),
        }
    }
}

#[test]
fn long_rows_and_many_queries() {
    let mut caches = Forms::new(77);
    caches.add_rows(2);
    caches.read(&[300, 150], None);
    caches.read(&[140, 1], None);
    caches.read(&[1, 290], Some(60));
    let copy = caches.blocks.clone();
    caches.read(&[1, 1], Some(60));
    caches.select(&[1]);
    caches.read(&[1], None);
    assert_eq!(copy.lengths(), [441, 441], "a copy keeps its own");
}

#[test]
fn rows_that_leave_and_come_again() {
    for seed in [5, 6] {
        let mut caches = Forms::new(seed);
        caches.add_rows(1);
        caches.read(&[9], None);
        caches.select(&[]);
        assert_eq!((caches.blocks.rows(), caches.padded.rows()), (0, 0));
        let mut other = Forms::new(seed + 1);
        other.add_rows(2);
        other.read(&[4, 0], None);
        caches.merge(other);
        caches.merge(Forms::new(8));
        caches.read(&[1, 3], None);
        caches.read(&[1, 1], None);
    }
}

/// Beams: only the end moves, and what was copied of the cache before stays as it was.
#[test]
fn reordering_the_end_is_selecting_where_the_prefix_is_the_same() {
    for order in [[2, 0, 0], [0, 1, 2], [1, 2, 0]] {
        let mut caches = Forms::new(31);
        caches.add_rows(1);
        caches.read(&[40], None);
        caches.select(&[0, 0, 0]);
        caches.read(&[1, 1, 1], None);
        caches.read(&[1, 1, 1], None);
        let [blocks, halves, padded] =
            [&caches.blocks, &caches.halves, &caches.padded].map(Clone::clone);
        let mut before = Forms {
            blocks,
            halves,
            padded,
            device: caches.device.clone(),
            expected: caches.expected.clone(),
            random: Random(4),
            even: true,
        };
        caches.blocks.reorder(&order, 2);
        caches.halves.reorder(&order, 2);
        caches.padded.reorder(&order, 2);
        caches.expected.rows = order.map(|row| caches.expected.rows[row].clone()).to_vec();
        caches.read(&[1, 1, 1], None);
        caches.look(&[1, 1, 1]);
        before.look(&[1, 1, 1]);
        before.read(&[1, 1, 1], None);
    }
}

/// A prefix that one model has read cannot be continued by another: the sizes decide, whatever the form.
#[test]
fn rows_of_another_model_are_refused() {
    let device = clinical_kernels::cpu();
    let sizes = KvSizes {
        layers: 2,
        heads: 2,
        d: 4,
        half: false,
    };
    type New = fn(KvSizes, usize, &Device, DType) -> KvCache;
    for new in [KvCache::new as New, KvCache::padded as New] {
        let others = [
            KvSizes { layers: 1, ..sizes },
            KvSizes { layers: 3, ..sizes },
            KvSizes { heads: 1, ..sizes },
            KvSizes { d: 8, ..sizes },
            KvSizes {
                half: true,
                ..sizes
            },
        ];
        for rows in [0, 1] {
            let mut cache = new(sizes, 0, &device, DType::F32);
            cache.add_rows(rows);
            for other in others {
                let mut other = new(other, 0, &device, DType::F32);
                other.add_rows(1);
                assert!(!cache.fits(&other));
                let refused = cache.merge(other);
                assert!(matches!(refused, Err(ModelError::OtherModel)));
                assert_eq!(cache.rows(), rows);
            }
            let mut same = new(sizes, 0, &device, DType::F32);
            same.add_rows(2);
            cache.merge(same).unwrap();
            assert_eq!(cache.rows(), rows + 2);
        }
    }
    let (blocks, mut padded) = (
        KvCache::new(sizes, 0, &device, DType::F32),
        KvCache::padded(sizes, 0, &device, DType::F32),
    );
    if blocks.is_ragged() {
        assert!(padded.merge(blocks).is_err());
    }
}

#[test]
#[should_panic(expected = "one count for each row")]
fn a_pass_has_a_count_for_each_row() {
    let sizes = KvSizes {
        layers: 1,
        heads: 1,
        d: 1,
        half: false,
    };
    let mut cache = KvCache::new(sizes, 0, &clinical_kernels::cpu(), DType::F32);
    cache.add_rows(2);
    let _ = cache.read(&[1], None);
}
