//! `spsi docs`: the reference pages in `docs/` that are generated from the code.
//!
//! A page lists what the code declares: settings, error codes, metrics. `tests/it/generated.rs` fails when a committed
//! page differs from the page that this module writes.

use super::Arguments;
use super::output::write_stdout;
use crate::config::{ClinicSettings, SiteSettings};
use crate::http::problem::Kind;
use crate::telemetry::METRICS;
use clap::{Arg, Args, CommandFactory, ValueEnum};
use std::fmt::Write as _;

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
    /// Every stable error code
    Errors,
    /// Every metric
    Metrics,
}

pub fn run(command: Command) -> anyhow::Result<()> {
    let Command::Print { page } = command;
    write_stdout(|out| out.write_all(page.text().as_bytes()))
}

impl Page {
    /// The file of the page in `docs/`, without `.md`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Errors => "errors",
            Self::Metrics => "metrics",
        }
    }

    /// The whole page as Markdown.
    pub fn text(self) -> String {
        let command = format!("cargo run -- docs print {0} > docs/{0}.md", self.name());
        let notice = format!("<!-- Generated from the code by `{command}`. Do not edit. -->\n");
        notice
            + &match self {
                Self::Settings => settings(),
                Self::Errors => errors(),
                Self::Metrics => metrics(),
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

const ERRORS: &str = r#"
# Errors

The codes on this page are stable: programs can rely on them. Texts are for people and can change.

## HTTP errors

Responses of `/categories`, `/products` and `/purchaseorder` have the form of ezyVet's own errors:

```json
{"messages": [{"level": "error", "type": "bad_request", "text": "...", "fields": ["limit"]}]}
```

`type` is the code. `fields` names the parameters or fields that the error is about. Every response has an `X-Request-Id`. The log has
it for every response of 500 and above, and with `SPSI_LOG=debug` for every response.

"#;

const TOKEN_ERRORS: &str = r#"
## Token errors

Responses of `/accesstoken` have the form of RFC 6749, section 5.2. A body that is too large or arrives too slowly gets an HTTP error of
the table above.

```json
{"error": "invalid_client", "error_description": "..."}
```

"#;

/// Status, code and meaning of each error of `/accesstoken`.
const TOKEN_CODES: [[&str; 3]; 5] = [
    ["400", "invalid_request", "The request cannot be read, or lacks a field. `error_description` names the field."],
    ["400", "unsupported_grant_type", "`grant_type` is not `client_credentials`."],
    [
        "401",
        "invalid_client",
        "The client id or the client secret is wrong, or the clinic is suspended. The response does not say which.",
    ],
    [
        "429",
        "slow_down",
        "Too many requests of this client id or this address failed. Wait for the seconds in `Retry-After`.",
    ],
    [
        "503",
        "temporarily_unavailable",
        "The server cannot issue tokens now. Wait for the seconds in `Retry-After`, then send the request again.",
    ],
];

const RULES: &str = r#"
## Reasons of a declined order

The response to a declined order has one message per reason. `SPSI_DECLINE_ANSWER` sets its status, 422 by default.
[Orders](orders.md) describes the decision. Each rule is a setting: `unknown_product` is `SPSI_RULE_UNKNOWN_PRODUCT` for all clinics and
`rule_unknown_product` in `spsi clinic set`. A rule declines orders only if its value is `decline`.

"#;

const INVOICE_CHECKS: &str = r#"
## Invoice checks

The worker checks an invoice before it sends it. An invoice with an error is not sent: its delivery is in `attention`, and `last_error`
names the checks. [When a delivery fails](when-a-delivery-fails.md#invoices-that-are-not-sent) says what to do.

"#;

/// Code and meaning of each check of `delivery::check`.
const INVOICE_CODES: [[&str; 2]; 11] = [
    ["duplicate_number", "The invoice number belongs to another shipment."],
    ["missing_business", "The order has no `ownership_id`, the business whose books are affected."],
    ["no_lines", "The invoice has no lines."],
    ["unknown_line", "A line names an order line that the order does not have."],
    ["unknown_tax_code", "A line has a tax code that is not in `SPSI_KNOWN_TAX_CODES`."],
    ["zero_quantity", "A line has the quantity 0."],
    ["tax_mismatch", "The tax of a line differs from its rate by more than a cent."],
    ["missing_tax_code", "A line has no tax code."],
    ["missing_location", "A line has no stock location, because the order line has no `ownership_id`."],
    ["missing_supplier_code", "A line has no supplier code."],
    ["too_many_decimals", "An amount has more than 6 decimals."],
];

const OTHER_ERRORS: &str = r#"
## Import errors

Errors of imported files have no codes. `spsi catalog import` and `spsi shipment import` report every error with line, column, value and
reason, and apply nothing.

## Exit codes

| Code | Meaning |
|---|---|
| `0` | Done. |
| `1` | Refused or failed. Standard error names the reason. |
| `2` | Wrong usage: an unknown command or option, or a setting that cannot be read. |
"#;

/// The page of error codes.
fn errors() -> String {
    let code = |code: &str| format!("`{code}`");
    let http = Kind::ALL.iter().map(|kind| [kind.status().to_string(), code(kind.code()), kind.meaning().to_owned()]);
    let token = TOKEN_CODES.map(|[status, name, meaning]| [status.to_owned(), code(name), meaning.to_owned()]);
    let clinic = ClinicSettings::augment_args(clap::Command::new(""));
    let rules = clinic.get_arguments().filter_map(|argument| {
        let name = argument.get_id().as_str().strip_prefix("rule_")?;
        let default = argument.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
        Some([code(name), code(&default.unwrap_or_default()), help(argument)])
    });
    let staff = ["`staff`".to_owned(), String::new(), "Staff declined the order with `spsi order decline`.".to_owned()];
    let checks = INVOICE_CODES.map(|[name, meaning]| [code(name), meaning.to_owned()]);
    [
        ERRORS,
        &table(["Status", "Code", "Meaning"], http),
        TOKEN_ERRORS,
        &table(["Status", "Code", "Meaning"], token),
        RULES,
        &table(["Code", "Default", "Meaning"], rules.chain([staff])),
        INVOICE_CHECKS,
        &table(["Code", "Meaning"], checks),
        OTHER_ERRORS,
    ]
    .concat()
}

const METRICS_HEAD: &str = "
# Metrics

`/metrics` serves these metrics in the text format of Prometheus. `SPSI_METRICS_BIND` gives `/metrics` an address of its own. Each process
counts from its start. A histogram has the series `_bucket`, `_sum` and `_count`.

The values of `state` and `outcome` are described in [When a delivery fails](when-a-delivery-fails.md).
[Running in production](running-in-production.md#health-metrics-and-logs) suggests alerts.

";

/// The page of metrics.
fn metrics() -> String {
    let rows = METRICS.iter().map(|metric| {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = format!("{:?}", metric.kind).to_lowercase();
        [format!("`{}`", metric.name), kind, metric.unit.to_owned(), labels.join(", "), metric.help.to_owned()]
    });
    METRICS_HEAD.to_owned() + &table(["Metric", "Type", "Unit", "Labels", "Meaning"], rows)
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

#[cfg(test)]
mod tests;
