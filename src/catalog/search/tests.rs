//! The index against looking into every text. Two letters, so that texts hold all runs of a value without the value.

use super::*;
use proptest::prelude::*;

/// Asks block by block, in blocks that grow.
fn found(index: &TextIndex, values: &[String], wanted: &[u64]) -> Vec<u32> {
    let mut search = index.search(values);
    let (mut all, mut start, mut size) = (Vec::new(), 0, 1);
    while start < wanted.len() {
        let end = wanted.len().min(start + size);
        let mut hits = vec![0; end - start];
        search.block(&(start..end), &wanted[start..end], &mut hits, usize::MAX);
        all.extend(members(&hits, start as u32 * 64));
        (start, size) = (end, BLOCK_WORDS.min(size * 2));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_index_finds_what_looking_into_every_text_finds(
        texts in proptest::collection::vec("[abB]{0,12}|[abé]{1,9}", 0..700),
        values in proptest::collection::vec(prop_oneof![4 => "[abAé]{4,8}", 1 => "[abcÉ]{1,3}"], 1..4),
        wanted in proptest::collection::vec(prop_oneof![Just(u64::MAX), any::<u64>()], 11),
        codes: bool,
    ) {
        let mut builder = TextIndexBuilder::default();
        texts.iter().for_each(|text| if codes { builder.push_code(text) } else { builder.push(text) });
        let index = builder.finish();
        let wanted = &wanted[..texts.len().div_ceil(64)];
        let plainly: Vec<u32> = (0..texts.len() as u32)
            .filter(|at| wanted[*at as usize / 64] >> (at % 64) & 1 == 1)
            .filter(|at| values.iter().any(|value| fold(&texts[*at as usize]).contains(&fold(value))))
            .collect();
        prop_assert_eq!(found(&index, &values, wanted), plainly);
        let most = texts.len() / 3;
        let first: Vec<u32> = (0..texts.len() as u32)
            .filter(|at| values.iter().any(|value| fold(&texts[*at as usize]).contains(&fold(value))))
            .take(most)
            .collect();
        prop_assert_eq!(index.first(&values, most), first);
    }
}

#[test]
fn all_runs_of_a_value_without_the_value_are_no_hit() {
    let mut builder = TextIndexBuilder::default();
    ["abcxbcd", "xabcdx", "abc bcd", "ABCD"].iter().for_each(|text| builder.push(text));
    assert_eq!(found(&builder.finish(), &["abcd".into()], &[u64::MAX]), [1, 3]);
}

#[test]
fn sorted_texts_are_found_exactly() {
    let mut texts = Texts::default();
    assert_eq!(texts.find_sorted("a"), None);
    ["A", "a", "aa", "é"].iter().for_each(|text| texts.push(text));
    assert_eq!(
        ["A", "a", "aa", "é", "", "b", "ée"].map(|text| texts.find_sorted(text)),
        [Some(0), Some(1), Some(2), Some(3), None, None, None]
    );
}
