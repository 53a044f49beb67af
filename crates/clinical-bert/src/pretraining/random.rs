//! The random numbers of Python's `random` module, so that a seed gives the examples that the published script gives.

/// MT19937 (Matsumoto and Nishimura 1998) seeded and read as `random.Random(seed)` of Python 3 does.
#[derive(Debug, Clone)]
pub(crate) struct PythonRandom {
    state: [u32; Self::WORDS],
    at: usize,
}

impl PythonRandom {
    const WORDS: usize = 624;

    /// `random.Random(seed)`.
    pub(crate) fn new(seed: u64) -> Self {
        // The key is the absolute value of the seed in words of 32 bits, the lowest first, at least one.
        let key: &[u32] = match seed >> 32 {
            0 => &[seed as u32],
            high => &[seed as u32, high as u32],
        };
        let mut random = Self {
            state: [0; Self::WORDS],
            at: Self::WORDS,
        };
        random.seed_by_array(key);
        random
    }

    /// `init_by_array` of the reference implementation.
    fn seed_by_array(&mut self, key: &[u32]) {
        let state = &mut self.state;
        state[0] = 19_650_218;
        for i in 1..Self::WORDS {
            let before = state[i - 1];
            state[i] = (before ^ (before >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(i as u32);
        }
        let (mut i, mut j) = (1, 0);
        for _ in 0..Self::WORDS.max(key.len()) {
            let before = state[i - 1];
            let mixed = (before ^ (before >> 30)).wrapping_mul(1_664_525);
            state[i] = (state[i] ^ mixed)
                .wrapping_add(key[j])
                .wrapping_add(j as u32);
            i += 1;
            j = (j + 1) % key.len();
            if i == Self::WORDS {
                state[0] = state[Self::WORDS - 1];
                i = 1;
            }
        }
        for _ in 1..Self::WORDS {
            let before = state[i - 1];
            let mixed = (before ^ (before >> 30)).wrapping_mul(1_566_083_941);
            state[i] = (state[i] ^ mixed).wrapping_sub(i as u32);
            i += 1;
            if i == Self::WORDS {
                state[0] = state[Self::WORDS - 1];
                i = 1;
            }
        }
        state[0] = 0x8000_0000;
    }

    /// The next 32 bits.
    fn word(&mut self) -> u32 {
        if self.at == Self::WORDS {
            for i in 0..Self::WORDS {
                let y = (self.state[i] & 0x8000_0000)
                    | (self.state[(i + 1) % Self::WORDS] & 0x7fff_ffff);
                let twist = if y & 1 == 0 { 0 } else { 0x9908_b0df };
                self.state[i] = self.state[(i + 397) % Self::WORDS] ^ (y >> 1) ^ twist;
            }
            self.at = 0;
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// `random()`: 53 random bits in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        let (high, low) = (self.word() >> 5, self.word() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    }

    /// `_randbelow(n)`: uniform in `0..n`, by drawing as many bits as `n` has until the number is small enough. 0 for
    /// 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        // Corpora and vocabularies have fewer than 2^32 items; a larger one would only lose its tail.
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        if n == 0 {
            return 0;
        }
        let bits = u32::BITS - n.leading_zeros();
        loop {
            let drawn = self.word() >> (u32::BITS - bits);
            if drawn < n {
                return drawn as usize;
            }
        }
    }

    /// `randint(low, high)`: uniform in `low..=high`.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// `shuffle(items)`.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i + 1);
            items.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `r = random.Random(12345); [r.random() for _ in range(2)], [r.randint(0, 9) for _ in range(8)]`, then a shuffle.
    #[test]
    fn gives_the_numbers_of_python() {
        let mut random = PythonRandom::new(12_345);
        assert_eq!(random.unit(), 0.416_619_872_545_341_16);
        assert_eq!(random.unit(), 0.010_169_169_457_068_361);
        let drawn: Vec<usize> = (0..8).map(|_| random.between(0, 9)).collect();
        assert_eq!(drawn, [4, 5, 3, 4, 9, 6, 2, 5]);
        let mut items: Vec<usize> = (0..7).collect();
        random.shuffle(&mut items);
        assert_eq!(items, [5, 6, 4, 1, 2, 3, 0]);
        let mut long = PythonRandom::new((3 << 32) + 5);
        for _ in 0..1000 {
            long.unit();
        }
        assert_eq!(long.unit(), 0.247_969_426_857_607_92);
    }

    #[test]
    fn nothing_is_below_nothing() {
        assert_eq!(PythonRandom::new(1).below(0), 0);
        assert_eq!(PythonRandom::new(1).below(1), 0);
    }
}
