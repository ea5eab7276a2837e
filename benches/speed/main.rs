//! Speed of the product compared with its baselines: `cargo bench --bench speed`. `docs/benchmarks.md` says what is
//! measured and how. Data, database and servers are the bench's own.

mod client;
mod data;
mod database;
mod environment;
mod import;
mod load;
mod memory;
mod options;
mod order_list;
mod orders;
mod pages;
mod queries;
mod reads;
mod report;
mod server;
mod stacks;
mod static_body;
mod statistics;
mod storm;
mod textbook;
mod tokens;
mod whole_catalogue;

use anyhow::Context as _;
use clap::Parser;
use environment::Environment;
use options::{Baseline, Options, Plan, Scenario, USUAL_SIZE};
use reads::Servers;
use report::Report;
use stacks::Stack;
use std::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

// The product's allocator: a baseline must not be slower because of another one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MILLION: usize = 1_000_000;
/// At most this many times the median latency with ten times the products (issue 6).
const MAX_GROWTH: f64 = 2.5;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    match options.baseline {
        Some(Baseline::StaticBody) => actix_web::rt::System::new().block_on(static_body::serve()),
        Some(Baseline::Textbook) => actix_web::rt::System::new().block_on(textbook::serve()),
        None => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(&options)),
    }
}

/// Opens a baseline's listener and announces it as the product does. Returns it with the product's number of threads.
fn listen() -> anyhow::Result<(TcpListener, usize)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    Ok((listener, std::thread::available_parallelism().map_or(2, usize::from)))
}

/// Runs the scenarios. Removes servers and databases also if it is interrupted.
async fn run(options: &Options) -> anyhow::Result<()> {
    let environment = Environment::set_up(options.data_dir.as_deref()).await.context("setting up")?;
    let mut terminated = signal(SignalKind::terminate())?;
    let measured = tokio::select! {
        measured = measure(options, &environment) => measured,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        _ = terminated.recv() => Err(anyhow::anyhow!("terminated")),
    };
    environment.close().await?;
    measured
}

async fn measure(options: &Options, environment: &Environment) -> anyhow::Result<()> {
    let plan = options.plan();
    let mut report = Report::new(options, environment);
    let (stacks, missing) = stacks::find();
    missing.into_iter().for_each(|missing| report.leave_out(missing));
    for size in plan.sizes.clone() {
        let dataset_run = DatasetRun { options, plan: &plan, environment, stacks: &stacks, size };
        if let Err(error) = dataset_run.measure(&mut report).await {
            report.leave_out(format!("the remaining scenarios at {size} products: {error:#}"));
        }
    }
    if options.wants(Scenario::H)
        && let Err(error) = import::run(&plan, environment, &mut report).await
    {
        report.leave_out(format!("(h): {error:#}"));
    }
    report.compare_sizes(USUAL_SIZE, MILLION, MAX_GROWTH);
    println!("{}", report.markdown()?);
    report.write(options)
}

/// The scenarios of one catalogue size.
struct DatasetRun<'a> {
    options: &'a Options,
    plan: &'a Plan,
    environment: &'a Environment,
    stacks: &'a [Stack],
    size: usize,
}

impl DatasetRun<'_> {
    async fn measure(&self, report: &mut Report) -> anyhow::Result<()> {
        let Self { options, plan, environment, stacks, size } = *self;
        let wants = |scenarios: &[Scenario]| scenarios.iter().any(|scenario| options.wants(*scenario));
        let is_usual = size == plan.usual_size();
        let (reads, whole) = (wants(&[Scenario::A, Scenario::B, Scenario::C, Scenario::D]), wants(&[Scenario::E]));
        let others = is_usual && wants(&[Scenario::F, Scenario::G, Scenario::J, Scenario::K, Scenario::L]);
        if !(reads || whole || others) {
            return Ok(());
        }
        let dataset = environment.create_dataset(size).await?;
        let order_databases = orders::Databases::of(&dataset);
        if is_usual && wants(&[Scenario::G, Scenario::L]) {
            order_databases.create(environment).await?;
        }
        let mut servers = Servers::start(environment, &dataset, stacks, None).await?;
        report_failure("memory", size, memory::run(&dataset, &servers, report).await, report);
        if reads {
            report_failure(
                "(a) to (d)",
                size,
                reads::run(options, plan, environment, &dataset, &servers, report).await,
                report,
            );
        }
        if is_usual && wants(&[Scenario::J]) {
            report_failure("(j)", size, tokens::run(plan, &dataset, &servers, report).await, report);
        }
        if whole {
            // The other stacks cannot hold a whole answer of a million products in memory.
            let able_stacks = if size > USUAL_SIZE { &[] } else { stacks };
            for stack in stacks.iter().skip(able_stacks.len()) {
                report.leave_out(format!(
                    "(e) {} at {size} products: its answers do not fit into its memory",
                    stack.name
                ));
            }
            servers = servers.restarted(environment, &dataset, able_stacks).await?;
            report_failure("(e)", size, whole_catalogue::run(plan, &dataset, &servers, report).await, report);
        }
        if is_usual && wants(&[Scenario::K]) {
            report_failure("(k)", size, pages::run(plan, &dataset, &servers, report).await, report);
        }
        if is_usual && wants(&[Scenario::F]) {
            let clinics = storm::prepare(plan, environment, &dataset).await?;
            servers = servers.restarted(environment, &dataset, &[]).await?;
            report_failure("(f)", size, storm::run(plan, &dataset, &servers, &clinics, report).await, report);
        }
        if is_usual && wants(&[Scenario::G, Scenario::L]) {
            order_databases.fill_stock(environment).await?;
            servers = servers.restarted(environment, &dataset, &[]).await?;
            let measured = orders::run(plan, environment, &order_databases, &servers, report).await;
            report_failure("(g)", size, measured, report);
            let measured = order_list::run(plan, environment, &dataset, report).await;
            report_failure("(l)", size, measured, report);
            order_databases.drop_copies(environment).await?;
        }
        drop(servers);
        environment.drop_database(&dataset.database).await?;
        environment.drop_database(&dataset.copy).await
    }
}

/// Adds a failed scenario to the report, so that the others run all the same.
fn report_failure(scenario: &str, size: usize, measured: anyhow::Result<()>, report: &mut Report) {
    if let Err(error) = measured {
        report.leave_out(format!("{scenario} at {size} products failed: {error:#}"));
    }
}
