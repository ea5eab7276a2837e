//! The command line of the bench, and the plan that follows from it: scenarios, sizes, durations.

use std::path::PathBuf;
use std::time::Duration;

/// Measures the product against its baselines, on data, databases and servers of its own. Needs no network
#[derive(Debug, clap::Parser)]
#[command(name = "speed")]
pub struct Options {
    /// Takes about five minutes: 100,000 products only, short rounds, a small storm
    #[arg(long)]
    pub short: bool,
    /// Scenarios to run, by letter, for instance `a,c,g` [default: all]
    #[arg(long, value_delimiter = ',', value_enum)]
    pub only: Vec<Scenario>,
    /// Numbers of products, for instance `10000,100000` [default: 10000,100000,1000000; with `--short` 100000]
    #[arg(long, value_delimiter = ',')]
    pub products: Vec<usize>,
    /// Parent directory of the databases, which are removed at the end [default: TMPDIR]
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// File that receives the figures as JSON
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/speed.json"))]
    pub json: PathBuf,
    /// Replaces the results in a Markdown file, between `<!-- results -->` and `<!-- end -->`
    #[arg(long, num_args = 0..=1, default_missing_value = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks.md"))]
    pub markdown: Option<PathBuf>,
    /// A remark for the report, for instance which other programs were running
    #[arg(long, default_value = "")]
    pub remark: String,
    /// Ignored: `cargo bench` adds it
    #[arg(long, hide = true)]
    pub bench: bool,
    #[command(subcommand)]
    pub baseline: Option<Baseline>,
}

/// A baseline that this program runs as in a child process.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum Baseline {
    #[command(hide = true)]
    StaticBody,
    #[command(hide = true)]
    Textbook,
}

/// The scenarios of issues 6, 13 and 14. Scenario (i) is `cargo bench --bench deliveries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Search, mixed terms, limit 20
    A,
    /// Code
    B,
    /// First page of 100
    C,
    /// Deep page
    D,
    /// Whole catalogue
    E,
    /// Nightly storm
    F,
    /// Orders
    G,
    /// Import
    H,
    /// A token before every call
    J,
    /// Pull in pages
    K,
    /// Orders by cursor; runs after (g)
    L,
}

/// Sizes, durations and repetitions.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Ascending.
    pub sizes: Vec<usize>,
    pub rounds: usize,
    /// Duration of one contender in one round.
    pub round: Duration,
    pub pull_rounds: usize,
    pub storm_rounds: usize,
    pub storm_clinics: usize,
    /// The textbook handler would take too long for a pull of every clinic.
    pub storm_textbook: usize,
    pub page_rounds: usize,
    /// Pulls in pages of one contender in one round.
    pub page_pulls: usize,
    /// The textbook handler takes seconds for a pull in pages.
    pub page_pulls_textbook: usize,
    pub import_rows: usize,
}

/// The size at which scenarios run that need only one.
pub const USUAL_SIZE: usize = 100_000;

impl Options {
    pub fn plan(&self) -> Plan {
        let mut plan = if self.short {
            Plan {
                sizes: vec![USUAL_SIZE],
                rounds: 3,
                round: Duration::from_millis(600),
                pull_rounds: 3,
                storm_rounds: 1,
                storm_clinics: 100,
                storm_textbook: 32,
                page_rounds: 2,
                page_pulls: 64,
                page_pulls_textbook: 8,
                import_rows: 100_000,
            }
        } else {
            Plan {
                sizes: vec![10_000, USUAL_SIZE, 1_000_000],
                rounds: 5,
                round: Duration::from_secs(2),
                pull_rounds: 5,
                storm_rounds: 3,
                storm_clinics: 500,
                storm_textbook: 64,
                page_rounds: 3,
                page_pulls: 160,
                page_pulls_textbook: 32,
                import_rows: 1_000_000,
            }
        };
        if !self.products.is_empty() {
            plan.sizes.clone_from(&self.products);
            plan.sizes.sort_unstable();
        }
        plan
    }

    pub fn wants(&self, scenario: Scenario) -> bool {
        self.only.is_empty() || self.only.contains(&scenario)
    }
}

impl Plan {
    /// Returns [`USUAL_SIZE`], or the largest size if that is not among the sizes.
    pub fn usual_size(&self) -> usize {
        if self.sizes.contains(&USUAL_SIZE) { USUAL_SIZE } else { self.sizes[self.sizes.len() - 1] }
    }
}
