//! Finding the part of a model whose numbers are not finite.

use burn::tensor::Tensor;

/// Remembers the first part of a model that gave an infinite number or none, while a model hands its results over in
/// order.
#[derive(Debug, Clone, Default)]
pub struct FirstNonFinite(Option<String>);

impl FirstNonFinite {
    /// Looks at the result of a part, such as `feed-forward`, of a layer counted from 0.
    pub fn look<const D: usize>(&mut self, part: &str, layer: Option<usize>, result: &Tensor<D>) {
        if self.0.is_some() {
            return;
        }
        let finite = result.to_data().iter::<f32>().all(f32::is_finite);
        if !finite {
            self.0 = Some(match layer {
                Some(layer) => format!("{part} of layer {layer}"),
                None => part.to_owned(),
            });
        }
    }

    /// The part, if there was one.
    #[must_use]
    pub fn into_part(self) -> Option<String> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_is_named() {
        let device = clinical_kernels::cpu();
        let numbers = |last: f32| Tensor::<1>::from_floats([1.0, -3e38, last], &device);
        let mut first = FirstNonFinite::default();
        first.look("embedding", None, &numbers(0.0));
        assert_eq!(first.clone().into_part(), None);
        first.look("attention", Some(3), &numbers(f32::NAN));
        first.look("feed-forward", Some(3), &numbers(f32::INFINITY));
        assert_eq!(first.into_part().unwrap(), "attention of layer 3");
    }
}
