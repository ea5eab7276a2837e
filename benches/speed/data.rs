//! Test data: the committed seed, multiplied, and clinics. It is the same in every run and on every machine.

use anyhow::Context as _;
use std::collections::BTreeMap;
use std::path::Path;

pub const CLINICS: usize = 200;
/// The secret of every clinic, so that one argon2 hash serves all.
pub const SECRET: &str = "speed-bench-secret";
const PRICE_LISTS: usize = 10;
const PRICES_OF_A_LIST: u64 = 3_000;
const OWN_PRICES: std::ops::RangeInclusive<u64> = 300..=2_000;
const SYLLABLES: [&str; 24] = [
    "vet", "ca", "ro", "dox", "mel", "ix", "ana", "fel", "can", "tri", "zol", "pax", "lor", "emi", "bov", "syn", "ter",
    "ula", "nor", "qui", "sta", "hep", "oxi", "dyn",
];

/// Returns a pseudo-random number that depends on its arguments only: SplitMix64's finaliser over purpose and index.
pub fn number(purpose: u64, index: u64) -> u64 {
    let value = (purpose << 48 ^ index).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A row of `seed/products.csv` that has a price.
#[derive(Debug, serde::Deserialize)]
struct SeedProduct {
    code: String,
    name: String,
    r#type: String,
    category: String,
    units_per_outer: String,
    unit_of_measure: String,
    list_price: String,
    active: String,
    manufacturer: String,
}

/// A product of the multiplied catalogue, as a row of the import file.
#[derive(Debug, serde::Serialize)]
pub struct Product {
    pub code: String,
    pub name: String,
    r#type: String,
    pub category: String,
    units_per_outer: String,
    unit_of_measure: String,
    pub list_price: String,
    barcode: String,
    stock_available: u64,
    active: String,
    related_urls: String,
    manufacturer: String,
    tax_code: &'static str,
    tax_rate: u32,
    /// `None`: the file has no such column.
    #[serde(skip_serializing_if = "Option::is_none")]
    restricted: Option<bool>,
}

/// A clinic, as a row of its table.
#[derive(Debug)]
pub struct Clinic {
    pub client_id: String,
    /// Counted from 1. One clinic in eleven has none.
    pub price_list: Option<usize>,
    pub hidden_categories: Vec<String>,
    pub hidden_products: Vec<String>,
    pub restricted_licence: bool,
}

/// A catalogue of any size.
pub struct Catalogue {
    seed: Vec<SeedProduct>,
    pub products: usize,
    /// True if the import file has the column `restricted`.
    pub has_restrictions: bool,
    /// Number of products by category and restriction.
    counts: BTreeMap<(String, bool), usize>,
}

impl Catalogue {
    pub fn new(products: usize) -> anyhow::Result<Self> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("seed/products.csv");
        let mut reader = csv::Reader::from_path(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let seed: Result<Vec<SeedProduct>, _> = reader.deserialize().collect();
        let mut seed = seed?;
        seed.retain(|product| !product.list_price.is_empty());
        let mut catalogue = Self { seed, products, has_restrictions: true, counts: BTreeMap::new() };
        for index in 0..products {
            let key = (catalogue.seed_of(index).category.clone(), is_restricted(index));
            *catalogue.counts.entry(key).or_default() += 1;
        }
        Ok(catalogue)
    }

    fn seed_of(&self, index: usize) -> &SeedProduct {
        &self.seed[index % self.seed.len()]
    }

    /// Returns a product. The first are the seed's own; the others are copies of these under a brand and a code of their own.
    pub fn product(&self, index: usize) -> Product {
        let seed = self.seed_of(index);
        let at = index as u64;
        let (code, name) = if index < self.seed.len() {
            (seed.code.clone(), seed.name.clone())
        } else {
            // Factor and modulus are coprime, so all codes differ. They have nine digits, the seed's codes eight.
            let code = format!("{:09}-{:02}", at * 7_654_321 % 1_000_000_000, at % 5);
            (code, format!("{} {}", self.brand(index), seed.name))
        };
        let barcode = match number(1, at) % 10 {
            0 => String::new(),
            1 => format!("0{}", 10_000_000_000 + number(2, at) % 80_000_000_000),
            _ => format!("{}", 4_000_000_000_000 + number(2, at) % 5_000_000_000_000),
        };
        let related_urls = if number(3, at).is_multiple_of(4) {
            format!("https://example.com/products/{code}")
        } else {
            String::new()
        };
        Product {
            r#type: seed.r#type.clone(),
            category: seed.category.clone(),
            units_per_outer: seed.units_per_outer.clone(),
            unit_of_measure: seed.unit_of_measure.clone(),
            list_price: seed.list_price.clone(),
            barcode,
            stock_available: number(4, at) % 5_000,
            active: seed.active.clone(),
            related_urls,
            manufacturer: seed.manufacturer.clone(),
            tax_code: "GST",
            tax_rate: 10,
            restricted: self.has_restrictions.then(|| is_restricted(index)),
            code,
            name,
        }
    }

    /// Returns the brand of a product. About a dozen products share a brand.
    pub fn brand(&self, index: usize) -> String {
        let brands = (self.products / 12).max(100) as u64;
        let brand = number(5, index as u64) % brands;
        (0..4).map(|syllable| SYLLABLES[(number(6, brand * 4 + syllable) % SYLLABLES.len() as u64) as usize]).collect()
    }

    pub fn clinic(&self, index: usize) -> Clinic {
        let at = index as u64;
        let categories: Vec<&String> = self.counts.keys().map(|(category, _)| category).collect();
        let pick_category = |purpose: u64| categories[(number(purpose, at) % categories.len() as u64) as usize].clone();
        Clinic {
            client_id: format!("speed-clinic-{index:04}"),
            price_list: Some(index % (PRICE_LISTS + 1)).filter(|list| *list > 0),
            hidden_categories: if index.is_multiple_of(3) {
                vec![pick_category(7), pick_category(8)]
            } else {
                Vec::new()
            },
            hidden_products: (0..index % 4).map(|n| self.product(self.pick(9, at * 4 + n as u64)).code).collect(),
            restricted_licence: index.is_multiple_of(2),
        }
    }

    /// Returns the index of a pseudo-random product.
    fn pick(&self, purpose: u64, index: u64) -> usize {
        (number(purpose, index) % self.products as u64) as usize
    }

    /// Returns how many products the clinic sees, without subtracting the few that are hidden by code.
    pub fn about_visible(&self, clinic: &Clinic) -> usize {
        let visible = self.counts.iter().filter(|((category, restricted), _)| {
            !clinic.hidden_categories.contains(category) && (clinic.restricted_licence || !restricted)
        });
        visible.map(|(_, count)| count).sum()
    }

    /// Returns categories that hold about half of the catalogue, different ones for each clinic.
    pub fn half_of_the_categories(&self, clinic: usize) -> Vec<String> {
        let mut totals: BTreeMap<&String, usize> = BTreeMap::new();
        self.counts.iter().for_each(|((category, _), count)| *totals.entry(category).or_default() += count);
        let mut order: Vec<(u64, &String, usize)> = totals
            .into_iter()
            .enumerate()
            .map(|(index, (name, count))| (number(10, (clinic * 1_000 + index) as u64), name, count))
            .collect();
        order.sort_unstable();
        let (mut sum, half) = (0, self.products / 2);
        order.retain(|(_, _, count)| {
            // At most a twentieth above the half.
            let fits = sum + count <= half + half / 20;
            sum += if fits { *count } else { 0 };
            fits
        });
        order.into_iter().map(|(_, name, _)| name.clone()).collect()
    }

    pub fn write_products(&self, file: &Path) -> anyhow::Result<()> {
        let mut writer = csv::Writer::from_path(file)?;
        (0..self.products).try_for_each(|index| writer.serialize(self.product(index)))?;
        Ok(writer.flush()?)
    }

    /// Writes the prices of price lists and clinics: 70 to 95 percent of the list price.
    pub fn write_prices(&self, file: &Path) -> anyhow::Result<()> {
        let mut writer = csv::Writer::from_path(file)?;
        writer.write_record(["clinic", "price_list", "code", "contract_price"])?;
        let lists = (1..=PRICE_LISTS).map(|list| (String::new(), list_name(list), PRICES_OF_A_LIST));
        let clinics = (0..CLINICS).map(|index| {
            let count = OWN_PRICES.start() + number(11, index as u64) % (OWN_PRICES.end() - OWN_PRICES.start());
            (self.clinic(index).client_id, String::new(), count)
        });
        for (owner, (clinic, list, count)) in lists.chain(clinics).enumerate() {
            let products = (0..count).map(|n| self.pick(12, (owner as u64) << 20 | n));
            for index in products.collect::<std::collections::BTreeSet<_>>() {
                let product = self.product(index);
                let price: f64 = product.list_price.parse()?;
                let percent = 70 + number(13, (owner as u64) << 24 ^ index as u64) % 26;
                let price = format!("{:.2}", price * percent as f64 / 100.0);
                writer.write_record([&clinic, &list, &product.code, &price])?;
            }
        }
        Ok(writer.flush()?)
    }
}

fn is_restricted(index: usize) -> bool {
    number(14, index as u64).is_multiple_of(100)
}

/// Returns the name of a price list.
pub fn list_name(list: usize) -> String {
    format!("speed list {list}")
}

/// Returns the names of all price lists.
pub fn price_lists() -> impl Iterator<Item = String> {
    (1..=PRICE_LISTS).map(list_name)
}
