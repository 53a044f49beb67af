//! What lies between the forward and the backward pass of an attention: no scores.
#![cfg(feature = "flex")]

#[path = "../../../tests/files/memory.rs"]
#[allow(dead_code)] // its bounds are those for hostile files
mod memory;

use burn::tensor::Tensor;
use clinical_kernels::DropMask;
use clinical_kernels::fused::{Attend, attention};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// The scores of one head alone take 4 MiB, the gradients of all inputs together 0.4 MiB.
#[test]
fn scores_are_never_a_tensor() {
    const LIMIT: usize = 3 << 20;
    let device = clinical_kernels::cpu().autodiff();
    let random = |heads| {
        let x = Tensor::<4>::ones([2, heads, 1024, 16], &device);
        x.require_grad()
    };
    let (query, key, value) = (random(4), random(2), random(2));
    for dropout in [None, Some(DropMask::new(0.1, 1, 2))] {
        let attend = Attend {
            query: &query,
            key: &key,
            value: &value,
            hidden: None,
            bias: None,
            causal: true,
            scale: 0.25,
            bf16: false,
            dropout,
        };
        // What is used again and again is there after the first time.
        let run = || attention(attend).expect("the CPU").sum().backward();
        drop(run());
        let (gradients, cost) = memory::measure(run);
        assert!(query.grad(&gradients).is_some());
        assert!(cost.bytes < LIMIT, "{} bytes", cost.bytes);
    }
}
