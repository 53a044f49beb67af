//! Checksums of examples.

/// A checksum of numbers in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum(u64);

impl Sum {
    pub(super) fn new(kind: &str) -> Self {
        let mut sum = Self(0);
        sum.text(kind);
        sum
    }

    /// Adds a list: its length and its numbers.
    pub(super) fn add(&mut self, numbers: impl IntoIterator<Item = u64>) {
        let mut count = 0;
        for number in numbers {
            self.0 = mixed(self.0, number);
            count += 1;
        }
        self.0 = mixed(self.0, count);
    }

    pub(super) fn ids(&mut self, ids: &[u32]) {
        self.add(ids.iter().map(|&id| u64::from(id)));
    }

    pub(super) fn labels(&mut self, labels: &[i64]) {
        self.add(labels.iter().map(|&label| label as u64));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.add(text.bytes().map(u64::from));
    }

    pub(super) fn value(self) -> u64 {
        self.0
    }
}

/// A step of FNV-1a over whole numbers, with the finaliser of splitmix64.
fn mixed(sum: u64, number: u64) -> u64 {
    let mixed = (sum ^ number).wrapping_mul(0x0100_0000_01b3);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_length_and_kind_count() {
        let of = |kind, lists: &[&[u32]]| {
            let mut sum = Sum::new(kind);
            lists.iter().for_each(|list| sum.ids(list));
            sum.value()
        };
        let sums = [
            of("a", &[&[1, 2], &[3]]),
            of("b", &[&[1, 2], &[3]]),
            of("a", &[&[1], &[2, 3]]),
            of("a", &[&[2, 1], &[3]]),
            of("a", &[&[1, 2], &[3], &[]]),
            of("a", &[&[1, 2], &[3, 0]]),
        ];
        for (at, sum) in sums.iter().enumerate() {
            assert!(!sums[..at].contains(sum), "{at}");
        }
    }
}
