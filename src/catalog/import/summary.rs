//! The summary of an import or a dry run: as text for people, with stable JSON keys for programs, and stored in
//! `catalog_import`.

use crate::events::{CatalogImported, ContractPricesImported, SCHEMA_VERSION};
use crate::values::{self, plain};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// Maximum number of price changes that a summary lists.
pub const NAMED_MOVEMENTS: i64 = 10;

/// How far an import has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum ImportState {
    /// `spsi catalog import --dry-run`; not stored.
    #[default]
    DryRun,
    /// Uploaded and compared with the catalogue, not applied.
    Checked,
    Applied,
    RolledBack,
    /// Uploaded and never applied; its files are deleted.
    Expired,
}

impl fmt::Display for ImportState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The changes of an import. Each product is counted once: as new, relisted, withdrawn, changed or unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportSummary {
    /// The import's id; null for a dry run.
    pub id: Option<i64>,
    pub state: ImportState,
    pub file: Option<String>,
    pub prices_file: Option<String>,
    /// Rows of the products file.
    pub rows: u64,
    pub new: u64,
    pub changed: u64,
    pub unchanged: u64,
    /// Products that the file marks as inactive or lacks. They are listed with `active` 0 from now on.
    pub withdrawn: u64,
    /// Withdrawn products that are active again.
    pub relisted: u64,
    /// Active products that have lost their price and are off sale. They are counted as changed too.
    pub lost_price: u64,
    pub list_prices: Movements,
    pub contract_prices: Option<ContractSummary>,
    /// True only before the import is applied: it would fail without the permission to withdraw so many products.
    pub needs_allow_withdrawals: bool,
    pub notes: Vec<String>,
}

/// Changes of list prices, from one price to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Movements {
    pub raised: u64,
    pub lowered: u64,
    /// The largest first, by percentage.
    pub largest: Vec<Movement>,
}

/// One changed list price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Movement {
    pub code: String,
    #[serde(with = "values::text")]
    #[schema(value_type = String)]
    pub old: Decimal,
    #[serde(with = "values::text")]
    #[schema(value_type = String)]
    pub new: Decimal,
    /// Rounded to one decimal place; null if the old price was 0.
    pub percent: Option<String>,
}

/// The changes of a prices file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContractSummary {
    pub rows: u64,
    pub new: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub removed: u64,
    /// Names of the price lists that the import created.
    pub new_price_lists: Vec<String>,
}

impl ImportSummary {
    /// Returns the event of the import `id`.
    pub(super) fn event(&self, id: i64) -> CatalogImported {
        let files: Vec<_> = self.file.iter().chain(&self.prices_file).map(String::as_str).collect();
        let file = files.join(" + ");
        let contract_prices = self.contract_prices.as_ref().map(|prices| ContractPricesImported {
            rows: prices.rows,
            new: prices.new,
            changed: prices.changed,
            unchanged: prices.unchanged,
            removed: prices.removed,
        });
        CatalogImported {
            version: SCHEMA_VERSION,
            id,
            file,
            rows: self.rows,
            new: self.new,
            changed: self.changed,
            unchanged: self.unchanged,
            withdrawn: self.withdrawn,
            relisted: self.relisted,
            contract_prices,
        }
    }

    /// Returns true if clinics see any difference.
    pub fn changes_anything(&self) -> bool {
        let contract = self.contract_prices.as_ref().is_some_and(|c| c.new + c.changed + c.removed > 0);
        self.new + self.changed + self.withdrawn + self.relisted > 0 || contract
    }

    /// Notes that the import would fail with this error, for want of the permission to withdraw.
    pub(super) fn warn_of(&mut self, error: &impl fmt::Display) {
        self.needs_allow_withdrawals = true;
        self.notes.push(error.to_string());
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
        let is_dry_run = self.id.is_none();
        write!(
            f,
            "{}",
            if is_dry_run { "Dry run, nothing was applied. The import would change:" } else { "Imported:" }
        )?;
        if let Some(file) = &self.file {
            write!(f, "\n{file}: {} rows", self.rows)?;
            let counts = [
                ("new", self.new),
                ("changed", self.changed),
                ("unchanged", self.unchanged),
                ("withdrawn", self.withdrawn),
                ("listed again", self.relisted),
            ];
            for (label, count) in counts {
                write!(f, "\n  {label:<13}{count:>9}")?;
            }
            if self.lost_price > 0 {
                write!(f, "\n  {:<13}{:>9}  (off sale)", "lost price", self.lost_price)?;
            }
            let Movements { raised, lowered, largest } = &self.list_prices;
            write!(f, "\n  list prices: {raised} raised, {lowered} lowered")?;
            for movement in largest {
                write!(f, "\n    {movement}")?;
            }
        }
        if let Some((file, prices)) = self.prices_file.as_ref().zip(self.contract_prices.as_ref()) {
            write!(f, "\n{file}: {} rows", prices.rows)?;
            let ContractSummary { new, changed, unchanged, removed, .. } = prices;
            write!(f, "\n  contract prices: {new} new, {changed} changed, {unchanged} unchanged, {removed} removed")?;
            if !prices.new_price_lists.is_empty() {
                write!(f, "\n  new price lists: {}", prices.new_price_lists.join(", "))?;
            }
        }
        for note in &self.notes {
            write!(f, "\nnote: {note}")?;
        }
        if self.needs_allow_withdrawals {
            write!(f, "\nnote: the import would fail here; to apply it, use `--allow-withdrawals`")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_change_is_shown_in_percent() {
        let movement = |old, new| Movement::new("A".into(), Decimal::new(old, 2), Decimal::new(new, 2)).to_string();
        assert_eq!(movement(250, 300), "A  2.5 -> 3  (+20 %)");
        assert_eq!(movement(300, 200), "A  3 -> 2  (-33.3 %)");
        assert_eq!(movement(0, 200), "A  0 -> 2");
    }

    #[test]
    fn keys_and_exact_decimals_are_stable() {
        let movement = Movement::new("A".into(), Decimal::new(250, 2), Decimal::new(300, 2));
        let list_prices = Movements { raised: 1, lowered: 0, largest: vec![movement] };
        let summary = ImportSummary { state: ImportState::Applied, id: Some(3), list_prices, ..Default::default() };
        assert_eq!(
            serde_json::to_string(&summary).unwrap(),
            "{\"id\":3,\"state\":\"applied\",\"file\":null,\"prices_file\":null,\"rows\":0,\"new\":0,\"changed\":0,\
             \"unchanged\":0,\"withdrawn\":0,\"relisted\":0,\"lost_price\":0,\"list_prices\":{\"raised\":1,\"lowered\":0,\
             \"largest\":[{\"code\":\"A\",\"old\":\"2.5\",\"new\":\"3\",\"percent\":\"+20\"}]},\
             \"contract_prices\":null,\"needs_allow_withdrawals\":false,\"notes\":[]}"
        );
    }
}
