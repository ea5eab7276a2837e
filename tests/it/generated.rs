//! Generated files are current, and the documentation names only files, commands and variables that exist.

use crate::reference;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The marks around a generated part of a page that is otherwise written by hand.
const BEGIN: &str =
    "<!-- Generated from the code by `UPDATE_DOCS=1 cargo test --test it generated`. Do not edit this part. -->";
const END: &str = "<!-- End of the generated part. -->";

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_default()
}

/// Fails if the committed file differs from `current`. With the variable `UPDATE_DOCS`, writes the file instead.
#[track_caller]
fn assert_current(file: &str, current: &str) {
    let committed = read(file);
    if committed == current {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return std::fs::write(root().join(file), current).expect("a writable file");
    }
    let differs = committed.lines().zip(current.lines()).position(|(one, other)| one != other);
    let line = differs.unwrap_or_else(|| committed.lines().count().min(current.lines().count())) + 1;
    panic!("{file} is not current (line {line}); run:\n\n    UPDATE_DOCS=1 cargo test --test it generated\n");
}

#[test]
fn the_committed_openapi_documents_are_current() {
    let current = spsi_partner::http::openapi::partner_text().expect("a document");
    assert_current("openapi/partner.json", &current);
    let current = spsi_partner::staff::openapi::staff_text().expect("a document");
    assert_current("openapi/staff.json", &current);
}

#[test]
fn the_committed_reference_pages_are_current() {
    let pages = [
        ("docs/settings.md", vec![reference::settings()]),
        ("docs/errors.md", vec![reference::http_errors(), reference::staff_errors(), reference::rules()]),
        ("docs/metrics.md", vec![reference::metrics()]),
    ];
    for (file, parts) in pages {
        let committed = read(file);
        let mut pieces = committed.split(BEGIN);
        let mut current = pieces.next().unwrap_or_default().to_owned();
        assert_eq!(pieces.clone().count(), parts.len(), "{file}: count of the mark {BEGIN}");
        for (piece, part) in pieces.zip(parts) {
            let (_, rest) = piece.split_once(END).unwrap_or_else(|| panic!("{file} lacks the mark {END}"));
            let _ = write!(current, "{BEGIN}\n\n{part}\n{END}{rest}");
        }
        assert_current(file, &current);
    }
}

/// The codes in the table of one section of docs/errors.md.
fn documented_codes(heading: &str) -> BTreeSet<String> {
    let page = read("docs/errors.md");
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).expect("a section");
    let cells = section.lines().filter(|line| line.starts_with("| ")).flat_map(|line| line.split(" | "));
    let codes = cells.filter_map(|cell| cell.trim_start_matches("| ").strip_prefix('`')?.strip_suffix('`'));
    codes.map(str::to_owned).collect()
}

/// The words in double quotes of a source that look like a code: `unknown_line`.
fn quoted_codes(file: &str) -> BTreeSet<String> {
    let source = read(file);
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let quoted = code.split('"').filter(|text| text.contains('_'));
    quoted.filter(|text| text.chars().all(|c| c.is_ascii_lowercase() || c == '_')).map(str::to_owned).collect()
}

#[test]
fn the_page_of_errors_names_every_token_error() {
    let (page, source) = (documented_codes("Token errors"), quoted_codes("src/auth/http.rs"));
    assert!(!page.is_empty() && page.is_subset(&source), "{page:?} {source:?}");
}

#[test]
fn the_page_of_errors_names_every_invoice_check() {
    let mut source = quoted_codes("src/delivery/check.rs");
    source.retain(|word| !["tax_rate", "freight_tax"].contains(&word.as_str()));
    assert_eq!(source, documented_codes("Invoice checks"));
}

/// The README and the pages in `docs/`, with their text.
fn pages() -> Vec<(PathBuf, String)> {
    let docs = std::fs::read_dir(root().join("docs")).expect("docs/");
    let mut files: Vec<PathBuf> = docs.map(|entry| entry.expect("an entry").path()).collect();
    files.push(root().join("README.md"));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    files.into_iter().map(|file| (file.clone(), std::fs::read_to_string(file).expect("text"))).collect()
}

/// The anchor that GitHub and mdBook give a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

#[test]
fn every_link_of_the_documentation_leads_to_a_file_and_a_heading() {
    let mut broken = String::new();
    for (file, text) in pages() {
        let folder = file.parent().expect("a folder");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { file.clone() } else { folder.join(path) };
            let text = std::fs::read_to_string(&target).unwrap_or_default();
            let has_heading =
                text.lines().any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#')) == heading);
            if !target.exists() || !heading.is_empty() && !has_heading {
                let _ = writeln!(broken, "{}: {link}", file.display());
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{broken}");
}

#[test]
fn every_source_file_that_the_documentation_names_exists() {
    let mut missing = String::new();
    for (file, text) in pages() {
        for name in text.split('`').filter(|name| name.starts_with("src/") || name.starts_with("tests/")) {
            if !root().join(name).exists() {
                let _ = writeln!(missing, "{}: {name}", file.display());
            }
        }
    }
    assert!(missing.is_empty(), "files that do not exist:\n{missing}");
}

/// Splits a line like a shell, without variables: quotes group words, and `|`, `>` and `#` end the command.
fn shell_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for sign in line.chars() {
        match (quote, sign) {
            (Some(open), sign) if sign == open => quote = None,
            (Some(_), sign) => word.get_or_insert_default().push(sign),
            (None, '\'' | '"') => {
                quote = Some(sign);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '|' | '>' | '#') if word.is_none() => break,
            (None, sign) => word.get_or_insert_default().push(sign),
        }
    }
    words.extend(word);
    words
}

#[test]
fn every_command_that_the_documentation_shows_is_accepted() {
    let mut tried = 0;
    for (file, text) in pages() {
        let text = text.replace("\\\n", " ");
        for block in text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            for command in block.lines().filter_map(|line| line.find("spsi ").map(|start| &line[start..])) {
                let parsed = spsi_partner::cli::command().try_get_matches_from(shell_words(command));
                let is_accepted = parsed.as_ref().map_or_else(|error| !error.use_stderr(), |_| true);
                assert!(is_accepted, "{}: `{command}`: {}", file.display(), parsed.unwrap_err());
                tried += 1;
            }
        }
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn every_variable_that_the_documentation_names_exists() {
    // Variables that are not settings of the program.
    const OTHER: [&str; 3] = ["SPSI_SITE_CLIENT_SECRET", "SPSI_CHAOS_SHIPMENTS", "SPSI_BENCH"];
    let settings = reference::settings();
    for (file, text) in pages().iter().filter(|(file, _)| !file.ends_with("upgrading.md")) {
        for (start, _) in text.match_indices("SPSI_") {
            let name = text[start..].split(|c: char| !(c.is_ascii_uppercase() || c == '_')).next().unwrap_or_default();
            let is_known = settings.contains(&format!("| `{name}` |")) || OTHER.contains(&name) || name == "SPSI_";
            assert!(is_known, "{}: {name}", file.display());
        }
    }
}

#[test]
fn the_readme_has_at_most_150_lines() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    assert!(readme.lines().count() <= 150, "{} lines", readme.lines().count());
}

#[test]
fn every_reference_of_the_documents_leads_to_a_schema() {
    for document in [spsi_partner::http::openapi::partner(), spsi_partner::staff::openapi::staff()] {
        assert_references_resolve(&serde_json::to_value(document).expect("a document"));
    }
}

#[track_caller]
fn assert_references_resolve(document: &serde_json::Value) {
    let text = document.to_string();
    for (at, _) in text.match_indices("\"$ref\":\"#/") {
        let pointer = text[at + 8..].split('"').next().expect("a pointer").trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{pointer} is not there");
    }
    assert!(text.contains("\"$ref\""));
}
