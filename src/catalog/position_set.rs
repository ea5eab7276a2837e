//! A bitmap of product positions with fast access to the n-th member, so that a deep page costs as much as the first.

/// An immutable set of positions.
#[derive(Clone, Debug)]
pub(super) struct PositionSet {
    words: Box<[u64]>,
    /// Number of members before each word.
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
        let before = words.iter().map(|word| {
            count += word.count_ones();
            count - word.count_ones()
        });
        let before = before.collect();
        Self { words: words.into(), before, count }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn contains(&self, position: u32) -> bool {
        self.words.get(position as usize / 64).is_some_and(|word| word >> (position % 64) & 1 == 1)
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Returns the members in ascending order without the first `skip`.
    pub(super) fn iter_from(&self, skip: u64) -> impl Iterator<Item = u32> + '_ {
        let skip = u32::try_from(skip).unwrap_or(u32::MAX).min(self.count);
        let word = self.before.partition_point(|before| *before <= skip).saturating_sub(1);
        let skip_in_word = skip - self.before.get(word).unwrap_or(&0);
        members(&self.words[word..], word as u32 * 64).skip(skip_in_word as usize)
    }

    /// Returns how many members come before this member. `None` if the position is not a member.
    pub(super) fn rank(&self, member: u32) -> Option<usize> {
        let (word, bit) = (*self.words.get(member as usize / 64)?, 1 << (member % 64));
        let below = self.before[member as usize / 64] + (word & (bit - 1)).count_ones();
        (word & bit != 0).then_some(below as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn members_have_their_ranks(words in proptest::collection::vec(prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)], 0..200)) {
            let all: Vec<u32> = (0..words.len() as u32 * 64).filter(|n| words[*n as usize / 64] >> (n % 64) & 1 == 1).collect();
            let set = PositionSet::new(words);
            prop_assert_eq!(set.count() as usize, all.len());
            prop_assert_eq!(set.iter_from(0).collect::<Vec<_>>(), all.clone());
            for skip in [0, 1, all.len() / 2, all.len().saturating_sub(1), all.len(), usize::MAX] {
                prop_assert_eq!(set.iter_from(skip as u64).next(), all.get(skip).copied());
                prop_assert_eq!(set.iter_from(skip as u64).count(), all.len().saturating_sub(skip));
            }
            for position in 0..set.words().len() as u32 * 64 + 1 {
                prop_assert_eq!(set.rank(position), all.binary_search(&position).ok());
            }
        }
    }
}
