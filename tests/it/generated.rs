//! What is generated and committed is current.

use std::path::Path;

#[test]
fn the_committed_openapi_document_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/partner.json");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let current = spsi_partner::http::openapi::partner_text().expect("a document");
    let differs = committed.lines().zip(current.lines()).position(|(one, other)| one != other);
    assert!(
        committed == current,
        "openapi/partner.json is not that of the code (line {}); run:\n\n    cargo run -- openapi print > openapi/partner.json\n",
        differs.unwrap_or_else(|| committed.lines().count().min(current.lines().count())) + 1
    );
}

#[test]
fn the_document_is_sound() {
    let document = serde_json::to_value(spsi_partner::http::openapi::partner()).expect("a document");
    let text = document.to_string();
    for (at, _) in text.match_indices("\"$ref\":\"#/") {
        let pointer = text[at + 8..].split('"').next().expect("a pointer").trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{pointer} is not there");
    }
    assert!(text.contains("\"$ref\""));
}
