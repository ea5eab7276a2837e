//! Answers to `/products` as gzip, piece by piece.

use super::answer::{AFTER, BEFORE, PIECE, ProductsAnswer};
use super::gzip::{Bits, Counts, Encoder, Output, Sink, Writer, tell};
use super::product::{BodySettings, ContractPrice, Prepared};
use crate::config::{BarcodeType, Basis, MissingContractPrice, WithdrawnFor};
use bytes::Bytes;

/// Products whose text is looked at to find good codes.
const SAMPLE: usize = 4_096;
/// Bytes that [`Bits::append`] may read behind what it appends.
const BEHIND: usize = 7;
/// Packed bytes that make a piece: they come of about four times as many plain ones.
const PACKED_PIECE: usize = 32 * 1024;

/// Most clinics have their products written so. For others answers are packed as well as these, only more slowly.
const USUAL: BodySettings = BodySettings {
    price_basis: Basis::Unit,
    missing_contract_price: MissingContractPrice::ListPrice,
    barcode: BarcodeType::Auto,
    withdrawn_for: WithdrawnFor::Forever,
};

/// What is worked out once per version of the catalogue.
#[derive(Debug)]
pub(super) struct Packing {
    encoder: Encoder,
    /// Every product up to and with `"list_price":`, told as repeats of the one before it in the catalogue.
    heads: Vec<u8>,
    /// By position.
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    start: u32,
    bits: u16,
    /// How long the product before it must be, for the repeats to reach where they should. Zero: never.
    step: u16,
}

/// Products one after the other, as in an answer.
#[derive(Debug)]
struct Row {
    text: Vec<u8>,
    /// The last of them, with the byte before it: a comma, but for the answer's first.
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    start: usize,
    position: u32,
    /// Length up to and with `"list_price":`, the byte before it included.
    head: usize,
    first: bool,
}

impl Row {
    fn new() -> Self {
        Self { text: BEFORE.to_vec(), last: None }
    }

    /// Appends a product, and tells where the one before it begins.
    fn push(&mut self, position: u32, prepared: &Prepared, write: impl FnOnce(&mut Vec<u8>)) -> (Option<Last>, Last) {
        if self.last.is_some() {
            self.text.push(b',');
        }
        let (start, first) = (self.text.len() - 1, self.last.is_none());
        write(&mut self.text);
        let this = Last { start, position, head: 1 + prepared.head_length(), first };
        (self.last.replace(this), this)
    }

    /// Forgets all but the last product.
    fn cut(&mut self) {
        let Some(last) = &mut self.last else { return };
        self.text.copy_within(last.start.., 0);
        self.text.truncate(self.text.len() - last.start);
        last.start = 0;
    }
}

impl Packing {
    /// Works out the codes, and the packed heads of all products: microseconds a product.
    pub(super) fn new(arena: &[u8], prepared: &[Prepared], stock: &[i64]) -> Self {
        let push = |row: &mut Row, position: usize| {
            let product = &prepared[position];
            row.push(position as u32, product, |out| {
                product.write(out, arena, &USUAL, ContractPrice::None, stock[position]);
            })
        };
        let mut sample = Counts::default();
        for position in (1..prepared.len()).step_by(prepared.len().div_ceil(SAMPLE).max(1)) {
            let mut row = Row::new();
            push(&mut row, position - 1);
            if let (Some(before), this) = push(&mut row, position) {
                tell(&row.text, before.start..this.start, this.start..row.text.len(), &mut sample);
            }
        }
        let encoder = Encoder::new(&sample);
        let (mut heads, mut entries) = (Vec::new(), vec![Entry::default(); prepared.len()]);
        let (mut row, mut bits) = (Row::new(), Bits::default());
        for (position, entry) in entries.iter_mut().enumerate() {
            row.cut();
            let (Some(before), this) = push(&mut row, position) else { continue };
            bits.reserve(this.head);
            let (from, head) = (before.start..before.start + before.head, this.start..this.start + this.head);
            tell(&row.text, from, head, &mut Writer { encoder: &encoder, bits: &mut bits });
            let sizes = (heads.len().try_into(), bits.len().try_into(), (this.start - before.start).try_into());
            if let (Ok(start), Ok(bits), Ok(step), false) = (sizes.0, sizes.1, sizes.2, before.first) {
                *entry = Entry { start, bits, step };
            }
            bits.align();
            bits.take(|bytes| heads.extend_from_slice(bytes));
        }
        heads.extend_from_slice(&[0; BEHIND]);
        heads.shrink_to_fit();
        Self { encoder, heads, entries }
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> usize {
        self.heads.capacity() + self.entries.len() * size_of::<Entry>()
    }

    /// Tells the row's last product.
    fn tell(&self, row: &Row, before: Option<Last>, this: Last, bits: &mut Bits) {
        let end = row.text.len();
        bits.reserve(end - this.start);
        let Some(before) = before else {
            return Writer { encoder: &self.encoder, bits }.letters(&row.text[this.start + 1..]);
        };
        let entry = self.entries[this.position as usize];
        let known = before.position + 1 == this.position && !before.first;
        let (from, at) = if known && usize::from(entry.step) == this.start - before.start {
            bits.append(&self.heads[entry.start as usize..], entry.bits.into());
            (before.start + before.head, this.start + this.head)
        } else {
            (before.start, this.start)
        };
        tell(&row.text, from..this.start, at..end, &mut Writer { encoder: &self.encoder, bits });
    }
}

/// Packs an answer piece by piece, each when it is asked for.
#[derive(Debug)]
pub struct PackedPieces {
    answer: ProductsAnswer,
    row: Row,
    output: Output,
    /// Products told.
    next: u64,
    done: bool,
}

impl ProductsAnswer {
    /// The body as gzip, in pieces, none of them empty. How long they are together is not known beforehand.
    pub fn packed(self) -> PackedPieces {
        let mut output = Output::new(&self.view.snapshot.goods.packing.encoder);
        output.bits.reserve(BEFORE.len());
        Writer { encoder: &self.view.snapshot.goods.packing.encoder, bits: &mut output.bits }.letters(BEFORE);
        output.count(BEFORE);
        PackedPieces { answer: self, row: Row::new(), output, next: 0, done: false }
    }
}

impl PackedPieces {
    /// Packs about [`PIECE`] plain bytes.
    fn advance(&mut self) {
        let view = &self.answer.view;
        let goods = &view.snapshot.goods;
        self.row.cut();
        let kept = self.row.text.len();
        for position in view.selected(&self.answer.selection, self.next) {
            let prepared = &goods.prepared[position as usize];
            let (before, this) = self.row.push(position, prepared, |out| view.write(out, position));
            goods.packing.tell(&self.row, before, this, &mut self.output.bits);
            self.next += 1;
            if self.row.text.len() >= PIECE {
                break;
            }
        }
        self.output.count(&self.row.text[kept..]);
        if self.next == self.answer.count {
            self.output.bits.reserve(AFTER.len());
            Writer { encoder: &goods.packing.encoder, bits: &mut self.output.bits }.letters(AFTER);
            self.output.count(AFTER);
            self.output.finish(&goods.packing.encoder);
            self.done = true;
        }
    }
}

impl Iterator for PackedPieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while !self.done && self.output.bits.len() < PACKED_PIECE * 8 {
            self.advance();
        }
        let mut piece = Bytes::new();
        self.output.bits.take(|bytes| piece = Bytes::copy_from_slice(bytes));
        (!piece.is_empty()).then_some(piece)
    }
}

#[cfg(test)]
mod tests;
