//! The rules of DESIGN.md 1 and STYLE.md, read off the text of `src/`. Each breach is told with file and line.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What every part may use: values, time, settings, and the database's pool.
const BASE: [&str; 9] = ["clock", "config", "db", "ids", "secret", "shutdown", "telemetry", "values", "postgres"];
/// Arrows point one way. What a part uses beside [`BASE`] and itself; an entry that nothing uses any more may go.
const ARROWS: [(&str, &[&str]); 14] = [
    ("audit", &[]),
    ("ezyvet", &[]),
    ("sandbox", &[]),
    ("clinics", &["audit", "ezyvet"]),
    ("auth", &["audit", "clinics", "http"]),
    ("catalog", &["audit", "auth", "clinics", "http"]),
    ("orders", &["audit", "auth", "catalog", "clinics", "http"]),
    ("delivery", &["audit", "clinics", "ezyvet"]),
    ("shipments", &["audit", "clinics", "delivery", "ezyvet", "orders"]),
    ("http", &["auth", "catalog", "clinics", "orders"]),
    ("refresh", &["catalog", "clinics"]),
    ("app", &["auth", "catalog", "clinics", "delivery", "ezyvet", "http", "orders", "refresh", "shipments"]),
    ("seed", &["app", "catalog", "clinics"]),
    ("demo", &["app", "catalog", "clinics", "delivery", "ezyvet", "orders", "sandbox", "seed", "shipments"]),
];
/// May use everything: one file for each noun of the command line.
const TOP: &str = "cli";
const LONGEST_FILE: usize = 450;
const LONGEST_MAIN: usize = 39;

struct Source {
    /// Below `src/`, with slashes.
    path: String,
    text: String,
}

impl Source {
    /// `catalog` of `catalog/http.rs`, `app` of `app.rs`.
    fn part(&self) -> &str {
        let first = self.path.split('/').next().expect("a name");
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn is_named(&self, name: &str) -> bool {
        self.path == format!("{name}.rs") || self.path.ends_with(&format!("/{name}.rs"))
    }

    fn is_under(&self, folder: &str) -> bool {
        self.path.split('/').rev().skip(1).any(|part| part == folder)
    }

    /// Numbered lines without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        lines.map(|(at, line)| (at, line.split_once("//").map_or(line, |(code, _)| code)))
    }

    /// The parts that are used, by line: `crate::a::b`, and `crate::{a, b::c}` over several lines.
    fn uses(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (start, _) in self.text.match_indices("crate::") {
            let line = self.text[..start].matches('\n').count() + 1;
            let before = self.text[..start].rsplit('\n').next().unwrap_or_default();
            if before.contains("//") || before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let rest = &self.text[start + "crate::".len()..];
            let word =
                |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
            let Some(list) = rest.strip_prefix('{') else {
                found.push((line, word(rest)));
                continue;
            };
            let (mut depth, mut begins) = (1, true);
            for (at, sign) in list.char_indices() {
                match sign {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => begins = true,
                    sign if begins && sign.is_alphabetic() => {
                        found.push((line, word(&list[at..])));
                        begins = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        }
        found
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(&root).expect("below src").to_str().expect("UTF-8").replace('\\', "/");
                sources.push(Source { text: std::fs::read_to_string(&path).expect("text"), path: below });
            }
        }
    }
    assert!(sources.len() > 50, "these are not the sources");
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}

/// Fails with every line of code that holds one of the words, in files that may not.
#[track_caller]
fn only_where(words: &[&str], rule: &str, allowed: impl Fn(&Source) -> bool) {
    let mut breaches = String::new();
    for source in sources().iter().filter(|source| !allowed(source)) {
        for (at, line) in source.code().filter(|(_, line)| words.iter().any(|word| line.contains(word))) {
            let _ = writeln!(breaches, "src/{}:{at}: {}", source.path, line.trim());
        }
    }
    assert!(breaches.is_empty(), "{rule}:\n{breaches}");
}

#[test]
fn actix_is_in_http_files_alone() {
    let rule = "actix is only in files called http.rs or under http/ (and sandbox/, staff/)";
    only_where(&["actix_web::", "actix_http::", "actix_rt::", "actix_server::", "use actix"], rule, |source| {
        source.is_named("http") || source.is_under("http") || ["sandbox", "staff"].contains(&source.part())
    });
}

#[test]
fn our_http_is_used_in_http_files_alone() {
    let rule = "crate::http is only for files called http.rs, for app.rs and for the command line";
    only_where(&["crate::http"], rule, |source| {
        source.is_named("http") || source.is_under("http") || ["app", "cli", "staff"].contains(&source.part())
    });
}

#[test]
fn reqwest_is_in_the_clients_alone() {
    let rule = "reqwest is only in ezyvet/ and sandbox/";
    only_where(&["reqwest::", "use reqwest"], rule, |source| ["ezyvet", "sandbox"].contains(&source.part()));
}

#[test]
fn sql_is_in_stores_alone() {
    let words = ["sqlx::query", "sqlx::raw_sql", "query!(", "query_as!(", "query_scalar!(", "QueryBuilder"];
    only_where(&words, "SQL is only in store.rs, db.rs and db/", |source| {
        source.is_named("store") || source.part() == "db"
    });
}

/// Function by function, as far as text can tell: what calls ezyVet opens no transaction.
#[test]
fn no_transaction_is_open_across_a_remote_call() {
    let (mut breaches, mut callers) = (String::new(), 0);
    for source in sources().iter().filter(|source| ["delivery", "ezyvet", "shipments"].contains(&source.part())) {
        let (mut name, mut calls, mut opens) = (String::new(), false, false);
        let mut finish = |name: &str, calls: bool, opens: bool| {
            callers += usize::from(calls);
            if calls && opens {
                let _ = writeln!(breaches, "src/{}: {name}", source.path);
            }
        };
        for (_, line) in source.code() {
            if line.trim_start().starts_with("fn ") || line.contains(" fn ") {
                finish(&name, calls, opens);
                (name, calls, opens) = (line.trim().to_owned(), false, false);
            }
            calls |= [".call(", ".ask_for_token("].iter().any(|word| line.contains(word));
            opens |= ["pool.begin(", "pool().begin(", ".begin_with("].iter().any(|word| line.contains(word));
        }
        finish(&name, calls, opens);
    }
    assert!(callers >= 4, "only {callers} functions call ezyVet: this test no longer sees them");
    assert!(breaches.is_empty(), "a transaction is open while ezyVet is called:\n{breaches}");
}

/// What ezyVet's calls make of orders (`orders/intake.rs`; staff have a store of their own) names the clinic, or a row that
/// was found by it.
#[test]
fn a_query_for_a_clinics_order_takes_the_clinic() {
    let sources = sources();
    let text = |path: &str| {
        let source = sources.iter().find(|source| source.path == path).unwrap_or_else(|| panic!("no src/{path}"));
        source.code().map(|(_, line)| line).collect::<Vec<_>>().join("\n")
    };
    let calls = text("orders/intake.rs") + &text("orders/batch_writer.rs") + &text("orders/revisions/mod.rs");
    let store = text("orders/store.rs") + &text("orders/revisions/store.rs");
    assert!(
        store.contains("pub struct NewOrder {") && store.contains("pub clinic: ClinicId,"),
        "a new order names its clinic"
    );
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let called: BTreeSet<String> = calls
        .match_indices("store::")
        .map(|(at, found)| &calls[at + found.len()..])
        .filter(|rest| rest[name(rest).len()..].starts_with('('))
        .map(name)
        .collect();
    assert!(called.len() >= 5, "only {called:?} are called: this test no longer sees them");
    // Numbers come from a sequence, which belongs to no clinic.
    for function in called.into_iter().filter(|function| function != "draw_numbers") {
        let start = store.find(&format!("pub async fn {function}(")).unwrap_or_else(|| panic!("no store::{function}"));
        let signature = store[start..].split("->").next().unwrap_or_default();
        assert!(
            ["ClinicId", "CachedClinic", "OrderId", "NewOrder"].iter().any(|id| signature.contains(id)),
            "for which clinic? {signature}"
        );
    }
}

#[test]
fn nothing_is_left_to_be_done() {
    let words = ["todo!", "unimplemented!", "dbg!", "#[allow(", "#![allow("];
    only_where(&words, "no todo!, unimplemented!, dbg!, and no #[allow] (use #[expect] with a reason)", |_| false);
}

#[test]
fn time_and_chance_are_arguments() {
    let words = ["SystemTime::now", "now_utc()", "now_local()"];
    only_where(&words, "time is an argument: take `now`, or hold a clock::Clock", |source| source.is_named("clock"));
}

#[test]
fn arrows_between_parts_point_one_way() {
    let mut breaches = String::new();
    for source in sources().iter().filter(|source| ![TOP, "lib", "main"].contains(&source.part())) {
        let part = source.part();
        let allowed = match ARROWS.iter().find(|(name, _)| *name == part) {
            Some((_, allowed)) => *allowed,
            None if BASE.contains(&part) => &[],
            None => {
                let _ = writeln!(breaches, "src/{}: `{part}` has no entry in ARROWS", source.path);
                continue;
            }
        };
        for (line, used) in source.uses() {
            // The sandbox is a world of its own: it shares nothing with the product.
            let base = part != "sandbox" && BASE.contains(&used.as_str());
            if used != part && !base && !allowed.contains(&used.as_str()) {
                let _ = writeln!(breaches, "src/{}:{line}: `{part}` uses `{used}`", source.path);
            }
        }
    }
    assert!(breaches.is_empty(), "arrows that DESIGN.md 1 does not have:\n{breaches}");
}

#[test]
fn files_are_small() {
    let mut breaches = String::new();
    for source in sources() {
        let (lines, most) =
            (source.text.lines().count(), if source.path == "main.rs" { LONGEST_MAIN } else { LONGEST_FILE });
        if lines > most {
            let _ = writeln!(breaches, "src/{}:{lines}: at most {most} lines", source.path);
        }
    }
    assert!(breaches.is_empty(), "split by purpose:\n{breaches}");
}

#[test]
fn every_file_of_tests_is_part_of_the_test_binary() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let main = std::fs::read_to_string(folder.join("main.rs")).expect("main.rs");
    for entry in std::fs::read_dir(&folder).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let name = name.strip_suffix(".rs").unwrap_or(&name);
        assert!(name == "main" || main.contains(&format!("mod {name};")), "tests/it/main.rs lacks `mod {name};`");
    }
}

#[test]
fn the_reader_of_uses_sees_lists_and_paths() {
    let text = "use crate::{a::b, c::{d, e},\n f};\nlet x = crate::g::h();\n// crate::no\n";
    let source = Source { path: "x.rs".into(), text: text.into() };
    let used: Vec<String> = source.uses().into_iter().map(|(_, used)| used).collect();
    assert_eq!(used, ["a", "c", "f", "g"]);
}
