//! Writes a gzip member: header, deflate bits, checksum (RFC 1952).

use super::huffman::Code;
use super::{Encoder, MAX_LENGTH, TokenSink, distance_symbol};

/// No name, no time, fastest compression, unknown system (RFC 1952, 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];
/// Maximum bytes of one code.
const MAX_CODE_BYTES: usize = 2;
/// [`BitWriter::write`] writes whole words, beyond the last full byte.
const SLACK: usize = 16;
/// Maximum bits of one call of [`BitWriter::write`].
const MAX_WRITE_BITS: u32 = 56;

/// Packs bits into bytes, lowest bit first.
#[derive(Debug, Default)]
pub(in crate::catalog) struct BitWriter {
    bytes: Vec<u8>,
    /// Number of complete bytes.
    written: usize,
    /// BitWriter of the incomplete byte.
    pending: u64,
    pending_bits: u32,
}

impl BitWriter {
    /// Reserves room for this many tokens, so that [`Self::write`] need not check the capacity.
    pub(in crate::catalog) fn reserve(&mut self, tokens: usize) {
        let needed = self.written + tokens * MAX_CODE_BYTES + SLACK;
        if self.bytes.len() < needed {
            self.bytes.resize(needed.next_power_of_two(), 0);
        }
    }

    /// Writes the lowest `count` bits, at most [`MAX_WRITE_BITS`]; the bits above must be zero.
    #[inline]
    pub(super) fn write(&mut self, bits: u64, count: u32) {
        self.pending |= bits << self.pending_bits;
        self.pending_bits += count;
        self.bytes[self.written..self.written + 8].copy_from_slice(&self.pending.to_le_bytes());
        let whole = self.pending_bits / 8;
        self.written += whole as usize;
        self.pending = if whole == 8 { 0 } else { self.pending >> (whole * 8) };
        self.pending_bits %= 8;
    }

    #[inline]
    fn write_code(&mut self, code: Code) {
        self.write(u64::from(code.bits), code.length.into());
    }

    /// Appends the first `count` bits of `from`; `from` must have at least eight more bytes.
    pub(in crate::catalog) fn append(&mut self, from: &[u8], count: u32) {
        let words = count as usize / 64;
        let (mut pending, shift) = (self.pending, self.pending_bits);
        let room = self.bytes[self.written..].chunks_exact_mut(8);
        for (word, target) in from.chunks_exact(8).take(words).zip(room) {
            let word = super::word(word);
            target.copy_from_slice(&(pending | word << shift).to_le_bytes());
            // The bits that do not fit. Two shifts, because a shift by 64 is undefined.
            pending = word >> 1 >> (63 - shift);
        }
        self.written += words * 8;
        self.pending = pending;
        let (last, rest) = (super::word(&from[words * 8..words * 8 + 8]), count % 64);
        let low = rest.min(MAX_WRITE_BITS);
        self.write(last & ((1 << low) - 1), low);
        if rest > low {
            self.write(last >> low & ((1 << (rest - low)) - 1), rest - low);
        }
    }

    /// Returns the number of bits held.
    pub(in crate::catalog) fn len(&self) -> usize {
        self.written * 8 + self.pending_bits as usize
    }

    /// Passes the complete bytes to `consume` and removes them.
    pub(in crate::catalog) fn drain(&mut self, consume: impl FnOnce(&[u8])) {
        consume(&self.bytes[..self.written]);
        self.written = 0;
    }

    /// Fills the last byte with zero bits.
    pub(in crate::catalog) fn align(&mut self) {
        self.reserve(0);
        self.write(0, (8 - self.pending_bits) % 8);
    }
}

/// Writes tokens with the codes of a catalogue version. The caller reserves the room.
pub(in crate::catalog) struct TokenWriter<'a> {
    pub(in crate::catalog) encoder: &'a Encoder,
    pub(in crate::catalog) bits: &'a mut BitWriter,
}

impl TokenSink for TokenWriter<'_> {
    fn literals(&mut self, text: &[u8]) {
        let code = |byte: u8| self.encoder.literals[usize::from(byte)];
        let mut fours = text.chunks_exact(4);
        for four in &mut fours {
            let (mut bits, mut length) = (0, 0);
            for byte in four {
                let code = code(*byte);
                bits |= u64::from(code.bits) << length;
                length += u32::from(code.length);
            }
            self.bits.write(bits, length);
        }
        fours.remainder().iter().for_each(|byte| self.bits.write_code(code(*byte)));
    }

    fn back_reference(&mut self, length: usize, distance: usize) {
        let (symbol, extra, extra_length) = distance_symbol(distance);
        let (length, distance) = (self.encoder.lengths[length.min(MAX_LENGTH)], self.encoder.distances[symbol]);
        let distance_bits = u64::from(distance.bits) | u64::from(extra) << distance.length;
        let bits = u64::from(length.bits) | distance_bits << length.length;
        self.bits.write(bits, (length.length + distance.length + extra_length).into());
    }
}

/// An unfinished gzip member.
#[derive(Debug)]
pub(in crate::catalog) struct GzipMember {
    pub(in crate::catalog) bits: BitWriter,
    /// CRC-32 and length of the plain text so far.
    crc: u32,
    length: u32,
}

impl GzipMember {
    pub(in crate::catalog) fn new(encoder: &Encoder) -> Self {
        let mut bits = BitWriter::default();
        bits.reserve(HEADER.len() + encoder.block_header.len());
        HEADER.iter().for_each(|byte| bits.write(u64::from(*byte), 8));
        encoder.block_header.iter().for_each(|code| bits.write_code(*code));
        Self { bits, crc: 0, length: 0 }
    }

    /// Adds plain text, whose tokens the caller writes, to checksum and length.
    pub(in crate::catalog) fn add_checksum(&mut self, plain: &[u8]) {
        let mut crc = crc32fast::Hasher::new_with_initial(self.crc);
        crc.update(plain);
        self.crc = crc.finalize();
        self.length = self.length.wrapping_add(plain.len() as u32);
    }

    /// Adds plain text with a known CRC-32 and length, at most [`MAX_CRC_PART`](super::MAX_CRC_PART).
    pub(in crate::catalog) fn add_known_checksum(&mut self, crc: u32, length: usize) {
        self.crc = super::crc::combine(self.crc, crc, length);
        self.length = self.length.wrapping_add(length as u32);
    }

    /// Writes the end of the block, the checksum and the length.
    pub(in crate::catalog) fn finish(&mut self, encoder: &Encoder) {
        self.bits.reserve(1);
        self.bits.write_code(encoder.end);
        self.bits.align();
        self.bits.reserve(8);
        self.bits.write(self.crc.into(), 32);
        self.bits.write(self.length.into(), 32);
    }
}
