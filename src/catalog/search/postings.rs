//! Ascending lists of positions: two bytes for each, or one bit for every position where that is less. Either is read from
//! wherever one wants, without what comes before.

use super::super::position_set::members;
use std::ops::Range;

/// Positions in a piece: what two bytes can tell.
const PIECE: u32 = 1 << 16;

/// A finished set of lists.
#[derive(Debug)]
pub(super) struct Postings {
    lists: Box<[List]>,
    /// Of the lists that are not dense, one after the other: where a position stands in its piece.
    values: Box<[u16]>,
    /// For each list, where each of its pieces ends, counted from the list's start.
    ends: Box<[u32]>,
    pieces: usize,
    words: Box<[u64]>,
    words_per_list: usize,
}

#[derive(Clone, Copy, Debug)]
struct List {
    /// Where it begins in `values`, or in `words` if it is dense.
    start: usize,
    count: u32,
    dense: bool,
}

/// Lists that still grow.
#[derive(Default)]
pub(super) struct PostingsBuilder {
    lists: Vec<Growing>,
}

#[derive(Default)]
struct Growing {
    /// One more than the last position; the first difference counts from there too.
    next: u32,
    count: u32,
    /// Differences, in as many bytes as they need: most lists end as short ones, and all of them grow at once.
    bytes: Vec<u8>,
}

impl PostingsBuilder {
    /// How many lists there are: the number of the next new one.
    pub(super) fn lists(&self) -> u32 {
        u32::try_from(self.lists.len()).unwrap_or(u32::MAX)
    }

    /// Adds a position that is not below the last one; the last one again changes nothing. A list that is not there
    /// yet is made.
    pub(super) fn add(&mut self, list: u32, position: u32) {
        let list = list as usize;
        if list >= self.lists.len() {
            self.lists.resize_with(list + 1, Growing::default);
        }
        let list = &mut self.lists[list];
        if position < list.next {
            return;
        }
        let mut difference = position - list.next;
        while difference >= 0x80 {
            list.bytes.push((difference & 0x7f) as u8 | 0x80);
            difference >>= 7;
        }
        list.bytes.push(difference as u8);
        list.next = position + 1;
        list.count += 1;
    }

    /// All positions are below `universe`.
    pub(super) fn finish(self, universe: usize) -> Postings {
        let words_per_list = universe.div_ceil(64);
        let pieces = universe.div_ceil(PIECE as usize);
        let is_dense = |list: &Growing| list.count as usize * size_of::<u16>() > words_per_list * size_of::<u64>();
        let total = self.lists.iter().filter(|list| !is_dense(list)).map(|list| list.count as usize).sum();
        let mut values = Vec::with_capacity(total);
        let mut ends = vec![0; self.lists.len() * pieces];
        let mut words = Vec::new();
        let lists = self.lists.into_iter().zip(ends.chunks_mut(pieces.max(1))).map(|(list, ends)| {
            let dense = is_dense(&list);
            let start = if dense { words.len() } else { values.len() };
            if dense {
                words.resize(start + words_per_list, 0);
                list.positions().for_each(|position| words[start + position as usize / 64] |= 1 << (position % 64));
            } else {
                for position in list.positions() {
                    values.push((position % PIECE) as u16);
                    ends[(position / PIECE) as usize] += 1;
                }
                ends.iter_mut().fold(0, |before, end| {
                    *end += before;
                    *end
                });
            }
            List { start, count: list.count, dense }
        });
        let lists = lists.collect();
        Postings { lists, values: values.into(), ends: ends.into(), pieces, words: words.into(), words_per_list }
    }
}

impl Growing {
    fn positions(&self) -> impl Iterator<Item = u32> {
        let mut bytes = self.bytes.iter();
        let mut next = 0;
        std::iter::from_fn(move || {
            let (mut difference, mut shift) = (0, 0);
            loop {
                let byte = *bytes.next()?;
                difference |= u32::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
                shift += 7;
            }
            let position = next + difference;
            next = position + 1;
            Some(position)
        })
    }
}

impl Postings {
    pub(super) fn count(&self, list: u32) -> u32 {
        self.lists[list as usize].count
    }

    /// A reader that stands before the list's first position.
    pub(super) fn cursor(&self, list: u32) -> Cursor<'_> {
        let (at, list) = (list as usize, self.lists[list as usize]);
        let rest = if list.dense {
            Rest::Words(&self.words[list.start..list.start + self.words_per_list])
        } else {
            let values = &self.values[list.start..list.start + list.count as usize];
            Rest::Values(Values { values, ends: &self.ends[at * self.pieces..(at + 1) * self.pieces], at: 0, piece: 0 })
        };
        Cursor { count: list.count, rest }
    }

    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.lists) + size_of_val(&*self.values) + size_of_val(&*self.ends) + size_of_val(&*self.words)
    }
}

/// Reads one list in ascending order.
pub(super) struct Cursor<'a> {
    count: u32,
    rest: Rest<'a>,
}

enum Rest<'a> {
    Values(Values<'a>),
    Words(&'a [u64]),
}

struct Values<'a> {
    values: &'a [u16],
    ends: &'a [u32],
    /// The next of the values.
    at: usize,
    /// The piece that it is in; or an earlier one, of which nothing is left.
    piece: usize,
}

impl Values<'_> {
    /// Passes over what lies before `start`.
    fn seek(&mut self, start: u32) {
        let piece = self.ends.len().min((start / PIECE) as usize);
        if self.piece < piece {
            self.at = self.at.max(self.ends[piece - 1] as usize);
            self.piece = piece;
        }
        if self.piece == piece && piece < self.ends.len() {
            let left = &self.values[self.at..self.ends[piece] as usize];
            self.at += passed(left, (start % PIECE) as u16);
        }
    }

    /// What is not passed yet and lies before `end`, in ascending order; it is passed then.
    fn each_before(&mut self, end: u32, mut found: impl FnMut(u32)) {
        while let Some(piece_end) = self.ends.get(self.piece) {
            let base = self.piece as u32 * PIECE;
            let left = &self.values[self.at..*piece_end as usize];
            let before = left.iter().map(|value| base + u32::from(*value)).take_while(|position| *position < end);
            self.at += before.map(&mut found).count();
            if end - base <= PIECE {
                return;
            }
            self.piece += 1;
        }
    }

    /// A bit for each position in the range.
    fn bits<'b>(&mut self, range: &Range<u32>, scratch: &'b mut Vec<u64>) -> &'b [u64] {
        scratch.clear();
        scratch.resize(range.len() / 64, 0);
        self.seek(range.start);
        self.each_before(range.end, |position| {
            let bit = position - range.start;
            scratch[bit as usize / 64] |= 1 << (bit % 64);
        });
        scratch
    }

    /// The position that comes next.
    fn next(&self) -> Option<u32> {
        let value = self.values.get(self.at)?;
        let piece = (self.piece..).zip(&self.ends[self.piece..]).find(|(_, end)| self.at < **end as usize)?.0;
        Some(piece as u32 * PIECE + u32::from(*value))
    }
}

/// How many of the ascending values are below `limit`. Quick where they are few.
fn passed(values: &[u16], limit: u16) -> usize {
    let mut step = 1;
    while step < values.len() && values[step] < limit {
        step *= 2;
    }
    let (from, to) = (step / 2, values.len().min(step + 1));
    from + values[from..to].partition_point(|value| *value < limit)
}

impl Cursor<'_> {
    /// How long the whole list is.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The range's bits, if there is one for every position; of two lists, the longer has them where the shorter has. Both ends
    /// of the range are multiples of 64.
    pub(super) fn words(&self, range: &Range<u32>) -> Option<&[u64]> {
        match self.rest {
            Rest::Words(words) => Some(&words[range.start as usize / 64..range.end as usize / 64]),
            Rest::Values(_) => None,
        }
    }

    /// About what it costs to read so many words' worth of it, in positions.
    pub(super) fn cost(&self, words: usize) -> usize {
        match &self.rest {
            Rest::Words(_) => words / 4,
            Rest::Values(values) => values.values.len() * words / (values.ends.len() * PIECE as usize / 64),
        }
    }

    /// Where from `start` on something may lie: the very next position, if the list is not dense.
    pub(super) fn next(&mut self, start: u32) -> Option<u32> {
        match &mut self.rest {
            Rest::Words(_) => Some(start),
            Rest::Values(values) => {
                values.seek(start);
                values.next()
            }
        }
    }

    /// What lies in the range, whose ends are multiples of 64, in ascending order.
    pub(super) fn each(&mut self, range: &Range<u32>, found: impl FnMut(u32)) {
        match &mut self.rest {
            Rest::Words(_) => members(self.words(range).unwrap_or_default(), range.start).for_each(found),
            Rest::Values(values) => {
                values.seek(range.start);
                values.each_before(range.end, found);
            }
        }
    }

    /// Takes those away that are not in the list, all of them in the range, whose ends are multiples of 64.
    pub(super) fn keep(&mut self, range: &Range<u32>, positions: &mut Vec<u32>, scratch: &mut Vec<u64>) {
        let (words, start) = match &mut self.rest {
            Rest::Words(words) => (*words, 0),
            Rest::Values(values) => (values.bits(range, scratch), range.start),
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
        /// Over more than one piece, some blocks passed over, by each of the ways to read.
        #[test]
        fn a_list_reads_back_block_by_block(
            lists in proptest::collection::vec(proptest::collection::btree_set(0_u32..150_000, 0..300), 1..4),
            run in 0_u32..12_000,
            words in 1_usize..600,
            asked in proptest::collection::vec(any::<bool>(), 40),
        ) {
            const UNIVERSE: u32 = 150_000;
            let mut builder = PostingsBuilder::default();
            let runs = [(60_000..60_000 + run / 4).collect(), (60_000..60_000 + run).collect()];
            let lists: Vec<BTreeSet<u32>> = lists.into_iter().chain(runs).collect();
            for (list, positions) in (0..).zip(&lists) {
                for position in positions {
                    builder.add(list, *position);
                    builder.add(list, *position);
                }
            }
            let postings = builder.finish(UNIVERSE as usize);
            for (list, positions) in (0..).zip(&lists) {
                if positions.is_empty() {
                    continue;
                }
                prop_assert_eq!(postings.count(list) as usize, positions.len());
                let [mut each, mut keep] = [(); 2].map(|()| postings.cursor(list));
                let mut scratch = Vec::new();
                let end = UNIVERSE.next_multiple_of(64);
                let starts = (0..UNIVERSE).step_by(words * 64).zip(asked.iter().cycle());
                for (start, _) in starts.filter(|(_, asked)| **asked) {
                    let range = start..end.min(start + words as u32 * 64);
                    let right: Vec<u32> = positions.range(range.clone()).copied().collect();
                    let next = each.next(start).filter(|next| *next < range.end);
                    let words = each.words(&range).map(|words| members(words, start).collect::<Vec<_>>());
                    prop_assert!(words.is_none_or(|words| words == right));
                    prop_assert!(each.words(&range).is_some() || next == right.first().copied());
                    let mut found = Vec::new();
                    each.each(&range, |position| found.push(position));
                    prop_assert_eq!(&found, &right);
                    let mut kept = range.clone().collect();
                    keep.keep(&range, &mut kept, &mut scratch);
                    prop_assert_eq!(&kept, &right);
                }
            }
        }
    }
}
