//! Memory and start of the product with a loaded catalogue: its own metrics, its resident memory, and the time until
//! `/readyz` answers 200.

use crate::client::{Connection, get};
use crate::environment::Dataset;
use crate::options::USUAL_SIZE;
use crate::reads::Servers;
use crate::report::{Goal, Report, Row, Section};
use crate::statistics::Spread;
use anyhow::Context as _;

const MEGABYTE: f64 = 1e6;
/// At most this much memory while loading, as a multiple of the snapshot.
const MAX_LOADING_MEMORY: f64 = 1.2;

pub async fn run(dataset: &Dataset, servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    let mut connection = Connection::open(servers.product.address).await?;
    let (_, metrics) = connection.fetch(&get("/metrics", "", false)).await?;
    let metrics = String::from_utf8(metrics)?;
    let gauge = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<f64>().ok()).with_context(|| format!("no metric {name}"))
    };
    let load_seconds = gauge("spsi_catalog_load_duration_seconds")?;
    let snapshot_bytes = gauge("spsi_catalog_snapshot_bytes")?;
    let products = dataset.catalogue.products;
    let start = &servers.product_start;
    let loading_memory = Spread::of([start.memory.peak as f64 / snapshot_bytes]);
    let columns = [
        ("seconds until ready", start.ready_after.as_secs_f64()),
        ("load s", load_seconds),
        ("snapshot MB", snapshot_bytes / MEGABYTE),
        ("snapshot MB for 100,000", snapshot_bytes / MEGABYTE * USUAL_SIZE as f64 / products as f64),
        ("resident MB", start.memory.now as f64 / MEGABYTE),
        ("peak MB while loading", start.memory.peak as f64 / MEGABYTE),
        ("peak MB while loading, times the snapshot", loading_memory.median),
        ("resident MB after 200 tokens", servers.product.process().memory().now as f64 / MEGABYTE),
    ];
    report.add(Section {
        scenario: "memory",
        title: "the product with its catalogue loaded".to_owned(),
        products,
        columns: columns.map(|(name, _)| name).into(),
        rows: vec![Row {
            who: "product".to_owned(),
            values: columns.map(|(_, value)| Some(Spread::of([value]))).into(),
        }],
        note: "Ready: from the start of the process until `/readyz` answers 200. Snapshot: as the product counts it. \
               Resident and peak: the whole process, with the contract prices of 200 clinics."
            .to_owned(),
    });
    if products >= USUAL_SIZE {
        let max = if products > USUAL_SIZE { 900.0 } else { 100.0 };
        let snapshot = Spread::of([snapshot_bytes / MEGABYTE]);
        report.target("memory", format!("MB of a snapshot of {products} products"), snapshot, Goal::AtMost(max));
    }
    // With fewer products the rest of the process needs about as much memory as the snapshot.
    if products > USUAL_SIZE {
        let text = format!("peak MB while loading {products} products, times the snapshot");
        report.target("memory", text, loading_memory, Goal::AtMost(MAX_LOADING_MEMORY));
    }
    Ok(())
}
