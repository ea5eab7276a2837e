//! Scenario (h): a catalogue into an empty database, by the product and by the bare statements.

use crate::data::Catalogue;
use crate::options::{Plan, Scenario};
use crate::report::{Goal, Report, Row, Section};
use crate::server::{Memory, Process};
use crate::spread::Spread;
use crate::stage::Stage;
use anyhow::{Context as _, ensure};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
const GOAL: f64 = 0.5;
const EMPTY: &str = "import_empty";
const SQL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/sql/import.sql");

/// The product, then psql with the bare statements.
pub async fn run(plan: &Plan, stage: &Stage, report: &mut Report) -> anyhow::Result<()> {
    let rows = plan.import_rows;
    let file = stage.file("import.csv");
    // The fourteen columns that the bare statements know.
    let mut catalogue = Catalogue::new(rows)?;
    catalogue.has_restrictions = false;
    catalogue.write_products(&file)?;
    stage.migrated(EMPTY).await?;
    let missing = missing();
    if let Some(missing) = &missing {
        report.leave_out(format!("({:?}) the bare COPY and merge: {missing}", Scenario::H));
    }
    let (mut product, mut by_hand, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let arguments = ["catalog".as_ref(), "import".as_ref(), file.as_os_str()];
        let (took, memory) =
            timed(stage, rows, |database| stage.command(database, arguments)).await.context("spsi catalog import")?;
        product.push(rows as f64 / took.as_secs_f64());
        peaks.push(memory.peak as f64 / 1e6);
        if missing.is_none() {
            let (took, _) = timed(stage, rows, |database| psql(stage, database, &file)).await.context("psql")?;
            by_hand.push(rows as f64 / took.as_secs_f64());
        }
    }
    stage.drop_database(EMPTY).await?;
    let ratio = Spread::of(product.iter().zip(&by_hand).map(|(one, other)| one / other));
    let row = |who: &str, rates: &[f64], memory: Option<Spread>, ratio| Row {
        who: who.to_owned(),
        values: vec![Some(Spread::of(rates.iter().copied())), memory, ratio],
    };
    let mut table = vec![row("product", &product, Some(Spread::of(peaks.iter().copied())), Some(Spread::of([1.0])))];
    if missing.is_none() {
        table.push(row("COPY and merge by psql", &by_hand, None, Some(ratio)));
        report.target("h", "rate of an import, times the bare COPY and merge", ratio, Goal::AtLeast(GOAL));
    }
    let columns = vec!["rows/s", "peak MB memory", "product is x times"];
    let title = format!("import of {rows} rows into an empty database");
    report.add(Section { scenario: "h", title, products: rows, columns, rows: table, note: String::new() });
    Ok(())
}

fn missing() -> Option<String> {
    if !Path::new(SQL).exists() {
        return Some(format!("{SQL} is not there"));
    }
    Command::new("psql").arg("--version").output().err().map(|error| format!("psql cannot be run: {error}"))
}

fn psql(stage: &Stage, database: &str, file: &Path) -> Command {
    let mut command = Command::new("psql");
    command
        .args(["-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-f", SQL, "-d", database, "-h"])
        .arg(stage.socket_dir());
    command.arg("-v").arg(format!("file={}", file.display()));
    command
}

/// Runs a command on a fresh database, and checks that the rows are there then.
async fn timed(stage: &Stage, rows: usize, command: impl Fn(&str) -> Command) -> anyhow::Result<(Duration, Memory)> {
    let database = "import_target";
    stage.copy(EMPTY, database).await?;
    let said = stage.file("import.log");
    let began = Instant::now();
    let child =
        command(database).stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&said)?).spawn()?;
    let mut process = Process::new(child);
    let mut memory = Memory::default();
    let status = loop {
        // A process that has ended has no memory any more.
        let seen = process.memory();
        memory.peak = memory.peak.max(seen.peak);
        if let Some(status) = process.child().try_wait()? {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let took = began.elapsed();
    ensure!(status.success(), "{status}: {}", std::fs::read_to_string(&said)?);
    let pool = stage.pool(database).await?;
    let stored: i64 = sqlx::query_scalar("select count(*) from product").fetch_one(&pool).await?;
    pool.close().await;
    ensure!(stored == rows as i64, "{stored} rows are stored");
    stage.drop_database(database).await?;
    Ok((took, memory))
}
