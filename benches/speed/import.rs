//! Scenario (h): import of a catalogue into an empty database, by the product and by plain SQL.

use crate::data::Catalogue;
use crate::environment::Environment;
use crate::options::{Plan, Scenario};
use crate::report::{Goal, Report, Row, Section};
use crate::server::{Memory, Process};
use crate::statistics::Spread;
use anyhow::{Context as _, ensure};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
const GOAL: f64 = 0.5;
const EMPTY: &str = "import_empty";
const SQL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/sql/import.sql");

/// Measures the product and psql with `benches/sql/import.sql` in turn.
pub async fn run(plan: &Plan, environment: &Environment, report: &mut Report) -> anyhow::Result<()> {
    let rows = plan.import_rows;
    let file = environment.file("import.csv");
    // `benches/sql/import.sql` knows fourteen columns, without this one.
    let mut catalogue = Catalogue::new(rows)?;
    catalogue.has_restrictions = false;
    catalogue.write_products(&file)?;
    environment.migrated(EMPTY).await?;
    let missing = missing();
    if let Some(missing) = &missing {
        report.leave_out(format!("({:?}) COPY and merge by psql: {missing}", Scenario::H));
    }
    let (mut product, mut baseline, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let arguments = ["catalog".as_ref(), "import".as_ref(), file.as_os_str()];
        let (took, memory) = timed(environment, rows, |database| environment.command(database, arguments))
            .await
            .context("spsi catalog import")?;
        product.push(rows as f64 / took.as_secs_f64());
        peaks.push(memory.peak as f64 / 1e6);
        if missing.is_none() {
            let (took, _) =
                timed(environment, rows, |database| psql(environment, database, &file)).await.context("psql")?;
            baseline.push(rows as f64 / took.as_secs_f64());
        }
    }
    environment.drop_database(EMPTY).await?;
    let ratio = Spread::of(product.iter().zip(&baseline).map(|(one, other)| one / other));
    let row = |who: &str, rates: &[f64], memory: Option<Spread>, ratio| Row {
        who: who.to_owned(),
        values: vec![Some(Spread::of(rates.iter().copied())), memory, ratio],
    };
    let mut table = vec![row("product", &product, Some(Spread::of(peaks.iter().copied())), Some(Spread::of([1.0])))];
    if missing.is_none() {
        table.push(row("COPY and merge by psql", &baseline, None, Some(ratio)));
        report.target("h", "rate of an import, times COPY and merge by psql", ratio, Goal::AtLeast(GOAL));
    }
    let columns = vec!["rows/s", "peak MB memory", "product is x times"];
    let title = format!("import of {rows} rows into an empty database");
    report.add(Section { scenario: "h", title, products: rows, columns, rows: table, note: String::new() });
    Ok(())
}

fn missing() -> Option<String> {
    if !Path::new(SQL).exists() {
        return Some(format!("{SQL} does not exist"));
    }
    Command::new("psql").arg("--version").output().err().map(|error| format!("psql cannot be run: {error}"))
}

fn psql(environment: &Environment, database: &str, file: &Path) -> Command {
    let mut command = Command::new("psql");
    command
        .args(["-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-f", SQL, "-d", database, "-h"])
        .arg(environment.socket_dir());
    command.arg("-v").arg(format!("file={}", file.display()));
    command
}

/// Runs a command on a new empty database and checks that it stored all rows. Returns its duration and peak memory.
async fn timed(
    environment: &Environment,
    rows: usize,
    command: impl Fn(&str) -> Command,
) -> anyhow::Result<(Duration, Memory)> {
    let database = "import_target";
    environment.copy(EMPTY, database).await?;
    let log = environment.file("import.log");
    let began = Instant::now();
    let child =
        command(database).stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log)?).spawn()?;
    let mut process = Process::new(child);
    let mut memory = Memory::default();
    let status = loop {
        // Read before `try_wait`: the kernel reports no memory of a process that has ended.
        memory.peak = memory.peak.max(process.memory().peak);
        if let Some(status) = process.child().try_wait()? {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let took = began.elapsed();
    ensure!(status.success(), "{status}: {}", std::fs::read_to_string(&log)?);
    let pool = environment.pool(database).await?;
    let stored: i64 = sqlx::query_scalar("select count(*) from product").fetch_one(&pool).await?;
    pool.close().await;
    ensure!(stored == rows as i64, "{stored} rows are stored");
    environment.drop_database(database).await?;
    Ok((took, memory))
}
