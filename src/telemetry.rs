//! Logs on standard error, metrics for Prometheus.

use metrics::{KeyName, Recorder as _, SharedString, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing_subscriber::{EnvFilter, fmt};

/// The Prometheus type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// The declaration of one metric.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricKind,
    /// The unit of the value: `seconds`, `bytes`, or the plural of what is counted. Empty for a number without a unit.
    pub unit: &'static str,
    pub labels: &'static [&'static str],
    /// One or two sentences for operators: the HELP text in `/metrics`.
    pub help: &'static str,
}

const fn metric(
    name: &'static str,
    kind: MetricKind,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind, unit, labels, help }
}

use MetricKind::{Counter, Gauge, Histogram};

/// Every metric that this program exports. A test compares the table with the calls in `src/`.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    metric("spsi_http_requests_total", Counter, "requests", &["route", "status"],
        "HTTP requests answered, by route pattern and status."),
    metric("spsi_http_request_duration_seconds", Histogram, "seconds", &["route"],
        "Time from a complete request head until the response head is ready. Sending the body is not included."),
    metric("spsi_order_responses_total", Counter, "responses", &["status"],
        "Responses to purchase orders that were decided, by HTTP status."),
    metric("spsi_orders_stored_total", Counter, "orders", &["path"],
        "Purchase orders decided and stored, by path: `fast` decides from memory and stores in a batch, `locked` decides in a transaction with row locks, `revised` stores a later submission as a revision."),
    metric("spsi_order_batches_total", Counter, "batches", &[],
        "Batches of orders sent to Postgres on the fast path. One batch is one statement and one commit."),
    metric("spsi_orders_overdue_total", Counter, "orders", &["default"],
        "Orders held by `rule_ask` about which nobody decided in time, by the default that was applied: `hold`, `accept` or `decline`."),
    metric("spsi_order_hook_calls_total", Counter, "calls", &["outcome"],
        "Orders about which the order hook was to decide, by its decision (`accept`, `decline`, `hold`, `ask`) or the reason why there is none (`timeout`, `failed`, `status`, `invalid`, `breaker_open`, `not_configured`)."),
    metric("spsi_order_hook_duration_seconds", Histogram, "seconds", &[],
        "Duration of calls to the order hook."),
    metric("spsi_order_hook_breaker_open", Gauge, "", &[],
        "1 while the circuit breaker of this process stops calls to the order hook, else 0."),
    metric("spsi_catalog_version", Gauge, "", &[],
        "Version of the catalogue snapshot that this process serves. Every import increments the version."),
    metric("spsi_catalog_products", Gauge, "products", &[],
        "Products in the catalogue snapshot."),
    metric("spsi_catalog_snapshot_bytes", Gauge, "bytes", &[],
        "Memory that the catalogue snapshot occupies."),
    metric("spsi_catalog_load_duration_seconds", Gauge, "seconds", &[],
        "Duration of the last full load of the catalogue from Postgres."),
    metric("spsi_catalog_checked_timestamp_seconds", Gauge, "seconds", &[],
        "Unix time when the catalogue snapshot was last found to be current. `time() - spsi_catalog_checked_timestamp_seconds` is its greatest possible age."),
    metric("spsi_catalog_stock_swaps_total", Counter, "swaps", &[],
        "Catalogue snapshots replaced because stock changed."),
    metric("spsi_refresh_failing", Gauge, "", &[],
        "1 while clinics and catalogue cannot be read from Postgres and the last state in memory is served, else 0."),
    metric("spsi_sites_leased", Gauge, "sites", &[],
        "ezyVet sites whose lease this process holds to send their deliveries."),
    metric("spsi_deliveries_settled_total", Counter, "deliveries", &["state"],
        "State changes of deliveries after an attempt, by new state."),
    metric("spsi_webhook_attempts_total", Counter, "calls", &["outcome"],
        "Calls to webhooks, by outcome: `delivered`, `refused` (another status than 200 to 299), `gone` (410), `timed_out` or `failed`."),
    metric("spsi_webhook_calls_in_flight", Gauge, "calls", &[],
        "Calls to webhooks that this process has under way."),
    metric("spsi_webhook_delivery_delay_seconds", Histogram, "seconds", &[],
        "Time from an event until a webhook has answered its first call with success."),
    metric("spsi_webhook_messages_given_up_total", Counter, "messages", &[],
        "Messages whose last attempt failed. `spsi webhook replay` sends them again."),
    metric("spsi_ezyvet_calls_total", Counter, "calls", &["endpoint", "outcome"],
        "HTTP calls to ezyVet, by endpoint and outcome."),
];

/// Starts logging. `filter` is a tracing directive, `format` is `text` or `json`. A second call changes nothing.
pub fn start_logs(filter: &str, format: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|error| anyhow::anyhow!("SPSI_LOG: {error}"))?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    // A process can set its global subscriber only once. In tests, the first test sets it.
    let _ = match format {
        "json" => builder.json().flatten_event(true).try_init(),
        _ => builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    Ok(())
}

/// Installs the recorder of this process on the first call, and returns the handle that renders `/metrics`.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
        let builder = PrometheusBuilder::new();
        let builder = builder
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        for metric in METRICS {
            let name = KeyName::from_const_str(metric.name);
            let unit = Unit::from_string(metric.unit);
            let help = SharedString::const_str(metric.help);
            match metric.kind {
                Counter => recorder.describe_counter(name, unit, help),
                Gauge => recorder.describe_gauge(name, unit, help),
                Histogram => recorder.describe_histogram(name, unit, help),
            }
        }
        let handle = recorder.handle();
        let _ = metrics::set_global_recorder(recorder);
        handle
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// The text of every `.rs` file below `folder`.
    fn sources(folder: &Path) -> String {
        let mut text = String::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                text += &sources(&path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text += &std::fs::read_to_string(path).unwrap();
            }
        }
        text
    }

    #[test]
    fn the_table_declares_exactly_the_metrics_that_the_code_records() {
        let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
        let mut recorded = BTreeSet::new();
        for (kind, call) in [("Counter", "counter!("), ("Gauge", "gauge!("), ("Histogram", "histogram!(")] {
            let prefix = ["metrics::", call].concat();
            for (_, arguments) in sources.match_indices(&prefix).map(|(at, call)| sources.split_at(at + call.len())) {
                let name = arguments.trim_start().strip_prefix('"').and_then(|name| name.split_once('"'));
                let (name, _) = name.expect("a metric's name is a literal");
                recorded.insert((kind.to_owned(), name.to_owned()));
            }
        }
        let declared = METRICS.iter().map(|metric| (format!("{:?}", metric.kind), metric.name.to_owned()));
        assert_eq!(recorded, declared.collect());
    }

    #[test]
    fn names_end_in_their_unit_and_counters_in_total() {
        for Metric { name, kind, unit, help, .. } in METRICS {
            let has_unit = !matches!(*unit, "seconds" | "bytes") || name.ends_with(&format!("_{unit}"));
            assert!(has_unit, "{name} is in {unit}");
            assert_eq!(name.ends_with("_total"), *kind == Counter, "{name} is a {kind:?}");
            assert!(help.ends_with('.'), "{name}: {help}");
        }
    }

    #[test]
    fn metrics_are_rendered_with_their_help() {
        let handle = metrics();
        metrics::gauge!("spsi_refresh_failing").set(0.0);
        assert!(handle.render().contains("# HELP spsi_refresh_failing 1 while"), "{}", handle.render());
    }
}
