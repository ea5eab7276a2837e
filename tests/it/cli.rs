//! The command line as people and scripts use it (DESIGN.md 3).

use crate::support::binary::{CommandOutput, spsi};
use crate::support::order::documented;
use crate::support::supplier::{CATALOGUE, Supplier};
use serde_json::Value;

const HEADER: &str = "code,name,type,category,units_per_outer,unit_of_measure,list_price";

fn refused(ended: &CommandOutput, words: &[&str]) {
    assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stdout, "", "nothing on standard output");
    assert!(ended.stderr.contains("error:"), "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "`{word}` is missing: {}", ended.stderr);
    }
}

#[test]
fn wrong_usage_exits_with_2_and_names_the_valid_usage() {
    for arguments in [
        &["nonsense"][..],
        &["serve", "--no-such-flag"],
        &["clinic"],
        &["clinic", "add"],
        &["clinic", "set", "1"],
        &["catalog", "import"],
        &["order", "decline", "SO-1"],
        &["order", "list", "--state", "nonsense"],
        &["--output", "yaml", "clinic", "list"],
        &["serve", "--bind", "nonsense"],
        &[],
    ] {
        let ended = spsi(arguments).run();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("--help") || ended.stderr.contains("Usage"), "{arguments:?}: {}", ended.stderr);
    }
    let setting = spsi(["clinic", "list"]).env("SPSI_DECLINE_ANSWER", "teapot").run();
    assert_eq!(setting.code, Some(2), "{}", setting.stderr);
    assert!(setting.stderr.contains("teapot") && setting.stderr.contains("422"), "{}", setting.stderr);
}

#[test]
fn help_and_version_go_to_standard_output() {
    for arguments in [&["--help"][..], &["--version"], &["clinic", "--help"], &["catalog", "import", "--help"]] {
        let ended = spsi(arguments).run();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(!ended.stdout.is_empty());
    }
}

#[test]
fn the_help_of_serve_lists_every_setting_with_its_variable_and_default() {
    let help = spsi(["serve", "--help"]).run().stdout;
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (variable, default) in [
        ("SPSI_BIND", "127.0.0.1:8080"),
        ("SPSI_TOKEN_TTL", "8h"),
        ("SPSI_CALL_TIMEOUT", "30s"),
        ("SPSI_LEASE", "60s"),
        ("SPSI_RETRY_BASE", "5s"),
        ("SPSI_RETRY_MAX", "1h"),
        ("SPSI_UNCLEAR_WAIT", "15m"),
        ("SPSI_RECEIPT_POLL", "15m"),
        ("SPSI_RATE_PER_ENDPOINT", "60"),
        ("SPSI_RATE_PER_SITE", "180"),
        ("SPSI_RATE_WINDOW", "60s"),
        ("SPSI_DECLINE_ANSWER", "422"),
        ("SPSI_PRICE_BASIS", "unit"),
        ("SPSI_MISSING_CONTRACT_PRICE", "list"),
        ("SPSI_BARCODE", "auto"),
        ("SPSI_WITHDRAWN_FOR", "90d"),
        ("SPSI_FREIGHT_TAX", "percent"),
        ("SPSI_JOB_TYPE", "ReceiveInvoice"),
    ] {
        let expected = format!("[env: {variable}] [default: {default}]");
        assert!(words.contains(&expected), "{expected} is missing");
    }
    for variable in [
        "DATABASE_URL",
        "SPSI_DATA_DIR",
        "SPSI_BASE_PATH",
        "SPSI_PUBLIC_URL",
        "SPSI_ENCRYPTION_KEYS",
        "SPSI_TOKEN_KEYS",
        "SPSI_METRICS_BIND",
        "SPSI_LOG",
    ] {
        assert!(words.contains(&format!("[env: {variable}]")), "{variable} is missing");
    }
    let secret = spsi(["serve", "--help"]).env("DATABASE_URL", "postgres://u:hunter2@h/d").run();
    assert!(!secret.stdout.contains("hunter2"), "help shows no values of the environment");
}

#[test]
fn lists_are_complete_in_json_and_csv_and_readable_as_tables() {
    let supplier = Supplier::start(&[]);
    let clinics = [supplier.clinic(), supplier.clinic()];
    let rows = supplier.run(["clinic", "list"]);
    let ids: Vec<String> = rows.as_array().expect("a list").iter().map(|row| row["id"].to_string()).collect();
    assert_eq!(ids, [clinics[0].id.clone(), clinics[1].id.clone()]);
    assert!(rows.as_array().expect("a list").iter().all(|row| row["state"] == "active"), "{rows}");
    let csv = supplier.spsi(["clinic", "list", "--output", "csv"]).run().stdout;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let columns: Vec<String> = reader.headers().expect("a header").iter().map(str::to_owned).collect();
    let keys: Vec<&String> = rows[0].as_object().expect("an object").keys().collect();
    assert_eq!(columns.iter().collect::<Vec<_>>(), keys);
    assert_eq!(reader.records().count(), 2);
    let table = supplier.spsi(["clinic", "list"]).run().stdout;
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.starts_with("id") && table.contains(&clinics[1].client_id), "{table}");
    for noun in [&["order", "list"][..], &["catalog", "list"], &["db", "status"]] {
        assert!(supplier.run(noun.iter().copied()).is_array(), "{noun:?}");
    }
    let empty = supplier.spsi(["order", "list", "--output", "json"]).run();
    assert_eq!((empty.stdout.trim(), empty.stderr.as_str()), ("[]", ""));
    assert!(!rows.to_string().contains(&clinics[0].client_secret), "a secret is shown once");
}

#[test]
fn data_goes_to_standard_output_and_logs_to_standard_error() {
    let supplier = Supplier::start(&[("SPSI_LOG", "debug")]);
    let ended = supplier.spsi(["clinic", "list", "--output", "json"]).run();
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).expect("JSON alone"), serde_json::json!([]));
    assert!(!ended.stderr.is_empty(), "debug logs");
    let export = supplier.spsi(["catalog", "export"]).run();
    assert!(export.stdout.starts_with("code,name,"), "{}", export.stdout);
}

#[test]
fn unknown_subjects_and_invalid_values_are_refused_with_1() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let run = |arguments: &[&str]| supplier.spsi(arguments.iter().copied()).run();
    refused(&run(&["clinic", "show", "nobody"]), &["nobody", "spsi clinic list"]);
    refused(&run(&["clinic", "suspend", "999999"]), &["999999"]);
    refused(&run(&["clinic", "set", &clinic.id, "nonsense=1"]), &["nonsense", "decline_answer"]);
    refused(&run(&["clinic", "set", &clinic.id, "decline_answer=teapot"]), &["teapot", "422"]);
    refused(&run(&["clinic", "set", &clinic.id, "nonsense"]), &["KEY=VALUE"]);
    refused(&run(&["clinic", "set", &clinic.id, "barcode=string", "price_basis=box"]), &["box"]);
    let all = ["clinic", "set", &clinic.id, "nonsense", "on_hold=maybe", "tax_rate=x", "site=nowhere", "barcode=b"];
    refused(&run(&all), &["KEY=VALUE", "maybe", "percentage", "nowhere", "`b`"]);
    let shown = supplier.run(["clinic", "show", &clinic.id]);
    assert_eq!(shown["settings"], serde_json::json!({}), "all or nothing: {shown}");
    refused(&run(&["clinic", "add", "--name", " "]), &["name"]);
    refused(&run(&["clinic", "add", "--name", "X", "--site", "nowhere"]), &["nowhere"]);
    refused(&run(&["clinic", "add", "--name", "Taken", "--client-id", &clinic.client_id]), &[&clinic.client_id]);
    refused(&run(&["order", "show", "SO-NONE"]), &["SO-NONE"]);
    refused(&run(&["catalog", "import", "/no/such/file.csv"]), &["/no/such/file.csv"]);
}

#[test]
fn a_catalogue_with_errors_is_refused_with_every_row_and_changes_nothing() {
    let supplier = Supplier::start(&[]);
    let before = supplier.run(["catalog", "list"]);
    let bad = format!(
        "{HEADER}\nGOOD,Good,t,c,1,box,1\n,No code,t,c,1,box,1\nB1,Bad units,t,c,0,box,1\nB2,Bad price,t,c,1,box,cheap\nGOOD,Twice,t,c,1,box,1\n"
    );
    let file = supplier.file("bad.csv", bad);
    let ended = supplier.spsi(["catalog", "import", file.to_str().expect("UTF-8"), "--allow-withdrawals"]).run();
    refused(&ended, &["3", "code", "4", "units_per_outer", "5", "list_price", "cheap", "6", "GOOD"]);
    assert_eq!(supplier.run(["catalog", "list"]), before);
    let headless = supplier.file("headless.csv", "code,name\nA,B\n");
    let ended = supplier.spsi(["catalog", "import", headless.to_str().expect("UTF-8")]).run();
    refused(&ended, &["units_per_outer", "list_price"]);
    let few = supplier.file("few.csv", format!("{HEADER}\nBND,2m-bandage,medication,consumable,1,box,2\n"));
    let ended = supplier.spsi(["catalog", "import", few.to_str().expect("UTF-8")]).run();
    refused(&ended, &["--allow-withdrawals"]);
    assert_eq!(supplier.run(["catalog", "list"]), before);
    let dry = supplier.run(["catalog", "import", few.to_str().expect("UTF-8"), "--allow-withdrawals", "--dry-run"]);
    assert!(dry.is_object(), "{dry}");
    assert_eq!(supplier.run(["catalog", "list"]), before);
}

#[test]
fn the_export_is_read_back_as_the_same_catalogue() {
    let supplier = Supplier::start(&[]);
    let exported = supplier.spsi(["catalog", "export"]).run().stdout;
    let before = supplier.run(["catalog", "list"]);
    let ended = supplier.import(&exported);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(supplier.run(["catalog", "list"]), before);
    assert_eq!(before.as_array().map(Vec::len), Some(CATALOGUE.lines().count() - 1));
}

#[test]
fn key_generate_prints_lines_for_the_environment() {
    let ended = spsi(["key", "generate", "--output", "json"]).run();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let keys: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let keys = keys.as_object().expect("an object");
    assert_eq!(keys.keys().collect::<Vec<_>>(), ["SPSI_ENCRYPTION_KEYS", "SPSI_TOKEN_KEYS"]);
    for ring in keys.values() {
        let (id, key) = ring.as_str().expect("a text").split_once(':').expect("id:base64");
        assert!(!id.is_empty() && key.len() == 44, "{ring}");
    }
    let again = spsi(["key", "generate", "--output", "json"]).run();
    assert_ne!(again.stdout, ended.stdout);
    let lines = spsi(["key", "generate"]).run().stdout;
    assert!(lines.starts_with("SPSI_ENCRYPTION_KEYS=") && lines.contains("\nSPSI_TOKEN_KEYS="), "{lines}");
    refused(&spsi(["key", "rotate"]).run(), &["SPSI_ENCRYPTION_KEYS"]);
}

#[test]
fn a_server_with_a_given_database_requires_keys() {
    let supplier = Supplier::shared();
    for missing in ["SPSI_ENCRYPTION_KEYS", "SPSI_TOKEN_KEYS"] {
        let mut program = spsi(["serve", "--bind", "127.0.0.1:0"]).env("DATABASE_URL", supplier.database.url());
        let keys: Value =
            serde_json::from_str(&spsi(["key", "generate", "--output", "json"]).run().stdout).expect("JSON");
        for (name, ring) in keys.as_object().expect("an object").iter().filter(|(name, _)| *name != missing) {
            program = program.env(name, ring.as_str().expect("a text"));
        }
        refused(&program.run(), &[missing, "spsi key generate"]);
    }
    let bad = supplier.spsi(["clinic", "list"]).env("SPSI_TOKEN_KEYS", "a:short").run();
    assert_eq!(bad.code, Some(2), "{}", bad.stderr);
    assert!(bad.stderr.contains("SPSI_TOKEN_KEYS"), "{}", bad.stderr);
    assert!(!bad.stderr.contains("a:short"), "a key is not repeated: {}", bad.stderr);
}

#[test]
fn without_postgres_the_error_names_the_missing_programs_and_the_setting() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let ended = spsi(["clinic", "list"]).env("SPSI_DATA_DIR", &data).env("SPSI_PG_BIN_DIR", "/nonexistent").run();
    refused(&ended, &["/nonexistent", "SPSI_PG_BIN_DIR"]);
    let away = spsi(["clinic", "list"]).env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing");
    let keys: Value = serde_json::from_str(&spsi(["key", "generate", "--output", "json"]).run().stdout).expect("JSON");
    let away = keys
        .as_object()
        .expect("an object")
        .iter()
        .fold(away, |program, (name, ring)| program.env(name, ring.as_str().expect("a text")));
    let ended = away.env("SPSI_DB_TIMEOUT", "500ms").run();
    refused(&ended, &[]);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[test]
fn a_second_server_at_the_same_address_fails_with_a_hint() {
    let supplier = Supplier::shared();
    let address = supplier.url().strip_prefix("http://").expect("an address");
    let ended = supplier.spsi(["serve", "--bind", address]).run();
    refused(&ended, &[address, "hint:", "--bind"]);
}

#[test]
fn orders_are_found_by_state_clinic_and_text() {
    let supplier = Supplier::start(&[]);
    let (one, other) = (supplier.clinic(), supplier.clinic_with(&["on_hold=true"]));
    supplier.order(&one, &documented("1")).expect(200);
    supplier.order(&other, &documented("2")).expect(200);
    let count = |filter: &[&str]| {
        let rows = supplier.run(["order", "list"].iter().chain(filter).copied());
        rows.as_array().expect("a list").len()
    };
    assert_eq!(count(&[]), 2);
    assert_eq!(count(&["--state", "held"]), 1);
    assert_eq!(count(&["--attention"]), 1);
    assert_eq!(count(&["--clinic", &one.client_id]), 1);
    assert_eq!(count(&["--text", "15002"]), 1);
    assert_eq!(count(&["--product", "TP1"]), 2);
    assert_eq!(count(&["--product", "BND"]), 0);
}

/// Runs `spsi` with its output going to a pipe that nobody reads, as `spsi ... | true` does.
fn run_without_reader(database: &str, arguments: &[&str], close_stderr: bool) -> (Option<i32>, String) {
    let (reader, output) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_spsi"));
    let pooling = std::env::vars_os().filter(|(name, _)| name == "SPSI_DB_POOLING");
    command.args(arguments).env_clear().envs(pooling).env("DATABASE_URL", database).stdin(std::process::Stdio::null());
    if close_stderr {
        command.stderr(output.try_clone().expect("a pipe"));
    } else {
        command.stderr(std::process::Stdio::piped());
    }
    let ended = command.stdout(output).spawn().and_then(std::process::Child::wait_with_output).expect("spsi runs");
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[test]
fn a_closed_pipe_ends_every_command_quietly_with_its_own_exit_code() {
    let supplier = Supplier::start(&[]);
    supplier.clinic();
    let catalogue = supplier.file("catalogue.csv", CATALOGUE);
    let catalogue = catalogue.to_str().expect("UTF-8");
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["serve", "--help"], 0),
        (&["doctor"], 0),
        (&["openapi", "print"], 0),
        (&["key", "generate"], 0),
        (&["db", "status"], 0),
        (&["clinic", "list"], 0),
        (&["clinic", "show", "1"], 0),
        (&["catalog", "list", "--output", "csv"], 0),
        (&["catalog", "export"], 0),
        (&["catalog", "import", catalogue, "--dry-run"], 0),
        (&["audit", "list", "--output", "json"], 0),
        (&["order", "list"], 0),
        (&["order", "show", "SO-NONE"], 1),
        (&["nonsense"], 2),
    ] {
        for close_stderr in [false, true] {
            let (ended, stderr) = run_without_reader(supplier.database.url(), arguments, close_stderr);
            assert_eq!(ended, Some(code), "{arguments:?}, stderr closed: {close_stderr}: {stderr}");
            assert!(!stderr.contains("panicked") && !stderr.contains("ipe"), "{arguments:?}: {stderr}");
        }
    }
}

#[test]
fn the_audit_names_the_login_and_host_or_the_given_actor() {
    let supplier = Supplier::start(&[]);
    let login =
        nix::unistd::User::from_uid(nix::unistd::getuid()).expect("the password database").expect("a user").name;
    let host = nix::unistd::gethostname().expect("a host name").into_string().expect("UTF-8");
    let add = |name: &'static str| supplier.spsi(["clinic", "add", "--name", name]);
    assert_eq!(add("one").run().code, Some(0));
    assert_eq!(add("two").env("SUDO_USER", "anna").run().code, Some(0));
    assert_eq!(add("three").env("SPSI_ACTOR", "erp").run().code, Some(0));
    let flag = supplier.spsi(["clinic", "add", "--name", "four", "--actor", "night shift"]).env("SPSI_ACTOR", "erp");
    assert_eq!(flag.run().code, Some(0));
    let entries = supplier.run(["audit", "list", "--limit", "4"]);
    let actors: Vec<_> = entries.as_array().expect("a list").iter().map(|entry| entry["actor"].clone()).collect();
    let expected =
        ["cli:night shift".to_owned(), "cli:erp".into(), format!("cli:anna@{host}"), format!("cli:{login}@{host}")];
    assert_eq!(actors, expected);
}

#[test]
fn tables_show_local_time_to_the_second_and_json_and_csv_stay_utc() {
    let supplier = Supplier::start(&[]);
    let clinic = supplier.clinic();
    let run = |arguments: &[&str]| supplier.spsi(arguments.iter().copied()).env("TZ", "<+0545>-5:45").run().stdout;
    let table = run(&["audit", "list"]);
    assert!(table.lines().nth(1).is_some_and(|line| line.contains(" +05:45 ")), "{table}");
    let record = run(&["clinic", "show", &clinic.id]);
    assert!(record.lines().any(|line| line.starts_with("created_at") && line.ends_with(" +05:45")), "{record}");
    for format in ["json", "csv"] {
        let output = run(&["audit", "list", "--output", format]);
        assert!(output.contains('Z') && !output.contains("+05:45"), "{output}");
    }
}

#[test]
fn the_demo_ships_whole_packs_and_reports_what_was_delivered() {
    // Only the demo's own worker has the short waits that the demo needs.
    let supplier = Supplier::start(&[("SPSI_ROLE", "api")]);
    let demo = supplier.spsi(["demo", "--once", "--bind", "127.0.0.1:0"]).run();
    assert_eq!(demo.code, Some(0), "{}{}", demo.stdout, demo.stderr);
    let last = demo.stdout.trim_end().lines().last().unwrap_or_default();
    // Without python3, the demo leaves out the ERP with its order.
    let expected = ["1 order, 2 shipments, 2 invoices", "2 orders, 3 shipments, 3 invoices"]
        .map(|counts| format!("Done: {counts}, each delivered exactly once."));
    assert!(expected.contains(&last.to_owned()), "{last}");
    let products = supplier.run(["catalog", "list"]);
    let pack_of = |code: &Value| {
        let product = products.as_array().expect("a list").iter().find(|product| &product["code"] == code);
        product.expect("a shipped product is in the catalogue")["units_per_outer"].clone()
    };
    let number =
        |value: &Value| value.to_string().trim_matches('"').parse::<rust_decimal::Decimal>().expect("a number");
    let mut batches = 0;
    for shipment in supplier.run(["shipment", "list"]).as_array().expect("a list") {
        let shipment = supplier.run(["shipment", "show", &shipment["id"].to_string()]);
        for line in shipment["lines"].as_array().expect("lines") {
            let (quantity, pack) = (number(&line["quantity"]), number(&pack_of(&line["supplier_code"])));
            assert!((quantity % pack).is_zero(), "{line} splits a pack of {pack}");
            batches += usize::from(line["batch"] != "" && !line["batch"].is_null());
        }
    }
    assert!(batches >= 3, "the first parcel has goods of three batches");
}
