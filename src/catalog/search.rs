//! "Contains, whatever the case" over the texts of one field (names, codes, or distinct categories).
//!
//! Guarantee: the same texts as `fold(text).contains(&fold(value))` finds for any of the values, in order of position.
//! Every run of one, two or three bytes of the folded texts has a list of the texts that hold it. A value of up to three
//! bytes is answered by its list alone; a longer one by the shortest of its lists, each hit then checked in the text. Codes
//! are mostly digits, whose short runs are everywhere: their runs of five have lists too.
//! Work goes block by block in order of position, so a search with a limit stops early.

mod postings;

use super::fold::fold;
use super::position_set::members;
use memchr::memmem::Finder;
use postings::{Cursor, Postings, PostingsBuilder};
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

/// Most lists that one value reads.
const MOST_LISTS: usize = 4;
/// Of a further list so many entries are read to spare looking into one text: an entry costs about a nanosecond, a text
/// about twenty or more.
const WORTH_A_TEXT: usize = 16;

/// Many short texts in one piece of memory.
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

    /// The position of a text, where the texts are in byte order.
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

    fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

/// Mixes the few bytes of a gram: the keys are ours, not an attacker's, and the standard hash takes most of a build.
#[derive(Default)]
pub(super) struct GramHasher(u64);

impl Hasher for GramHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
    }

    fn write_u64(&mut self, gram: u64) {
        let mixed = (self.0 ^ gram).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

type GramMap = HashMap<u64, u32, BuildHasherDefault<GramHasher>>;

/// Runs of up to so many bytes have lists.
const RUN: usize = 3;
/// And of so many, in an index of codes.
const LONG_RUN: usize = 5;

/// One to five bytes and how many, as a key.
fn gram(bytes: &[u8]) -> u64 {
    bytes.iter().fold(bytes.len() as u64, |key, byte| key << 8 | u64::from(*byte))
}

/// Takes texts one by one.
#[derive(Default)]
pub struct TextIndexBuilder {
    texts: Texts,
    grams: GramMap,
    postings: PostingsBuilder,
    long_runs: bool,
}

impl TextIndexBuilder {
    /// The same for a text of few different bytes; all texts of an index are added in one way.
    pub fn push_code(&mut self, code: &str) {
        self.long_runs = true;
        self.push(code);
    }

    /// Adds a text at the next position.
    pub fn push(&mut self, text: &str) {
        let folded = fold(text);
        let position = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        for size in (1..=RUN).chain(self.long_runs.then_some(LONG_RUN)) {
            for window in folded.as_bytes().windows(size) {
                let next = self.postings.lists();
                let list = *self.grams.entry(gram(window)).or_insert(next);
                self.postings.add(list, position);
            }
        }
        self.texts.push(&folded);
    }

    /// The finished index.
    pub fn finish(mut self) -> TextIndex {
        let universe = self.texts.len();
        self.texts.shrink();
        self.grams.shrink_to_fit();
        TextIndex {
            texts: self.texts,
            grams: self.grams,
            postings: self.postings.finish(universe),
            long_runs: self.long_runs,
        }
    }
}

/// The texts of one field with their index.
#[derive(Debug)]
pub struct TextIndex {
    texts: Texts,
    grams: GramMap,
    postings: Postings,
    long_runs: bool,
}

impl TextIndex {
    /// A search for texts that contain any of the values.
    pub(super) fn search(&self, values: &[String]) -> Search<'_> {
        let folded: BTreeSet<String> = values.iter().map(|value| fold(value)).collect();
        Search::of(folded.iter().filter_map(|value| self.term(value.as_bytes())))
    }

    /// Positions of the first `most` texts that contain any of the values.
    pub fn first(&self, values: &[String], most: usize) -> Vec<u32> {
        let words = vec![u64::MAX; self.texts.len().div_ceil(64)];
        let (mut search, mut blocks, mut found) = (self.search(values), Blocks::of(words.len()), Vec::new());
        while found.len() < most
            && let Some(block) = blocks.next(&mut search)
        {
            let (mut hits, room) = (vec![0; block.len()], most - found.len());
            search.block(&block, &words[block.clone()], &mut hits, room);
            found.extend(members(&hits, block.start as u32 * 64).take(room));
        }
        found
    }

    /// `None`: some gram of the value is nowhere, so no text holds the value.
    fn term(&self, value: &[u8]) -> Option<Term<'_>> {
        let list = |bytes: &[u8]| self.grams.get(&gram(bytes)).copied();
        if value.len() <= RUN {
            return Some(Term { cursors: vec![self.postings.cursor(list(value)?)], check: None });
        }
        let run = if self.long_runs && value.len() >= LONG_RUN { LONG_RUN } else { RUN };
        let lists: Option<BTreeSet<u32>> = value.windows(run).map(list).collect();
        let mut lists: Vec<u32> = lists?.into_iter().collect();
        lists.sort_unstable_by_key(|list| self.postings.count(*list));
        lists.truncate(MOST_LISTS);
        let cursors = lists.into_iter().map(|list| self.postings.cursor(list)).collect();
        Some(Term { cursors, check: Some((Finder::new(value).into_owned(), &self.texts)) })
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.texts.memory() + self.grams.capacity() * 13 + self.postings.memory()
    }
}

/// Lists of positions that are exact by themselves: the products of each category.
#[derive(Debug)]
pub(super) struct Groups(Postings);

/// Takes products in order of position.
#[derive(Default)]
pub(super) struct GroupsBuilder(PostingsBuilder);

impl GroupsBuilder {
    /// Groups are numbered from zero without gaps.
    pub(super) fn add(&mut self, group: u32, position: u32) {
        self.0.add(group, position);
    }

    pub(super) fn finish(self, universe: usize) -> Groups {
        Groups(self.0.finish(universe))
    }
}

impl Groups {
    /// A search for members of any of the groups.
    pub(super) fn search(&self, groups: impl Iterator<Item = u32>) -> Search<'_> {
        Search::of(groups.map(|group| Term { cursors: vec![self.0.cursor(group)], check: None }))
    }

    pub(super) fn memory(&self) -> usize {
        self.0.memory()
    }
}

/// A search under way: asked block after block, in order.
pub(super) struct Search<'a> {
    terms: Vec<Term<'a>>,
    scratch: Scratch,
}

struct Term<'a> {
    /// Hits are in all of these lists, the shortest of which comes first.
    cursors: Vec<Cursor<'a>>,
    /// Hits must be looked at.
    check: Option<(Finder<'static>, &'a Texts)>,
}

/// Room to work in, used again from block to block.
#[derive(Default)]
struct Scratch {
    found: Vec<u64>,
    list: Vec<u64>,
    candidates: Vec<u32>,
}

/// Words of the largest block.
pub(super) const BLOCK_WORDS: usize = 512;
/// Words of the block to begin with.
const FIRST_BLOCK: usize = 8;
/// How many times as long each further one is, up to the largest.
const GROWTH: usize = 4;

/// Blocks of words, in order: short ones first, for what is common is found in them.
pub(super) struct Blocks {
    start: usize,
    size: usize,
    words: usize,
}

impl Blocks {
    pub(super) fn of(words: usize) -> Self {
        Self { start: 0, size: FIRST_BLOCK, words }
    }

    /// The next one in which the search may find something.
    pub(super) fn next(&mut self, search: &mut Search<'_>) -> Option<Range<usize>> {
        let start = search.next(self.start as u32 * 64)? as usize / 64;
        let end = self.words.min(start + self.size);
        (self.start, self.size) = (end, BLOCK_WORDS.min(self.size * GROWTH));
        (start < end).then_some(start..end)
    }
}

impl<'a> Search<'a> {
    fn of(terms: impl Iterator<Item = Term<'a>>) -> Self {
        Self { terms: terms.collect(), scratch: Scratch::default() }
    }

    /// Nothing can be found any more.
    pub(super) fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// About how many positions the search will look at.
    pub(super) fn cost(&self) -> u64 {
        self.terms.iter().map(|term| u64::from(term.cursors[0].count())).sum()
    }

    /// From `start` on, before which position nothing can be found. None: nothing can be any more.
    fn next(&mut self, start: u32) -> Option<u32> {
        self.terms.iter_mut().filter_map(|term| term.cursors[0].next(start)).min()
    }

    /// Which of the `wanted` positions are hits, the first `most` of them at least. The words stand for 64 positions each;
    /// they are asked for in ascending order.
    pub(super) fn block(&mut self, words: &Range<usize>, wanted: &[u64], hits: &mut [u64], most: usize) {
        let range = words.start as u32 * 64..words.end as u32 * 64;
        for term in &mut self.terms {
            term.block(&range, wanted, hits, most, &mut self.scratch);
        }
    }
}

impl Term<'_> {
    fn block(&mut self, range: &Range<u32>, wanted: &[u64], hits: &mut [u64], most: usize, scratch: &mut Scratch) {
        let Some((first, others)) = self.cursors.split_first_mut() else { return };
        if first.next(range.start).is_none_or(|next| next >= range.end) {
            return;
        }
        let bit = |position: u32| ((position - range.start) as usize / 64, 1 << (position % 64));
        let Scratch { found, list, candidates } = scratch;
        candidates.clear();
        if let Some(words) = first.words(range) {
            found.clear();
            // What another value has found already need not be looked at.
            found.extend(wanted.iter().zip(&*hits).map(|(wanted, hits)| wanted & !hits));
            for words in std::iter::once(words).chain(others.iter().filter_map(|list| list.words(range))) {
                found.iter_mut().zip(words).for_each(|(found, word)| *found &= word);
            }
            if self.check.is_none() {
                hits.iter_mut().zip(&*found).for_each(|(hits, found)| *hits |= found);
                return;
            }
            candidates.extend(members(found, range.start));
        } else {
            first.each(range, |position| {
                let (word, bit) = bit(position);
                if wanted[word] & !hits[word] & bit != 0 {
                    candidates.push(position);
                }
            });
            for cursor in others {
                if candidates.len() * WORTH_A_TEXT < cursor.cost(hits.len()) {
                    break;
                }
                cursor.keep(range, candidates, list);
            }
        }
        let is_hit = |position: &&u32| match &self.check {
            Some((finder, texts)) => finder.find(texts.get(**position as usize)).is_some(),
            None => true,
        };
        for position in candidates.iter().filter(is_hit).take(most) {
            let (word, bit) = bit(*position);
            hits[word] |= bit;
        }
    }
}

#[cfg(test)]
mod tests;
