//! The rules of DESIGN.md 1 and STYLE.md, checked on the text of `src/`. A failure names file and line of each breach.

mod sources;

use sources::{Modules, Source, sources};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

/// Top-level modules that every other module may use.
const BASE: [&str; 9] = ["clock", "config", "db", "ids", "secret", "shutdown", "telemetry", "values", "postgres"];
/// The dependencies of each top-level module, beside [`BASE`] and itself. A module that no code uses must be removed.
const ARROWS: [(&str, &[&str]); 18] = [
    ("audit", &[]),
    ("events", &[]),
    ("webhooks", &["audit", "events"]),
    ("ezyvet", &[]),
    ("sandbox", &[]),
    ("clinics", &["audit", "ezyvet"]),
    ("auth", &["audit", "clinics", "http"]),
    ("catalog", &["audit", "auth", "clinics", "events", "http"]),
    ("orders", &["audit", "auth", "catalog", "clinics", "events", "http", "webhooks"]),
    ("exports", &["events", "orders"]),
    ("delivery", &["audit", "clinics", "events", "ezyvet"]),
    ("shipments", &["audit", "catalog", "clinics", "delivery", "events", "ezyvet", "orders"]),
    ("http", &["auth", "catalog", "clinics", "orders", "staff"]),
    (
        "staff",
        &[
            "audit",
            "auth",
            "catalog",
            "clinics",
            "delivery",
            "events",
            "exports",
            "ezyvet",
            "http",
            "orders",
            "shipments",
            "webhooks",
        ],
    ),
    ("refresh", &["catalog", "clinics"]),
    (
        "app",
        &[
            "auth",
            "catalog",
            "clinics",
            "delivery",
            "events",
            "ezyvet",
            "http",
            "orders",
            "refresh",
            "shipments",
            "staff",
            "webhooks",
        ],
    ),
    ("seed", &["app", "catalog", "clinics"]),
    (
        "demo",
        &[
            "app",
            "auth",
            "catalog",
            "clinics",
            "delivery",
            "events",
            "ezyvet",
            "orders",
            "sandbox",
            "seed",
            "shipments",
            "webhooks",
        ],
    ),
];
/// The command line may use every module.
const TOP: &str = "cli";
const MAX_LINES: usize = 450;
const MAX_LINES_OF_MAIN: usize = 39;
/// Module names that say nothing about what a module holds.
const VAGUE_NAMES: [&str; 15] = [
    "bits", "common", "desk", "helpers", "lane", "micros", "misc", "samples", "seen", "things", "tree", "turns",
    "unseen", "util", "utils",
];

/// Fails if a file that is not `allowed` contains one of the words in its code.
#[track_caller]
fn only_where(words: &[&str], rule: &str, allowed: impl Fn(&Source) -> bool) {
    let mut breaches = String::new();
    for source in sources().iter().filter(|source| !allowed(source)) {
        for (number, line) in source.code().filter(|(_, line)| words.iter().any(|word| line.contains(word))) {
            let _ = writeln!(breaches, "src/{}:{number}: {}", source.path, line.trim());
        }
    }
    assert!(breaches.is_empty(), "{rule}:\n{breaches}");
}

#[test]
fn only_http_files_use_actix() {
    let rule = "only files named http.rs or below http/, sandbox/ or staff/ may use actix";
    only_where(&["actix_web::", "actix_http::", "actix_rt::", "actix_server::", "use actix"], rule, |source| {
        source.is_named("http") || source.is_under("http") || ["sandbox", "staff"].contains(&source.part())
    });
}

#[test]
fn only_http_files_the_app_and_the_command_line_use_our_http() {
    let rule = "only files named http.rs, app.rs and cli/ may use crate::http";
    only_where(&["crate::http"], rule, |source| {
        source.is_named("http") || source.is_under("http") || ["app", "cli", "staff"].contains(&source.part())
    });
}

#[test]
fn only_ezyvet_sandbox_and_the_client_of_webhooks_use_reqwest() {
    let rule = "only ezyvet/, sandbox/ and webhooks/client.rs may use reqwest";
    only_where(&["reqwest::", "use reqwest"], rule, |source| {
        ["ezyvet", "sandbox"].contains(&source.part()) || source.path == "webhooks/client.rs"
    });
}

#[test]
fn only_stores_and_db_contain_sql() {
    let words = ["sqlx::query", "sqlx::raw_sql", "query!(", "query_as!(", "query_scalar!(", "QueryBuilder"];
    only_where(&words, "only files named store.rs, db.rs, and files below db/ may contain SQL", |source| {
        source.is_named("store") || source.part() == "db"
    });
}

/// Checks each function by itself: one that calls ezyVet must not begin a transaction.
#[test]
fn no_transaction_is_open_across_a_remote_call() {
    let (mut breaches, mut callers) = (String::new(), 0);
    for source in
        sources().iter().filter(|source| ["delivery", "ezyvet", "shipments", "webhooks"].contains(&source.part()))
    {
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
            calls |= [".call(", ".ask_for_token(", ".post("].iter().any(|word| line.contains(word));
            opens |= ["pool.begin(", "pool().begin(", ".begin_with("].iter().any(|word| line.contains(word));
        }
        finish(&name, calls, opens);
    }
    assert!(callers >= 4, "only {callers} functions call ezyVet: this test no longer recognises them");
    assert!(breaches.is_empty(), "these functions call ezyVet and begin a transaction:\n{breaches}");
}

/// Every store function that ezyVet's requests reach takes a `ClinicId`, or a row that was found by one. (`orders/overdue`, `orders/staff`
/// and `orders/stock` have stores of their own, for all clinics.)
#[test]
fn a_query_for_a_clinics_order_takes_the_clinic() {
    let sources = sources();
    let text = |is_included: &dyn Fn(&Source) -> bool| {
        let files = sources.iter().filter(|source| source.part() == "orders" && is_included(source));
        let files = files.filter(|source| !["overdue", "staff", "stock"].iter().any(|folder| source.is_under(folder)));
        files.flat_map(Source::code).map(|(_, line)| line).collect::<Vec<_>>().join("\n")
    };
    let store = text(&|source| source.is_named("store"));
    let calls = text(&|source| !source.is_named("store"));
    assert!(
        store.contains("pub struct NewOrder {") && store.contains("pub clinic: ClinicId,"),
        "a new order names its clinic"
    );
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let called: BTreeSet<String> = calls
        .match_indices("store::")
        .map(|(start, found)| &calls[start + found.len()..])
        .filter(|rest| rest[name(rest).len()..].starts_with('('))
        .map(name)
        // Reserves supplier order numbers, which belong to no clinic yet.
        .filter(|function| function != "draw_numbers")
        .collect();
    assert!(called.len() >= 5, "only {called:?} are called: this test no longer recognises them");
    for function in called {
        let start = store.find(&format!("pub async fn {function}(")).unwrap_or_else(|| panic!("no store::{function}"));
        let signature = store[start..].split("->").next().unwrap_or_default();
        assert!(
            ["ClinicId", "CachedClinic", "OrderId", "NewOrder"].iter().any(|id| signature.contains(id)),
            "takes neither a clinic nor an order: {signature}"
        );
    }
}

#[test]
fn no_unfinished_code_and_no_allow_is_left() {
    let words = ["todo!", "unimplemented!", "dbg!", "#[allow(", "#![allow("];
    only_where(
        &words,
        "no file may contain todo!, unimplemented!, dbg! or #[allow] (use #[expect] with a reason)",
        |_| false,
    );
}

#[test]
fn only_the_clock_reads_the_time() {
    let words = ["SystemTime::now", "now_utc()", "now_local()"];
    only_where(&words, "time is an argument: take `now`, or hold a `clock::Clock`", |source| source.is_named("clock"));
}

#[test]
fn top_level_modules_use_only_what_arrows_permits() {
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
        for (line, path) in source.crate_paths() {
            let Some(used) = path.get(1).map(String::as_str) else { continue };
            // The sandbox shares no code with the product, not even the base modules.
            let is_base = part != "sandbox" && BASE.contains(&used);
            if used != part && !is_base && !allowed.contains(&used) {
                let _ = writeln!(breaches, "src/{}:{line}: `{part}` uses `{used}`", source.path);
            }
        }
    }
    assert!(breaches.is_empty(), "dependencies that ARROWS (DESIGN.md 1) does not permit:\n{breaches}");
}

#[test]
fn sibling_modules_do_not_use_each_other_in_a_circle() {
    let sources = sources();
    let modules = Modules::of(&sources);
    let edges: usize = sources.iter().map(|source| modules.used_by(source).len()).sum();
    assert!(edges > 200, "only {edges} uses of modules found: this test no longer recognises them");
    let cycles = modules.cycles(&sources);
    assert!(cycles.is_empty(), "modules of one folder use each other in a circle:\n{}", cycles.join("\n\n"));
}

#[test]
fn module_names_say_what_a_module_holds() {
    let sources = sources();
    let is_vague = |source: &&Source| source.module().last().is_some_and(|name| VAGUE_NAMES.contains(&name.as_str()));
    let vague: Vec<_> = sources.iter().filter(is_vague).map(|source| &source.path).collect();
    assert!(vague.is_empty(), "use a name of the field: {vague:?}");
}

#[test]
fn no_file_exceeds_its_limit_of_lines() {
    let mut breaches = String::new();
    for source in sources() {
        let lines = source.text.lines().count();
        let max = if source.path == "main.rs" { MAX_LINES_OF_MAIN } else { MAX_LINES };
        if lines > max {
            let _ = writeln!(breaches, "src/{}: {lines} lines, at most {max}", source.path);
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
