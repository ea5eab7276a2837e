//! `spsi docs`: the reference pages in `docs/` that are generated from the code.
//!
//! A page lists what the code declares: settings, error codes, metrics. `tests/it/generated.rs` fails when a committed
//! page differs from the page that this module writes.

use super::Arguments;
use crate::config::{ClinicSettings, SiteSettings};
use clap::{Arg, Args, CommandFactory, ValueEnum};
use std::fmt::Write;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Prints a generated reference page as Markdown.
    Print {
        #[arg(value_enum)]
        page: Page,
    },
}

/// A generated page of `docs/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Page {
    /// Every environment variable
    Settings,
}

pub fn run(command: Command) {
    let Command::Print { page } = command;
    print!("{}", page.text());
}

impl Page {
    /// The file of the page in `docs/`, without `.md`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
        }
    }

    /// The whole page as Markdown.
    pub fn text(self) -> String {
        let command = format!("cargo run -- docs print {0} > docs/{0}.md", self.name());
        let notice = format!("<!-- Generated from the code by `{command}`. Do not edit. -->\n");
        notice
            + &match self {
                Self::Settings => settings(),
            }
    }
}

const SETTINGS: &str = "
# Settings

Every setting is an environment variable. Settings of `spsi serve` are also flags: `SPSI_TOKEN_TTL` is `--token-ttl`.
A flag wins over its environment variable.

**Scope** says where a setting can be set:

- *deployment*: the environment of the process.
- *clinic*: the environment sets the default for all clinics. `spsi clinic set CLINIC KEY=VALUE` sets the value for one clinic.
- *site*: the environment sets the default for all sites. `spsi site set SITE KEY=VALUE` sets the value for one site.

An empty value (`KEY=`) removes the value of one clinic or site. `KEY` is the variable in lower case without `SPSI_`, unless
the table names another key: `SPSI_DECLINE_ANSWER` is `decline_answer`. A change with `set` takes effect on running servers
within seconds. A change of the environment takes effect at the next start.

Durations are written `500ms`, `15m`, `8h`, `90d`. `spsi doctor` prints the value of every setting in effect, with secrets hidden.
";

/// The page of settings: one table for each heading of `spsi serve --help`.
fn settings() -> String {
    let program = Arguments::command();
    let serve = program.find_subcommand("serve").map(clap::Command::get_arguments).into_iter().flatten();
    let arguments: Vec<&Arg> = serve.chain(program.get_arguments()).filter(|arg| arg.get_env().is_some()).collect();
    let mut headings: Vec<Option<&str>> = Vec::new();
    for argument in &arguments {
        if !headings.contains(&argument.get_help_heading()) {
            headings.push(argument.get_help_heading());
        }
    }
    // The settings without a heading concern the process as a whole.
    headings.sort_by_key(|heading| heading.is_some());
    let clinic = ClinicSettings::augment_args(clap::Command::new(""));
    let site = SiteSettings::augment_args(clap::Command::new(""));
    let mut page = SETTINGS.to_owned();
    for heading in headings {
        let of_heading = arguments.iter().filter(|argument| argument.get_help_heading() == heading);
        let rows = of_heading.map(|argument| {
            let declared =
                |command: &clap::Command| command.get_arguments().any(|arg| arg.get_id() == argument.get_id());
            let scope = if declared(&clinic) {
                "clinic"
            } else if declared(&site) {
                "site"
            } else {
                "deployment"
            };
            setting(argument, scope)
        });
        let _ = write!(page, "\n## {}\n\n", heading.unwrap_or("Process"));
        page += &table(["Variable", "Default", "Scope", "Meaning"], rows);
    }
    page
}

fn setting(argument: &Arg, scope: &str) -> [String; 4] {
    let variable = argument.get_env().unwrap_or_default().to_string_lossy();
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    // Defaults that are found out when the process starts stand in the help text: `... [default: ./spsi-data]`.
    let (meaning, computed) = help.split_once(" [default: ").unwrap_or((&help, ""));
    let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = match (defaults.join(","), computed.trim_end_matches(']')) {
        (default, _) if !default.is_empty() => format!("`{default}`"),
        (_, computed) if !computed.is_empty() => computed.to_owned(),
        _ => "none".to_owned(),
    };
    let key = argument.get_id().as_str();
    let has_own_key = scope != "deployment" && variable.strip_prefix("SPSI_") != Some(&key.to_uppercase());
    let scope = if has_own_key { format!("{scope}: `{key}`") } else { scope.to_owned() };
    [format!("`{variable}`"), default, scope, meaning.to_owned()]
}

/// A Markdown table. Cells are Markdown in which `|` is escaped here.
fn table<const COLUMNS: usize>(head: [&str; COLUMNS], rows: impl IntoIterator<Item = [String; COLUMNS]>) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut table = line(&head.map(str::to_owned)) + &"|---".repeat(COLUMNS) + "|\n";
    for row in rows {
        table += &line(&row);
    }
    table
}
