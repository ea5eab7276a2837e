//! The report: collects figures, prints them as tables, writes them as JSON and into a Markdown page.

use crate::environment::Environment;
use crate::load::Rounds;
use crate::options::Options;
use crate::statistics::Spread;
use anyhow::{Context as _, bail};
use serde::Serialize;
use spsi_partner::clock::Clock;
use std::fmt::Write;
use std::fs;
use std::process::Command;

#[derive(Serialize)]
pub struct Report {
    machine: Machine,
    sections: Vec<Section>,
    targets: Vec<Target>,
    /// Scenarios and contenders that were not measured, with the reason.
    left_out: Vec<String>,
    #[serde(skip)]
    usual_size: usize,
}

/// The machine and the versions that the figures come from.
#[derive(Serialize)]
struct Machine {
    date: String,
    remark: String,
    mode: &'static str,
    cores: usize,
    processor: String,
    memory: String,
    load_before: String,
    postgres: String,
    postgres_settings: String,
    rustc: String,
    commit: String,
}

/// One table.
#[derive(Clone, Serialize)]
pub struct Section {
    pub scenario: &'static str,
    pub title: String,
    pub products: usize,
    pub columns: Vec<&'static str>,
    pub rows: Vec<Row>,
    pub note: String,
}

#[derive(Clone, Serialize)]
pub struct Row {
    pub who: String,
    pub values: Vec<Option<Spread>>,
}

/// A measured figure with its goal.
#[derive(Serialize)]
struct Target {
    scenario: &'static str,
    text: String,
    value: Spread,
    goal: Goal,
    met: bool,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

const MEDIAN: &str = "median ms";
pub const RATIO: &str = "product is x times";

impl Report {
    pub fn new(options: &Options, environment: &Environment) -> Self {
        let field = |path: &str, key: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(key)?.split_once(':'))
                .map(|(_, value)| value.trim().to_owned());
            line.unwrap_or_else(|| "unknown".to_owned())
        };
        let output_of = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
            output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let changed = if output_of("git", &["status", "--porcelain", "src", "Cargo.lock"]).is_empty() {
            ""
        } else {
            " with changes"
        };
        let machine = Machine {
            date: Clock::System.now().date().to_string(),
            remark: options.remark.clone(),
            mode: if options.short { "short" } else { "full" },
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: field("/proc/cpuinfo", "model name"),
            memory: field("/proc/meminfo", "MemTotal"),
            load_before: fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned(),
            postgres: environment.postgres_version.clone(),
            postgres_settings: Environment::settings(),
            rustc: output_of("rustc", &["-V"]),
            commit: output_of("git", &["rev-parse", "--short", "HEAD"]) + changed,
        };
        Self {
            machine,
            sections: Vec::new(),
            targets: Vec::new(),
            left_out: Vec::new(),
            usual_size: options.plan().usual_size(),
        }
    }

    pub fn add(&mut self, section: Section) {
        eprintln!("{section}");
        self.sections.push(section);
    }

    pub fn leave_out(&mut self, reason: String) {
        eprintln!("LEFT OUT: {reason}\n");
        self.left_out.push(reason);
    }

    pub fn target(&mut self, scenario: &'static str, text: impl Into<String>, value: Spread, goal: Goal) {
        let met = match goal {
            Goal::AtLeast(min) => value.median >= min,
            Goal::AtMost(max) => value.median <= max,
        };
        self.targets.push(Target { scenario, text: text.into(), value, goal, met });
    }

    /// Adds a target for each scenario that was measured at both sizes: the growth of its median latency.
    pub fn compare_sizes(&mut self, small: usize, large: usize, max: f64) {
        let of = |section: &Section| {
            section.rows.iter().find(|row| row.who == "product")?.values.get(column(section)?).copied()?
        };
        let column_of = |products: usize, title: &str| {
            of(self.sections.iter().find(|section| section.products == products && section.title == title)?)
        };
        let mut ratios = Vec::new();
        for section in self.sections.iter().filter(|section| section.products == large && section.scenario.len() == 1) {
            if let (Some(slow), Some(quick)) = (column_of(large, &section.title), column_of(small, &section.title)) {
                ratios.push((
                    section.scenario,
                    section.title.clone(),
                    Spread { median: slow.median / quick.median, min: slow.min / quick.max, max: slow.max / quick.min },
                ));
            }
        }
        for (scenario, title, ratio) in ratios {
            self.target(
                scenario,
                format!("{title}: median latency at {large} products, times that at {small}"),
                ratio,
                Goal::AtMost(max),
            );
        }
    }

    pub fn write(&self, options: &Options) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(&options.json, text).with_context(|| format!("cannot write {}", options.json.display()))?;
        eprintln!("figures: {}", options.json.display());
        let Some(file) = &options.markdown else { return Ok(()) };
        let page = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let (Some((before, rest)), true) = (page.split_once("<!-- results -->"), page.contains("<!-- end -->")) else {
            bail!("{} lacks `<!-- results -->` or `<!-- end -->`", file.display());
        };
        let after = rest.split_once("<!-- end -->").map_or("", |(_, after)| after);
        let page = format!("{before}<!-- results -->\n{}<!-- end -->{after}", self.markdown()?);
        fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Returns machine, targets and tables as Markdown. Of scenarios that ran at several sizes it shows the usual one; the
    /// JSON file has all.
    pub fn markdown(&self) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        let machine = &self.machine;
        if !machine.remark.is_empty() {
            writeln!(page, "{}\n", machine.remark)?;
        }
        writeln!(
            page,
            "{}, {} mode, commit {}, {}; {} cores ({}), {}; load before {}; PostgreSQL {} ({}).\n",
            machine.date,
            machine.mode,
            machine.commit,
            machine.rustc,
            machine.cores,
            machine.processor,
            machine.memory,
            machine.load_before,
            machine.postgres,
            machine.postgres_settings
        )?;
        if !self.targets.is_empty() {
            writeln!(page, "| | target | goal | measured | |\n|---|---|---|---|---|")?;
        }
        for target in &self.targets {
            let goal = match target.goal {
                Goal::AtLeast(min) => format!("at least {min}"),
                Goal::AtMost(max) => format!("at most {max}"),
            };
            let met = if target.met { "met" } else { "**not met**" };
            writeln!(page, "| {} | {} | {goal} | {} | {met} |", target.scenario, target.text, target.value)?;
        }
        let is_shown =
            |section: &&Section| section.products == self.usual_size || ["memory", "h"].contains(&section.scenario);
        let mut sections: Vec<&Section> = self.sections.iter().filter(is_shown).collect();
        while let Some(first) = sections.first() {
            let columns = first.columns.clone();
            let (together, others): (Vec<_>, Vec<_>) = sections.iter().partition(|section| section.columns == columns);
            write_table(&mut page, &columns, &together)?;
            sections = others;
        }
        for left in &self.left_out {
            writeln!(page, "\nLeft out: {left}")?;
        }
        Ok(page)
    }
}

/// Writes sections with equal columns as one table, each under a row with its title.
fn write_table(page: &mut String, columns: &[&str], sections: &[&Section]) -> std::fmt::Result {
    writeln!(page, "\n| | {} |\n|---{}|", columns.join(" | "), "|---".repeat(columns.len()))?;
    let mut notes: Vec<&str> = Vec::new();
    for section in sections {
        let empty_cells = "| ".repeat(columns.len());
        writeln!(page, "| **({}) {}**, {} products {empty_cells}|", section.scenario, section.title, section.products)?;
        for row in &section.rows {
            writeln!(page, "| {} |", row.cells().join(" | "))?;
        }
        if !section.note.is_empty() && !notes.contains(&section.note.as_str()) {
            notes.push(&section.note);
        }
    }
    notes.into_iter().try_for_each(|note| writeln!(page, "\n{note}"))
}

fn column(section: &Section) -> Option<usize> {
    section.columns.iter().position(|column| *column == MEDIAN)
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let values = self.values.iter().map(|value| value.map_or_else(|| "-".to_owned(), |value| value.to_string()));
        std::iter::once(self.who.clone()).chain(values).collect()
    }
}

impl Section {
    /// Builds the table of contenders that ran the same rounds. The product comes first.
    pub fn of_rounds(scenario: &'static str, title: impl Into<String>, products: usize, rounds: &[Rounds]) -> Self {
        let row = |one: &Rounds| Row {
            who: one.name.to_owned(),
            values: vec![
                Some(one.spread(|round| round.per_second)),
                Some(one.spread(|round| round.median)),
                Some(one.spread(|round| round.p99)),
                one.rounds[0].processor.map(|_| one.spread(|round| round.processor.unwrap_or(f64::NAN))),
                Some(rounds[0].ratio(one, |round| round.per_second)),
            ],
        };
        let columns = vec!["answers/s", MEDIAN, "p99 ms", "server us/answer", RATIO];
        Self {
            scenario,
            title: title.into(),
            products,
            columns,
            rows: rounds.iter().map(row).collect(),
            note: String::new(),
        }
    }
}

impl std::fmt::Display for Section {
    /// Writes a Markdown table with aligned columns, so that a terminal shows it well.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "**({}) {}**, {} products\n", self.scenario, self.title, self.products)?;
        let mut table =
            vec![std::iter::once("").chain(self.columns.iter().copied()).map(str::to_owned).collect::<Vec<_>>()];
        table.extend(self.rows.iter().map(Row::cells));
        let widths: Vec<usize> = (0..=self.columns.len())
            .map(|column| table.iter().map(|row| row[column].len()).max().unwrap_or(0))
            .collect();
        for (index, row) in table.iter().enumerate() {
            for (cell, width) in row.iter().zip(&widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if index == 0 {
                widths.iter().try_for_each(|width| write!(f, "|{:-<width$}", "", width = width + 2))?;
                writeln!(f, "|")?;
            }
        }
        if self.note.is_empty() { Ok(()) } else { writeln!(f, "\n{}", self.note) }
    }
}
