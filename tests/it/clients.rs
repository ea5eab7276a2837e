//! The main story of the staff API, played by generated clients. `.ci/clients` generates them and sets `SPSI_TEST_CLIENTS`.

use crate::support::binary::program;
use crate::support::order::documented;
use crate::support::supplier::Supplier;
use std::path::PathBuf;

/// Runs a story against a supplier whose system is asked about one order. Skips visibly if the client was not generated.
#[track_caller]
fn play(language: &str, story: &str, interpreter: &str) {
    let generated = std::env::var_os("SPSI_TEST_CLIENTS").map(PathBuf::from);
    let Some((folder, story)) = generated.map(|folder| (folder.clone(), folder.join(language).join(story))) else {
        eprintln!("skipped: no {language} client; `.ci/clients` generates it");
        return;
    };
    if !story.exists() {
        eprintln!("skipped: the {language} client could not be generated");
        return;
    }
    let interpreter = interpreter.replace("FOLDER", folder.to_str().expect("UTF-8"));
    let supplier = Supplier::start(&[]);
    let clinic = supplier.clinic_with(&["rule_ask=ask"]);
    supplier.order(&clinic, &documented("12")).expect(200);
    let key =
        supplier.run(["key", "add", "--role", "admin", "--name", "erp"])["key"].as_str().expect("a key").to_owned();
    let ended = program(&interpreter, [story.to_str().expect("UTF-8")])
        .env("SPSI_URL", supplier.url())
        .env("SPSI_KEY", &key)
        .run();
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.starts_with("SO-"), "{}", ended.stdout);
}

#[test]
fn a_generated_python_client_accepts_and_ships() {
    play("python", "story.py", "FOLDER/venv/bin/python");
}

#[test]
fn a_generated_typescript_client_accepts_and_ships() {
    play("node", "story.js", "node");
}
