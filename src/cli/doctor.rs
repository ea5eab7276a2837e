//! `spsi doctor`: prints the effective configuration with secrets hidden, checks the deployment, and advises on each problem.

use super::output::{Output, print};
use crate::app::{self, Context};
use crate::catalog::products::{self, ProductFilter};
use crate::clinics;
use crate::config::{self, Pooling, Settings};
use crate::db::Page;
use crate::db::pooler::{self, Route};
use crate::{db, postgres};
use anyhow::bail;
use serde::Serialize;

/// The result of one check.
#[derive(Serialize)]
struct Check {
    id: &'static str,
    /// `good`, `warning` or `problem`.
    state: &'static str,
    found: String,
    advice: String,
}

impl Check {
    fn new(id: &'static str, state: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { id, state, found: found.into(), advice: advice.into() }
    }
}

/// Runs every check. Fails if a check finds a problem; warnings do not fail.
pub async fn run(output: Output) -> anyhow::Result<()> {
    let settings = Settings::from_environment()?;
    let mut checks = vec![database_choice(&settings), server(&settings)];
    match Context::open_unmigrated(settings.clone()).await {
        Err(error) => {
            let advice =
                "correct DATABASE_URL, SPSI_PG_BIN_DIR, SPSI_ENCRYPTION_KEYS or SPSI_TOKEN_KEYS as the message says";
            checks.push(Check::new("start", "problem", format!("{error:#}"), advice));
        }
        Ok(context) => {
            if let Err(error) = check_database(&context, &mut checks).await {
                let advice =
                    "check that Postgres runs at the address in DATABASE_URL and accepts its user and password";
                checks.push(Check::new("database", "problem", format!("{error:#}"), advice));
            }
            context.close().await?;
        }
    }
    if output == Output::Table {
        print("Configuration (environment variable, value):")?;
        for (variable, value) in config::effective()? {
            print(format_args!("  {variable:32} {value}"))?;
        }
        print("\nChecks:")?;
    }
    output.list(&["id", "state", "found", "advice"], &checks)?;
    match checks.iter().filter(|check| check.state == "problem").count() {
        0 => Ok(()),
        problems => bail!("{problems} of {} checks found a problem", checks.len()),
    }
}

fn database_choice(settings: &Settings) -> Check {
    if settings.database.database_url.is_some() {
        return Check::new("database_url", "good", "DATABASE_URL is set", "");
    }
    let directory = postgres::data_dir(&app::embedded_settings(settings));
    let directory = directory.map_or_else(|error| error.to_string(), |directory| directory.display().to_string());
    let found = format!("DATABASE_URL is not set: the private Postgres in {directory} is used");
    Check::new("database_url", "warning", found, "for production, set DATABASE_URL to a managed server")
}

fn server(settings: &Settings) -> Check {
    let address = settings.server.bind;
    match &settings.server.public_url {
        Some(url) if url.starts_with("https://") => {
            Check::new("public_url", "good", format!("ezyVet calls {url}, this server listens at {address}"), "")
        }
        Some(url) => Check::new(
            "public_url",
            "warning",
            format!("SPSI_PUBLIC_URL is {url}, which is not https"),
            "ezyVet requires https: put a reverse proxy with a certificate in front, and set SPSI_PUBLIC_URL to its address",
        ),
        None => Check::new(
            "public_url",
            "warning",
            format!("SPSI_PUBLIC_URL is not set, this server listens at {address}"),
            "set SPSI_PUBLIC_URL to the https address that ezyVet calls",
        ),
    }
}

async fn check_database(context: &Context, checks: &mut Vec<Check>) -> anyhow::Result<()> {
    let pooling = context.settings.database.db_pooling;
    let route = pooler::route(&context.pool).await?;
    // A LISTEN through a transaction pooler would send notifications to connections that do not expect them.
    let has_session = matches!(route, Route::Direct | Route::SessionPooler);
    let notified = has_session && pooler::notifications_arrive(&context.pool).await?;
    checks.push(connection(&route, pooling, notified));
    if route == Route::TransactionPooler && pooling == Pooling::Session {
        // Every further check would fail.
        return Ok(());
    }
    let missing = db::migrations(&context.pool).await?.iter().filter(|migration| migration.state == "missing").count();
    if missing > 0 {
        let advice = "run `spsi db migrate` (`spsi serve` applies migrations too)";
        checks.push(Check::new("schema", "problem", format!("{missing} migrations are not applied"), advice));
        return Ok(());
    }
    checks.push(Check::new("schema", "good", "every migration is applied", ""));
    let products = products::list(&context.pool, &ProductFilter::default(), Page::default()).await?;
    checks.push(match products.iter().filter(|product| product.state == "active").count() {
        0 => Check::new(
            "catalogue",
            "problem",
            "no product is for sale; /products answers 503 before the first import",
            "run `spsi catalog import FILE`",
        ),
        count => Check::new("catalogue", "good", format!("{count} products are for sale"), ""),
    });
    let clinics = clinics::list(&context.pool, &clinics::Filter::default(), Page::default()).await?;
    let without_site = clinics.iter().filter(|clinic| clinic.site.is_none()).count();
    checks.push(match (clinics.len(), without_site) {
        (0, _) => Check::new("clinics", "problem", "no clinic exists", "run `spsi clinic add --name NAME`"),
        (all, 0) => Check::new("clinics", "good", format!("{all} clinics"), ""),
        (all, some) => {
            let advice = "their invoices wait until `spsi clinic set ID site=SITE` (add a site: `spsi site add`)";
            Check::new("clinics", "warning", format!("{some} of {all} clinics have no ezyVet site"), advice)
        }
    });
    Ok(())
}

/// Compares the way to Postgres with SPSI_DB_POOLING.
fn connection(route: &Route, pooling: Pooling, notified: bool) -> Check {
    let (state, found, advice) = match (route, pooling) {
        (Route::TransactionPooler, Pooling::Session) => (
            "problem",
            "a pooler in transaction mode, but SPSI_DB_POOLING is `session`",
            "set SPSI_DB_POOLING=transaction, or set the pooler to session mode",
        ),
        (Route::TransactionPooler, Pooling::Transaction) => (
            "warning",
            "a pooler in transaction mode: changes are found by polling, and each statement is prepared anew",
            "session mode is faster: notifications arrive at once, and statements stay prepared",
        ),
        (_, Pooling::Transaction) => (
            "warning",
            "no pooler in transaction mode, but SPSI_DB_POOLING is `transaction`",
            "set SPSI_DB_POOLING=session: notifications arrive at once, and statements stay prepared",
        ),
        (_, Pooling::Session) if !notified => (
            "warning",
            "notifications do not arrive: changes are found by polling",
            "let LISTEN and NOTIFY pass between Postgres and this program",
        ),
        (Route::SessionPooler, _) => ("good", "a pooler in session mode; notifications arrive", ""),
        (Route::Direct, _) => ("good", "no pooler was noticed; notifications arrive", ""),
    };
    Check::new("connection", state, found, advice)
}
