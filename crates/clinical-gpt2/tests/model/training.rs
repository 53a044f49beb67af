//! Training steps: a fresh model learns, dropout follows its seed, no parameter is left behind.

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use clinical_gpt2::{Gpt2, Gpt2Config, Gpt2Dropout};

fn tiny(change: impl FnOnce(&mut Gpt2Config)) -> Gpt2Config {
    let mut config = Gpt2Config::biomedlm();
    (config.vocab_size, config.n_positions) = (40, 32);
    (config.n_embd, config.n_layer, config.n_head) = (24, 2, 4);
    config.initializer_range = 0.1;
    change(&mut config);
    config
}

const IDS: [&[u32]; 2] = [&[1, 7, 9, 20, 21, 22, 2], &[1, 8, 30, 31, 2]];

/// A few steps of Adam must teach a fresh model two short answers.
#[test]
fn optimizer_steps_lower_the_loss() {
    for tied in [false, true] {
        let device = clinical_kernels::cpu().autodiff();
        device.seed(3);
        let config = tiny(|config| config.tie_word_embeddings = tied);
        let mut model = config.init(&device).unwrap();
        let labels = IDS.map(|row| Gpt2::labels_after(row, 3));
        let labels = labels.each_ref().map(Vec::as_slice);
        let mut optimizer = AdamWConfig::new().init();
        let mut losses = Vec::new();
        for _ in 0..40 {
            let loss = model.loss(&IDS, &labels).unwrap().mean;
            losses.push(loss.clone().into_scalar::<f32>());
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(1e-2, model, gradients);
        }
        let (first, last) = (losses[0], losses[losses.len() - 1]);
        assert!(last < 0.2 * first, "tied {tied}: {losses:?}");
        // Training leaves a model that runs without autodiff.
        let model = model.valid();
        assert!(!model.device().is_autodiff());
        assert!(model.loss(&IDS, &labels).unwrap().mean.into_scalar::<f32>() < first);
    }
}

/// A head of classes learns to tell two rows apart.
#[test]
fn a_fresh_classifier_learns() {
    let device = clinical_kernels::cpu().autodiff();
    device.seed(4);
    let model = tiny(|_| {}).init(&device).unwrap();
    let mut model = model.into_classifier(&["no", "yes"]).unwrap();
    let mut optimizer = AdamWConfig::new().init();
    for _ in 0..40 {
        let loss = model.class_loss(&IDS, &[0, 1]).unwrap().mean;
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-2, model, gradients);
    }
    let loss = model.class_loss(&IDS, &[0, 1]).unwrap();
    assert_eq!(loss.targets, 2);
    assert!(loss.mean.into_scalar::<f32>() < 0.1);
}

#[test]
fn dropout_follows_its_seed_and_acts_in_training_alone() {
    for (device, drops) in [
        (clinical_kernels::cpu(), false),
        (clinical_kernels::cpu().autodiff(), true),
    ] {
        device.seed(5);
        let config = tiny(|_| {});
        let mut model = config.init(&device).unwrap();
        let labels = IDS.map(|row| Gpt2::labels_after(row, 1));
        let labels = labels.each_ref().map(Vec::as_slice);
        let mut loss = |seed: Option<u64>| {
            let mut dropout = Gpt2Dropout::of(&config);
            dropout.seed = seed;
            model.set_dropout(dropout);
            model.loss(&IDS, &labels).unwrap().mean.into_scalar::<f32>()
        };
        let plain = loss(None);
        let [first, other] = [1, 2].map(|seed| loss(Some(seed)));
        assert_eq!(loss(Some(1)), first);
        assert_eq!(first != other && first != plain, drops);
        assert_eq!(loss(None), plain);
    }
}
