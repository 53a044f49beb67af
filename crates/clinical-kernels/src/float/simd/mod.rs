//! Vectors of f32: AVX-512, AVX2 with FMA, and portable code, one trait over all three.
//!
//! A kernel is written once, generic over [`Simd`] and `#[inline(always)]`; [`dispatch!`] makes a copy of it for each
//! instruction set and chooses one at run time.

#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

use half::f16;

use crate::InstructionSet;

/// The instruction sets that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Plain Rust; on 64-bit Arm the compiler makes NEON of it.
    Portable,
    /// AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The best of this machine, unless [`LEVEL_VARIABLE`](crate::LEVEL_VARIABLE) asks for less.
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| {
            let most = crate::level::most();
            let all = Self::all().into_iter();
            all.rev()
                .find(|level| level.set() <= most)
                .unwrap_or(Self::Portable)
        })
    }

    /// All that this machine has, the best one last.
    pub(crate) fn all() -> Vec<Self> {
        let all = [
            Self::Portable,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512,
        ];
        let detected = InstructionSet::detected();
        let there = all.into_iter().filter(|level| level.set() <= detected);
        there.collect()
    }

    /// The instructions that it stands for.
    pub(crate) fn set(self) -> InstructionSet {
        match self {
            Self::Portable => InstructionSet::Portable,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => InstructionSet::Avx2,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => InstructionSet::Avx512,
        }
    }
}

/// A vector of [`LANES`](Self::LANES) f32.
///
/// # Safety
///
/// Methods may only be called where the instruction set is there, which [`dispatch!`] sees to; pointers must be good
/// for as many values as are read or written.
pub(crate) trait Simd: Copy + 'static {
    /// Values in a vector.
    const LANES: usize;
    /// Rows of a product that a kernel computes at once, so that sums, factors and one broadcast fit the registers.
    const ROWS: usize;
    type V: Copy;

    /// Brings the line at an address nearer; any address is allowed.
    unsafe fn prefetch(from: *const f32);
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, x: Self::V);
    /// The first `count` values, the others zero.
    unsafe fn load_some(from: *const f32, count: usize) -> Self::V;
    unsafe fn store_some(to: *mut f32, x: Self::V, count: usize);
    /// [`LANES`](Self::LANES) halves as f32.
    unsafe fn load_half(from: *const f16) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger; `b` where one is not a number.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn round(x: Self::V) -> Self::V;
    /// `2^n` for whole `n` from -126 to 127.
    unsafe fn power_of_two(n: Self::V) -> Self::V;
    unsafe fn abs(x: Self::V) -> Self::V;
    unsafe fn sqrt(x: Self::V) -> Self::V;
    /// `y` where `x` is above 0, else 0.
    unsafe fn where_positive(x: Self::V, y: Self::V) -> Self::V;
    unsafe fn sum(x: Self::V) -> f32;
    unsafe fn largest(x: Self::V) -> f32;
    /// Turns a square of [`LANES`](Self::LANES) rows: `to[p * distance + j] = from[j * row + p]`.
    unsafe fn turn(from: *const f32, row: isize, to: *mut f32, distance: usize);
}

/// A type of the right side of a product, read as f32.
pub(crate) trait Cell: Copy + 'static {
    unsafe fn load<S: Simd>(from: *const Self) -> S::V;
    /// The first `count` values, fewer than a vector has, the others zero.
    unsafe fn load_some<S: Simd>(from: *const Self, count: usize) -> S::V;
}

impl Cell for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const f32) -> S::V {
        unsafe { S::load(from) }
    }
    #[inline(always)]
    unsafe fn load_some<S: Simd>(from: *const f32, count: usize) -> S::V {
        unsafe { S::load_some(from, count) }
    }
}

impl Cell for f16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const f16) -> S::V {
        unsafe { S::load_half(from) }
    }
    #[inline(always)]
    unsafe fn load_some<S: Simd>(from: *const f16, count: usize) -> S::V {
        let mut some = [f16::ZERO; 16];
        unsafe {
            std::ptr::copy_nonoverlapping(from, some.as_mut_ptr(), count.min(S::LANES));
            S::load_half(some.as_ptr())
        }
    }
}

/// Plain Rust over eight values.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

const P: usize = 8;

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> [f32; P] {
    std::array::from_fn(f)
}

impl Simd for Portable {
    const LANES: usize = P;
    const ROWS: usize = 4;
    type V = [f32; P];

    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; P]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        unsafe { from.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: Self::V) {
        unsafe { to.cast::<Self::V>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn load_some(from: *const f32, count: usize) -> Self::V {
        let mut x = [0.0; P];
        unsafe { std::ptr::copy_nonoverlapping(from, x.as_mut_ptr(), count.min(P)) };
        x
    }
    #[inline(always)]
    unsafe fn store_some(to: *mut f32, x: Self::V, count: usize) {
        unsafe { std::ptr::copy_nonoverlapping(x.as_ptr(), to, count.min(P)) };
    }
    #[inline(always)]
    unsafe fn load_half(from: *const f16) -> Self::V {
        each(|i| unsafe { *from.add(i) }.to_f32())
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] / b[i])
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // `mul_add` would be a library call on a processor without FMA; 64-bit Arm always has it.
        if cfg!(target_arch = "aarch64") {
            each(|i| a[i].mul_add(b[i], c[i]))
        } else {
            each(|i| a[i] * b[i] + c[i])
        }
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn round(x: Self::V) -> Self::V {
        // Adding and taking away 1.5 * 2^23 rounds to even, for the sizes that kernels have.
        const MAGIC: f32 = 12_582_912.0;
        each(|i| (x[i] + MAGIC) - MAGIC)
    }
    #[inline(always)]
    unsafe fn power_of_two(n: Self::V) -> Self::V {
        each(|i| f32::from_bits(((n[i] as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn abs(x: Self::V) -> Self::V {
        each(|i| x[i].abs())
    }
    #[inline(always)]
    unsafe fn sqrt(x: Self::V) -> Self::V {
        each(|i| x[i].sqrt())
    }
    #[inline(always)]
    unsafe fn where_positive(x: Self::V, y: Self::V) -> Self::V {
        each(|i| if x[i] > 0.0 { y[i] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn sum(x: Self::V) -> f32 {
        ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]))
    }
    #[inline(always)]
    unsafe fn largest(x: Self::V) -> f32 {
        x.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    unsafe fn turn(from: *const f32, row: isize, to: *mut f32, distance: usize) {
        for j in 0..P {
            for p in 0..P {
                unsafe { *to.add(p * distance + j) = *from.offset(j as isize * row).add(p) };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

/// Makes `fn $name(level, args)` of the generic `unsafe fn $kernel::<S: Simd>(args)`: compiled for each instruction
/// set, the one of `level` called.
macro_rules! dispatch {
    ($(#[$doc:meta])* $visible:vis unsafe fn $name:ident = $kernel:ident($($arg:ident: $type:ty),* $(,)?)) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $visible unsafe fn $name(level: $crate::float::simd::Level, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            #[allow(clippy::too_many_arguments)]
            unsafe fn avx2($($arg: $type),*) {
                unsafe { $kernel::<$crate::float::simd::Avx2>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma,f16c")]
            #[allow(clippy::too_many_arguments)]
            unsafe fn avx512($($arg: $type),*) {
                unsafe { $kernel::<$crate::float::simd::Avx512>($($arg),*) }
            }
            // SAFETY: a level is only there if the machine has it; the rest is the caller's promise.
            unsafe {
                match level {
                    $crate::float::simd::Level::Portable => {
                        $kernel::<$crate::float::simd::Portable>($($arg),*)
                    }
                    #[cfg(target_arch = "x86_64")]
                    $crate::float::simd::Level::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::float::simd::Level::Avx512 => avx512($($arg),*),
                }
            }
        }
    };
}
pub(crate) use dispatch;
