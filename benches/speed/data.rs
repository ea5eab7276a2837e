//! The data: the committed seed, multiplied, and clinics to go with it. The same in every run and on every machine.

use anyhow::Context as _;
use std::collections::BTreeMap;
use std::path::Path;

pub const CLINICS: usize = 200;
/// Every clinic's secret; its argon2 hash is made once.
pub const SECRET: &str = "speed-bench-secret";
const PRICE_LISTS: usize = 10;
const PRICES_OF_A_LIST: u64 = 3_000;
const OWN_PRICES: std::ops::RangeInclusive<u64> = 300..=2_000;
const SYLLABLES: [&str; 24] = [
    "vet", "ca", "ro", "dox", "mel", "ix", "ana", "fel", "can", "tri", "zol", "pax", "lor", "emi", "bov", "syn", "ter",
    "ula", "nor", "qui", "sta", "hep", "oxi", "dyn",
];

/// Numbers by their place: SplitMix64's finaliser over purpose and place.
pub fn number(purpose: u64, place: u64) -> u64 {
    let value = (purpose << 48 ^ place).wrapping_add(0x9e37_79b9_7f4a_7c15);
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

/// One product of the multiplied catalogue, as the import file has it.
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
    /// None: the file has no such column.
    #[serde(skip_serializing_if = "Option::is_none")]
    restricted: Option<bool>,
}

/// One clinic, as the table has it.
#[derive(Debug)]
pub struct Clinic {
    pub client_id: String,
    /// From 1; none for one clinic in eleven.
    pub price_list: Option<usize>,
    pub hidden_categories: Vec<String>,
    pub hidden_products: Vec<String>,
    pub restricted_licence: bool,
}

/// A catalogue of so many products.
pub struct Catalogue {
    seed: Vec<SeedProduct>,
    pub products: usize,
    /// Whether the file says which products are restricted.
    pub has_restrictions: bool,
    /// Products by category and whether they are restricted.
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
        for place in 0..products {
            let key = (catalogue.seed_of(place).category.clone(), is_restricted(place));
            *catalogue.counts.entry(key).or_default() += 1;
        }
        Ok(catalogue)
    }

    fn seed_of(&self, place: usize) -> &SeedProduct {
        &self.seed[place % self.seed.len()]
    }

    /// The seed's products come first, as they are; then others made of them under a brand and a number of their own.
    pub fn product(&self, place: usize) -> Product {
        let seed = self.seed_of(place);
        let at = place as u64;
        let (code, name) = if place < self.seed.len() {
            (seed.code.clone(), seed.name.clone())
        } else {
            // The factor shares nothing with the modulus, so no two places have one number; the seed's have eight digits.
            let code = format!("{:09}-{:02}", at * 7_654_321 % 1_000_000_000, at % 5);
            (code, format!("{} {}", self.brand(place), seed.name))
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
            restricted: self.has_restrictions.then(|| is_restricted(place)),
            code,
            name,
        }
    }

    /// About a dozen products share a brand.
    pub fn brand(&self, place: usize) -> String {
        let brands = (self.products / 12).max(100) as u64;
        let brand = number(5, place as u64) % brands;
        (0..4).map(|at| SYLLABLES[(number(6, brand * 4 + at) % SYLLABLES.len() as u64) as usize]).collect()
    }

    pub fn clinic(&self, place: usize) -> Clinic {
        let at = place as u64;
        let categories: Vec<&String> = self.counts.keys().map(|(category, _)| category).collect();
        let pick = |purpose: u64| categories[(number(purpose, at) % categories.len() as u64) as usize].clone();
        Clinic {
            client_id: format!("speed-clinic-{place:04}"),
            price_list: Some(place % (PRICE_LISTS + 1)).filter(|list| *list > 0),
            hidden_categories: if place.is_multiple_of(3) { vec![pick(7), pick(8)] } else { Vec::new() },
            hidden_products: (0..place % 4).map(|n| self.product(self.some_place(9, at * 4 + n as u64)).code).collect(),
            restricted_licence: place.is_multiple_of(2),
        }
    }

    fn some_place(&self, purpose: u64, place: u64) -> usize {
        (number(purpose, place) % self.products as u64) as usize
    }

    /// How many products the clinic sees, but for the few that are hidden one by one.
    pub fn about_visible(&self, clinic: &Clinic) -> usize {
        let seen = self.counts.iter().filter(|((category, restricted), _)| {
            !clinic.hidden_categories.contains(category) && (clinic.restricted_licence || !restricted)
        });
        seen.map(|(_, count)| count).sum()
    }

    /// Categories in an order of this clinic's own, up to the one that makes about half of the catalogue.
    pub fn half_of_the_categories(&self, clinic: usize) -> Vec<String> {
        let mut totals: BTreeMap<&String, usize> = BTreeMap::new();
        self.counts.iter().for_each(|((category, _), count)| *totals.entry(category).or_default() += count);
        let mut order: Vec<(u64, &String, usize)> = totals
            .into_iter()
            .enumerate()
            .map(|(at, (name, count))| (number(10, (clinic * 1_000 + at) as u64), name, count))
            .collect();
        order.sort_unstable();
        let (mut sum, half) = (0, self.products / 2);
        order.retain(|(_, _, count)| {
            // The nearest that does not pass the half by more than a twentieth.
            let fits = sum + count <= half + half / 20;
            sum += if fits { *count } else { 0 };
            fits
        });
        order.into_iter().map(|(_, name, _)| name.clone()).collect()
    }

    pub fn write_products(&self, file: &Path) -> anyhow::Result<()> {
        let mut writer = csv::Writer::from_path(file)?;
        (0..self.products).try_for_each(|place| writer.serialize(self.product(place)))?;
        Ok(writer.flush()?)
    }

    /// What price lists and clinics pay: 70 to 95 percent of the list price.
    pub fn write_prices(&self, file: &Path) -> anyhow::Result<()> {
        let mut writer = csv::Writer::from_path(file)?;
        writer.write_record(["clinic", "price_list", "code", "contract_price"])?;
        let lists = (1..=PRICE_LISTS).map(|list| (String::new(), list_name(list), PRICES_OF_A_LIST));
        let clinics = (0..CLINICS).map(|place| {
            let count = OWN_PRICES.start() + number(11, place as u64) % (OWN_PRICES.end() - OWN_PRICES.start());
            (self.clinic(place).client_id, String::new(), count)
        });
        for (who, (clinic, list, count)) in lists.chain(clinics).enumerate() {
            let places = (0..count).map(|n| self.some_place(12, (who as u64) << 20 | n));
            for place in places.collect::<std::collections::BTreeSet<_>>() {
                let product = self.product(place);
                let price: f64 = product.list_price.parse()?;
                let percent = 70 + number(13, (who as u64) << 24 ^ place as u64) % 26;
                let price = format!("{:.2}", price * percent as f64 / 100.0);
                writer.write_record([&clinic, &list, &product.code, &price])?;
            }
        }
        Ok(writer.flush()?)
    }
}

fn is_restricted(place: usize) -> bool {
    number(14, place as u64).is_multiple_of(100)
}

pub fn list_name(list: usize) -> String {
    format!("speed list {list}")
}

pub fn price_lists() -> impl Iterator<Item = String> {
    (1..=PRICE_LISTS).map(list_name)
}
