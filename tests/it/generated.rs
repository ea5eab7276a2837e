//! Generated files are current, and the documentation names only files that exist.

use clap::ValueEnum;
use spsi_partner::cli::docs::Page;
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Fails with the command that refreshes `file` if the committed file differs from `current`.
#[track_caller]
fn assert_current(file: &str, current: &str, command: &str) {
    let committed = std::fs::read_to_string(root().join(file)).unwrap_or_default();
    let differs = committed.lines().zip(current.lines()).position(|(one, other)| one != other);
    let line = differs.unwrap_or_else(|| committed.lines().count().min(current.lines().count())) + 1;
    assert!(committed == current, "{file} is not current (line {line}); run:\n\n    {command} > {file}\n");
}

#[test]
fn the_committed_openapi_document_is_current() {
    let current = spsi_partner::http::openapi::partner_text().expect("a document");
    assert_current("openapi/partner.json", &current, "cargo run -- openapi print");
}

#[test]
fn the_committed_reference_pages_are_current() {
    for page in Page::value_variants() {
        let name = page.name();
        assert_current(&format!("docs/{name}.md"), &page.text(), &format!("cargo run -- docs print {name}"));
    }
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

#[test]
fn the_readme_has_at_most_150_lines() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    assert!(readme.lines().count() <= 150, "{} lines", readme.lines().count());
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
