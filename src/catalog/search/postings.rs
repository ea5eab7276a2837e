//! Ascending lists of positions: differences in as many bytes as they need, or one bit a position where that is less.

use std::ops::Range;

/// A finished set of lists.
#[derive(Debug)]
pub(super) struct Postings {
    lists: Box<[List]>,
    bytes: Box<[u8]>,
    words: Box<[u64]>,
    words_per_list: usize,
}

#[derive(Clone, Copy, Debug)]
struct List {
    /// Where it begins in `bytes`, or in `words` if it is dense.
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
        let is_dense = |list: &Growing| list.bytes.len() > words_per_list * 8;
        let total = self.lists.iter().filter(|list| !is_dense(list)).map(|list| list.bytes.len()).sum();
        let mut bytes = Vec::with_capacity(total);
        let mut words = Vec::new();
        let lists = self
            .lists
            .into_iter()
            .map(|list| {
                let dense = is_dense(&list);
                let start = if dense { words.len() } else { bytes.len() };
                if dense {
                    words.resize(start + words_per_list, 0);
                    let mut cursor = Cursor::deltas(&list.bytes, list.count);
                    cursor.read(&(0..u32::MAX), &mut words[start..]);
                } else {
                    bytes.extend_from_slice(&list.bytes);
                }
                List { start, count: list.count, dense }
            })
            .collect();
        Postings { lists, bytes: bytes.into(), words: words.into(), words_per_list }
    }
}

impl Postings {
    pub(super) fn count(&self, list: u32) -> u32 {
        self.lists[list as usize].count
    }

    /// A reader that stands before the list's first position.
    pub(super) fn cursor(&self, list: u32) -> Cursor<'_> {
        let list = self.lists[list as usize];
        if list.dense {
            let words = &self.words[list.start..list.start + self.words_per_list];
            Cursor { count: list.count, next: 0, rest: Rest::Words(words) }
        } else {
            Cursor::deltas(&self.bytes[list.start..], list.count)
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.bytes.len() + self.words.len() * 8 + self.lists.len() * size_of::<List>()
    }
}

/// Reads one list in ascending order.
pub(super) struct Cursor<'a> {
    count: u32,
    /// The next position, where the list is one of differences; `u32::MAX` at its end.
    next: u32,
    rest: Rest<'a>,
}

enum Rest<'a> {
    Deltas { bytes: &'a [u8], left: u32 },
    Words(&'a [u64]),
}

impl<'a> Cursor<'a> {
    fn deltas(bytes: &'a [u8], count: u32) -> Self {
        let mut rest = bytes;
        let mut left = count;
        let next = next_position(&mut rest, &mut left, 0);
        Self { count, next, rest: Rest::Deltas { bytes: rest, left } }
    }

    /// How long the whole list is.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Passes over what lies before the range; false: nothing lies in it.
    pub(super) fn reaches(&mut self, range: &Range<u32>) -> bool {
        if let Rest::Deltas { bytes, left } = &mut self.rest {
            while self.next < range.start {
                self.next = next_position(bytes, left, self.next + 1);
            }
            return self.next < range.end;
        }
        true
    }

    /// Sets the bits of what lies in the range; bit 0 of `out` is its start, a multiple of 64.
    pub(super) fn read(&mut self, range: &Range<u32>, out: &mut [u64]) {
        if !self.reaches(range) {
            return;
        }
        match &mut self.rest {
            Rest::Words(words) => {
                let words = &words[range.start as usize / 64..];
                out.iter_mut().zip(words).for_each(|(out, word)| *out |= word);
            }
            Rest::Deltas { bytes, left } => {
                while self.next < range.end {
                    let bit = self.next - range.start;
                    out[bit as usize / 64] |= 1 << (bit % 64);
                    self.next = next_position(bytes, left, self.next + 1);
                }
            }
        }
    }
}

/// Reads one difference. `u32::MAX` where none is left.
fn next_position(bytes: &mut &[u8], left: &mut u32, base: u32) -> u32 {
    if *left == 0 {
        return u32::MAX;
    }
    *left -= 1;
    let mut difference = 0;
    for (index, byte) in bytes.iter().enumerate() {
        difference |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            break;
        }
    }
    base + difference
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_list_reads_back_block_by_block(
            lists in proptest::collection::vec(proptest::collection::btree_set(0_u32..20_000, 0..300), 1..4),
            full in 0_u32..2_000,
            words in 1_usize..64,
        ) {
            let universe = 20_000;
            let mut builder = PostingsBuilder::default();
            let lists: Vec<BTreeSet<u32>> = lists.into_iter().chain([(0..full * 10).collect()]).collect();
            for (list, positions) in (0..).zip(&lists) {
                for position in positions {
                    builder.add(list, *position);
                    builder.add(list, *position);
                }
            }
            let postings = builder.finish(universe);
            for (list, positions) in (0..).zip(&lists) {
                if positions.is_empty() {
                    continue;
                }
                prop_assert_eq!(postings.count(list) as usize, positions.len());
                let mut cursor = postings.cursor(list);
                let mut read = BTreeSet::new();
                let size = words as u32 * 64;
                for start in (0..universe as u32).step_by(size as usize) {
                    let mut out = vec![0; words];
                    cursor.read(&(start..start + size), &mut out);
                    read.extend(super::super::members(&out, start));
                }
                prop_assert_eq!(&read, positions);
            }
        }
    }
}
