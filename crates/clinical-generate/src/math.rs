//! One pass over a row of logits, written so that the compiler uses vector instructions.

const LANES: usize = 16;
/// Sums are kept in f32 lanes for this many numbers, then added in f64: fast, and no more rounding than one block has.
const BLOCK: usize = 1024;

/// The largest number, or `None` if one is infinite or not a number. `None` for no numbers.
pub(crate) fn max_if_finite(numbers: &[f32]) -> Option<f32> {
    let mut max = [f32::NEG_INFINITY; LANES];
    // x * 0 is 0 for a finite x and not a number otherwise, which no later addition removes.
    let mut finite = [0.0f32; LANES];
    let mut chunks = numbers.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            let x = chunk[lane];
            max[lane] = if x > max[lane] { x } else { max[lane] };
            finite[lane] += x * 0.0;
        }
    }
    for (lane, &x) in chunks.remainder().iter().enumerate() {
        max[lane] = if x > max[lane] { x } else { max[lane] };
        finite[lane] += x * 0.0;
    }
    let all_finite = finite.iter().all(|&x| x == 0.0);
    (all_finite && !numbers.is_empty()).then(|| max.into_iter().fold(f32::NEG_INFINITY, f32::max))
}

/// The largest number; minus infinity if there is none. Not-a-numbers are passed over.
pub(crate) fn max(numbers: &[f32]) -> f32 {
    let mut max = [f32::NEG_INFINITY; LANES];
    let mut chunks = numbers.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            let x = chunk[lane];
            max[lane] = if x > max[lane] { x } else { max[lane] };
        }
    }
    for (lane, &x) in chunks.remainder().iter().enumerate() {
        max[lane] = if x > max[lane] { x } else { max[lane] };
    }
    max.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// The first index of `value`.
pub(crate) fn position(numbers: &[f32], value: f32) -> Option<usize> {
    let chunk = numbers
        .chunks(64)
        .position(|chunk| chunk.iter().fold(false, |found, &x| found | (x == value)))?;
    let rest = &numbers[chunk * 64..];
    rest.iter()
        .position(|&x| x == value)
        .map(|at| chunk * 64 + at)
}

/// `e^x` for `x <= 0`, to a relative error of 2e-7; 1.2e-38 or 0 below -87.
///
/// Argument reduction to `2^n * e^r`, `|r| <= ln(2) / 2`, and the polynomial of Cephes' `expf`.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    /// Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x > -87.0 { x } else { -87.0 };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    let power = shifted.to_bits().wrapping_shl(23).wrapping_add(127 << 23);
    p * f32::from_bits(power)
}

/// The sum of `e^(x - max)`.
pub(crate) fn sum_exp(numbers: &[f32], max: f32) -> f64 {
    let mut total = 0.0f64;
    for block in numbers.chunks(BLOCK) {
        let mut sums = [0.0f32; LANES];
        let mut chunks = block.chunks_exact(LANES);
        for chunk in &mut chunks {
            for lane in 0..LANES {
                sums[lane] += exp(chunk[lane] - max);
            }
        }
        for (lane, &x) in chunks.remainder().iter().enumerate() {
            sums[lane] += exp(x - max);
        }
        total += sums.iter().map(|&x| f64::from(x)).sum::<f64>();
    }
    total
}

/// Writes `e^((x - max) / temperature)` of each number to `out`.
pub(crate) fn exp_all(numbers: &[f32], max: f32, temperature: f32, out: &mut Vec<f32>) {
    out.clear();
    if temperature == 1.0 {
        out.extend(numbers.iter().map(|&x| exp(x - max)));
    } else {
        out.extend(numbers.iter().map(|&x| exp((x - max) / temperature)));
    }
}

/// The logarithm of the sum of `e^x`; `max` is the largest number.
pub(crate) fn log_sum_exp(numbers: &[f32], max: f32) -> f32 {
    (f64::from(max) + sum_exp(numbers, max).ln()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_accurate() {
        for i in 0..=870_000 {
            let x = -(i as f32) / 10_000.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.5e-7, "e^{x}: relative error {error}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn every_length_and_place_is_seen() {
        for len in 1..70 {
            for at in 0..len {
                let mut numbers: Vec<f32> = (0..len).map(|i| -(i as f32) - 2.0).collect();
                numbers[at] = -0.5;
                assert_eq!(max_if_finite(&numbers), Some(-0.5));
                assert_eq!(max(&numbers), -0.5);
                assert_eq!(position(&numbers, -0.5), Some(at));
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    numbers[at] = bad;
                    assert_eq!(max_if_finite(&numbers), None, "{bad} at {at} of {len}");
                }
            }
        }
        assert_eq!(max_if_finite(&[]), None);
    }

    #[test]
    fn ties_go_to_the_first() {
        assert_eq!(position(&[0.0, 3.0, 1.0, 3.0], 3.0), Some(1));
    }

    #[test]
    fn the_normaliser_is_accurate() {
        let numbers: Vec<f32> = (0..32_128)
            .map(|i| ((i * 7919) % 1009) as f32 / 100.0 - 5.0)
            .collect();
        let exact: f64 = numbers
            .iter()
            .map(|&x| f64::from(x).exp())
            .sum::<f64>()
            .ln();
        let got = log_sum_exp(&numbers, max(&numbers));
        assert!((f64::from(got) - exact).abs() < 2e-6, "{got} {exact}");
    }
}
