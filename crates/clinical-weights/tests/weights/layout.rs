//! How matrices lie in memory, and what is copied for it.

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};
use clinical_kernels::fused::{self, Then};
use clinical_weights::{
    CheckpointDir, KeyMap, LinearLayout, LoadOptions, Precision, load_from, save_module,
};

use crate::files::{directory, safetensors as file_of};
use crate::memory::measure;

#[derive(Module, Debug)]
struct Linear {
    weight: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
struct One {
    dense: Linear,
}

/// A million values: a copy of them would show.
const ROWS: usize = 1024;
const COLUMNS: usize = 1024;
const BYTES: usize = ROWS * COLUMNS * 4;

#[test]
fn f32_from_a_map_is_not_copied_on_the_cpu() {
    let header = format!(
        r#"{{"dense.weight":{{"dtype":"F32","shape":[{ROWS},{COLUMNS}],"data_offsets":[0,{BYTES}]}}}}"#
    );
    let file = file_of(&format!("{header:<128}"), BYTES);
    let dir = directory(&[("model.safetensors", &file)]);
    let load = |device: &Device, layout| {
        let weight = Initializer::Zeros.init([COLUMNS, ROWS], device);
        let mut model = One {
            dense: Linear { weight },
        };
        let weights = CheckpointDir::open(dir.path()).unwrap().weights().unwrap();
        let options = LoadOptions::new().with_linear_layout(layout);
        let (output, cost) = measure(|| {
            load_from(&mut model, &KeyMap::new(), &weights, &options).unwrap();
            // The kernels read it as it lies, too.
            let x = Tensor::<2>::ones([1, COLUMNS], device);
            fused::linear(&x, &model.dense.weight.val(), Then::default())
        });
        if let Some(output) = output {
            assert_eq!(output.dims(), [1, ROWS]);
            assert_eq!(output.sum().into_scalar::<f32>(), 0.0);
        }
        cost.bytes
    };
    let plain = clinical_kernels::cpu();
    assert!(load(&plain, LinearLayout::Automatic) < BYTES / 8);
    assert!(load(&plain, LinearLayout::OutputMajor) < BYTES / 8);
    assert!(load(&plain, LinearLayout::InputMajor) >= BYTES);
    // Burn's own product, which training needs, reads the other layout faster.
    assert!(load(&plain.autodiff(), LinearLayout::Automatic) >= BYTES);
}

/// Sixteen outputs, so that the matrix is packed.
const INPUTS: usize = 6;
const OUTPUTS: usize = 16;

/// A file with the matrix of [`One`] as `[d_input, d_output]`, and its values.
fn input_major() -> (tempfile::TempDir, Vec<f32>) {
    let values: Vec<f32> = (0..INPUTS * OUTPUTS).map(|at| at as f32 - 40.0).collect();
    let header = format!(
        r#"{{"dense.weight":{{"dtype":"F32","shape":[{INPUTS},{OUTPUTS}],"data_offsets":[0,{}]}}}}"#,
        values.len() * 4
    );
    let mut file = file_of(&format!("{header:<128}"), 0);
    file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    (directory(&[("model.safetensors", &file)]), values)
}

fn one(device: &Device) -> One {
    let weight = Initializer::Zeros.init([INPUTS, OUTPUTS], device);
    One {
        dense: Linear { weight },
    }
}

/// Matrices of GPT-2's `Conv1D`: loaded at each precision and layout as the file has them, and saved so.
#[test]
fn input_major_matrices_stay_as_they_are() {
    let (dir, values) = input_major();
    let keys = KeyMap::new().input_major("**.weight");
    let weights = CheckpointDir::open(dir.path()).unwrap().weights().unwrap();
    for precision in [Precision::F32, Precision::StoredF16, Precision::Int8] {
        for layout in [LinearLayout::Automatic, LinearLayout::OutputMajor] {
            let mut model = one(&clinical_kernels::cpu());
            let options = LoadOptions::new()
                .with_precision(precision)
                .with_linear_layout(layout);
            load_from(&mut model, &keys, &weights, &options).unwrap();
            let weight = model.dense.weight.val();
            assert_eq!(weight.dims(), [INPUTS, OUTPUTS]);
            let found: Vec<f32> = weight.try_into_vec_as().unwrap();
            let worst = found.iter().zip(&values).map(|(a, b)| (a - b).abs());
            let worst = worst.fold(0.0, f32::max);
            // Half a step of 8 bits, of rows up to 55.
            let limit = if precision == Precision::Int8 {
                0.25
            } else {
                0.0
            };
            assert!(worst <= limit, "{precision}: {worst}");
            // The kernels read it, too.
            let x = Tensor::<2>::ones([2, INPUTS], &clinical_kernels::cpu());
            if let Some(y) = fused::linear(&x, &model.dense.weight.val(), Then::default()) {
                let y: Vec<f32> = y.try_into_vec_as().unwrap();
                let first: f32 = values.iter().step_by(OUTPUTS).sum();
                assert!((y[0] - first).abs() <= 1e-3 + 6.0 * limit, "{}", y[0]);
            }
            if precision == Precision::F32 {
                let saved = dir.path().join("saved.safetensors");
                save_module(&model, &keys, &saved).unwrap();
                let data = |path| {
                    let bytes = std::fs::read(path).unwrap();
                    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
                    let view = tensors.tensor("dense.weight").unwrap();
                    (view.shape().to_vec(), view.data().to_vec())
                };
                let published = data(dir.path().join("model.safetensors"));
                assert_eq!(data(saved.clone()), published);
                std::fs::remove_file(saved).unwrap();
            }
        }
    }
}

/// The same file without the mark, and one of the other order with it.
#[test]
fn a_matrix_of_the_other_order_is_refused() {
    let (dir, _) = input_major();
    let weights = CheckpointDir::open(dir.path()).unwrap().weights().unwrap();
    let options = LoadOptions::new();
    let mut model = one(&clinical_kernels::cpu());
    let plain = load_from(&mut model, &KeyMap::new(), &weights, &options).unwrap_err();
    assert!(plain.to_string().contains("[16, 6]"), "{plain}");
    let turned = Initializer::Zeros.init([OUTPUTS, INPUTS], &clinical_kernels::cpu());
    let mut model = One {
        dense: Linear { weight: turned },
    };
    load_from(&mut model, &KeyMap::new(), &weights, &options).unwrap();
    let keys = KeyMap::new().input_major("**.weight");
    assert!(load_from(&mut model, &keys, &weights, &options).is_err());
}
