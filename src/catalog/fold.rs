//! Unicode case folding for search: two texts that differ only in case fold to the same bytes.
//!
//! Each character is lower-cased, upper-cased and lower-cased again, which is Unicode's full case folding from the
//! tables of std (`ß` is `ss`, every sigma is `σ`, `ﬁ` is `fi`); it also joins the dotless `ı` to `i`. The result is in
//! composed form (NFC), because a supplier's file and a clinic's browser may encode `é` differently. Accents stay:
//! `desinfectant` does not find `désinfectant`.

use unicode_normalization::UnicodeNormalization;

/// Folds a text. Folding is idempotent, and a text that is not empty never folds to an empty text.
pub fn fold(text: &str) -> String {
    let (mut folded, mut rest) = (String::with_capacity(text.len()), text);
    // Most characters are ASCII. Such a character composes with accents after it, never with a character before it.
    while let Some(first) = rest.find(|c: char| !c.is_ascii()) {
        let end = rest[first..].find(|c: char| c.is_ascii()).map_or(rest.len(), |length| first + length);
        let (ascii, other) = rest[..end].split_at(first.saturating_sub(1));
        push_ascii(&mut folded, ascii);
        folded.extend(fold_unicode(other));
        rest = &rest[end..];
    }
    push_ascii(&mut folded, rest);
    folded
}

fn push_ascii(folded: &mut String, text: &str) {
    let start = folded.len();
    folded.push_str(text);
    folded[start..].make_ascii_lowercase();
}

fn fold_unicode(text: &str) -> impl Iterator<Item = char> + '_ {
    text.nfd().flat_map(char::to_lowercase).flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn case_is_folded_beyond_ascii() {
        for (one, other) in [
            ("DÉSINFECTANT", "désinfectant"),
            ("Straße", "STRASSE"),
            ("STRAẞE", "strasse"),
            ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
            ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
            ("\u{fb01}lm", "FILM"),
            ("µg", "Μg"),
            ("ČERVENÝ", "červený"),
            ("ИНЪЕКЦИЯ", "инъекция"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
    }

    #[test]
    fn composed_and_decomposed_accents_fold_alike() {
        assert_eq!(fold("e\u{301}"), fold("É"));
        assert_ne!(fold("e"), fold("é"));
        assert!(!fold("dés").contains(&fold("de")));
    }

    #[test]
    fn every_character_folds_like_its_upper_and_lower_case() {
        // No character beyond these has case.
        for c in '\0'..='\u{1ffff}' {
            let folded = fold(&c.to_string());
            assert!(!folded.is_empty());
            assert_eq!(fold(&folded), folded, "{c:?}");
            assert_eq!(fold(&c.to_lowercase().to_string()), folded, "{c:?}");
            if c != 'İ' {
                assert_eq!(fold(&c.to_uppercase().to_string()), folded, "{c:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_text_folds_piece_by_piece_as_it_does_whole_and_only_once(
            text in prop_oneof![any::<String>(), "[aE é\u{301}\u{327}İıßﬁǰŉ가\u{11a8}]{0,12}"],
        ) {
            let folded = fold(&text);
            prop_assert_eq!(&folded, &fold_unicode(&text).collect::<String>());
            prop_assert_eq!(fold(&folded), folded);
        }
    }
}
