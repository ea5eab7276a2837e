use super::*;
use std::collections::BTreeSet;
use std::path::Path;

/// The words in double quotes of a source that look like a code: `unknown_line`.
fn quoted_codes(source: &str) -> BTreeSet<&str> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let quoted = code.split('"').filter(|text| text.contains('_'));
    quoted.filter(|text| text.chars().all(|c| c.is_ascii_lowercase() || c == '_')).collect()
}

#[test]
fn the_page_of_errors_names_every_token_error() {
    let source = quoted_codes(include_str!("../../auth/http.rs"));
    assert!(TOKEN_CODES.iter().all(|[_, code, _]| source.contains(code)), "{source:?}");
}

#[test]
fn the_page_of_errors_names_every_invoice_check() {
    let mut source = quoted_codes(include_str!("../../delivery/check.rs"));
    for field in ["tax_rate", "freight_tax"] {
        source.remove(field);
    }
    assert_eq!(source, INVOICE_CODES.map(|[code, _]| code).into());
}

/// The README and the pages in `docs/` that are written by hand: file name and text.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let files = docs.chain([root.join("README.md")]).filter(|file| file.extension().is_some_and(|ext| ext == "md"));
    files
        .map(|file| (file.file_name().unwrap().display().to_string(), std::fs::read_to_string(file).unwrap()))
        .collect()
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
                let parsed = Arguments::command().try_get_matches_from(shell_words(command));
                let is_accepted = parsed.as_ref().map_or_else(|error| !error.use_stderr(), |_| true);
                assert!(is_accepted, "{file}: `{command}`: {}", parsed.unwrap_err());
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
    let settings = Page::Settings.text();
    for (file, text) in pages().iter().filter(|(file, _)| file != "upgrading.md") {
        for (start, _) in text.match_indices("SPSI_") {
            let name = text[start..].split(|c: char| !(c.is_ascii_uppercase() || c == '_')).next().unwrap_or_default();
            let is_known = settings.contains(&format!("| `{name}` |")) || OTHER.contains(&name) || name == "SPSI_";
            assert!(is_known, "{file}: {name}");
        }
    }
}
