//! The bodies of `/products` and `/categories`, written from a view (SPSI.md 1).
//!
//! A products answer knows its length before its first byte, so that `Content-Length` makes a transfer that was cut off
//! visible, and is written in pieces of some 56 KB, so that the whole catalogue never stands in memory a second time.

use super::position_set::members;
use super::query::ProductQuery;
use super::search::{BLOCK_WORDS, Blocks, Search};
use super::view::ClinicView;
use bytes::Bytes;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A piece is handed on when it is this long. With what is added for its last product it stays below 64 KB, beyond which the
/// allocator takes blocks from pages of their own.
pub(super) const PIECE: usize = 56 * 1024;
pub(super) const BEFORE: &[u8] = b"{\"products\":[";
pub(super) const AFTER: &[u8] = b"]}";
/// An answer of at most this many products is written at once, which spares working out its length beforehand.
const AT_ONCE: u64 = 128;
/// Room to begin with for a product of such an answer.
const USUAL_LENGTH: usize = 384;
/// Which products an answer holds.
#[derive(Debug)]
pub(super) enum Selection {
    /// Visible ones: so many passed over, so many taken.
    Visible { skip: u64, take: u64 },
    /// These positions.
    Found(Vec<u32>),
}

impl ClinicView {
    /// The answer to a query. The search is done when this returns; the body is written when it is asked for.
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

    /// The body of `/categories`: the distinct categories of what the clinic sees, in byte order.
    pub fn categories(&self) -> Bytes {
        let goods = &self.snapshot.goods;
        let mut seen = vec![false; goods.category_names.len()];
        for position in self.visible.iter_from(0) {
            seen[goods.categories[position as usize] as usize] = true;
        }
        let names = goods.category_names.iter().zip(seen).filter_map(|(name, seen)| seen.then_some(name.as_str()));
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        Bytes::from(serde_json::json!({ "categories": names }).to_string())
    }

    /// An entity tag's inside for an answer to this query, or for `/categories` if there is none: it changes whenever
    /// the body may have changed, and is the same in every process of a release.
    pub fn tag(&self, query: Option<&ProductQuery>) -> String {
        // A collision costs nothing but a tag that two queries share.
        let mut hasher = DefaultHasher::new();
        query.hash(&mut hasher);
        format!("{}{:016x}", self.tag, hasher.finish())
    }

    /// Positions that match, in order, after those that the page passes over.
    fn search(&self, query: &ProductQuery) -> Vec<u32> {
        let goods = &self.snapshot.goods;
        let mut searches: Vec<Search<'_>> = Vec::with_capacity(3);
        if !query.codes.is_empty() {
            searches.push(goods.code_index.search(&query.codes));
        }
        if !query.names.is_empty() {
            searches.push(goods.name_index.search(&query.names));
        }
        if !query.categories.is_empty() {
            let all = vec![u64::MAX; goods.category_index.len().div_ceil(64)];
            let mut matching = vec![0; all.len()];
            let mut search = goods.category_index.search(&query.categories);
            for (hits, start) in matching.chunks_mut(BLOCK_WORDS).zip((0..).step_by(BLOCK_WORDS)) {
                let words = start..start + hits.len();
                search.block(&words, &all[words.clone()], hits, usize::MAX);
            }
            searches.push(goods.category_products.search(members(&matching, 0)));
        }
        let (skip, take) = query.window();
        if take == 0 || searches.iter().any(Search::is_empty) {
            return Vec::new();
        }
        searches.sort_by_cached_key(Search::cost);
        self.walk(&mut searches, skip, take)
    }

    fn walk(&self, searches: &mut [Search<'_>], skip: u64, take: u64) -> Vec<u32> {
        let words = self.visible.words();
        let [mut skip, take] = [skip, take].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let (mut wanted, mut hits, mut found) = (Vec::new(), Vec::new(), Vec::new());
        let mut blocks = Blocks::of(words.len());
        while found.len() < take
            && let Some(block) = searches.first_mut().and_then(|search| blocks.next(search))
        {
            let room = take - found.len();
            wanted.clear();
            wanted.extend_from_slice(&words[block.clone()]);
            let mut left = searches.iter_mut();
            while let Some(search) = left.next() {
                hits.clear();
                hits.resize(block.len(), 0);
                // The last one says what is on the page.
                let most = if left.len() == 0 { room.saturating_add(skip) } else { usize::MAX };
                search.block(&block, &wanted, &mut hits, most);
                std::mem::swap(&mut wanted, &mut hits);
                if wanted.iter().all(|word| *word == 0) {
                    break;
                }
            }
            let mut matching = members(&wanted, block.start as u32 * 64);
            skip -= matching.by_ref().take(skip).count();
            found.extend(matching.take(room));
        }
        found
    }

    /// The positions of a selection from the `from`-th on.
    pub(super) fn selected<'a>(&'a self, selection: &'a Selection, from: u64) -> impl Iterator<Item = u32> + 'a {
        let (visible, found) = match selection {
            Selection::Visible { skip, take } => {
                let left = usize::try_from(take.saturating_sub(from)).unwrap_or(usize::MAX);
                (Some(self.visible.iter_from(skip.saturating_add(from)).take(left)), &[][..])
            }
            Selection::Found(found) => (None, found.get(from as usize..).unwrap_or(&[])),
        };
        visible.into_iter().flatten().chain(found.iter().copied())
    }

    fn length(&self, position: u32) -> usize {
        let at = position as usize;
        let contract = self.contract_price(position);
        self.snapshot.goods.prepared[at].length(&self.settings, contract, self.snapshot.stock[at])
    }

    fn body_length(&self, selection: &Selection, count: u64) -> u64 {
        let products: u64 = self.selected(selection, 0).map(|position| self.length(position) as u64).sum();
        (BEFORE.len() + AFTER.len()) as u64 + count.saturating_sub(1) + products
    }

    /// Appends products from the `next`-th on until the piece is `full`, with what belongs before and after them.
    fn write_piece(&self, piece: &mut Vec<u8>, selection: &Selection, next: &mut u64, count: u64, full: usize) {
        if *next == 0 {
            piece.extend_from_slice(BEFORE);
        }
        for position in self.selected(selection, *next) {
            if *next > 0 {
                piece.push(b',');
            }
            self.write(piece, position);
            *next += 1;
            if piece.len() >= full {
                break;
            }
        }
        if *next == count {
            piece.extend_from_slice(AFTER);
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, position: u32) {
        let at = position as usize;
        let (goods, stock) = (&self.snapshot.goods, self.snapshot.stock[at]);
        goods.prepared[at].write(out, &goods.arena, &self.settings, self.contract_price(position), stock);
    }
}

/// A complete answer to `/products`.
#[derive(Debug)]
pub struct ProductsAnswer {
    pub(super) view: Arc<ClinicView>,
    pub(super) count: u64,
    pub(super) selection: Selection,
}

impl ProductsAnswer {
    /// How many products are in it.
    pub fn product_count(&self) -> u64 {
        self.count
    }

    /// Whether the body is short enough to be made at once.
    pub fn is_short(&self) -> bool {
        self.count <= AT_ONCE
    }

    /// The whole body.
    pub fn written(&self) -> Bytes {
        let mut body = Vec::with_capacity(BEFORE.len() + AFTER.len() + USUAL_LENGTH * self.count as usize);
        self.view.write_piece(&mut body, &self.selection, &mut 0, self.count, usize::MAX);
        body.into()
    }

    /// The body in pieces, none of them empty; each is written when it is asked for.
    pub fn pieces(self) -> Pieces {
        let view = &self.view;
        let length = match self.selection {
            Selection::Visible { skip: 0, take } if take == u64::from(view.visible.count()) => {
                *view.whole_length.get_or_init(|| view.body_length(&self.selection, self.count))
            }
            _ => view.body_length(&self.selection, self.count),
        };
        Pieces { answer: self, length, next: 0, written: 0 }
    }
}

/// Writes an answer piece by piece.
#[derive(Debug)]
pub struct Pieces {
    answer: ProductsAnswer,
    length: u64,
    /// Products written.
    next: u64,
    /// Bytes written.
    written: u64,
}

impl Pieces {
    /// Exactly how many bytes the pieces have together: the `Content-Length`.
    pub fn content_length(&self) -> u64 {
        self.length
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let left = self.length.checked_sub(self.written).filter(|left| *left > 0)?;
        let ProductsAnswer { view, count, selection } = &self.answer;
        // Room for the product that makes the piece full.
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE + PIECE / 16);
        let mut piece = Vec::with_capacity(room);
        view.write_piece(&mut piece, selection, &mut self.next, *count, PIECE);
        self.written += piece.len() as u64;
        Some(piece.into())
    }
}

#[cfg(test)]
mod tests;
