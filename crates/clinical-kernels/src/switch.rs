//! Whether this crate's kernels for GPUs are used.

use std::sync::atomic::{AtomicU8, Ordering};

/// The environment variable that turns this crate's kernels for GPUs on: `1`. They are off otherwise, as long as none
/// of them was seen on a GPU.
pub const KERNELS_VARIABLE: &str = "CLINICAL_GPU_KERNELS";

const UNKNOWN: u8 = 2;
static ON: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Turns this crate's kernels for GPUs on or off for this process, whatever [`KERNELS_VARIABLE`] says. Without the
/// features `cuda` and `cube-cpu` there are none.
pub fn set_gpu_kernels(on: bool) {
    ON.store(on.into(), Ordering::Relaxed);
}

#[cfg(feature = "cube")]
pub(crate) fn gpu_kernels_are_on() -> bool {
    match ON.load(Ordering::Relaxed) {
        UNKNOWN => {
            let on = std::env::var(KERNELS_VARIABLE).is_ok_and(|value| value == "1");
            set_gpu_kernels(on);
            on
        }
        on => on == 1,
    }
}
