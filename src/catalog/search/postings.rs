//! Posting lists: the ascending positions of the texts of each list.
//!
//! Positions are split into segments of 65,536. In each segment, a list that is sparse there takes two bytes a position, a
//! dense one takes one bit for every position of the segment. Both can be read from any position on without reading the
//! positions before it.
//!
//! The builder takes the lists of one position after the other, and writes a segment when it is complete. So it holds the
//! pairs of one segment only, and writes them into memory that fits the processor's cache.

use std::ops::Range;

/// Positions that differ in their lower 16 bits only.
pub(super) const SEGMENT: u32 = 1 << 16;

/// An immutable set of posting lists.
#[derive(Debug)]
pub(super) struct Postings {
    /// The number of positions of each list.
    counts: Box<[u32]>,
    segments: Box<[Segment]>,
}

/// The positions of all lists in one segment.
#[derive(Debug)]
struct Segment {
    /// Where each list starts in `values`, and where the last one ends. Lists that came up later are missing. 32 bits suffice
    /// for texts of 20,000 characters on average.
    starts: Box<[u32]>,
    /// The sparse lists one after the other: the lower 16 bits of each position.
    values: Box<[u16]>,
    /// The dense lists, ascending. They have no values.
    dense: Box<[u32]>,
    /// The dense lists one after the other.
    words: Box<[u64]>,
    words_per_list: usize,
}

/// Builds [`Postings`].
#[derive(Default)]
pub(super) struct PostingsBuilder {
    lists: Vec<Count>,
    /// The lists of each position of the current segment, one position after the other.
    pairs: Vec<u32>,
    /// Where the lists of each position end in `pairs`.
    ends: Vec<usize>,
    segments: Vec<Segment>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    /// One more than the last position.
    next: u32,
    in_segment: u32,
    /// In the segments before.
    total: u32,
}

/// Where the next position of a list is written.
struct Target {
    /// An index into the values, or the first word of a dense list.
    index: usize,
    is_dense: bool,
}

impl PostingsBuilder {
    /// Adds the next position to these lists. A repeated list counts once.
    pub(super) fn push(&mut self, lists: impl Iterator<Item = u32>) {
        let position = self.segments.len() as u32 * SEGMENT + self.ends.len() as u32;
        for list in lists {
            if list as usize >= self.lists.len() {
                self.lists.resize(list as usize + 1, Count::default());
            }
            let count = &mut self.lists[list as usize];
            if count.next <= position {
                count.next = position + 1;
                count.in_segment += 1;
                self.pairs.push(list);
            }
        }
        self.ends.push(self.pairs.len());
        if self.ends.len() == SEGMENT as usize {
            self.end_segment();
        }
    }

    fn end_segment(&mut self) {
        let words_per_list = self.ends.len().div_ceil(64);
        let (mut starts, mut dense, mut values) = (Vec::with_capacity(self.lists.len() + 1), Vec::new(), 0);
        let targets = self.lists.iter_mut().zip(0..).map(|(list, number)| {
            let count = std::mem::take(&mut list.in_segment);
            list.total += count;
            starts.push(values as u32);
            let is_dense = count as usize * size_of::<u16>() > words_per_list * size_of::<u64>();
            let index = if is_dense { dense.len() * words_per_list } else { values };
            if is_dense {
                dense.push(number)
            } else {
                values += count as usize
            }
            Target { index, is_dense }
        });
        let mut targets: Vec<Target> = targets.collect();
        starts.push(values as u32);
        let (mut values, mut words) = (vec![0; values], vec![0; dense.len() * words_per_list]);
        let mut begin = 0;
        for (value, end) in (0..=u16::MAX).zip(&self.ends) {
            for list in &self.pairs[begin..*end] {
                let target = &mut targets[*list as usize];
                if target.is_dense {
                    words[target.index + usize::from(value) / 64] |= 1_u64 << (value % 64);
                } else {
                    values[target.index] = value;
                    target.index += 1;
                }
            }
            begin = *end;
        }
        self.pairs.clear();
        self.ends.clear();
        let [starts, dense] = [starts, dense].map(Vec::into_boxed_slice);
        self.segments.push(Segment { starts, values: values.into(), dense, words: words.into(), words_per_list });
    }

    pub(super) fn finish(mut self) -> Postings {
        if !self.ends.is_empty() {
            self.end_segment();
        }
        let counts = self.lists.iter().map(|list| list.total).collect();
        Postings { counts, segments: self.segments.into() }
    }
}

impl Postings {
    /// Returns the number of positions of a list.
    pub(super) fn count(&self, list: u32) -> u32 {
        self.counts[list as usize]
    }

    /// Returns a cursor before the first position of a list.
    pub(super) fn cursor(&self, list: u32) -> Cursor<'_> {
        Cursor { postings: self, list, segment: 0, rest: self.part(0, list) }
    }

    /// Returns the positions of a list in a segment.
    fn part(&self, segment: u32, list: u32) -> Part<'_> {
        let Some(segment) = self.segments.get(segment as usize) else { return Part::NONE };
        match segment.starts.get(list as usize..list as usize + 2) {
            Some([start, end]) if start < end => Part::Sparse(&segment.values[*start as usize..*end as usize]),
            _ => segment.dense.binary_search(&list).map_or(Part::NONE, |index| {
                Part::Dense(&segment.words[index * segment.words_per_list..][..segment.words_per_list])
            }),
        }
    }

    /// Returns the bytes held.
    pub(super) fn memory(&self) -> usize {
        let segments = self.segments.iter().map(|segment| {
            let lists = size_of_val(&*segment.starts) + size_of_val(&*segment.dense);
            size_of::<Segment>() + lists + size_of_val(&*segment.values) + size_of_val(&*segment.words)
        });
        size_of_val(&*self.counts) + segments.sum::<usize>()
    }
}

/// Positions of a list in a part of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'a> {
    /// The lower 16 bits of each position, ascending.
    Sparse(&'a [u16]),
    /// A bit for each position.
    Dense(&'a [u64]),
}

impl Part<'_> {
    pub(super) const NONE: Self = Self::Sparse(&[]);

    /// Estimates the cost of reading the part, in positions.
    pub(super) fn cost(&self) -> usize {
        match self {
            Self::Sparse(values) => values.len(),
            Self::Dense(words) => words.len() / 4,
        }
    }
}

/// Reads one list in ascending order.
pub(super) struct Cursor<'a> {
    postings: &'a Postings,
    list: u32,
    segment: u32,
    /// The whole segment if the list is dense there, otherwise the positions not passed yet.
    rest: Part<'a>,
}

impl<'a> Cursor<'a> {
    /// Returns the length of the whole list.
    pub(super) fn count(&self) -> u32 {
        self.postings.count(self.list)
    }

    /// Skips the positions before `start`.
    fn seek(&mut self, start: u32) {
        let segment = start / SEGMENT;
        if segment != self.segment {
            (self.segment, self.rest) = (segment, self.postings.part(segment, self.list));
        }
        if let Part::Sparse(values) = &mut self.rest {
            *values = &values[count_below(values, (start % SEGMENT) as u16)..];
        }
    }

    /// Returns a lower bound of the next position from `start` on; exact where the list is sparse. `None`: no positions left.
    pub(super) fn next(&mut self, start: u32) -> Option<u32> {
        self.seek(start);
        let later = (self.segment + 1..self.postings.segments.len() as u32)
            .map(|segment| (segment * SEGMENT, self.postings.part(segment, self.list)));
        std::iter::once((start, self.rest)).chain(later).find_map(|(start, part)| match part {
            Part::Sparse(values) => Some(start / SEGMENT * SEGMENT + u32::from(*values.first()?)),
            Part::Dense(_) => Some(start),
        })
    }

    /// Returns the positions in a range, which must be in one segment. Its ends must be multiples of 64.
    pub(super) fn read(&mut self, range: &Range<u32>) -> Part<'a> {
        self.seek(range.start);
        let start = range.start % SEGMENT;
        let end = start + (range.end - range.start);
        match self.rest {
            Part::Sparse(values) => {
                let count = u16::try_from(end).map_or(values.len(), |end| count_below(values, end));
                Part::Sparse(&values[..count])
            }
            Part::Dense(words) => Part::Dense(&words[start as usize / 64..end as usize / 64]),
        }
    }
}

/// Counts the ascending values below `limit`. Exponential search: fast if the count is small.
fn count_below(values: &[u16], limit: u16) -> usize {
    let mut step = 1;
    while step < values.len() && values[step] < limit {
        step *= 2;
    }
    let (from, to) = (step / 2, values.len().min(step + 1));
    from + values[from..to].partition_point(|value| *value < limit)
}

#[cfg(test)]
mod tests {
    use super::super::super::position_set::members;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Over several segments, with skipped blocks, sparse and dense.
        #[test]
        fn a_list_reads_back_block_by_block(
            lists in proptest::collection::vec(proptest::collection::btree_set(0_u32..150_000, 0..300), 1..4),
            run in 0_u32..12_000,
            words in 1_u32..600,
            is_read in proptest::collection::vec(any::<bool>(), 40),
        ) {
            const UNIVERSE: u32 = 150_000;
            let runs = [(60_000..60_000 + run / 4).collect(), (60_000..60_000 + run).collect()];
            let lists: Vec<BTreeSet<u32>> = lists.into_iter().chain(runs).collect();
            let mut by_position = vec![Vec::new(); UNIVERSE as usize];
            for (list, positions) in (0..).zip(&lists) {
                positions.iter().for_each(|position| by_position[*position as usize].extend([list, list]));
            }
            let mut builder = PostingsBuilder::default();
            by_position.into_iter().for_each(|lists| builder.push(lists.into_iter()));
            let postings = builder.finish();
            for (list, positions) in (0..).zip(&lists).filter(|(_, positions)| !positions.is_empty()) {
                prop_assert_eq!(postings.count(list) as usize, positions.len());
                let mut cursor = postings.cursor(list);
                let (mut start, mut reads) = (0, is_read.iter().cycle());
                while start < UNIVERSE.next_multiple_of(64) {
                    let end = (start + words * 64).min((start / SEGMENT + 1) * SEGMENT).min(UNIVERSE.next_multiple_of(64));
                    if reads.next().copied().unwrap_or_default() {
                        let expected: Vec<u32> = positions.range(start..end).copied().collect();
                        let next = cursor.next(start);
                        prop_assert!(next.is_none_or(|next| next >= start));
                        let next = next.filter(|next| *next < end);
                        let read: Vec<u32> = match cursor.read(&(start..end)) {
                            Part::Dense(words) => members(words, start).collect(),
                            Part::Sparse(values) => {
                                prop_assert_eq!(next, expected.first().copied());
                                values.iter().map(|value| start / SEGMENT * SEGMENT + u32::from(*value)).collect()
                            }
                        };
                        prop_assert_eq!(read, expected);
                    }
                    start = end;
                }
            }
        }
    }
}
