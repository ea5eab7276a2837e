//! What an import did, or would do: for people as a text, for programs with stable keys, and kept in `catalog_import`.

use crate::values::{self, plain};
use rust_decimal::Decimal;
use serde::Serialize;
use std::fmt;

/// The most price movements that a summary names.
pub const NAMED_MOVEMENTS: i64 = 10;

/// What an import changed. A product counts once: as new, relisted, withdrawn, changed or unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportSummary {
    /// The import's own number; none for a dry run.
    pub id: Option<i64>,
    /// `applied`, or `dry_run`.
    pub state: &'static str,
    pub file: Option<String>,
    pub prices_file: Option<String>,
    /// Rows of the products file.
    pub rows: u64,
    pub new: u64,
    pub changed: u64,
    pub unchanged: u64,
    /// Listed with `active` 0 from now on: the file says so, or lacks them.
    pub withdrawn: u64,
    /// Withdrawn before, active again.
    pub relisted: u64,
    /// Active before, and not for sale any more because the price is gone. They are counted as changed, too.
    pub lost_price: u64,
    pub list_prices: Movements,
    pub contract_prices: Option<ContractSummary>,
    /// True only in a dry run: the import would stop and ask for `--allow-withdrawals`.
    pub needs_allow_withdrawals: bool,
    pub notes: Vec<String>,
}

/// List prices of products that had one before and have another now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Movements {
    pub raised: u64,
    pub lowered: u64,
    /// The largest first, by percentage.
    pub largest: Vec<Movement>,
}

/// One list price that moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Movement {
    pub code: String,
    #[serde(serialize_with = "values::text::serialize")]
    pub old: Decimal,
    #[serde(serialize_with = "values::text::serialize")]
    pub new: Decimal,
    /// To one decimal place; none where the old price was 0.
    pub percent: Option<String>,
}

/// What a prices file changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ContractSummary {
    pub rows: u64,
    pub new: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub removed: u64,
    /// Price lists that did not exist and were made.
    pub new_price_lists: Vec<String>,
}

impl ImportSummary {
    /// Whether anything that clinics can see differs from before.
    pub fn changes_anything(&self) -> bool {
        let contract = self.contract_prices.as_ref().is_some_and(|c| c.new + c.changed + c.removed > 0);
        self.new + self.changed + self.withdrawn + self.relisted > 0 || contract
    }
}

impl Movement {
    pub(super) fn new(code: String, old: Decimal, new: Decimal) -> Self {
        let change = (new - old) * Decimal::ONE_HUNDRED;
        let percent = change.checked_div(old).map(|percent| {
            let sign = if percent > Decimal::ZERO { "+" } else { "" };
            format!("{sign}{}", plain(values::round(percent, 1)))
        });
        Self { code, old, new, percent }
    }
}

impl fmt::Display for Movement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {} -> {}", self.code, plain(self.old), plain(self.new))?;
        self.percent.as_ref().map_or(Ok(()), |percent| write!(f, "  ({percent} %)"))
    }
}

impl fmt::Display for ImportSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text)?;
        f.write_str(text.trim_end())
    }
}

impl ImportSummary {
    fn write(&self, f: &mut impl fmt::Write) -> fmt::Result {
        let dry = self.id.is_none();
        writeln!(f, "{}", if dry { "Dry run, nothing was applied. The import would make:" } else { "Imported:" })?;
        if let Some(file) = &self.file {
            writeln!(f, "{file}: {} rows", self.rows)?;
            let counts = [
                ("new", self.new),
                ("changed", self.changed),
                ("unchanged", self.unchanged),
                ("withdrawn", self.withdrawn),
                ("listed again", self.relisted),
            ];
            for (words, count) in counts {
                writeln!(f, "  {words:<13}{count:>9}")?;
            }
            if self.lost_price > 0 {
                writeln!(f, "  {:<13}{:>9}  (not for sale any more)", "lost price", self.lost_price)?;
            }
            let Movements { raised, lowered, largest } = &self.list_prices;
            writeln!(f, "  list prices: {raised} raised, {lowered} lowered")?;
            for movement in largest {
                writeln!(f, "    {movement}")?;
            }
        }
        if let Some((file, prices)) = self.prices_file.as_ref().zip(self.contract_prices.as_ref()) {
            writeln!(f, "{file}: {} rows", prices.rows)?;
            let ContractSummary { new, changed, unchanged, removed, .. } = prices;
            writeln!(f, "  contract prices: {new} new, {changed} changed, {unchanged} unchanged, {removed} removed")?;
            if !prices.new_price_lists.is_empty() {
                writeln!(f, "  new price lists: {}", prices.new_price_lists.join(", "))?;
            }
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        if self.needs_allow_withdrawals {
            writeln!(f, "note: the import itself would stop here and ask for --allow-withdrawals")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_movement_is_told_in_percent() {
        let movement = |old, new| Movement::new("A".into(), Decimal::new(old, 2), Decimal::new(new, 2)).to_string();
        assert_eq!(movement(250, 300), "A  2.5 -> 3  (+20 %)");
        assert_eq!(movement(300, 200), "A  3 -> 2  (-33.3 %)");
        assert_eq!(movement(0, 200), "A  0 -> 2");
    }

    #[test]
    fn keys_and_exact_decimals_are_stable() {
        let movement = Movement::new("A".into(), Decimal::new(250, 2), Decimal::new(300, 2));
        let list_prices = Movements { raised: 1, lowered: 0, largest: vec![movement] };
        let summary = ImportSummary { state: "applied", id: Some(3), list_prices, ..Default::default() };
        assert_eq!(
            serde_json::to_string(&summary).unwrap(),
            "{\"id\":3,\"state\":\"applied\",\"file\":null,\"prices_file\":null,\"rows\":0,\"new\":0,\"changed\":0,\
             \"unchanged\":0,\"withdrawn\":0,\"relisted\":0,\"lost_price\":0,\"list_prices\":{\"raised\":1,\"lowered\":0,\
             \"largest\":[{\"code\":\"A\",\"old\":\"2.5\",\"new\":\"3\",\"percent\":\"+20\"}]},\
             \"contract_prices\":null,\"needs_allow_withdrawals\":false,\"notes\":[]}"
        );
    }
}
