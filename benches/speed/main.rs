//! Speed of the product against its baselines, on data, database and servers of its own: `cargo bench --bench speed`.
//! What is measured and why is in `benches/README.md`.

mod client;
mod data;
mod database;
mod import;
mod load;
mod options;
mod orders;
mod queries;
mod reads;
mod report;
mod server;
mod spread;
mod stacks;
mod stage;
mod static_body;
mod storm;
mod textbook;
mod tokens;
mod whole;

use anyhow::Context as _;
use clap::Parser;
use options::{Baseline, Options, Plan, Scenario};
use reads::Servers;
use report::{Goal, Report, Row, Section};
use spread::Spread;
use stacks::Stack;
use stage::{Market, Stage};
use std::net::TcpListener;

// As the product: baselines must not lose by their allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HUNDRED_THOUSAND: usize = 100_000;
const MILLION: usize = 1_000_000;
/// Issue 6: how much longer the median may take with ten times the products.
const GROWTH: f64 = 2.5;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    match options.baseline {
        Some(Baseline::StaticBody) => actix_web::rt::System::new().block_on(static_body::serve()),
        Some(Baseline::Textbook) => actix_web::rt::System::new().block_on(textbook::serve()),
        None => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(&options)),
    }
}

/// A baseline's listener, announced as the product does, and as many threads as the product takes.
fn listen() -> anyhow::Result<(TcpListener, usize)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    Ok((listener, std::thread::available_parallelism().map_or(2, usize::from)))
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let plan = options.plan();
    let stage = Stage::set_up(options.data_dir.as_deref()).await.context("setting up")?;
    let mut report = Report::new(options, &stage);
    let (stacks, missing) = stacks::find();
    missing.into_iter().for_each(|missing| report.leave_out(missing));
    for size in plan.sizes.clone() {
        let everything = AtSize { options, plan: &plan, stage: &stage, stacks: &stacks, size };
        if let Err(error) = everything.measure(&mut report).await {
            report.leave_out(format!("what follows at {size} products: {error:#}"));
        }
    }
    if options.wants(Scenario::H)
        && let Err(error) = import::run(&plan, &stage, &mut report).await
    {
        report.leave_out(format!("(h): {error:#}"));
    }
    report.compare_sizes(HUNDRED_THOUSAND, MILLION, GROWTH);
    println!("{}", report.markdown()?);
    report.write(options)?;
    stage.close().await
}

/// All that is measured with so many products.
struct AtSize<'a> {
    options: &'a Options,
    plan: &'a Plan,
    stage: &'a Stage,
    stacks: &'a [Stack],
    size: usize,
}

impl AtSize<'_> {
    async fn measure(&self, report: &mut Report) -> anyhow::Result<()> {
        let Self { options, plan, stage, stacks, size } = *self;
        let wants = |scenarios: &[Scenario]| scenarios.iter().any(|it| options.wants(*it));
        let is_usual = size == plan.usual_size();
        let (reads, whole) = (wants(&[Scenario::A, Scenario::B, Scenario::C, Scenario::D]), wants(&[Scenario::E]));
        if !reads && !whole && !(is_usual && wants(&[Scenario::F, Scenario::G, Scenario::J])) {
            return Ok(());
        }
        let market = stage.market(size).await?;
        let orders_copy = format!("orders_{size}");
        if is_usual && wants(&[Scenario::G]) {
            stage.copy(&market.database, &orders_copy).await?;
        }
        let mut servers = Servers::start(stage, &market, stacks, None).await?;
        memory(report, &market, &servers);
        if reads {
            tell("(a) to (d)", size, reads::run(options, plan, stage, &market, &servers, report).await, report);
        }
        if is_usual && wants(&[Scenario::J]) {
            tell("(j)", size, tokens::run(plan, &market, &servers, report).await, report);
        }
        if whole {
            servers = servers.afresh(stage, &market, stacks).await?;
            tell("(e)", size, whole::run(plan, &market, &servers, report).await, report);
        }
        if is_usual && wants(&[Scenario::F]) {
            let clinics = storm::prepare(plan, stage, &market).await?;
            servers = servers.afresh(stage, &market, &[]).await?;
            tell("(f)", size, storm::run(plan, &market, &servers, &clinics, report).await, report);
        }
        if is_usual && wants(&[Scenario::G]) {
            let measured = orders::run(plan, stage, &market, &orders_copy, &servers, report).await;
            tell("(g)", size, measured, report);
            stage.drop_database(&orders_copy).await?;
        }
        drop(servers);
        stage.drop_database(&market.database).await?;
        stage.drop_database(&market.copy).await
    }
}

/// A scenario that broke says so, and the others go on.
fn tell(scenario: &str, size: usize, measured: anyhow::Result<()>, report: &mut Report) {
    if let Err(error) = measured {
        report.leave_out(format!("{scenario} at {size} products broke: {error:#}"));
    }
}

/// What a loaded catalogue takes, by the product's own metrics and by what the process has resident.
fn memory(report: &mut Report, market: &Market, servers: &Servers) {
    let log = servers.product.log();
    let loaded = log.lines().find(|line| line.contains("catalogue loaded"));
    let seconds = loaded.and_then(|line| line.split_once("seconds=")?.1.split_whitespace().next()?.parse().ok());
    let products = market.catalogue.products;
    let resident = servers.product.process().memory();
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let per_hundred_thousand = megabytes(resident.now) * HUNDRED_THOUSAND as f64 / products as f64;
    let one = |value: f64| Some(Spread::of([value]));
    report.add(Section {
        scenario: "memory",
        title: "the product with its catalogue loaded and 200 clinics known".to_owned(),
        products,
        columns: vec!["load s", "resident MB", "MB for 100,000 products", "peak MB while loading"],
        rows: vec![Row {
            who: "product".to_owned(),
            values: vec![
                seconds.and_then(one),
                one(megabytes(resident.now)),
                one(per_hundred_thousand),
                one(megabytes(resident.peak)),
            ],
        }],
        note: "Resident memory of the whole process, argon2 and its threads included; prices of the clinics are in it."
            .to_owned(),
    });
    if let Some(most) = match products {
        HUNDRED_THOUSAND => Some(100.0),
        MILLION => Some(900.0),
        _ => None,
    } {
        report.target(
            "memory",
            format!("resident MB with {products} products"),
            Spread::of([megabytes(resident.now)]),
            Goal::AtMost(most),
        );
    }
}
