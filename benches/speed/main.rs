//! Speed of the product against its baselines, on data, database and servers of its own: `cargo bench --bench speed`.
//! What is measured and why is in `benches/README.md`.

mod client;
mod data;
mod database;
mod import;
mod load;
mod memory;
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
use options::{Baseline, Options, Plan, Scenario, USUAL_SIZE};
use reads::Servers;
use report::Report;
use stacks::Stack;
use stage::Stage;
use std::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

// As the product: baselines must not lose by their allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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

/// Interrupted, it leaves neither servers nor databases behind.
async fn run(options: &Options) -> anyhow::Result<()> {
    let stage = Stage::set_up(options.data_dir.as_deref()).await.context("setting up")?;
    let mut terminated = signal(SignalKind::terminate())?;
    let measured = tokio::select! {
        measured = measure(options, &stage) => measured,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        _ = terminated.recv() => Err(anyhow::anyhow!("terminated")),
    };
    stage.close().await?;
    measured
}

async fn measure(options: &Options, stage: &Stage) -> anyhow::Result<()> {
    let plan = options.plan();
    let mut report = Report::new(options, stage);
    let (stacks, missing) = stacks::find();
    missing.into_iter().for_each(|missing| report.leave_out(missing));
    for size in plan.sizes.clone() {
        let everything = AtSize { options, plan: &plan, stage, stacks: &stacks, size };
        if let Err(error) = everything.measure(&mut report).await {
            report.leave_out(format!("what follows at {size} products: {error:#}"));
        }
    }
    if options.wants(Scenario::H)
        && let Err(error) = import::run(&plan, stage, &mut report).await
    {
        report.leave_out(format!("(h): {error:#}"));
    }
    report.compare_sizes(USUAL_SIZE, MILLION, GROWTH);
    println!("{}", report.markdown()?);
    report.write(options)
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
        let others = is_usual && wants(&[Scenario::F, Scenario::G, Scenario::J]);
        if !(reads || whole || others) {
            return Ok(());
        }
        let market = stage.market(size).await?;
        let orders_copy = format!("orders_{size}");
        if is_usual && wants(&[Scenario::G]) {
            stage.copy(&market.database, &orders_copy).await?;
        }
        let mut servers = Servers::start(stage, &market, stacks, None).await?;
        tell("memory", size, memory::run(&market, &servers, report).await, report);
        if reads {
            tell("(a) to (d)", size, reads::run(options, plan, stage, &market, &servers, report).await, report);
        }
        if is_usual && wants(&[Scenario::J]) {
            tell("(j)", size, tokens::run(plan, &market, &servers, report).await, report);
        }
        if whole {
            // Whole answers of a million products are more than the stacks can hold.
            let able = if size > USUAL_SIZE { &[] } else { stacks };
            for stack in stacks.iter().skip(able.len()) {
                report.leave_out(format!(
                    "(e) {} at {size} products: its answers do not fit into its memory",
                    stack.name
                ));
            }
            servers = servers.afresh(stage, &market, able).await?;
            tell("(e)", size, whole::run(plan, &market, &servers, report).await, report);
        }
        if is_usual && wants(&[Scenario::F]) {
            let clinics = storm::prepare(plan, stage, &market).await?;
            servers = servers.afresh(stage, &market, &[]).await?;
            tell("(f)", size, storm::run(plan, &market, &servers, &clinics, report).await, report);
        }
        if is_usual && wants(&[Scenario::G]) {
            orders::prepare(stage, &market).await?;
            servers = servers.afresh(stage, &market, &[]).await?;
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
