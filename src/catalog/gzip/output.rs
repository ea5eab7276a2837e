//! A gzip member on its way out.

use super::codes::Code;
use super::{Encoder, LONGEST, Sink, distance_symbol};

/// Without name or time, packed in a hurry, on no particular system (RFC 1952, 2.3).
const BEFORE: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];
/// Bytes that a letter takes at most, and those of a word that is written before it is full.
const MOST_FOR_A_LETTER: usize = 2;
const SLACK: usize = 16;
/// Bits that can be put at once.
const MOST_BITS: u32 = 56;

/// Bits, lowest first, as bytes.
#[derive(Debug, Default)]
pub(in crate::catalog) struct Bits {
    bytes: Vec<u8>,
    /// Whole bytes that are written.
    written: usize,
    waiting: u64,
    count: u32,
}

impl Bits {
    /// Makes room for so many letters and repeats, so that it need not be looked for at every one.
    pub(in crate::catalog) fn reserve(&mut self, letters: usize) {
        let wanted = self.written + letters * MOST_FOR_A_LETTER + SLACK;
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted.next_power_of_two(), 0);
        }
    }

    /// At most [`MOST_BITS`]; those above `count` are zero.
    #[inline]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        self.waiting |= bits << self.count;
        self.count += count;
        self.bytes[self.written..self.written + 8].copy_from_slice(&self.waiting.to_le_bytes());
        let whole = self.count / 8;
        self.written += whole as usize;
        self.waiting = if whole == 8 { 0 } else { self.waiting >> (whole * 8) };
        self.count %= 8;
    }

    #[inline]
    fn put_code(&mut self, code: Code) {
        self.put(u64::from(code.bits), code.length.into());
    }

    /// Appends the first `count` bits of `from`, behind which at least eight more bytes must lie.
    pub(in crate::catalog) fn append(&mut self, from: &[u8], count: u32) {
        let words = count as usize / 64;
        let (mut waiting, shift) = (self.waiting, self.count);
        let room = self.bytes[self.written..].chunks_exact_mut(8);
        for (word, place) in from.chunks_exact(8).take(words).zip(room) {
            let word = super::word(word);
            place.copy_from_slice(&(waiting | word << shift).to_le_bytes());
            // What does not fit; by 64 at once nothing can be shifted.
            waiting = word >> 1 >> (63 - shift);
        }
        self.written += words * 8;
        self.waiting = waiting;
        let (last, rest) = (super::word(&from[words * 8..words * 8 + 8]), count % 64);
        let low = rest.min(MOST_BITS);
        self.put(last & ((1 << low) - 1), low);
        if rest > low {
            self.put(last >> low & ((1 << (rest - low)) - 1), rest - low);
        }
    }

    /// How many bits there are in all.
    pub(in crate::catalog) fn len(&self) -> usize {
        self.written * 8 + self.count as usize
    }

    /// Whole bytes, which are then forgotten.
    pub(in crate::catalog) fn take(&mut self, take: impl FnOnce(&[u8])) {
        take(&self.bytes[..self.written]);
        self.written = 0;
    }

    /// Fills up the last byte.
    pub(in crate::catalog) fn align(&mut self) {
        self.reserve(0);
        self.put(0, (8 - self.count) % 8);
    }
}

/// Writes letters and repeats in a catalogue's codes; room must have been made.
pub(in crate::catalog) struct Writer<'a> {
    pub(in crate::catalog) encoder: &'a Encoder,
    pub(in crate::catalog) bits: &'a mut Bits,
}

impl Sink for Writer<'_> {
    fn letters(&mut self, text: &[u8]) {
        let code = |letter: u8| self.encoder.letters[usize::from(letter)];
        let mut fours = text.chunks_exact(4);
        for four in &mut fours {
            let (mut bits, mut length) = (0, 0);
            for letter in four {
                let code = code(*letter);
                bits |= u64::from(code.bits) << length;
                length += u32::from(code.length);
            }
            self.bits.put(bits, length);
        }
        fours.remainder().iter().for_each(|letter| self.bits.put_code(code(*letter)));
    }

    fn repeat(&mut self, length: usize, distance: usize) {
        let (symbol, following, more) = distance_symbol(distance);
        let (length, distance) = (self.encoder.lengths[length.min(LONGEST)], self.encoder.distances[symbol]);
        let far = u64::from(distance.bits) | u64::from(following) << distance.length;
        self.bits.put(u64::from(length.bits) | far << length.length, (length.length + distance.length + more).into());
    }
}

/// A gzip member under way.
#[derive(Debug)]
pub(in crate::catalog) struct Output {
    pub(in crate::catalog) bits: Bits,
    /// Checksum and length of what was told.
    check: u32,
    length: u32,
}

impl Output {
    pub(in crate::catalog) fn new(encoder: &Encoder) -> Self {
        let mut bits = Bits::default();
        bits.reserve(BEFORE.len() + encoder.head.len());
        BEFORE.iter().for_each(|byte| bits.put(u64::from(*byte), 8));
        encoder.head.iter().for_each(|code| bits.put_code(*code));
        Self { bits, check: 0, length: 0 }
    }

    /// Counts in plain text that is told to the bits.
    pub(in crate::catalog) fn count(&mut self, plain: &[u8]) {
        let mut check = crc32fast::Hasher::new_with_initial(self.check);
        check.update(plain);
        self.check = check.finalize();
        self.length = self.length.wrapping_add(plain.len() as u32);
    }

    /// Counts in plain text of this checksum and length, at most [`LONGEST_PART`](super::LONGEST_PART).
    pub(in crate::catalog) fn count_known(&mut self, check: u32, length: usize) {
        self.check = super::check::joined(self.check, check, length);
        self.length = self.length.wrapping_add(length as u32);
    }

    /// Ends the member: how long it was, and its checksum.
    pub(in crate::catalog) fn finish(&mut self, encoder: &Encoder) {
        self.bits.reserve(1);
        self.bits.put_code(encoder.end);
        self.bits.align();
        self.bits.reserve(8);
        self.bits.put(self.check.into(), 32);
        self.bits.put(self.length.into(), 32);
    }
}
