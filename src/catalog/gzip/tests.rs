//! zlib decompresses the member to the input.

use super::*;
use flate2::read::GzDecoder;
use proptest::prelude::*;
use std::io::Read;

/// Compresses the texts, each as back-references into the one before.
fn compress(texts: &[Vec<u8>], encoder: &Encoder) -> Vec<u8> {
    let (mut member, mut text, mut reference) = (GzipMember::new(encoder), Vec::new(), 0..0);
    for own in texts {
        let product = text.len()..text.len() + own.len();
        text.extend_from_slice(own);
        member.bits.reserve(own.len());
        tokenize(&text, reference, product.clone(), &mut TokenWriter { encoder, bits: &mut member.bits });
        member.add_checksum(own);
        reference = product;
    }
    member.finish(encoder);
    let mut compressed = Vec::new();
    member.bits.drain(|bytes| compressed.extend_from_slice(bytes));
    compressed
}

fn decompress(compressed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(compressed).read_to_end(&mut plain).unwrap();
    plain
}

fn texts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let parts =
        vec![",\"", ",", "\"", "a", "b", "\",\"name\":\"", "tablets 50 mg", "10", "é", "0000000000000000000000"];
    let similar =
        proptest::collection::vec(proptest::sample::select(parts), 0..40).prop_map(|parts| parts.concat().into());
    let text = prop_oneof![
        6 => similar,
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        // Longer than the maximum length, and than the maximum distance.
        1 => (any::<u8>(), 200..1_200_usize).prop_map(|(byte, length)| vec![byte; length]),
        1 => (any::<u8>(), 30_000..40_000_usize).prop_map(|(byte, length)| vec![byte; length]),
    ];
    proptest::collection::vec(text, 0..12)
}

proptest! {
    #[test]
    fn any_texts_decompress_to_themselves(texts in texts(), sample in texts()) {
        let mut counts = SymbolCounts::default();
        for pair in sample.windows(2) {
            let text = pair.concat();
            tokenize(&text, 0..pair[0].len(), pair[0].len()..text.len(), &mut counts);
        }
        let encoder = Encoder::new(&counts);
        prop_assert_eq!(decompress(&compress(&texts, &encoder)), texts.concat());
    }

    #[test]
    fn the_first_comma_is_found(text in "[,\\-+\u{0}\u{ff},]{0,40}") {
        prop_assert_eq!(find_comma(text.as_bytes()), text.bytes().position(|byte| byte == b','));
    }

    #[test]
    fn bits_can_be_appended_at_any_bit_offset(before in 0..64_usize, bytes in proptest::collection::vec(any::<u8>(), 0..40), cut in 0..8_u32) {
        let count = (bytes.len() as u32 * 8).saturating_sub(cut);
        let from = [bytes.as_slice(), &[0; 8]].concat();
        let mut bits = BitWriter::default();
        bits.reserve(200);
        (0..before).for_each(|_| bits.write(1, 1));
        bits.append(&from, count);
        prop_assert_eq!(bits.len(), before + count as usize);
        bits.align();
        let mut written = Vec::new();
        bits.drain(|bytes| written.extend_from_slice(bytes));
        let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (at % 8) & 1;
        prop_assert!((0..before).all(|at| bit(&written, at) == 1));
        prop_assert!((0..count as usize).all(|at| bit(&written, before + at) == bit(&bytes, at)));
        prop_assert!((before + count as usize..written.len() * 8).all(|at| bit(&written, at) == 0));
    }
}

#[test]
fn every_length_and_distance_decompresses() {
    let encoder = Encoder::new(&SymbolCounts::default());
    for length in (3..=MAX_LENGTH).chain([259, 260, 261, 516, 600]) {
        let mut member = GzipMember::new(&encoder);
        member.bits.reserve(40_000);
        let mut writer = TokenWriter { encoder: &encoder, bits: &mut member.bits };
        let random = |n: usize| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8;
        let mut plain: Vec<u8> = (0..MAX_DISTANCE).map(random).collect();
        writer.literals(&plain);
        for distance in
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 24, 25, 256, 257, 4_096, 4_097, 24_576, 24_577, MAX_DISTANCE]
        {
            write_back_references(length, distance, &mut writer);
            for _ in 0..length {
                plain.push(plain[plain.len() - distance]);
            }
        }
        member.add_checksum(&plain);
        member.finish(&encoder);
        member.bits.drain(|bytes| assert_eq!(decompress(bytes), plain, "{length}"));
    }
}
