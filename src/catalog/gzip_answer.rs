//! The `/products` response body as gzip, in chunks.

use super::answer::{CHUNK_BYTES, PREFIX, ProductsAnswer, SUFFIX};
use super::clinic_view::ClinicView;
use super::fragments::{DEFAULT_SETTINGS, Fragment, head_end};
use super::gzip::{GzipMember, TokenSink, TokenWriter, tokenize};
use super::product::ContractPrice;
use bytes::Bytes;

/// Compressed bytes of a chunk; about four times as many plain bytes.
const GZIP_CHUNK_BYTES: usize = 32 * 1024;

/// The byte before the first product.
const BRACKET: u8 = PREFIX[PREFIX.len() - 1];

/// Compresses an answer, each chunk when it is requested.
#[derive(Debug)]
pub struct GzipChunks {
    answer: ProductsAnswer,
    window: Window,
    previous: Option<WrittenProduct>,
    member: GzipMember,
    /// Number of products compressed.
    next: u64,
    is_done: bool,
}

/// The plain text of the last products: the reference for the back-references of the next one.
#[derive(Debug, Default)]
struct Window {
    text: Vec<u8>,
    /// Bytes of the text that are in the checksum already.
    checksummed: usize,
}

/// The product that was compressed last.
#[derive(Clone, Copy, Debug)]
struct WrittenProduct {
    position: u32,
    /// In bytes, including the byte before it.
    length: usize,
    has_default_form: bool,
    /// The window's text ends with this product.
    is_in_window: bool,
}

impl ProductsAnswer {
    /// Returns the body as a gzip member, in chunks that are never empty. The total length is not known in advance.
    pub fn gzip_chunks(self) -> GzipChunks {
        let encoder = &self.view.snapshot.products.fragments.encoder;
        let mut member = GzipMember::new(encoder);
        member.bits.reserve(PREFIX.len());
        TokenWriter { encoder, bits: &mut member.bits }.literals(PREFIX);
        member.add_checksum(PREFIX);
        GzipChunks { answer: self, window: Window::default(), previous: None, member, next: 0, is_done: false }
    }
}

impl GzipChunks {
    /// Compresses products until a chunk is full.
    fn advance(&mut self) {
        let view = &self.answer.view;
        let fragments = &view.snapshot.products.fragments;
        let has_default_settings = view.settings == DEFAULT_SETTINGS;
        for position in view.selected(&self.answer.selection, self.next) {
            let default_form = fragments.default_form(position);
            let has_default_form = has_default_settings
                && default_form.length > 0
                && default_form.stock == view.snapshot.stock[position as usize]
                && view.contract_price(position) == ContractPrice::None;
            let previous = self.previous.filter(|previous| {
                // The first product has a bracket before it, the others a comma, as fragments expect.
                self.next > 1 && previous.length == usize::from(fragments.default_form(previous.position).length)
            });
            let fragment = previous.and_then(|previous| Some((previous, fragments.find(previous.position, position)?)));
            self.previous = Some(match fragment {
                Some((previous, fragment)) if has_default_form && previous.has_default_form => {
                    self.window.checksum(&mut self.member);
                    fragments.append(fragment, &mut self.member.bits);
                    self.member.add_known_checksum(default_form.crc, default_form.length.into());
                    let length = default_form.length.into();
                    WrittenProduct { position, length, has_default_form, is_in_window: false }
                }
                _ => {
                    let fragment = fragment.map(|(_, fragment)| fragment);
                    let length = self.window.compress(view, self.previous, position, fragment, &mut self.member);
                    WrittenProduct { position, length, has_default_form, is_in_window: true }
                }
            });
            self.next += 1;
            if self.member.bits.len() >= GZIP_CHUNK_BYTES * 8 {
                break;
            }
        }
        self.window.checksum(&mut self.member);
        if self.next == self.answer.count {
            self.member.bits.reserve(SUFFIX.len());
            TokenWriter { encoder: &fragments.encoder, bits: &mut self.member.bits }.literals(SUFFIX);
            self.member.add_checksum(SUFFIX);
            self.member.finish(&fragments.encoder);
            self.is_done = true;
        }
    }
}

impl Window {
    /// Writes a product behind the previous one and compresses it as back-references. Returns its length with the byte
    /// before it.
    fn compress(
        &mut self,
        view: &ClinicView,
        previous: Option<WrittenProduct>,
        position: u32,
        fragment: Option<Fragment>,
        member: &mut GzipMember,
    ) -> usize {
        let products = &view.snapshot.products;
        if let Some(previous) = previous.filter(|previous| !previous.is_in_window) {
            self.checksum(member);
            self.text.clear();
            // The first product is always in the window.
            self.text.push(b',');
            view.write(&mut self.text, previous.position);
            self.checksummed = self.text.len();
        } else if self.text.len() >= CHUNK_BYTES {
            self.checksum(member);
            let retained = previous.map_or(0, |previous| previous.length);
            let from = self.text.len() - retained;
            self.text.copy_within(from.., 0);
            self.text.truncate(retained);
            self.checksummed = retained;
        }
        let start = self.text.len();
        self.text.push(if previous.is_none() { BRACKET } else { b',' });
        view.write(&mut self.text, position);
        let length = self.text.len() - start;
        member.bits.reserve(length);
        let Some(previous) = previous else {
            // The bracket is part of the prefix, which is written and in the checksum.
            self.checksummed = 1;
            TokenWriter { encoder: &products.fragments.encoder, bits: &mut member.bits }.literals(&self.text[1..]);
            return length;
        };
        let (mut reference, mut rest) = (start - previous.length, start);
        if let Some(fragment) = fragment {
            products.fragments.append_head(fragment, &mut member.bits);
            reference = head_end(&products.rows.templates[previous.position as usize], reference);
            rest = head_end(&products.rows.templates[position as usize], rest);
        }
        let mut writer = TokenWriter { encoder: &products.fragments.encoder, bits: &mut member.bits };
        tokenize(&self.text, reference..start, rest..self.text.len(), &mut writer);
        length
    }

    /// Adds the text that is not in the checksum yet.
    fn checksum(&mut self, member: &mut GzipMember) {
        if self.checksummed < self.text.len() {
            member.add_checksum(&self.text[self.checksummed..]);
            self.checksummed = self.text.len();
        }
    }
}

impl Iterator for GzipChunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while !self.is_done && self.member.bits.len() < GZIP_CHUNK_BYTES * 8 {
            self.advance();
        }
        let mut chunk = Bytes::new();
        self.member.bits.drain(|bytes| chunk = Bytes::copy_from_slice(bytes));
        (!chunk.is_empty()).then_some(chunk)
    }
}
