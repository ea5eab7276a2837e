//! What is packed is what zlib unpacks.

use super::*;
use flate2::read::GzDecoder;
use proptest::prelude::*;
use std::io::Read;

/// Texts one after the other, each told as repeats of the one before.
fn packed(texts: &[Vec<u8>], encoder: &Encoder) -> Vec<u8> {
    let (mut output, mut text, mut before) = (Output::new(encoder), Vec::new(), 0..0);
    for own in texts {
        let product = text.len()..text.len() + own.len();
        text.extend_from_slice(own);
        output.bits.reserve(own.len());
        tell(&text, before, product.clone(), &mut Writer { encoder, bits: &mut output.bits });
        output.count(own);
        before = product;
    }
    output.finish(encoder);
    let mut packed = Vec::new();
    output.bits.take(|bytes| packed.extend_from_slice(bytes));
    packed
}

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut plain).unwrap();
    plain
}

fn texts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let parts =
        vec![",\"", ",", "\"", "a", "b", "\",\"name\":\"", "tablets 50 mg", "10", "é", "0000000000000000000000"];
    let alike =
        proptest::collection::vec(proptest::sample::select(parts), 0..40).prop_map(|parts| parts.concat().into());
    let text = prop_oneof![
        6 => alike,
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        // Longer than the longest repeat, and than the farthest.
        1 => (any::<u8>(), 200..1_200_usize).prop_map(|(byte, length)| vec![byte; length]),
        1 => (any::<u8>(), 30_000..40_000_usize).prop_map(|(byte, length)| vec![byte; length]),
    ];
    proptest::collection::vec(text, 0..12)
}

proptest! {
    #[test]
    fn whatever_is_packed_comes_out_again(texts in texts(), sample in texts()) {
        let mut counts = Counts::default();
        for pair in sample.windows(2) {
            let text = pair.concat();
            tell(&text, 0..pair[0].len(), pair[0].len()..text.len(), &mut counts);
        }
        let encoder = Encoder::new(&counts);
        prop_assert_eq!(unpacked(&packed(&texts, &encoder)), texts.concat());
    }

    #[test]
    fn a_comma_is_found_where_it_is(text in "[,\\-+\u{0}\u{ff},]{0,40}") {
        prop_assert_eq!(comma(text.as_bytes()), text.bytes().position(|byte| byte == b','));
    }

    #[test]
    fn bits_may_be_appended_at_any_bit(before in 0..64_usize, bytes in proptest::collection::vec(any::<u8>(), 0..40), cut in 0..8_u32) {
        let count = (bytes.len() as u32 * 8).saturating_sub(cut);
        let from = [bytes.as_slice(), &[0; 8]].concat();
        let mut bits = Bits::default();
        bits.reserve(200);
        (0..before).for_each(|_| bits.put(1, 1));
        bits.append(&from, count);
        prop_assert_eq!(bits.len(), before + count as usize);
        bits.align();
        let mut written = Vec::new();
        bits.take(|taken| written.extend_from_slice(taken));
        let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (at % 8) & 1;
        prop_assert!((0..before).all(|at| bit(&written, at) == 1));
        prop_assert!((0..count as usize).all(|at| bit(&written, before + at) == bit(&bytes, at)));
        prop_assert!((before + count as usize..written.len() * 8).all(|at| bit(&written, at) == 0));
    }
}

#[test]
fn every_length_and_distance_is_told_as_the_standard_has_it() {
    let encoder = Encoder::new(&Counts::default());
    for length in (3..=LONGEST).chain([259, 260, 261, 516, 600]) {
        let mut output = Output::new(&encoder);
        output.bits.reserve(40_000);
        let mut writer = Writer { encoder: &encoder, bits: &mut output.bits };
        let random = |n: usize| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8;
        let mut plain: Vec<u8> = (0..FARTHEST).map(random).collect();
        writer.letters(&plain);
        for distance in [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 24, 25, 256, 257, 4_096, 4_097, 24_576, 24_577, FARTHEST] {
            repeats(length, distance, &mut writer);
            for _ in 0..length {
                plain.push(plain[plain.len() - distance]);
            }
        }
        output.count(&plain);
        output.finish(&encoder);
        output.bits.take(|bytes| assert_eq!(unpacked(bytes), plain, "{length}"));
    }
}
