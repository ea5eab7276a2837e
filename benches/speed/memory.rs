//! What a loaded catalogue takes: by the product's own metrics, and by what the process has resident.

use crate::client::{Connection, get};
use crate::options::USUAL_SIZE;
use crate::reads::Servers;
use crate::report::{Goal, Report, Row, Section};
use crate::spread::Spread;
use crate::stage::Market;
use anyhow::Context as _;

pub async fn run(market: &Market, servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    let mut connection = Connection::open(servers.product.address).await?;
    let (_, metrics) = connection.fetch(&get("/metrics", "", false)).await?;
    let metrics = String::from_utf8(metrics)?;
    let gauge = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<f64>().ok()).with_context(|| format!("no metric {name}"))
    };
    let (seconds, snapshot) =
        (gauge("spsi_catalog_load_duration_seconds")?, gauge("spsi_catalog_snapshot_bytes")? / 1e6);
    let products = market.catalogue.products;
    let (resident, peak) = (servers.loaded.now as f64 / 1e6, servers.loaded.peak as f64 / 1e6);
    let with_tokens = servers.product.process().memory().now as f64 / 1e6;
    let values = [seconds, snapshot, snapshot * USUAL_SIZE as f64 / products as f64, resident, peak, with_tokens];
    report.add(Section {
        scenario: "memory",
        title: "the product with its catalogue loaded".to_owned(),
        products,
        columns: vec![
            "load s",
            "snapshot MB",
            "snapshot MB for 100,000",
            "resident MB",
            "peak MB while loading",
            "resident MB after 200 tokens",
        ],
        rows: vec![Row { who: "product".to_owned(), values: values.map(|value| Some(Spread::of([value]))).into() }],
        note:
            "Snapshot: as the product counts it. Resident: the whole process, contract prices of 200 clinics included."
                .to_owned(),
    });
    let most = if products > USUAL_SIZE { 900.0 } else { 100.0 };
    if products >= USUAL_SIZE {
        report.target(
            "memory",
            format!("MB of a snapshot of {products} products"),
            Spread::of([snapshot]),
            Goal::AtMost(most),
        );
    }
    Ok(())
}
