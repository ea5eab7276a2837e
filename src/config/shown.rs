//! The effective configuration as it is shown to people: what could be a secret is hidden.

use super::Settings;
use std::path::PathBuf;

/// Every variable with its effective value; what could be a secret is hidden.
pub fn secrets_hidden(settings: &Settings) -> Vec<(&'static str, String)> {
    let Settings { server, database, tokens, catalog, worker, clinic, site, log, log_format } = settings;
    let set = |is_set: bool| if is_set { "[hidden]" } else { "(not set)" }.to_owned();
    let path = |path: &Option<PathBuf>| path.as_ref().map_or("(not set)".to_owned(), |path| path.display().to_string());
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "(not set)".into());
    let proxies: Vec<_> = server.trusted_proxies.iter().map(ToString::to_string).collect();
    let mut entries = vec![
        ("DATABASE_URL", set(database.database_url.is_some())),
        ("SPSI_DATA_DIR", path(&database.data_dir)),
        ("SPSI_PG_BIN_DIR", path(&database.pg_bin_dir)),
        ("SPSI_DB_CONNECTIONS", database.db_connections.to_string()),
        ("SPSI_DB_TIMEOUT", database.db_timeout.to_string()),
        ("SPSI_ENCRYPTION_KEYS", set(database.encryption_keys.is_some())),
        ("SPSI_TOKEN_KEYS", set(database.token_keys.is_some())),
        ("SPSI_BIND", server.bind.to_string()),
        ("SPSI_BASE_PATH", server.base_path.clone()),
        ("SPSI_PUBLIC_URL", text(&server.public_url)),
        ("SPSI_METRICS_BIND", server.metrics_bind.to_string()),
        ("SPSI_HTTP_THREADS", server.http_threads.to_string()),
        ("SPSI_READ_TIMEOUT", server.read_timeout.to_string()),
        ("SPSI_SHUTDOWN_TIMEOUT", server.shutdown_timeout.to_string()),
        ("SPSI_MAX_BODY_BYTES", server.max_body_bytes.to_string()),
        ("SPSI_MAX_TOKEN_BODY_BYTES", server.max_token_body_bytes.to_string()),
        ("SPSI_MAX_ORDER_LINES", server.max_order_lines.to_string()),
        ("SPSI_ORDERS_TOGETHER", server.orders_together.to_string()),
        ("SPSI_MAX_QUERY_BYTES", server.max_query_bytes.to_string()),
        ("SPSI_MAX_FILTER_VALUES", server.max_filter_values.to_string()),
        ("SPSI_MAX_FILTER_LENGTH", server.max_filter_length.to_string()),
        ("SPSI_TRUSTED_PROXIES", proxies.join(",")),
        ("SPSI_TOKEN_TTL", tokens.token_ttl.to_string()),
        ("SPSI_SECRET_MEMORY", tokens.secret_memory.to_string()),
        ("SPSI_REMEMBERED_TOKENS", tokens.remembered_tokens.to_string()),
        ("SPSI_TOKEN_TRIES_PER_CLIENT", tokens.token_tries_per_client.to_string()),
        ("SPSI_TOKEN_TRIES_PER_ADDRESS", tokens.token_tries_per_address.to_string()),
        ("SPSI_TOKEN_TRIES_WINDOW", tokens.token_tries_window.to_string()),
        ("SPSI_HASHING_THREADS", tokens.hashing_threads.to_string()),
        ("SPSI_REFRESH", catalog.refresh.to_string()),
        ("SPSI_WITHDRAWAL_LIMIT", catalog.withdrawal_limit.to_string()),
        ("SPSI_LEASE", worker.lease.to_string()),
        ("SPSI_WORKER_POLL", worker.worker_poll.to_string()),
        ("SPSI_WORKER_SITES", worker.worker_sites.to_string()),
        ("SPSI_LONGEST_HOLD", worker.longest_hold.to_string()),
        ("SPSI_LONGEST_BUDGET_WAIT", worker.longest_budget_wait.to_string()),
        ("SPSI_CONNECT_TIMEOUT", worker.connect_timeout.to_string()),
        ("SPSI_IDLE_CONNECTION", worker.idle_connection.to_string()),
        ("SPSI_SETTLE_PATIENCE", worker.settle_patience.to_string()),
        ("SPSI_STAFF_WAIT", worker.staff_wait.to_string()),
        ("SPSI_KEPT_RESPONSE", worker.kept_response.to_string()),
        ("SPSI_ATTEMPTS_KEPT_FOR", worker.attempts_kept_for.to_string()),
        ("SPSI_LOG", log.clone()),
        ("SPSI_LOG_FORMAT", log_format.clone()),
    ];
    entries.extend(clinic.entries().into_iter().chain(site.entries()).map(|(_, variable, value)| (variable, value)));
    entries
}
