//! Answers to `/products` as gzip, piece by piece.

use super::answer::{AFTER, BEFORE, PIECE, ProductsAnswer};
use super::gzip::{Bits, Counts, Encoder, LONGEST_PART, Output, Sink, Writer, tell};
use super::product::{BodySettings, ContractPrice, Prepared};
use super::view::ClinicView;
use crate::config::{BarcodeType, Basis, MissingContractPrice, WithdrawnFor};
use bytes::Bytes;

/// Products whose text is looked at to find good codes.
const SAMPLE: usize = 4_096;
/// Bytes that [`Bits::append`] may read behind what it appends.
const BEHIND: usize = 8;
/// Packed bytes that make a piece: they come of about four times as many plain ones.
const PACKED_PIECE: usize = 32 * 1024;
/// A product is prepared to follow each of so many products before it in the catalogue, for where a clinic does not see
/// the nearest.
const NEAR: usize = 2;

/// What stands before the first product.
const BRACKET: u8 = BEFORE[BEFORE.len() - 1];

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
    /// Products, told as repeats of those before them in the catalogue.
    bits: Vec<u8>,
    /// By position.
    usual: Vec<Usual>,
    /// By distance and position: how a product follows the one that stands so far before it, and one more.
    entries: [Vec<Entry>; NEAR],
}

/// A product as it is usually written: with [`USUAL`] settings, without a contract price, with the stock of then. A comma
/// stands before it.
#[derive(Clone, Copy, Debug, Default)]
struct Usual {
    stock: i64,
    check: u32,
    /// Zero: too long.
    length: u16,
}

/// What follows holds for a product before it that is as long as usual.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    start: u32,
    /// Of the product as usually written, after one as usually written. Zero: not prepared.
    bits: u16,
    /// Of them, those up to and with `"list_price":`, which are the same however both are written.
    head: u16,
}

/// Products one after the other, as in an answer.
#[derive(Debug, Default)]
struct Row {
    text: Vec<u8>,
    /// From here on, it has not gone into the checksum.
    uncounted: usize,
}

/// The product that was told last.
#[derive(Clone, Copy, Debug)]
struct Last {
    position: u32,
    /// With the byte before it.
    length: usize,
    /// No comma stands before it.
    first: bool,
    usual: bool,
    /// The row's text ends with it.
    written: bool,
}

impl Packing {
    /// Works out the codes, and the packed texts of all products: microseconds a product.
    pub(super) fn new(arena: &[u8], prepared: &[Prepared], stock: &[i64]) -> Self {
        let push = |text: &mut Vec<u8>, position: usize| {
            let start = text.len();
            text.push(b',');
            prepared[position].write(text, arena, &USUAL, ContractPrice::None, stock[position]);
            start
        };
        let mut text = Vec::new();
        let mut sample = Counts::default();
        for position in (1..prepared.len()).step_by(prepared.len().div_ceil(SAMPLE).max(1)) {
            text.clear();
            push(&mut text, position - 1);
            let start = push(&mut text, position);
            tell(&text, 0..start, start..text.len(), &mut sample);
        }
        let encoder = Encoder::new(&sample);
        let mut usual = Vec::with_capacity(prepared.len());
        let mut entries = [(); NEAR].map(|()| vec![Entry::default(); prepared.len()]);
        let (mut packed, mut bits) = (Vec::new(), Bits::default());
        for position in 0..prepared.len() {
            text.clear();
            push(&mut text, position);
            let check = crc32fast::hash(&text);
            let length = u16::try_from(text.len()).ok().filter(|length| usize::from(*length) <= LONGEST_PART);
            usual.push(Usual { stock: stock[position], check, length: length.unwrap_or_default() });
            for (entries, before) in entries.iter_mut().zip((0..position).rev()) {
                text.clear();
                push(&mut text, before);
                let start = push(&mut text, position);
                let (from, at) = (head(&prepared[before], 0), head(&prepared[position], start));
                bits.reserve(text.len() - start);
                let mut writer = Writer { encoder: &encoder, bits: &mut bits };
                tell(&text, 0..from, start..at, &mut writer);
                let head = writer.bits.len();
                tell(&text, from..start, at..text.len(), &mut writer);
                let sizes = (packed.len().try_into(), bits.len().try_into(), head.try_into());
                if let (Ok(start), Ok(bits), Ok(head)) = sizes {
                    entries[position] = Entry { start, bits, head };
                }
                bits.align();
                bits.take(|bytes| packed.extend_from_slice(bytes));
            }
        }
        packed.extend_from_slice(&[0; BEHIND]);
        packed.shrink_to_fit();
        Self { encoder, bits: packed, usual, entries }
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> usize {
        self.bits.capacity() + self.usual.len() * (size_of::<Usual>() + NEAR * size_of::<Entry>())
    }

    /// How a product follows another, if that is prepared.
    fn entry(&self, before: Last, position: u32) -> Option<Entry> {
        let usual = self.usual[before.position as usize].length;
        let near = position.wrapping_sub(before.position) as usize;
        let entry = self.entries.get(near.wrapping_sub(1))?[position as usize];
        (entry.bits > 0 && !before.first && before.length == usize::from(usual)).then_some(entry)
    }
}

/// Where a product's head ends that begins with the byte before it at `start`.
fn head(prepared: &Prepared, start: usize) -> usize {
    start + 1 + prepared.head_length()
}

/// Packs an answer piece by piece, each when it is asked for.
#[derive(Debug)]
pub struct PackedPieces {
    answer: ProductsAnswer,
    row: Row,
    last: Option<Last>,
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
        PackedPieces { answer: self, row: Row::default(), last: None, output, next: 0, done: false }
    }
}

impl PackedPieces {
    /// Packs products until a piece is full.
    fn advance(&mut self) {
        let view = &self.answer.view;
        let packing = &view.snapshot.goods.packing;
        let usual = view.settings.writes_like(&USUAL);
        for position in view.selected(&self.answer.selection, self.next) {
            let known = &packing.usual[position as usize];
            let usual = usual
                && known.length > 0
                && known.stock == view.snapshot.stock[position as usize]
                && !view.priced.contains(position);
            let near = self.last.and_then(|before| Some((before, packing.entry(before, position)?)));
            self.last = Some(match near {
                Some((before, entry)) if usual && before.usual => {
                    self.row.count(&mut self.output);
                    self.output.bits.reserve(usize::from(entry.bits) / 8);
                    self.output.bits.append(&packing.bits[entry.start as usize..], entry.bits.into());
                    self.output.count_known(known.check, known.length.into());
                    Last { position, length: known.length.into(), first: false, usual, written: false }
                }
                _ => self.row.tell(view, self.last, position, usual, near.map(|(_, entry)| entry), &mut self.output),
            });
            self.next += 1;
            if self.output.bits.len() >= PACKED_PIECE * 8 {
                break;
            }
        }
        self.row.count(&mut self.output);
        if self.next == self.answer.count {
            self.output.bits.reserve(AFTER.len());
            Writer { encoder: &packing.encoder, bits: &mut self.output.bits }.letters(AFTER);
            self.output.count(AFTER);
            self.output.finish(&packing.encoder);
            self.done = true;
        }
    }
}

impl Row {
    /// Writes a product behind the one before it, and tells it as repeats of that.
    fn tell(
        &mut self,
        view: &ClinicView,
        before: Option<Last>,
        position: u32,
        usual: bool,
        entry: Option<Entry>,
        output: &mut Output,
    ) -> Last {
        let goods = &view.snapshot.goods;
        let packing = &goods.packing;
        if let Some(before) = before.filter(|before| !before.written) {
            self.count(output);
            self.text.clear();
            self.text.push(if before.first { BRACKET } else { b',' });
            view.write(&mut self.text, before.position);
            self.uncounted = self.text.len();
        } else if self.text.len() >= PIECE {
            self.count(output);
            let kept = before.map_or(0, |before| before.length);
            let from = self.text.len() - kept;
            self.text.copy_within(from.., 0);
            self.text.truncate(kept);
            self.uncounted = kept;
        }
        let start = self.text.len();
        self.text.push(if before.is_none() { BRACKET } else { b',' });
        view.write(&mut self.text, position);
        let this = Last { position, length: self.text.len() - start, first: before.is_none(), usual, written: true };
        output.bits.reserve(this.length);
        let mut writer = Writer { encoder: &packing.encoder, bits: &mut output.bits };
        let Some(before) = before else {
            // What stands before it is told already.
            self.uncounted = 1;
            writer.letters(&self.text[1..]);
            return this;
        };
        let (mut from, mut at) = (start - before.length, start);
        if let Some(entry) = entry {
            writer.bits.append(&packing.bits[entry.start as usize..], entry.head.into());
            from = head(&goods.prepared[before.position as usize], from);
            at = head(&goods.prepared[position as usize], at);
        }
        tell(&self.text, from..start, at..self.text.len(), &mut writer);
        this
    }

    /// Counts in what has not been.
    fn count(&mut self, output: &mut Output) {
        if self.uncounted < self.text.len() {
            output.count(&self.text[self.uncounted..]);
            self.uncounted = self.text.len();
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
