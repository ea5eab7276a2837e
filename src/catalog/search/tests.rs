//! Compares the index with a scan of every text. The alphabet has two letters, so texts often contain all grams of a value
//! but not the value.

use super::*;
use proptest::prelude::*;

/// Searches block by block, in growing blocks.
fn find_all(index: &TextIndex, values: &[String], candidates: &[u64]) -> Vec<u32> {
    let mut search = index.search(values);
    let (mut all, mut start, mut size) = (Vec::new(), 0, 1);
    while start < candidates.len() {
        let end = candidates.len().min(start + size);
        let mut hits = vec![0; end - start];
        search.find_in_block(&(start..end), &candidates[start..end], &mut hits, usize::MAX);
        all.extend(members(&hits, start as u32 * 64));
        (start, size) = (end, BLOCK_WORDS.min(size * 2));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_index_finds_what_a_scan_of_every_text_finds(
        texts in proptest::collection::vec("[abB]{0,12}|[abé]{1,9}", 0..700),
        values in proptest::collection::vec(prop_oneof![4 => "[abAé]{4,8}", 1 => "[abcÉ]{1,3}"], 1..4),
        candidates in proptest::collection::vec(prop_oneof![Just(u64::MAX), any::<u64>()], 11),
        is_code: bool,
    ) {
        let mut builder = if is_code { TextIndexBuilder::for_codes() } else { TextIndexBuilder::default() };
        texts.iter().for_each(|text| builder.push(text));
        let index = builder.finish();
        let candidates = &candidates[..texts.len().div_ceil(64)];
        let contains = |position: &u32| values.iter().any(|value| fold(&texts[*position as usize]).contains(&fold(value)));
        let matching: Vec<u32> = (0..texts.len() as u32).filter(contains).collect();
        let is_candidate = |position: &u32| candidates[*position as usize / 64] >> (position % 64) & 1 == 1;
        let expected: Vec<u32> = matching.iter().copied().filter(is_candidate).collect();
        prop_assert_eq!(find_all(&index, &values, candidates), expected);
        let limit = texts.len() / 3;
        prop_assert_eq!(index.first(&values, limit), &matching[..limit.min(matching.len())]);
    }
}

#[test]
fn a_search_passes_over_segments_and_reads_dense_and_sparse_parts() {
    // "early" is dense in the first segment only, "late" begins in the second, "both" is sparse in both.
    let word = |position: usize| match (position / 65_536, position % 7) {
        (0, 0) => "early",
        (1, 3) => "late",
        (_, 5) if position.is_multiple_of(6_007) => "both",
        _ => "none",
    };
    let texts: Vec<String> = (0..140_000).map(|position| format!("{} {}", word(position), position % 1_000)).collect();
    let mut builder = TextIndexBuilder::default();
    texts.iter().for_each(|text| builder.push(text));
    let index = builder.finish();
    for value in ["early", "late", "both", "late 77", "both 1", "arly 5", "e 999", "zzz", "9"] {
        let expected: Vec<u32> = (0..).zip(&texts).filter(|(_, text)| text.contains(value)).map(|(at, _)| at).collect();
        assert_eq!(index.first(&[value.to_owned()], usize::MAX), expected, "{value}");
    }
}
