//! Dropout by its formula: reproducible, even, independent of everything but seed, site and position.

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Distribution, Tensor, TensorData, Tolerance};
use clinical_nn::{
    Adapter, AttentionOptions, Dropout, Linear, Linears, attention, attention_with_dropout,
    key_mask, set_adapter_dropout_seed, train_adapters_only,
};

const COUNT: usize = 1 << 20;

fn training() -> Device {
    clinical_kernels::cpu().autodiff()
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().convert::<f32>().try_to_vec().unwrap()
}

/// Values in [-1, 1) that need no random state.
fn wave<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let count: usize = shape.iter().product();
    let values = (0..count).map(|i| (i as f32 * 0.7 + 0.1).sin());
    let data = TensorData::new(values.collect::<Vec<f32>>(), shape);
    Tensor::from_data(data, (device, DType::F32))
}

/// What `scripts/dropout_reference.py` prints, which has the formula in numpy.
#[test]
fn masks_are_those_of_the_published_formula() {
    let found = Dropout::new(0.5, 7).mask(3, 8);
    assert_eq!(found, [0.0, 2.0, 0.0, 2.0, 2.0, 0.0, 0.0, 2.0]);
    let third = 1.0 / 0.75;
    let found = Dropout::new(0.25, 0).mask(0, 7);
    assert_eq!(found, [0.0, 0.0, third, third, third, third, third]);
    assert_eq!(Dropout::seed_of(&[1, 2]), 0xbcd9_dbb4_9673_066b);
    assert!(Dropout::new(0.25, 0).mask(0, 0).is_empty());
    // A shorter tensor has the first values of a longer one.
    let long = Dropout::new(0.3, 9).mask(4, 101);
    assert_eq!(Dropout::new(0.3, 9).mask(4, 50), long[..50]);
}

#[test]
fn seeds_depend_on_every_number_and_their_order() {
    let mut seeds: Vec<u64> = [
        &[] as &[u64],
        &[0],
        &[0, 0],
        &[0, 0, 1],
        &[0, 1, 0],
        &[1, 0, 0],
        &[u64::MAX],
    ]
    .map(Dropout::seed_of)
    .to_vec();
    seeds.extend((0..1000).map(|step| Dropout::seed_of(&[5, step, 0, 1])));
    seeds.sort_unstable();
    seeds.dedup();
    assert_eq!(seeds.len(), 1007);
}

#[test]
fn a_rate_is_the_share_of_zeros_and_keeps_the_mean() {
    for rate in [0.001, 0.1, 0.5, 0.9] {
        for (seed, site) in [(0, 0), (1, 0), (0, 1), (u64::MAX, 1 << 40)] {
            let mask = Dropout::new(rate, seed).mask(site, COUNT);
            let kept = (1.0 / (1.0 - rate)) as f32;
            assert!(mask.iter().all(|&value| value == 0.0 || value == kept));
            let dropped = mask.iter().filter(|&&value| value == 0.0).count() as f64;
            let error = (rate * (1.0 - rate) / COUNT as f64).sqrt();
            let share = dropped / COUNT as f64;
            assert!(
                (share - rate).abs() < 5.0 * error,
                "{rate} {seed} {site}: {share}"
            );
            let sum: f64 = mask.iter().map(|&value| f64::from(value)).sum();
            let mean = sum / COUNT as f64;
            let error = error / (1.0 - rate);
            assert!(
                (mean - 1.0).abs() < 5.0 * error,
                "{rate} {seed} {site}: {mean}"
            );
            let square = |&value: &f32| (f64::from(value) - 1.0).powi(2);
            let variance = mask.iter().map(square).sum::<f64>() / COUNT as f64;
            let expected = rate / (1.0 - rate);
            assert!((variance / expected - 1.0).abs() < 0.2 * (0.001f64 / rate).sqrt() + 0.01);
        }
    }
}

/// The correlation of two masks of independent values is below five standard errors.
#[track_caller]
fn independent(what: &str, one: &[f32], other: &[f32]) {
    let (mut sum, mut squares) = (0.0, [0.0; 2]);
    for (&a, &b) in one.iter().zip(other) {
        let [a, b] = [a, b].map(|value| f64::from(value) - 1.0);
        sum += a * b;
        squares[0] += a * a;
        squares[1] += b * b;
    }
    let correlation = sum / (squares[0] * squares[1]).sqrt();
    let limit = 5.0 / (one.len().min(other.len()) as f64).sqrt();
    assert!(correlation.abs() < limit, "{what}: {correlation}");
}

#[test]
fn neighbours_have_nothing_in_common() {
    for rate in [0.1, 0.5] {
        let mask = |seed, site| Dropout::new(rate, seed).mask(site, COUNT);
        let first = mask(12, 6);
        for (seed, site) in [
            (13, 6),
            (12, 7),
            (6, 12),
            (12, 6 + (1 << 32)),
            (12 + (1 << 63), 6),
        ] {
            independent(&format!("{seed} {site}"), &first, &mask(seed, site));
        }
        // Elements, rows of usual widths, and the same element of the next pair.
        for lag in [1, 2, 3, 4, 64, 128, 768, 4096] {
            independent(&format!("lag {lag}"), &first, &first[lag..]);
        }
    }
}

#[test]
fn a_pass_is_repeated_whatever_happens_in_between() {
    let device = training();
    let x = wave([5, 7, 9], &device);
    let dropout = Dropout::new(0.3, 21);
    let expected = dropout.apply(4, x.clone()).into_data();
    let found: Vec<TensorData> = std::thread::scope(|scope| {
        let run = |thread| {
            let (x, device) = (x.clone(), device.clone());
            scope.spawn(move || {
                device.seed(thread);
                let _ = Tensor::<1>::random([100], Distribution::Default, &device).into_data();
                let _ = dropout.apply(thread, x.clone()).into_data();
                dropout.apply(4, x).into_data()
            })
        };
        let threads: Vec<_> = (0..4).map(run).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for found in found {
        found.assert_eq(&expected, true);
    }
    let mask = dropout.mask(4, 5 * 7 * 9);
    let product = values(x.clone())
        .iter()
        .zip(&mask)
        .map(|(x, mask)| x * mask)
        .collect::<Vec<_>>();
    assert_eq!(expected.try_to_vec::<f32>().unwrap(), product);
    // A view is counted by its own axes.
    let turned = dropout.apply(4, x.clone().swap_dims(0, 2));
    let copied = Tensor::<3>::from_data(x.swap_dims(0, 2).into_data(), &device);
    turned
        .into_data()
        .assert_eq(&dropout.apply(4, copied).into_data(), true);
}

#[test]
fn gradients_are_multiplied_by_the_mask() {
    let device = training();
    let x = wave([6, 33], &device).require_grad();
    let slope = wave([33, 6], &device).transpose();
    let dropout = Dropout::new(0.4, 8);
    let gradients = (dropout.apply(1, x.clone()) * slope.clone())
        .sum()
        .backward();
    let mask = dropout.mask(1, 6 * 33);
    let expected: Vec<f32> = values(slope)
        .iter()
        .zip(&mask)
        .map(|(slope, mask)| slope * mask)
        .collect();
    assert_eq!(
        values(Tensor::<2>::from_data(
            x.grad(&gradients).unwrap().into_data(),
            &device
        )),
        expected
    );
}

#[test]
fn nothing_happens_without_a_rate_or_without_gradients() {
    let plain = clinical_kernels::cpu();
    let dropout = Dropout::new(0.9, 1);
    let x = wave([4, 4], &plain);
    assert!(!dropout.acts_on(&plain) && dropout.acts_on(&training()));
    dropout
        .apply(0, x.clone())
        .into_data()
        .assert_eq(&x.to_data(), true);
    let x = wave([4, 4], &training());
    for none in [
        Dropout::NONE,
        Dropout::default(),
        Dropout::new(f64::NAN, 1),
        Dropout::new(-1.0, 1),
    ] {
        assert_eq!(none.rate(), 0.0);
        none.apply(0, x.clone())
            .into_data()
            .assert_eq(&x.to_data(), true);
    }
    assert_eq!(Dropout::new(7.0, 3).rate(), 0.999);
    assert_eq!(Dropout::new(7.0, 3).seed(), 3);
}

#[test]
fn the_type_of_the_values_stays() {
    let device = training();
    for dtype in [DType::F16, DType::BF16] {
        let x = wave([3, 50], &device).cast(dtype);
        let y = Dropout::new(0.5, 2).apply(9, x.clone());
        assert_eq!(y.dtype(), dtype);
        let mask = Dropout::new(0.5, 2).mask(9, 150);
        let doubled: Vec<f32> = values(x)
            .iter()
            .zip(&mask)
            .map(|(x, mask)| x * mask)
            .collect();
        assert_eq!(values(y), doubled);
    }
}

/// The mean over seeds of what is linear in one site is that without dropout.
#[test]
fn a_linear_readout_is_right_on_average() {
    let device = training();
    let (x, weight) = (wave([1, 40], &device), wave([40, 1], &device) + 0.3);
    let exact = values(x.clone().matmul(weight.clone()))[0];
    let seeds = 4000;
    let found: Vec<f64> = (0..seeds)
        .map(|seed| {
            let x = Dropout::new(0.2, seed).apply(5, x.clone());
            f64::from(values(x.matmul(weight.clone()))[0])
        })
        .collect();
    let mean = found.iter().sum::<f64>() / seeds as f64;
    let variance = found
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / seeds as f64;
    let error = (variance / seeds as f64).sqrt();
    assert!(
        error > 1e-3 && (mean - f64::from(exact)).abs() < 4.0 * error,
        "{mean} {exact} {error}"
    );
}

/// A rate that drops none of 2^32 values takes the training path.
const BARELY: f64 = 1e-12;

#[test]
fn attention_in_training_is_attention() {
    let plain = clinical_kernels::cpu();
    for (heads, key_heads, queries, keys, causal) in [
        (2, 2, 5, 5, true),
        (4, 2, 3, 6, true),
        (2, 2, 4, 7, false),
        (3, 1, 1, 4, false),
    ] {
        let on = |device: &Device, dropout: Option<Dropout>| {
            let [q, k, v] = [
                (heads, queries, 0.9),
                (key_heads, keys, 1.1),
                (key_heads, keys, 0.5),
            ]
            .map(|(heads, length, scale)| wave([2, heads, length, 8], device) * scale);
            let bias = wave([1, heads, queries, keys], device);
            let options = AttentionOptions {
                hidden: key_mask(&[keys, keys - 1], keys, device),
                bias: Some(bias),
                causal,
                ..AttentionOptions::scaled(0.35)
            };
            match dropout {
                Some(dropout) => attention_with_dropout(q, k, v, options, dropout, 3),
                None => attention(q, k, v, options),
            }
            .into_data()
        };
        let expected = on(&plain, None);
        on(&plain, Some(Dropout::new(0.5, 1))).assert_eq(&expected, true);
        let found = on(&training(), Some(Dropout::new(BARELY, 1)));
        found.assert_approx_eq::<f32>(&expected, Tolerance::absolute(2e-6));
    }
}

#[test]
fn attention_drops_weights_and_nothing_else() {
    let device = training();
    let [q, k] = [0.9, 1.7].map(|scale| wave([2, 2, 4, 4], &device) * scale);
    // One row a key: the result is the weights themselves.
    let v = Tensor::<2>::eye(4, &device)
        .unsqueeze::<4>()
        .expand([2, 2, 4, 4]);
    let options = AttentionOptions::scaled(0.5);
    let weights = values(attention(q.clone(), k.clone(), v.clone(), options.clone()));
    let dropout = Dropout::new(0.5, 4);
    let found = values(attention_with_dropout(q, k, v, options, dropout, 11));
    for ((found, weight), mask) in found.iter().zip(&weights).zip(dropout.mask(11, 64)) {
        assert!(
            (found - weight * mask).abs() < 1e-6,
            "{found} {weight} {mask}"
        );
    }
}

/// Two layers of the same numbers with the same adapter.
fn adapted(device: &Device) -> Vec<Linear> {
    let layer = || {
        let mut layer = Linear::new(12, 6, false, 0.1, device);
        layer.weight = Param::from_tensor(wave([12, 6], device));
        let mut adapter = Adapter::new(&layer, "same", 3, 1.5, 7);
        adapter.b = Param::from_tensor(wave([3, 6], device));
        adapter.dropout = 0.5;
        layer.attach("layer", adapter).unwrap();
        layer
    };
    vec![layer(), layer()]
}

#[test]
fn adapters_read_their_inputs_with_dropout() {
    let device = training();
    let mut model = adapted(&device);
    let x = wave([2, 4, 12], &device);
    let run = |model: &[Linear]| [0, 1].map(|at| values(model[at].forward(x.clone())));
    // Nothing is dropped before there is a seed.
    let plain = run(&model);
    assert_eq!(plain[0], plain[1]);
    set_adapter_dropout_seed(&mut model, 5);
    let dropped = run(&model);
    assert_eq!(run(&model), dropped);
    assert!(dropped[0] != dropped[1] && dropped[0] != plain[0]);
    for (layer, found) in model.iter().zip(&dropped) {
        let adapter = layer.adapter.as_ref().unwrap();
        let mask = Dropout::new(0.5, adapter.dropout_seed.unwrap()).mask(0, 8 * 12);
        let x = x.clone().reshape([8, 12]);
        let kept = x.clone() * Tensor::from_data(TensorData::new(mask, [8, 12]), &device);
        let delta = kept.matmul(adapter.a.val()).matmul(adapter.b.val()) * 1.5;
        let expected = values(x.matmul(layer.weight.val()) + delta);
        let near = found
            .iter()
            .zip(&expected)
            .all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near, "{found:?} {expected:?}");
    }
    set_adapter_dropout_seed(&mut model, 6);
    assert!(run(&model)[0] != dropped[0]);
    set_adapter_dropout_seed(&mut model, 5);
    assert_eq!(run(&model), dropped);
    set_adapter_dropout_seed(&mut model, None);
    assert_eq!(run(&model), plain);
    // Without gradients there is no dropout.
    let device = clinical_kernels::cpu();
    let mut model = adapted(&device);
    let x = wave([2, 4, 12], &device);
    let before = model[0].forward(x.clone()).into_data();
    set_adapter_dropout_seed(&mut model, 5);
    model[0].forward(x).into_data().assert_eq(&before, true);
}

/// A replica that is borrowed is cloned for its seed; the gradients are those of the replica.
#[test]
fn a_clone_with_a_seed_gives_gradients_of_the_original() {
    let device = training();
    let model = train_adapters_only(adapted(&device));
    let x = wave([4, 12], &device);
    let mut step = model.clone();
    set_adapter_dropout_seed(&mut step, 9);
    let gradients = step[1].forward(x.clone()).powf_scalar(2.0).sum().backward();
    let [own, of_clone] = [&model, &step].map(|model| {
        let adapter = model[1].adapter.as_ref().unwrap();
        values(Tensor::<2>::from_data(
            adapter.b.val().grad(&gradients).unwrap().into_data(),
            &device,
        ))
    });
    assert_eq!(own, of_clone);
    let plain = model[1].forward(x).powf_scalar(2.0).sum().backward();
    let adapter = model[1].adapter.as_ref().unwrap();
    assert!(
        values(Tensor::<2>::from_data(
            adapter.b.val().grad(&plain).unwrap().into_data(),
            &device
        )) != own
    );
    assert_eq!(model.num_params(), 2 * (12 * 6 + 12 * 3 + 3 * 6));
    let mut paths = Vec::new();
    step.linears("", &mut |path, _| paths.push(path.to_owned()));
    assert_eq!(paths, ["0", "1"]);
}
