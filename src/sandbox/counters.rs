//! Consecutive numbers for the site's records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The last number given to each kind of record.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Returns the next number for `kind`; the first one is `base + 1`.
    pub fn next(&mut self, kind: &str, base: u64) -> u64 {
        let last = self.0.entry(kind.to_owned()).or_insert(base);
        *last += 1;
        *last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_go_on_after_they_were_saved_and_loaded() {
        let mut counters = Counters::default();
        assert_eq!((counters.next("order", 11), counters.next("order", 11)), (12, 13));
        let saved = serde_json::to_string(&counters).unwrap_or_default();
        let mut loaded: Counters = serde_json::from_str(&saved).unwrap_or_default();
        assert_eq!(loaded.next("order", 11), 14);
    }
}
