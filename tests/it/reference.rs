//! The parts of the pages in `docs/` that list what the code declares: settings, error codes, metrics.

use clap::{Arg, Args};
use spsi_partner::cli::command;
use spsi_partner::config::{ClinicSettings, SiteSettings};
use spsi_partner::http::problem::Kind;
use spsi_partner::staff;
use spsi_partner::telemetry::METRICS;
use std::fmt::Write;

/// One table for each heading of `spsi serve --help`.
pub fn settings() -> String {
    let program = command();
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
    let mut page = String::new();
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
        let _ = write!(page, "## {}\n\n", heading.unwrap_or("Process"));
        page += &(table(["Variable", "Default", "Scope", "Meaning"], rows) + "\n");
    }
    page.trim_end().to_owned() + "\n"
}

fn setting(argument: &Arg, scope: &str) -> [String; 4] {
    let variable = argument.get_env().unwrap_or_default().to_string_lossy();
    let help = help(argument);
    // The help text names a default that is computed at start: `... [default: ./spsi-data]`.
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
    [format!("`{variable}`"), default, scope, meaning.to_owned() + &choices(argument, meaning)]
}

/// The values that an argument accepts, unless its meaning names them: ` (all, api, worker)`.
fn choices(argument: &Arg, meaning: &str) -> String {
    let values: Vec<_> = argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    match values.iter().all(|value| meaning.contains(value)) {
        true => String::new(),
        false => format!(" ({})", values.join(", ")),
    }
}

/// The help text of an argument, without its references to the notes on the protocol: `... [SPSI.md 5.1]`.
fn help(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    help.split(" [SPSI.md ").next().unwrap_or_default().to_owned()
}

/// The table of HTTP errors.
pub fn http_errors() -> String {
    let rows = Kind::ALL.iter();
    let rows = rows.map(|kind| [kind.status().to_string(), format!("`{}`", kind.code()), kind.meaning().to_owned()]);
    table(["Status", "Code", "Meaning"], rows)
}

/// The error table of the staff API.
pub fn staff_errors() -> String {
    let rows = staff::problem::Kind::ALL.iter();
    let rows = rows.map(|kind| [kind.status().to_string(), format!("`{}`", kind.code()), kind.meaning().to_owned()]);
    table(["Status", "Code", "Meaning"], rows)
}

/// The table of reasons of a declined order.
pub fn rules() -> String {
    let clinic = ClinicSettings::augment_args(clap::Command::new(""));
    let rules = clinic.get_arguments().filter_map(|argument| {
        let name = argument.get_id().as_str().strip_prefix("rule_")?;
        let default = argument.get_default_values().first().map(|value| value.to_string_lossy()).unwrap_or_default();
        Some([format!("`{name}`"), format!("`{default}`"), help(argument)])
    });
    let rules = rules.filter(|[name, ..]| name != "`ask`");
    let others = [
        ("`staff`", "Staff or the supplier's system declined the order, or nobody decided in time (`ask_default`)."),
        ("`hook`", "The order hook declined the order, or `SPSI_ORDER_HOOK_DEFAULT` did in its place."),
    ];
    let others = others.map(|(code, meaning)| [code.to_owned(), String::new(), meaning.to_owned()]);
    table(["Code", "Default", "Meaning"], rules.chain(others))
}

/// The table of metrics.
pub fn metrics() -> String {
    let rows = METRICS.iter().map(|metric| {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = format!("{:?}", metric.kind).to_lowercase();
        [format!("`{}`", metric.name), kind, metric.unit.to_owned(), labels.join(", "), metric.help.to_owned()]
    });
    table(["Metric", "Type", "Unit", "Labels", "Meaning"], rows)
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
