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

    /// Appends the first `count` bits of `from`, behind which at least seven more bytes must lie.
    pub(in crate::catalog) fn append(&mut self, from: &[u8], mut count: u32) {
        let mut from = from.windows(8).step_by(MOST_BITS as usize / 8);
        while count > 0 {
            let Some(Ok(word)) = from.next().map(<[u8; 8]>::try_from) else { break };
            let now = count.min(MOST_BITS);
            self.put(u64::from_le_bytes(word) & ((1 << now) - 1), now);
            count -= now;
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
    check: crc32fast::Hasher,
    length: u32,
}

impl Output {
    pub(in crate::catalog) fn new(encoder: &Encoder) -> Self {
        let mut bits = Bits::default();
        bits.reserve(BEFORE.len() + encoder.head.len());
        BEFORE.iter().for_each(|byte| bits.put(u64::from(*byte), 8));
        encoder.head.iter().for_each(|code| bits.put_code(*code));
        Self { bits, check: crc32fast::Hasher::new(), length: 0 }
    }

    /// Counts in plain text that is told to the bits.
    pub(in crate::catalog) fn count(&mut self, plain: &[u8]) {
        self.check.update(plain);
        self.length = self.length.wrapping_add(plain.len() as u32);
    }

    /// Ends the member: how long it was, and its checksum.
    pub(in crate::catalog) fn finish(&mut self, encoder: &Encoder) {
        self.bits.reserve(1);
        self.bits.put_code(encoder.end);
        self.bits.align();
        self.bits.reserve(8);
        self.bits.put(self.check.clone().finalize().into(), 32);
        self.bits.put(self.length.into(), 32);
    }
}
