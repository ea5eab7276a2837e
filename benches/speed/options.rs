//! What is measured, at which sizes, for how long.

use std::path::PathBuf;
use std::time::Duration;

/// Speed of the product against its baselines. Data, database and servers are its own; nothing is fetched.
#[derive(Debug, clap::Parser)]
#[command(name = "speed")]
pub struct Options {
    /// About three minutes: 100,000 products alone, short rounds, a small storm
    #[arg(long)]
    pub short: bool,
    /// Scenarios to run, by letter: a,c,g
    #[arg(long, value_delimiter = ',', value_enum)]
    pub only: Vec<Scenario>,
    /// Sizes of the catalogue, instead of those of the mode
    #[arg(long, value_delimiter = ',')]
    pub products: Vec<usize>,
    /// Where the databases go; they are removed at the end [default: a new directory under TMPDIR]
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Where the figures go, as JSON
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/speed.json"))]
    pub json: PathBuf,
    /// A Markdown file whose results section is filled in: what stands between `<!-- results -->` and `<!-- end -->`
    #[arg(long)]
    pub markdown: Option<PathBuf>,
    /// A remark for the results: on which machine, what else ran
    #[arg(long, default_value = "")]
    pub remark: String,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    pub bench: bool,
    #[command(subcommand)]
    pub baseline: Option<Baseline>,
}

/// A baseline, which this program becomes in a process of its own.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum Baseline {
    #[command(hide = true)]
    StaticBody,
    #[command(hide = true)]
    Textbook,
}

/// The scenarios of issue 6; (i) is `cargo bench --bench deliveries`.
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
}

/// How long and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Ascending.
    pub sizes: Vec<usize>,
    pub rounds: usize,
    /// Of one contender in one round.
    pub round: Duration,
    pub pull_rounds: usize,
    pub storm_rounds: usize,
    pub storm_clinics: usize,
    /// Pulls of the textbook handler in the storm, which would take too long for all.
    pub storm_textbook: usize,
    pub import_rows: usize,
}

/// The size at which everything but the reads is measured.
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
    /// Where scenarios are measured that one size is enough for.
    pub fn usual_size(&self) -> usize {
        if self.sizes.contains(&USUAL_SIZE) { USUAL_SIZE } else { self.sizes[self.sizes.len() - 1] }
    }
}
