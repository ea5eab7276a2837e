//! Unicode case folding for search: two texts that differ only in case fold to the same bytes.
//!
//! Each character is lower-cased, upper-cased and lower-cased again, which is Unicode's full case folding from the
//! tables of std (`ß` is `ss`, every sigma is `σ`, `ﬁ` is `fi`); it also joins the dotless `ı` to `i`. The result is in
//! composed form (NFC), because a supplier's file and a clinic's browser may encode `é` differently. Accents stay:
//! `desinfectant` does not find `désinfectant`.

use unicode_normalization::UnicodeNormalization;

/// Folds a text. Folding is idempotent, and a text that is not empty never folds to an empty text.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.nfd().flat_map(char::to_lowercase).flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
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
        fn folding_is_idempotent(text: String) {
            let folded = fold(&text);
            prop_assert_eq!(fold(&folded), folded);
        }
    }
}
