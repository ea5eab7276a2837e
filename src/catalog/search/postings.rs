//! Posting lists: the ascending positions of the texts of each list.
//!
//! A sparse list takes two bytes a position, a dense list one bit for every position of the universe; each list has the
//! smaller form. Both can be read from any position on without reading the positions before it.
//!
//! Building takes two passes over the same `(list, position)` pairs: [`PostingsCounter`] counts, [`PostingsWriter`] then
//! writes every position at its final index. So building needs no memory for a second form of the positions.

use super::super::position_set::members;
use std::ops::Range;

/// Positions that differ in their lower 16 bits only.
const SEGMENT: u32 = 1 << 16;

/// An immutable set of posting lists.
#[derive(Debug)]
pub(super) struct Postings {
    lists: Box<[List]>,
    /// The sparse lists one after the other: the lower 16 bits of each position.
    values: Box<[u16]>,
    /// For each list, where each of its segments ends, counted from the start of the list.
    segment_ends: Box<[u32]>,
    segments: usize,
    /// The dense lists one after the other.
    words: Box<[u64]>,
    words_per_list: usize,
}

#[derive(Clone, Copy, Debug)]
struct List {
    /// Where the list begins in `values`, or in `words` if it is dense.
    start: usize,
    count: u32,
    is_dense: bool,
}

/// The first pass: counts the positions of each list.
#[derive(Default)]
pub(super) struct PostingsCounter {
    lists: Vec<Count>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    /// One more than the last position.
    next: u32,
    count: u32,
}

/// The second pass: writes the positions. The count of a sparse list is the number of positions written so far.
pub(super) struct PostingsWriter(Postings);

impl PostingsCounter {
    /// Returns the number of lists, which is the number of the next new list.
    pub(super) fn lists(&self) -> u32 {
        u32::try_from(self.lists.len()).unwrap_or(u32::MAX)
    }

    /// Counts a position of a list. Positions of a list must be ascending; a repeated one counts once.
    pub(super) fn add(&mut self, list: u32, position: u32) {
        let list = list as usize;
        if list >= self.lists.len() {
            self.lists.resize_with(list + 1, Count::default);
        }
        let Count { next, count } = &mut self.lists[list];
        if position >= *next {
            (*next, *count) = (position + 1, *count + 1);
        }
    }

    /// Allocates the lists. All positions must be below `universe`.
    pub(super) fn allocate(self, universe: usize) -> PostingsWriter {
        let words_per_list = universe.div_ceil(64);
        let segments = universe.div_ceil(SEGMENT as usize);
        let (mut values, mut words) = (0, 0);
        let lists = self.lists.iter().map(|Count { count, .. }| {
            let count = *count;
            let is_dense = count as usize * size_of::<u16>() > words_per_list * size_of::<u64>();
            let (end, length) = if is_dense { (&mut words, words_per_list) } else { (&mut values, count as usize) };
            let start = *end;
            *end += length;
            List { start, count: if is_dense { count } else { 0 }, is_dense }
        });
        PostingsWriter(Postings {
            lists: lists.collect(),
            values: vec![0; values].into(),
            segment_ends: vec![0; self.lists.len() * segments].into(),
            segments,
            words: vec![0; words].into(),
            words_per_list,
        })
    }
}

impl PostingsWriter {
    /// Writes a position of a list: the same calls as to the counter, in the same order.
    pub(super) fn add(&mut self, list: u32, position: u32) {
        let postings = &mut self.0;
        let List { start, count, is_dense } = &mut postings.lists[list as usize];
        if *is_dense {
            postings.words[*start + position as usize / 64] |= 1 << (position % 64);
            return;
        }
        let value = (position % SEGMENT) as u16;
        let segment_end = &mut postings.segment_ends[list as usize * postings.segments + (position / SEGMENT) as usize];
        let next = *start + *count as usize;
        // If the last position is in this segment and has the same value, it is this position.
        let is_repeated = *count > 0 && *segment_end == *count && postings.values[next - 1] == value;
        if !is_repeated {
            postings.values[next] = value;
            *count += 1;
            *segment_end = *count;
        }
    }

    pub(super) fn finish(mut self) -> Postings {
        // A segment without positions ends where the segment before it ends.
        for ends in self.0.segment_ends.chunks_mut(self.0.segments.max(1)) {
            ends.iter_mut().fold(0, |previous, end| {
                *end = previous.max(*end);
                *end
            });
        }
        self.0
    }
}

impl Postings {
    /// Returns the number of positions of a list.
    pub(super) fn count(&self, list: u32) -> u32 {
        self.lists[list as usize].count
    }

    /// Returns a cursor before the first position of a list.
    pub(super) fn cursor(&self, list: u32) -> Cursor<'_> {
        let (index, list) = (list as usize, self.lists[list as usize]);
        let form = if list.is_dense {
            Form::Dense(&self.words[list.start..list.start + self.words_per_list])
        } else {
            let values = &self.values[list.start..list.start + list.count as usize];
            let segment_ends = &self.segment_ends[index * self.segments..(index + 1) * self.segments];
            Form::Sparse(SparseCursor { values, segment_ends, next: 0, segment: 0 })
        };
        Cursor { count: list.count, form }
    }

    /// Returns the bytes held.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.lists)
            + size_of_val(&*self.values)
            + size_of_val(&*self.segment_ends)
            + size_of_val(&*self.words)
    }
}

/// Reads one list in ascending order.
pub(super) struct Cursor<'a> {
    count: u32,
    form: Form<'a>,
}

enum Form<'a> {
    Sparse(SparseCursor<'a>),
    Dense(&'a [u64]),
}

struct SparseCursor<'a> {
    values: &'a [u16],
    segment_ends: &'a [u32],
    /// Index of the next value.
    next: usize,
    /// The segment of the next value, or an earlier segment that has no values left.
    segment: usize,
}

impl SparseCursor<'_> {
    /// Skips the positions before `start`.
    fn seek(&mut self, start: u32) {
        let segment = self.segment_ends.len().min((start / SEGMENT) as usize);
        if self.segment < segment {
            self.next = self.next.max(self.segment_ends[segment - 1] as usize);
            self.segment = segment;
        }
        if self.segment == segment && segment < self.segment_ends.len() {
            let rest = &self.values[self.next..self.segment_ends[segment] as usize];
            self.next += count_below(rest, (start % SEGMENT) as u16);
        }
    }

    /// Visits and skips the positions before `end`, in ascending order.
    fn take_before(&mut self, end: u32, mut visit: impl FnMut(u32)) {
        while let Some(segment_end) = self.segment_ends.get(self.segment) {
            let base = self.segment as u32 * SEGMENT;
            let rest = &self.values[self.next..*segment_end as usize];
            let before = rest.iter().map(|value| base + u32::from(*value)).take_while(|position| *position < end);
            self.next += before.map(&mut visit).count();
            if end - base <= SEGMENT {
                return;
            }
            self.segment += 1;
        }
    }

    /// Returns a bit for each position of the range.
    fn bits<'b>(&mut self, range: &Range<u32>, scratch: &'b mut Vec<u64>) -> &'b [u64] {
        scratch.clear();
        scratch.resize(range.len() / 64, 0);
        self.seek(range.start);
        self.take_before(range.end, |position| {
            let bit = position - range.start;
            scratch[bit as usize / 64] |= 1 << (bit % 64);
        });
        scratch
    }

    /// Returns the next position.
    fn peek(&self) -> Option<u32> {
        let value = self.values.get(self.next)?;
        let ends = &self.segment_ends[self.segment..];
        let segment = (self.segment..).zip(ends).find(|(_, end)| self.next < **end as usize)?.0;
        Some(segment as u32 * SEGMENT + u32::from(*value))
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

impl Cursor<'_> {
    /// Returns the length of the whole list.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Returns the bits of the range if the list is dense. If a list is dense, every longer list is dense too. Both ends of
    /// the range must be multiples of 64.
    pub(super) fn words(&self, range: &Range<u32>) -> Option<&[u64]> {
        match self.form {
            Form::Dense(words) => Some(&words[range.start as usize / 64..range.end as usize / 64]),
            Form::Sparse(_) => None,
        }
    }

    /// Estimates the cost of reading this many words of the list, in positions.
    pub(super) fn cost(&self, words: usize) -> usize {
        match &self.form {
            Form::Dense(_) => words / 4,
            Form::Sparse(values) => values.values.len() * words / (values.segment_ends.len() * SEGMENT as usize / 64),
        }
    }

    /// Returns a lower bound of the next position from `start` on; exact if the list is sparse. `None`: no positions left.
    pub(super) fn next(&mut self, start: u32) -> Option<u32> {
        match &mut self.form {
            Form::Dense(_) => Some(start),
            Form::Sparse(values) => {
                values.seek(start);
                values.peek()
            }
        }
    }

    /// Visits the positions of the range in ascending order. Both ends of the range must be multiples of 64.
    pub(super) fn for_each(&mut self, range: &Range<u32>, visit: impl FnMut(u32)) {
        match &mut self.form {
            Form::Dense(_) => members(self.words(range).unwrap_or_default(), range.start).for_each(visit),
            Form::Sparse(values) => {
                values.seek(range.start);
                values.take_before(range.end, visit);
            }
        }
    }

    /// Retains the positions that are in the list. All positions must be in the range, whose ends must be multiples of 64.
    pub(super) fn retain(&mut self, range: &Range<u32>, positions: &mut Vec<u32>, scratch: &mut Vec<u64>) {
        let (words, start) = match &mut self.form {
            Form::Dense(words) => (*words, 0),
            Form::Sparse(values) => (values.bits(range, scratch), range.start),
        };
        positions.retain(|position| {
            let bit = position - start;
            words[bit as usize / 64] >> (bit % 64) & 1 == 1
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Over several segments, with skipped blocks, by every way of reading.
        #[test]
        fn a_list_reads_back_block_by_block(
            lists in proptest::collection::vec(proptest::collection::btree_set(0_u32..150_000, 0..300), 1..4),
            run in 0_u32..12_000,
            words in 1_usize..600,
            is_read in proptest::collection::vec(any::<bool>(), 40),
        ) {
            const UNIVERSE: u32 = 150_000;
            let runs = [(60_000..60_000 + run / 4).collect(), (60_000..60_000 + run).collect()];
            let lists: Vec<BTreeSet<u32>> = lists.into_iter().chain(runs).collect();
            let pairs = || (0..).zip(&lists).flat_map(|(list, positions)| positions.iter().map(move |position| (list, *position)));
            let twice = || pairs().flat_map(|pair| [pair, pair]);
            let mut counter = PostingsCounter::default();
            twice().for_each(|(list, position)| counter.add(list, position));
            let mut writer = counter.allocate(UNIVERSE as usize);
            twice().for_each(|(list, position)| writer.add(list, position));
            let postings = writer.finish();
            for (list, positions) in (0..).zip(&lists) {
                if positions.is_empty() {
                    continue;
                }
                prop_assert_eq!(postings.count(list) as usize, positions.len());
                let [mut for_each, mut retain] = [(); 2].map(|()| postings.cursor(list));
                let mut scratch = Vec::new();
                let end = UNIVERSE.next_multiple_of(64);
                let starts = (0..UNIVERSE).step_by(words * 64).zip(is_read.iter().cycle());
                for (start, _) in starts.filter(|(_, is_read)| **is_read) {
                    let range = start..end.min(start + words as u32 * 64);
                    let expected: Vec<u32> = positions.range(range.clone()).copied().collect();
                    let next = for_each.next(start).filter(|next| *next < range.end);
                    let words = for_each.words(&range).map(|words| members(words, start).collect::<Vec<_>>());
                    prop_assert!(words.is_none_or(|words| words == expected));
                    prop_assert!(for_each.words(&range).is_some() || next == expected.first().copied());
                    let mut found = Vec::new();
                    for_each.for_each(&range, |position| found.push(position));
                    prop_assert_eq!(&found, &expected);
                    let mut retained = range.clone().collect();
                    retain.retain(&range, &mut retained, &mut scratch);
                    prop_assert_eq!(&retained, &expected);
                }
            }
        }
    }
}
