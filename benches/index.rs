//! Compares the search index with two alternatives: a scan of every text (memchr's `memmem`), and trigrams in bitmaps of the
//! `roaring` crate, with a check of each candidate. `cargo bench --bench index` takes half a minute.
//!
//! All three find the first 20 texts, in order, that contain the value. The results are compared before the measurement.

use memchr::memmem::Finder;
use roaring::RoaringBitmap;
use spsi_partner::catalog::fold::fold;
use spsi_partner::catalog::search::{TextIndex, TextIndexBuilder};
use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

const LIMIT: usize = 20;
const ROUNDS: usize = 9;
/// Single letters, short grams, words, several words, words that never occur together, and a value without hits.
const TERMS: [&str; 12] = [
    "a",
    "mg",
    "ivermectin",
    "tablet",
    "rabbit",
    "penicillin g",
    "solution 500",
    "17-4-93",
    "sulfa bolus",
    "injection premix",
    "zzzqqq",
    "OXYTO-SURE 30 mL 9",
];

/// Names of real products with numbers appended, in a scrambled order.
fn names(count: usize) -> Vec<String> {
    let mut reader = csv::Reader::from_path(concat!(env!("CARGO_MANIFEST_DIR"), "/seed/products.csv")).expect("seed");
    let column = reader.headers().expect("a header row").iter().position(|name| name == "name").expect("names");
    let seed: Vec<String> = reader.records().map(|row| row.expect("a row")[column].to_owned()).collect();
    (0..count).map(|n| format!("{} {}", seed[n * 7_919 % seed.len()], n * 104_729 % 9_973)).collect()
}

trait Search {
    fn first(&self, value: &str) -> Vec<u32>;
}

impl Search for TextIndex {
    fn first(&self, value: &str) -> Vec<u32> {
        TextIndex::first(self, &[value.to_owned()], LIMIT)
    }
}

struct Scan(Vec<String>);

impl Search for Scan {
    fn first(&self, value: &str) -> Vec<u32> {
        let value = fold(value);
        let finder = Finder::new(value.as_bytes());
        let texts = (0..).zip(&self.0).filter(|(_, text)| finder.find(text.as_bytes()).is_some());
        texts.map(|(position, _)| position).take(LIMIT).collect()
    }
}

struct Bitmaps {
    texts: Vec<String>,
    grams: HashMap<[u8; 3], RoaringBitmap>,
}

impl Bitmaps {
    fn new(texts: Vec<String>) -> Self {
        let mut grams: HashMap<[u8; 3], RoaringBitmap> = HashMap::new();
        for (position, text) in (0..).zip(&texts) {
            for gram in text.as_bytes().windows(3) {
                grams.entry([gram[0], gram[1], gram[2]]).or_default().insert(position);
            }
        }
        Self { texts, grams }
    }

    fn memory(&self) -> usize {
        let texts: usize = self.texts.iter().map(|text| text.capacity() + size_of::<String>()).sum();
        texts + self.grams.values().map(|bitmap| bitmap.serialized_size() + 32).sum::<usize>()
    }
}

impl Search for Bitmaps {
    fn first(&self, value: &str) -> Vec<u32> {
        let value = fold(value);
        let finder = Finder::new(value.as_bytes());
        let contains = |position: &u32| finder.find(self.texts[*position as usize].as_bytes()).is_some();
        if value.len() < 3 {
            return (0..self.texts.len() as u32).filter(contains).take(LIMIT).collect();
        }
        let grams: Option<Vec<&RoaringBitmap>> =
            value.as_bytes().windows(3).map(|gram| self.grams.get(&[gram[0], gram[1], gram[2]])).collect();
        let Some(mut grams) = grams else { return Vec::new() };
        grams.sort_unstable_by_key(|bitmap| bitmap.len());
        let mut found = grams[0].clone();
        grams[1..].iter().for_each(|bitmap| found &= *bitmap);
        found.iter().filter(contains).take(LIMIT).collect()
    }
}

/// Returns the median time of one search.
fn time(search: &dyn Search, value: &str) -> Duration {
    let began = Instant::now();
    black_box(search.first(value));
    let repeats = (Duration::from_millis(4).as_nanos() / began.elapsed().as_nanos().max(1)).clamp(1, 2_000) as u32;
    let mut rounds = [(); ROUNDS].map(|()| {
        let began = Instant::now();
        (0..repeats).for_each(|_| drop(black_box(search.first(black_box(value)))));
        began.elapsed() / repeats
    });
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

fn main() {
    for count in [100_000, 1_000_000] {
        let names = names(count);
        let folded: Vec<String> = names.iter().map(|name| fold(name)).collect();
        let began = Instant::now();
        let mut index = TextIndexBuilder::default();
        names.iter().for_each(|name| index.push(name));
        let index = index.finish();
        let (index_time, began) = (began.elapsed(), Instant::now());
        let bitmaps = Bitmaps::new(folded.clone());
        let roaring_time = began.elapsed();
        let every = Scan(folded);
        let mb = |bytes: usize| bytes as f64 / 1e6;
        println!(
            "\n{count} names: index {index_time:.1?}, {:.1} MB; roaring {roaring_time:.1?}, {:.1} MB",
            mb(index.memory()),
            mb(bitmaps.memory())
        );
        println!("{:<20} {:>5} {:>11} {:>18} {:>18}", "first 20 of", "hits", "index", "scan", "roaring");
        let [mut times_every, mut times_roaring] = [const { Vec::new() }; 2];
        for value in TERMS {
            let found = index.first(&[value.to_owned()], LIMIT);
            assert_eq!(found, every.first(value), "{value}");
            assert_eq!(found, bitmaps.first(value), "{value}");
            let [own, every, roaring] = [&index as &dyn Search, &every, &bitmaps].map(|search| time(search, value));
            let ratio = |other: Duration| other.as_secs_f64() / own.as_secs_f64();
            times_every.push(ratio(every));
            times_roaring.push(ratio(roaring));
            println!(
                "{value:<20} {:>5} {own:>11.1?} {every:>11.1?} {:>5.1}x {roaring:>11.1?} {:>5.1}x",
                found.len(),
                ratio(every),
                ratio(roaring)
            );
        }
        for (name, mut ratios) in [("scan", times_every), ("roaring", times_roaring)] {
            ratios.sort_by(f64::total_cmp);
            println!(
                "{name}: median {:.1} times the index's time, from {:.1} to {:.1}",
                ratios[ratios.len() / 2],
                ratios[0],
                ratios[ratios.len() - 1]
            );
        }
    }
}
