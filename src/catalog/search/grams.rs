//! The grams of a text, and the posting list of each gram.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A fast hash for gram keys. The standard hasher resists chosen keys, which suppliers' texts are not, and would take most
/// of the build time.
#[derive(Default)]
struct GramHasher(u64);

impl Hasher for GramHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
    }

    fn write_u64(&mut self, key: u64) {
        let mixed = (self.0 ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// Maximum bytes of a gram.
pub(super) const GRAM: usize = 3;
/// Bytes of the additional grams in an index of codes.
pub(super) const CODE_GRAM: usize = 5;
/// Grams of one or two bytes have a direct index: `256 + 256 * 256` entries.
const SHORT_GRAMS: usize = 256 * 257;
/// The gram has no list.
const NO_LIST: u32 = u32::MAX;

/// The posting list of each gram.
#[derive(Debug)]
pub(super) struct GramTable {
    /// The number of lists.
    lists: u32,
    short: Box<[u32]>,
    long: HashMap<u64, u32, BuildHasherDefault<GramHasher>>,
}

impl Default for GramTable {
    fn default() -> Self {
        Self { lists: 0, short: vec![NO_LIST; SHORT_GRAMS].into(), long: HashMap::default() }
    }
}

impl GramTable {
    /// Returns the list of a gram, the next new one if the gram has none yet.
    pub(super) fn find_or_insert(&mut self, gram: &[u8]) -> u32 {
        let list = match short_index(gram) {
            Some(index) => &mut self.short[index],
            None => self.long.entry(gram_key(gram)).or_insert(NO_LIST),
        };
        if *list == NO_LIST {
            *list = self.lists;
            self.lists += 1;
        }
        *list
    }

    /// Returns the list of a gram.
    pub(super) fn find(&self, gram: &[u8]) -> Option<u32> {
        let list = match short_index(gram) {
            Some(index) => self.short.get(index),
            None => self.long.get(&gram_key(gram)),
        };
        list.copied().filter(|list| *list != NO_LIST)
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.long.shrink_to_fit();
    }

    /// Returns the bytes held.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.short) + self.long.capacity() * 13
    }
}

/// Returns the direct index of a gram of one or two bytes.
fn short_index(gram: &[u8]) -> Option<usize> {
    match *gram {
        [byte] => Some(usize::from(byte)),
        [first, second] => Some(256 + usize::from(first) * 256 + usize::from(second)),
        _ => None,
    }
}

/// Packs the bytes of a gram and their number into a key.
fn gram_key(bytes: &[u8]) -> u64 {
    bytes.iter().fold(bytes.len() as u64, |key, byte| key << 8 | u64::from(*byte))
}

/// Returns all grams of a text.
pub(super) fn grams(text: &[u8], has_code_grams: bool) -> impl Iterator<Item = &[u8]> {
    let sizes = (1..=GRAM).chain(has_code_grams.then_some(CODE_GRAM));
    sizes.flat_map(|size| text.windows(size))
}
