//! Steps against their formulas in f64.

use burn::tensor::{Device, Tensor, TensorData};

use super::{Adafactor, AdamW, Averaged, Factored};

fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn tensor(values: &[f32], shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
}

fn numbers(tensor: Tensor<2>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

#[track_caller]
fn near(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(*found) - expected).abs();
        assert!(
            off <= 1e-6 * (1.0 + expected.abs()),
            "{what}: {at}: {found}, not {expected}"
        );
    }
}

const ADAFACTOR: Adafactor = Adafactor {
    beta2: 0.4,
    epsilon: 1e-30,
    clip_threshold: 1.0,
    rate: 0.1,
    scale: None,
    decay: 0.0,
    decay_scaled: false,
};

/// Parameter, rows and columns after a step.
fn expected(
    step: &Adafactor,
    p: &[f32],
    g: &[f32],
    [n, m]: [usize; 2],
    before: Option<[&[f64]; 2]>,
) -> [Vec<f64>; 3] {
    let g: Vec<f64> = g.iter().map(|&g| f64::from(g)).collect();
    let p: Vec<f64> = p.iter().map(|&p| f64::from(p)).collect();
    let square = |i: usize, j: usize| g[i * m + j].powi(2) + step.epsilon;
    let mean = |sum: f64, count: usize, before: f64| {
        before * step.beta2 + (1.0 - step.beta2) * sum / count as f64
    };
    let old = |which: usize, at: usize| before.map_or(0.0, |before| before[which][at]);
    let rows: Vec<f64> = (0..n)
        .map(|i| mean((0..m).map(|j| square(i, j)).sum(), m, old(0, i)))
        .collect();
    let columns: Vec<f64> = (0..m)
        .map(|j| mean((0..n).map(|i| square(i, j)).sum(), n, old(1, j)))
        .collect();
    let all = rows.iter().sum::<f64>() / n as f64;
    let update: Vec<f64> = (0..n * m)
        .map(|at| g[at] / (rows[at / m] / all * columns[at % m]).sqrt())
        .collect();
    let rms = |x: &[f64]| (x.iter().map(|x| x * x).sum::<f64>() / (n * m) as f64).sqrt();
    let scale = step.scale.map_or(1.0, |least| rms(&p).max(least));
    let factor = step.rate * scale / (rms(&update) / step.clip_threshold).max(1.0);
    let lost = step.decay * if step.decay_scaled { scale } else { 1.0 };
    let p = p
        .iter()
        .zip(update)
        .map(|(p, update)| p - lost * p - factor * update);
    [p.collect(), rows, columns]
}

#[test]
fn adafactor_by_its_formula() {
    let steps = [
        ADAFACTOR,
        Adafactor {
            scale: Some(1e-3),
            decay: 0.01,
            ..ADAFACTOR
        },
        Adafactor {
            scale: Some(2.0),
            decay: 0.01,
            decay_scaled: true,
            clip_threshold: 1e9,
            ..ADAFACTOR
        },
    ];
    for (n, m) in [(1, 1), (3, 5), (70, 33), (33, 70), (700, 129), (5, 4000)] {
        for step in steps {
            let (p, g) = (values(n * m, 1), values(n * m, 2));
            let next = values(n * m, 3);
            let first = expected(&step, &p, &g, [n, m], None);
            let what = format!("{n}x{m} {step:?}");
            // Also as a transposed view, with the gradient as one or not.
            for turned in 0..3 {
                let given = |values: &[f32], turned: bool| match turned {
                    false => tensor(values, [n, m]),
                    true => {
                        let lies = numbers(tensor(values, [n, m]).transpose());
                        tensor(&lies, [m, n]).transpose()
                    }
                };
                let (parameter, gradient) = (given(&p, turned > 0), given(&g, turned > 1));
                let Factored {
                    tensor,
                    rows,
                    columns,
                } = step.step(parameter, &gradient, None).unwrap();
                near(&numbers(tensor.clone()), &first[0], &what);
                near(&numbers(rows.clone()), &first[1], &what);
                near(&numbers(columns.clone()), &first[2], &what);
                // The second step, from what the first one left.
                let p = numbers(tensor.clone());
                let before = [rows.clone(), columns.clone()].map(|moment| {
                    let values = numbers(moment).into_iter();
                    values.map(f64::from).collect::<Vec<f64>>()
                });
                let before = Some([before[0].as_slice(), before[1].as_slice()]);
                let second = expected(&step, &p, &next, [n, m], before);
                let gradient = given(&next, turned > 1);
                let found = step
                    .step(tensor, &gradient, Some([&rows, &columns]))
                    .unwrap();
                near(&numbers(found.tensor), &second[0], &what);
                near(&numbers(found.rows), &second[1], &what);
                near(&numbers(found.columns), &second[2], &what);
            }
        }
    }
}

const ADAMW: AdamW = AdamW {
    beta1: 0.9,
    beta2: 0.99,
    epsilon: 1e-8,
    root: 0.1,
    rate: 0.02,
    keep: 0.99,
};

#[test]
fn adamw_by_its_formula() {
    for (n, m) in [(1, 1), (3, 5), (333, 129)] {
        let (p, g) = (values(n * m, 1), values(n * m, 2));
        let (mean, square) = (values(n * m, 3), values(n * m, 4));
        let square: Vec<f32> = square.iter().map(|x| x.abs()).collect();
        for averages in [false, true] {
            let old = |values: &[f32], at: usize| match averages {
                true => f64::from(values[at]),
                false => 0.0,
            };
            let means: Vec<f64> = (0..n * m)
                .map(|at| 0.9 * old(&mean, at) + 0.1 * f64::from(g[at]))
                .collect();
            let squares: Vec<f64> = (0..n * m)
                .map(|at| 0.99 * old(&square, at) + 0.01 * f64::from(g[at]).powi(2))
                .collect();
            let after: Vec<f64> = (0..n * m)
                .map(|at| {
                    let update = means[at] / (squares[at].sqrt() / 0.1 + 1e-8);
                    0.99 * f64::from(p[at]) - 0.02 * update
                })
                .collect();
            let turn = |tensor: Tensor<2>| {
                let lies = numbers(tensor.clone().transpose());
                self::tensor(&lies, [m, n]).transpose()
            };
            for turned in [false, true] {
                let given = |values: &[f32]| match turned {
                    false => tensor(values, [n, m]),
                    true => turn(tensor(values, [n, m])),
                };
                let before = averages.then(|| [given(&mean), tensor(&square, [n, m])]);
                let Averaged {
                    tensor,
                    mean,
                    square,
                } = ADAMW.step(given(&p), &given(&g), before).unwrap();
                near(&numbers(tensor), &after, "parameter");
                near(&numbers(mean), &means, "mean");
                near(&numbers(square), &squares, "square");
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (p, g) = (values(900 * 333, 1), values(900 * 333, 2));
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            let step = Adafactor {
                scale: Some(1e-3),
                ..ADAFACTOR
            };
            let gradient = tensor(&g, [900, 333]);
            let found = step.step(tensor(&p, [900, 333]), &gradient, None).unwrap();
            let adamw = ADAMW.step(found.tensor, &gradient, None).unwrap();
            [found.rows, found.columns, adamw.tensor].map(numbers)
        })
    };
    let one = with(1);
    assert!(one == with(2) && one == with(3));
}

/// Somebody else's tensor stays as it is.
#[test]
fn shared_parameters_are_copied() {
    let p = values(12, 1);
    let shared = tensor(&p, [3, 4]);
    let gradient = tensor(&values(12, 2), [3, 4]);
    let found = ADAFACTOR.step(shared.clone(), &gradient, None).unwrap();
    assert_ne!(numbers(found.tensor), p);
    let found = ADAMW.step(shared.clone(), &gradient, None).unwrap();
    assert_ne!(numbers(found.tensor), p);
    assert_eq!(numbers(shared), p);
}
