use super::ImportKind;
use super::pump::tests::{errors_of, pump_bytes};
use super::rows::ProductRows;

const HEADER: &str = "code,name,type,category,units_per_outer,unit_of_measure,list_price";

fn full() -> ProductRows {
    ProductRows::new(ImportKind::Full)
}

#[test]
fn every_error_of_every_row_is_reported() {
    let header = format!("{HEADER},barcode,stock_available,active,related_urls,tax_rate,restricted");
    let text = format!(
        "{header}\n,,,,0,,-1,,,,,,\nA,a,t,c,x,box,1e30,8.1E+12,-3,maybe,nowhere,101,2\nB,b,t,c,,box,3,,,,,,\nC,c\n"
    );
    let (_, pumped) = pump_bytes(text.as_bytes(), full());
    let errors = errors_of(pumped);
    let expected = [
        "2, code: is empty",
        "2, name: is empty",
        "2, type: is empty",
        "2, category: is empty",
        "2, list_price: must not be negative",
        "2, units_per_outer: must be more than zero",
        "3, list_price: is too large (at most 12 digits before the decimal point)",
        "3, units_per_outer: is not a number",
        "3, barcode: was shortened by a spreadsheet; format the column as text and export it again",
        "3, stock_available: must not be negative",
        "3, active: must be 1 or 0 (or true, false, yes, no)",
        "3, related_urls: must be http:// or https:// addresses, separated by spaces or |",
        "3, tax_rate: must be from 0 to 100",
        "3, restricted: must be 1 or 0 (or true, false, yes, no)",
        "4, units_per_outer: is empty, but the row has a price; the price of a unit needs the pack size",
        "5, : has 2 cells, the header has 13; put values that contain the delimiter in quotes",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn a_row_without_price_needs_no_pack_size() {
    let (lines, pumped) = pump_bytes(format!("{HEADER}\nA,a,t,c,,,\n").as_bytes(), full());
    assert!(lines.starts_with("2\tA\ta\tt\tc\t1\tf\t\t\\N\tt\t"), "{lines}");
    assert_eq!(pumped.problems.count, 0);
    assert_eq!(pumped.notes.len(), 2);
}

#[test]
fn an_open_quote_is_reported_where_it_opens() {
    let (_, pumped) = pump_bytes(format!("{HEADER}\nA,\"a,t,c,1,box,1\nB,b,t,c,1,box,1\n").as_bytes(), full());
    let errors = errors_of(pumped);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("2, "), "{errors:?}");
}

proptest::proptest! {
    #[test]
    fn no_file_panics_and_every_line_for_copy_has_all_cells(
        tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400),
        delimiter in "[,;\t]",
        cells in proptest::collection::vec("[ -~é\"\\\\\r\n,;]{0,12}", 0..60),
    ) {
        let mut file = HEADER.replace(',', &delimiter).into_bytes();
        file.push(b'\n');
        for row in cells.chunks(7) {
            file.extend(row.join(&delimiter).into_bytes());
            file.push(b'\n');
        }
        file.extend(tail);
        let (lines, _) = pump_bytes(&file, full());
        proptest::prop_assert!(lines.lines().all(|line| line.split('\t').count() == 19));
    }
}
