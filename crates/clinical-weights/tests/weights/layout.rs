//! How matrices lie in memory, and what is copied for it.

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};
use clinical_kernels::fused::{self, Then};
use clinical_weights::{CheckpointDir, KeyMap, LinearLayout, LoadOptions, load_from};

use crate::files::{directory, safetensors};
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
    let file = safetensors(&format!("{header:<128}"), BYTES);
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
