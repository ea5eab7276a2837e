//! Compressed JSON of every product, built once per catalogue version and copied into gzip answers.
//!
//! A product is compressed as back-references into the JSON of a product shortly before it, so a fragment is valid only
//! after that product. Fragments hold the default form of a product: [`DEFAULT_SETTINGS`], no contract price, and the
//! stock at the time of building. Answers compress every other form on the fly.

use super::gzip::{BitWriter, Encoder, MAX_CRC_PART, SymbolCounts, TokenWriter, tokenize};
use super::product::{BodySettings, ContractPrice, ProductTemplate};
use crate::config::{BarcodeType, Basis, MissingContractPrice};
use std::collections::VecDeque;

/// Number of products that are sampled for the Huffman codes.
const SAMPLE: usize = 4_096;
/// [`BitWriter::append`] may read this many bytes behind the appended bits.
const READ_AHEAD: usize = 8;
/// A product has a fragment after each of this many products before it, because a clinic may not see the nearest.
const REACH: usize = 2;

/// The settings of most clinics.
pub(super) const DEFAULT_SETTINGS: BodySettings = BodySettings {
    price_basis: Basis::Unit,
    missing_contract_price: MissingContractPrice::ListPrice,
    barcode: BarcodeType::Auto,
};

/// The Huffman codes of one catalogue version, and its fragments.
#[derive(Debug)]
pub(super) struct CompressedFragments {
    pub(super) encoder: Encoder,
    bits: Vec<u8>,
    /// By position.
    default_forms: Vec<DefaultForm>,
    /// `fragments[n - 1][position]` follows the product at `position - n`.
    fragments: [Vec<Fragment>; REACH],
}

/// The default form of a product, with a comma before it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DefaultForm {
    pub(super) stock: i64,
    pub(super) crc: u32,
    /// In bytes; zero if the product is too long for [`MAX_CRC_PART`].
    pub(super) length: u16,
}

/// Where the compressed bits of a product lie.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fragment {
    /// Byte offset.
    start: u32,
    /// Number of bits; valid if both products are in their default form. Zero: no fragment.
    bits: u16,
    /// Number of bits up to and including `"list_price":`; valid for every form of the two products, if the previous
    /// product has the length of its default form.
    head_bits: u16,
}

impl CompressedFragments {
    /// Compresses all products; takes microseconds a product.
    pub(super) fn new(json: &[u8], templates: &[ProductTemplate], stock: &[i64]) -> Self {
        let write = |text: &mut Vec<u8>, position: usize| {
            text.push(b',');
            templates[position].write(text, json, &DEFAULT_SETTINGS, ContractPrice::None, stock[position]);
        };
        let mut pair = Vec::new();
        let mut sample = SymbolCounts::default();
        for position in (1..templates.len()).step_by(templates.len().div_ceil(SAMPLE).max(1)) {
            pair.clear();
            write(&mut pair, position - 1);
            let start = pair.len();
            write(&mut pair, position);
            tokenize(&pair, 0..start, start..pair.len(), &mut sample);
        }
        let encoder = Encoder::new(&sample);
        let mut default_forms = Vec::with_capacity(templates.len());
        let mut fragments = [(); REACH].map(|()| vec![Fragment::default(); templates.len()]);
        let (mut compressed, mut bits) = (Vec::new(), BitWriter::default());
        let mut text = Vec::new();
        // The texts of the products before the position, the nearest first.
        let mut previous_texts: VecDeque<Vec<u8>> = VecDeque::with_capacity(REACH + 1);
        for position in 0..templates.len() {
            if position == SAMPLE {
                // Room for all fragments, because growing by doubling would copy half of them.
                compressed.reserve(compressed.len() / SAMPLE * templates.len() / 8 * 9);
            }
            text.clear();
            write(&mut text, position);
            let length = u16::try_from(text.len()).ok().filter(|length| usize::from(*length) <= MAX_CRC_PART);
            let length = length.unwrap_or_default();
            default_forms.push(DefaultForm { stock: stock[position], crc: crc32fast::hash(&text), length });
            for ((fragments, previous), previous_text) in
                fragments.iter_mut().zip((0..position).rev()).zip(&previous_texts)
            {
                pair.clear();
                pair.extend_from_slice(previous_text);
                pair.extend_from_slice(&text);
                let start = previous_text.len();
                let (previous_head, head) = (head_end(&templates[previous], 0), head_end(&templates[position], start));
                bits.reserve(text.len());
                let mut writer = TokenWriter { encoder: &encoder, bits: &mut bits };
                tokenize(&pair, 0..previous_head, start..head, &mut writer);
                let head_bits = writer.bits.len();
                tokenize(&pair, previous_head..start, head..pair.len(), &mut writer);
                let sizes = (compressed.len().try_into(), bits.len().try_into(), head_bits.try_into());
                if let (Ok(start), Ok(bits), Ok(head_bits)) = sizes {
                    fragments[position] = Fragment { start, bits, head_bits };
                }
                bits.align();
                bits.drain(|bytes| compressed.extend_from_slice(bytes));
            }
            previous_texts.push_front(text);
            text = if previous_texts.len() > REACH { previous_texts.pop_back() } else { None }.unwrap_or_default();
        }
        compressed.extend_from_slice(&[0; READ_AHEAD]);
        compressed.shrink_to_fit();
        Self { encoder, bits: compressed, default_forms, fragments }
    }

    /// Returns the bytes held.
    pub(super) fn memory(&self) -> usize {
        self.bits.capacity() + self.default_forms.len() * (size_of::<DefaultForm>() + REACH * size_of::<Fragment>())
    }

    pub(super) fn default_form(&self, position: u32) -> DefaultForm {
        self.default_forms[position as usize]
    }

    /// Returns the fragment of the product at `position` after the product at `previous`, if there is one.
    pub(super) fn find(&self, previous: u32, position: u32) -> Option<Fragment> {
        let distance = position.wrapping_sub(previous) as usize;
        let fragment = self.fragments.get(distance.wrapping_sub(1))?[position as usize];
        (fragment.bits > 0).then_some(fragment)
    }

    /// Appends the fragment.
    pub(super) fn append(&self, fragment: Fragment, bits: &mut BitWriter) {
        bits.reserve(usize::from(fragment.bits) / 8);
        bits.append(&self.bits[fragment.start as usize..], fragment.bits.into());
    }

    /// Appends the head of the fragment; the caller has reserved the room.
    pub(super) fn append_head(&self, fragment: Fragment, bits: &mut BitWriter) {
        bits.append(&self.bits[fragment.start as usize..], fragment.head_bits.into());
    }

    #[cfg(test)]
    pub(super) fn count(&self, distance: usize) -> usize {
        self.fragments[distance - 1].iter().filter(|fragment| fragment.bits > 0).count()
    }
}

/// Returns where the head of a product ends; `start` is the position of the byte before its JSON.
pub(super) fn head_end(template: &ProductTemplate, start: usize) -> usize {
    start + 1 + template.head_length()
}
