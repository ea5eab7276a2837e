//! An n-gram index for case-insensitive substring search over the texts of one field (names, codes, or distinct
//! categories).
//!
//! Guarantee: a search finds exactly the texts with `fold(text).contains(&fold(value))` for any of the values, in order
//! of position. Every gram of one, two or three bytes of the folded texts has a posting list. The list of a value of up to
//! three bytes is the result; for a longer value, the shortest of its lists gives the candidates, and each candidate is
//! then checked in the text. Codes are mostly digits, whose short grams are everywhere, so codes have grams of five bytes
//! too. A search proceeds block by block in order of position, so a search with a limit stops early.

mod grams;
mod postings;

use super::fold::fold;
use super::position_set::members;
use grams::{CODE_GRAM, GRAM, GramTable, grams};
use memchr::memmem::Finder;
use postings::{Cursor, Part, Postings, PostingsBuilder, SEGMENT};
use std::collections::BTreeSet;
use std::ops::Range;

/// Maximum number of lists that one value reads.
const MAX_LISTS: usize = 4;
/// The cost of checking one text, in list entries: an entry takes about a nanosecond, a text twenty or more.
const ENTRIES_PER_TEXT_CHECK: usize = 16;

/// Many short texts in one allocation.
#[derive(Debug, Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    pub(super) fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
    }

    pub(super) fn get(&self, position: usize) -> &[u8] {
        let start = position.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[position]]
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn last(&self) -> Option<&[u8]> {
        self.len().checked_sub(1).map(|last| self.get(last))
    }

    /// Finds the position of a text. The texts must be in byte order.
    pub(super) fn find_sorted(&self, text: &str) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle) < text.as_bytes() { low = middle + 1 } else { high = middle }
        }
        (low < self.len() && self.get(low) == text.as_bytes()).then_some(low)
    }

    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

/// Builds a [`TextIndex`]; takes the texts one by one.
#[derive(Default)]
pub struct TextIndexBuilder {
    texts: Texts,
    has_code_grams: bool,
}

impl TextIndexBuilder {
    /// Creates a builder for codes, which consist of few different characters.
    pub fn for_codes() -> Self {
        Self { has_code_grams: true, ..Self::default() }
    }

    /// Adds a text at the next position.
    pub fn push(&mut self, text: &str) {
        self.texts.push(&fold(text));
    }

    /// Builds the index: about a second for a million names.
    pub fn finish(self) -> TextIndex {
        let Self { mut texts, has_code_grams } = self;
        texts.shrink_to_fit();
        let (mut table, mut postings) = (GramTable::default(), PostingsBuilder::default());
        for index in 0..texts.len() {
            postings.push(grams(texts.get(index), has_code_grams).map(|gram| table.find_or_insert(gram)));
        }
        table.shrink_to_fit();
        TextIndex { texts, grams: table, postings: postings.finish(), has_code_grams }
    }
}

/// The folded texts of one field, and their n-gram index.
#[derive(Debug)]
pub struct TextIndex {
    texts: Texts,
    grams: GramTable,
    postings: Postings,
    has_code_grams: bool,
}

impl TextIndex {
    /// Starts a search for texts that contain any of the values.
    pub(super) fn search(&self, values: &[String]) -> Search<'_> {
        let folded: BTreeSet<String> = values.iter().map(|value| fold(value)).collect();
        Search::new(folded.iter().filter_map(|value| self.term(value.as_bytes())))
    }

    /// Returns the positions of the first `limit` texts that contain any of the values.
    pub fn first(&self, values: &[String], limit: usize) -> Vec<u32> {
        let words = vec![u64::MAX; self.texts.len().div_ceil(64)];
        let (mut search, mut blocks, mut found) = (self.search(values), Blocks::new(words.len()), Vec::new());
        while found.len() < limit
            && let Some(block) = blocks.next(&mut search)
        {
            let (mut hits, room) = (vec![0; block.len()], limit - found.len());
            search.find_in_block(&block, &words[block.clone()], &mut hits, room);
            found.extend(members(&hits, block.start as u32 * 64).take(room));
        }
        found
    }

    /// Returns `None` if a gram of the value is in no text, because then no text contains the value.
    fn term(&self, value: &[u8]) -> Option<Term<'_>> {
        let list = |gram: &[u8]| self.grams.find(gram);
        if value.len() <= GRAM {
            return Some(Term { cursors: vec![self.postings.cursor(list(value)?)], check: None });
        }
        let size = if self.has_code_grams && value.len() >= CODE_GRAM { CODE_GRAM } else { GRAM };
        let lists: Option<BTreeSet<u32>> = value.windows(size).map(list).collect();
        let mut lists: Vec<u32> = lists?.into_iter().collect();
        lists.sort_unstable_by_key(|list| self.postings.count(*list));
        lists.truncate(MAX_LISTS);
        let cursors = lists.into_iter().map(|list| self.postings.cursor(list)).collect();
        Some(Term { cursors, check: Some((Finder::new(value).into_owned(), &self.texts)) })
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Returns the bytes held.
    pub fn memory(&self) -> usize {
        self.texts.memory() + self.grams.memory() + self.postings.memory()
    }
}

/// The positions of each group: the products of each category.
#[derive(Debug)]
pub(super) struct Groups(Postings);

impl Groups {
    /// `groups` holds the group of each position; groups are numbered from zero without gaps.
    pub(super) fn new(groups: &[u32]) -> Self {
        let mut postings = PostingsBuilder::default();
        groups.iter().for_each(|group| postings.push(std::iter::once(*group)));
        Self(postings.finish())
    }

    /// Starts a search for the positions of any of the groups.
    pub(super) fn search(&self, groups: impl Iterator<Item = u32>) -> Search<'_> {
        Search::new(groups.map(|group| Term { cursors: vec![self.0.cursor(group)], check: None }))
    }

    /// Returns the bytes held.
    pub(super) fn memory(&self) -> usize {
        self.0.memory()
    }
}

/// A running search; the caller requests block after block, in order.
pub(super) struct Search<'a> {
    terms: Vec<Term<'a>>,
    scratch: Scratch,
}

struct Term<'a> {
    /// A hit is in all of these lists. The shortest list comes first.
    cursors: Vec<Cursor<'a>>,
    /// If set, a position in all lists is a candidate that must be checked in its text.
    check: Option<(Finder<'static>, &'a Texts)>,
}

/// Buffers that are reused from block to block.
#[derive(Default)]
struct Scratch {
    found: Vec<u64>,
    list: Vec<u64>,
    unchecked: Vec<u32>,
}

/// Maximum words of a block. Every block is in one segment of the posting lists, which has two of the largest blocks.
pub(super) const BLOCK_WORDS: usize = SEGMENT as usize / 64 / 2;
/// Words of the first block.
const FIRST_BLOCK: usize = 8;
/// Factor by which each further block is larger, up to the maximum.
const GROWTH: usize = 4;

/// The blocks of a search, in order. The first blocks are short, because frequent values fill a page from few words.
pub(super) struct Blocks {
    start: usize,
    size: usize,
    words: usize,
}

impl Blocks {
    pub(super) fn new(words: usize) -> Self {
        Self { start: 0, size: FIRST_BLOCK, words }
    }

    /// Returns the next block in which the search may have hits.
    pub(super) fn next(&mut self, search: &mut Search<'_>) -> Option<Range<usize>> {
        let start = search.next(self.start as u32 * 64)? as usize / 64;
        let segment_end = (start + 1).next_multiple_of(SEGMENT as usize / 64);
        let end = self.words.min(segment_end).min(start + self.size);
        (self.start, self.size) = (end, BLOCK_WORDS.min(self.size * GROWTH));
        (start < end).then_some(start..end)
    }
}

impl<'a> Search<'a> {
    fn new(terms: impl Iterator<Item = Term<'a>>) -> Self {
        Self { terms: terms.collect(), scratch: Scratch::default() }
    }

    /// Returns true if the search has no hits.
    pub(super) fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Estimates the number of positions to read.
    pub(super) fn cost(&self) -> u64 {
        self.terms.iter().map(|term| u64::from(term.cursors[0].count())).sum()
    }

    /// Returns a lower bound of the next hit from `start` on. `None`: no further hits.
    fn next(&mut self, start: u32) -> Option<u32> {
        self.terms.iter_mut().filter_map(|term| term.cursors[0].next(start)).min()
    }

    /// Sets the bits of those `candidates` that are hits, at least of the first `limit` hits. A word stands for 64 positions;
    /// `words` must be a block, as of [`Blocks`], and ascend from call to call.
    pub(super) fn find_in_block(&mut self, words: &Range<usize>, candidates: &[u64], hits: &mut [u64], limit: usize) {
        let range = words.start as u32 * 64..words.end as u32 * 64;
        for term in &mut self.terms {
            term.find_in_block(&range, candidates, hits, limit, &mut self.scratch);
        }
    }
}

impl Term<'_> {
    fn find_in_block(
        &mut self,
        range: &Range<u32>,
        candidates: &[u64],
        hits: &mut [u64],
        limit: usize,
        scratch: &mut Scratch,
    ) {
        let mut parts = [Part::NONE; MAX_LISTS];
        let parts = &mut parts[..self.cursors.len()];
        parts.iter_mut().zip(&mut self.cursors).for_each(|(part, cursor)| *part = cursor.read(range));
        // The shortest sparse part decides what is looked up in the others.
        parts.sort_unstable_by_key(|part| match part {
            Part::Sparse(values) => values.len(),
            Part::Dense(_) => usize::MAX,
        });
        let Some((first, others)) = parts.split_first() else { return };
        let bit = |position: u32| ((position - range.start) as usize / 64, 1_u64 << (position % 64));
        let Scratch { found, list, unchecked } = scratch;
        unchecked.clear();
        match first {
            Part::Dense(_) => {
                found.clear();
                // Positions that another value has found need no check.
                found.extend(candidates.iter().zip(&*hits).map(|(candidates, hits)| candidates & !hits));
                for part in &*parts {
                    let Part::Dense(words) = part else { continue };
                    found.iter_mut().zip(*words).for_each(|(found, word)| *found &= word);
                }
                if self.check.is_none() {
                    hits.iter_mut().zip(&*found).for_each(|(hits, found)| *hits |= found);
                    return;
                }
                unchecked.extend(members(found, range.start));
            }
            Part::Sparse(values) => {
                let base = range.start / SEGMENT * SEGMENT;
                unchecked.extend(values.iter().map(|value| base + u32::from(*value)).filter(|position| {
                    let (word, bit) = bit(*position);
                    candidates[word] & !hits[word] & bit != 0
                }));
                for part in others {
                    if unchecked.len() * ENTRIES_PER_TEXT_CHECK < part.cost() {
                        break;
                    }
                    let words = match part {
                        Part::Dense(words) => words,
                        Part::Sparse(values) => {
                            list.clear();
                            list.resize(hits.len(), 0);
                            for value in *values {
                                let (word, bit) = bit(base + u32::from(*value));
                                list[word] |= bit;
                            }
                            &**list
                        }
                    };
                    unchecked.retain(|position| {
                        let (word, bit) = bit(*position);
                        words[word] & bit != 0
                    });
                }
            }
        }
        let is_hit = |position: &&u32| match &self.check {
            Some((finder, texts)) => finder.find(texts.get(**position as usize)).is_some(),
            None => true,
        };
        for position in unchecked.iter().filter(is_hit).take(limit) {
            let (word, bit) = bit(*position);
            hits[word] |= bit;
        }
    }
}

#[cfg(test)]
mod tests;
