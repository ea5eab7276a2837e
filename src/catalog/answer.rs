//! Answers to `/products` and `/categories` (SPSI.md 1), written from a clinic's view.
//!
//! The length of a products body is known before its first byte, so `Content-Length` exposes a truncated transfer. The
//! body is written in chunks of about 56 KB, so the whole catalogue is never in memory a second time.

use super::clinic_view::ClinicView;
use super::position_set::members;
use super::query::ProductQuery;
use super::search::{BLOCK_WORDS, Blocks, Search};
use bytes::Bytes;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A chunk ends with the product that reaches this length. With that product it stays below 64 KB; for larger blocks the
/// allocator maps separate pages.
pub(super) const CHUNK_BYTES: usize = 56 * 1024;
pub(super) const PREFIX: &[u8] = b"{\"products\":[";
pub(super) const SUFFIX: &[u8] = b"]}";
/// An answer of at most this many products is written in one go, without computing its length first.
const MAX_SHORT: u64 = 128;
/// Initial capacity for each product of a short answer, in bytes.
const USUAL_LENGTH: usize = 384;

/// The products of an answer.
#[derive(Debug)]
pub(super) enum Selection {
    /// `take` visible products after the first `skip`.
    Visible { skip: u64, take: u64 },
    /// The products at these positions.
    Found(Vec<u32>),
}

impl ClinicView {
    /// Searches, and returns the answer. The body is written when the caller requests it.
    pub fn products(self: &Arc<Self>, query: &ProductQuery) -> ProductsAnswer {
        let (skip, take) = query.window();
        let (selection, count) = if query.is_unfiltered() {
            let take = take.min(u64::from(self.visible.count()).saturating_sub(skip));
            (Selection::Visible { skip, take }, take)
        } else {
            let found = self.search(query);
            let count = found.len() as u64;
            (Selection::Found(found), count)
        };
        ProductsAnswer { view: Arc::clone(self), count, selection }
    }

    /// Returns the body of `/categories`: the distinct categories of the visible products, in byte order.
    pub fn categories(&self) -> Bytes {
        let products = &self.snapshot.products.rows;
        let mut is_visible = vec![false; products.category_names.len()];
        for position in self.visible.iter_from(0) {
            is_visible[products.categories[position as usize] as usize] = true;
        }
        let names = products.category_names.iter().zip(is_visible);
        let mut names: Vec<&str> = names.filter_map(|(name, is_visible)| is_visible.then_some(name.as_str())).collect();
        names.sort_unstable();
        Bytes::from(serde_json::json!({ "categories": names }).to_string())
    }

    /// Returns the opaque part of an entity tag, for the answer to this query, or for `/categories` without a query. It
    /// changes whenever the body may have changed, and is the same in every process of a release.
    pub fn tag(&self, query: Option<&ProductQuery>) -> String {
        // A collision is harmless: two queries share a tag.
        let mut hasher = DefaultHasher::new();
        query.hash(&mut hasher);
        format!("{}{:016x}", self.tag, hasher.finish())
    }

    /// Returns the matching positions of the requested page, in order.
    fn search(&self, query: &ProductQuery) -> Vec<u32> {
        let products = &self.snapshot.products;
        let mut searches: Vec<Search<'_>> = Vec::with_capacity(3);
        if !query.codes.is_empty() {
            searches.push(products.code_index.search(&query.codes));
        }
        if !query.names.is_empty() {
            searches.push(products.name_index.search(&query.names));
        }
        if !query.categories.is_empty() {
            let all = vec![u64::MAX; products.category_index.len().div_ceil(64)];
            let mut matching = vec![0; all.len()];
            let mut search = products.category_index.search(&query.categories);
            for (hits, start) in matching.chunks_mut(BLOCK_WORDS).zip((0..).step_by(BLOCK_WORDS)) {
                let words = start..start + hits.len();
                search.find_in_block(&words, &all[words.clone()], hits, usize::MAX);
            }
            searches.push(products.category_products.search(members(&matching, 0)));
        }
        let (skip, take) = query.window();
        if take == 0 || searches.iter().any(Search::is_empty) {
            return Vec::new();
        }
        searches.sort_by_cached_key(Search::cost);
        self.intersect(&mut searches, skip, take)
    }

    /// Returns the visible positions that are hits of every search, in order: `take` of them after the first `skip`.
    fn intersect(&self, searches: &mut [Search<'_>], skip: u64, take: u64) -> Vec<u32> {
        let words = self.visible.words();
        let [mut skip, take] = [skip, take].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let (mut candidates, mut hits, mut found) = (Vec::new(), Vec::new(), Vec::new());
        let mut blocks = Blocks::new(words.len());
        while found.len() < take
            && let Some(block) = searches.first_mut().and_then(|search| blocks.next(search))
        {
            let room = take - found.len();
            candidates.clear();
            candidates.extend_from_slice(&words[block.clone()]);
            let mut searches = searches.iter_mut();
            while let Some(search) = searches.next() {
                hits.clear();
                hits.resize(block.len(), 0);
                // Only hits of the last search are hits of all, so only there a limit is valid.
                let limit = if searches.len() == 0 { room.saturating_add(skip) } else { usize::MAX };
                search.find_in_block(&block, &candidates, &mut hits, limit);
                std::mem::swap(&mut candidates, &mut hits);
                if candidates.iter().all(|word| *word == 0) {
                    break;
                }
            }
            let mut matching = members(&candidates, block.start as u32 * 64);
            skip -= matching.by_ref().take(skip).count();
            found.extend(matching.take(room));
        }
        found
    }

    /// Returns the positions of a selection without its first `skip`.
    pub(super) fn selected<'a>(&'a self, selection: &'a Selection, skip: u64) -> impl Iterator<Item = u32> + 'a {
        let (visible, found) = match selection {
            Selection::Visible { skip: before, take } => {
                let rest = usize::try_from(take.saturating_sub(skip)).unwrap_or(usize::MAX);
                (Some(self.visible.iter_from(before.saturating_add(skip)).take(rest)), &[][..])
            }
            Selection::Found(found) => (None, found.get(skip as usize..).unwrap_or(&[])),
        };
        visible.into_iter().flatten().chain(found.iter().copied())
    }

    /// Returns the length of the body in bytes.
    fn body_length(&self, selection: &Selection, count: u64) -> u64 {
        let length = |position: u32| {
            let index = position as usize;
            let contract = self.contract_price(position);
            self.snapshot.products.rows.templates[index].length(&self.settings, contract, self.snapshot.stock[index])
                as u64
        };
        let products: u64 = self.selected(selection, 0).map(length).sum();
        (PREFIX.len() + SUFFIX.len()) as u64 + count.saturating_sub(1) + products
    }

    /// Appends products from the `next`-th on until the chunk has `max_bytes`, with the text before and after them.
    fn write_chunk(&self, chunk: &mut Vec<u8>, selection: &Selection, next: &mut u64, count: u64, max_bytes: usize) {
        if *next == 0 {
            chunk.extend_from_slice(PREFIX);
        }
        for position in self.selected(selection, *next) {
            if *next > 0 {
                chunk.push(b',');
            }
            self.write(chunk, position);
            *next += 1;
            if chunk.len() >= max_bytes {
                break;
            }
        }
        if *next == count {
            chunk.extend_from_slice(SUFFIX);
        }
    }

    /// Appends the JSON of a product.
    pub(super) fn write(&self, out: &mut Vec<u8>, position: u32) {
        let (products, index) = (&self.snapshot.products.rows, position as usize);
        let (contract, stock) = (self.contract_price(position), self.snapshot.stock[index]);
        products.templates[index].write(out, &products.json, &self.settings, contract, stock);
    }
}

/// A complete answer to `/products`.
#[derive(Debug)]
pub struct ProductsAnswer {
    pub(super) view: Arc<ClinicView>,
    /// Number of products.
    pub(super) count: u64,
    pub(super) selection: Selection,
}

impl ProductsAnswer {
    /// Returns true if the body is short enough to be written in one go.
    pub fn is_short(&self) -> bool {
        self.count <= MAX_SHORT
    }

    /// Writes the whole body.
    pub fn body(&self) -> Bytes {
        let mut body = Vec::with_capacity(PREFIX.len() + SUFFIX.len() + USUAL_LENGTH * self.count as usize);
        self.view.write_chunk(&mut body, &self.selection, &mut 0, self.count, usize::MAX);
        body.into()
    }

    /// Returns the length of the body in bytes, and the body in chunks that are never empty; each chunk is written when it is
    /// requested.
    pub fn chunks(self) -> (u64, impl Iterator<Item = Bytes>) {
        let Self { view, count, selection } = self;
        let length = match selection {
            Selection::Visible { skip: 0, take } if take == u64::from(view.visible.count()) => {
                *view.whole_length.get_or_init(|| view.body_length(&selection, count))
            }
            _ => view.body_length(&selection, count),
        };
        let (mut written, mut next) = (0, 0);
        let chunks = std::iter::from_fn(move || {
            let rest = length.checked_sub(written).filter(|rest| *rest > 0)?;
            // With room for the product that reaches the chunk's length.
            let capacity = usize::try_from(rest).unwrap_or(usize::MAX).min(CHUNK_BYTES + CHUNK_BYTES / 16);
            let mut chunk = Vec::with_capacity(capacity);
            view.write_chunk(&mut chunk, &selection, &mut next, count, CHUNK_BYTES);
            written += chunk.len() as u64;
            Some(chunk.into())
        });
        (length, chunks)
    }
}

#[cfg(test)]
mod tests;
