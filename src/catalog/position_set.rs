//! A bitmap of product positions with fast access to the n-th member, so that a deep page costs as much as the first.

/// Number of words whose members are counted together.
const STEP: usize = 64;

/// An immutable set of positions.
#[derive(Clone, Debug)]
pub(super) struct PositionSet {
    words: Box<[u64]>,
    /// Number of members before each group of [`STEP`] words.
    before: Box<[u32]>,
    count: u32,
}

/// Returns the members of some words in ascending order; `base` is the position of the first bit.
pub(super) fn members(words: &[u64], base: u32) -> impl Iterator<Item = u32> + '_ {
    words.iter().zip((base..).step_by(64)).flat_map(|(word, base)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            let bit = rest.trailing_zeros();
            let found = rest != 0;
            rest &= rest.wrapping_sub(1);
            found.then_some(base + bit)
        })
    })
}

impl PositionSet {
    /// Takes a bitmap: bit `n % 64` of word `n / 64` is set if `n` is a member.
    pub(super) fn new(words: Vec<u64>) -> Self {
        let mut count = 0;
        let before = words
            .chunks(STEP)
            .map(|chunk| {
                let before = count;
                count += chunk.iter().map(|word| word.count_ones()).sum::<u32>();
                before
            })
            .collect();
        Self { words: words.into(), before, count }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn contains(&self, member: u32) -> bool {
        self.words.get(member as usize / 64).is_some_and(|word| word >> (member % 64) & 1 == 1)
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Returns the members in ascending order without the first `skip`.
    pub(super) fn iter_from(&self, skip: u64) -> impl Iterator<Item = u32> + '_ {
        let (word, rest) = self.find(skip).unwrap_or((self.words.len(), 0));
        let base = u32::try_from(word * 64).unwrap_or(u32::MAX);
        members(&self.words[word..], base).skip(rest as usize)
    }

    /// Returns the index of the word that holds the `n`-th member, and the number of members before it in that word.
    fn find(&self, n: u64) -> Option<(usize, u32)> {
        let n = u32::try_from(n).ok().filter(|n| *n < self.count)?;
        let step = self.before.partition_point(|before| *before <= n) - 1;
        let mut rest = n - self.before[step];
        for (word, bits) in self.words.iter().enumerate().skip(step * STEP) {
            if rest < bits.count_ones() {
                return Some((word, rest));
            }
            rest -= bits.count_ones();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_nth_member_is_found(words in proptest::collection::vec(prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)], 0..200)) {
            let all: Vec<u32> = (0..words.len() as u32 * 64).filter(|n| words[*n as usize / 64] >> (n % 64) & 1 == 1).collect();
            let set = PositionSet::new(words);
            prop_assert_eq!(set.count() as usize, all.len());
            prop_assert_eq!(set.iter_from(0).collect::<Vec<_>>(), all.clone());
            for skip in [0, 1, all.len() / 2, all.len().saturating_sub(1), all.len(), usize::MAX] {
                prop_assert_eq!(set.iter_from(skip as u64).next(), all.get(skip).copied());
                prop_assert_eq!(set.iter_from(skip as u64).count(), all.len().saturating_sub(skip));
            }
        }
    }
}
