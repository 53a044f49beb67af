//! What every launch needs: sizes that the device has, and tensors that a kernel reads as it expects.

use burn::tensor::{DType, Shape};
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;

/// The units of a cube: a power of two, at most `wanted`, at most what the device has.
pub(super) fn units(client: &Client, wanted: usize) -> usize {
    let hardware = &client.properties().hardware;
    let most = hardware.max_units_per_cube.min(hardware.max_cube_dim.0) as usize;
    1 << most.clamp(1, wanted).ilog2()
}

/// The longest vector that all of these are multiples of.
pub(super) fn vector_size(client: &Client, dtype: DType, multiples: &[usize]) -> usize {
    client
        .io_optimized_vector_sizes(dtype.size())
        .filter(|size| multiples.iter().all(|of| of % size == 0))
        .max()
        .unwrap_or(1)
}

/// A tensor for a result, its values one after another.
pub(super) fn empty(like: &CubeTensor, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    let shape = shape.into();
    let handle = like.client.empty(shape.num_elements() * dtype.size());
    let (client, device) = (like.client.clone(), like.device.clone());
    CubeTensor::new_contiguous(client, device, shape, handle, dtype)
}

/// A tensor whose last dimension lies one value after another.
pub(super) fn with_rows(tensor: CubeTensor) -> CubeTensor {
    match tensor.meta.strides().last() {
        Some(1) => tensor,
        _ => burn_cubecl::kernel::into_contiguous(tensor),
    }
}
