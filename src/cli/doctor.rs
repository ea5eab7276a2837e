//! `spsi doctor`: the effective configuration with secrets hidden, and what to do about each problem.

use super::output::Output;
use crate::app::{self, Context};
use crate::catalog;
use crate::config::{self, Settings};
use crate::{db, postgres};
use anyhow::bail;
use serde::Serialize;

/// One thing that was looked at.
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

/// Looks at everything that a deployment needs. Fails if there is a problem; warnings do not fail.
pub async fn run(output: Output) -> anyhow::Result<()> {
    let settings = Settings::from_environment()?;
    let mut checks = vec![database_choice(&settings), server(&settings)];
    match Context::open_unmigrated(settings.clone()).await {
        Err(error) => {
            let advice = "see the message; DATABASE_URL, SPSI_PG_BIN_DIR, SPSI_ENCRYPTION_KEYS and SPSI_TOKEN_KEYS decide about it";
            checks.push(Check::new("start", "problem", format!("{error:#}"), advice));
        }
        Ok(context) => {
            let looked = look(&context, &mut checks).await;
            if let Err(error) = looked {
                let advice = "is Postgres running, and may we reach it? Look at DATABASE_URL";
                checks.push(Check::new("database", "problem", format!("{error:#}"), advice));
            }
            context.close().await?;
        }
    }
    if output == Output::Table {
        println!("Configuration (environment variable, value):");
        for (variable, value) in config::effective()? {
            println!("  {variable:32} {value}");
        }
        println!("\nChecks:");
    }
    output.list(&["id", "state", "found", "advice"], &checks)?;
    match checks.iter().filter(|check| check.state == "problem").count() {
        0 => Ok(()),
        problems => bail!("{problems} of {} checks found a problem", checks.len()),
    }
}

fn database_choice(settings: &Settings) -> Check {
    match &settings.database.database_url {
        Some(_) => Check::new("database_url", "good", "DATABASE_URL is set", ""),
        None => {
            let place = postgres::data_dir(&app::embedded_settings(settings));
            let place = place.map_or_else(|error| error.to_string(), |place| place.display().to_string());
            Check::new(
                "database_url",
                "warning",
                format!("the private Postgres is used: {place}"),
                "for production, set DATABASE_URL to a managed server",
            )
        }
    }
}

fn server(settings: &Settings) -> Check {
    let address = settings.server.bind;
    match &settings.server.public_url {
        Some(url) if url.starts_with("https://") => {
            Check::new("public_url", "good", format!("reached as {url}, served at {address}"), "")
        }
        Some(url) => Check::new(
            "public_url",
            "warning",
            format!("reached as {url}"),
            "ezyVet wants https: put a proxy with a certificate in front",
        ),
        None => Check::new(
            "public_url",
            "warning",
            format!("served at {address}"),
            "set SPSI_PUBLIC_URL to the https address that ezyVet calls",
        ),
    }
}

async fn look(context: &Context, checks: &mut Vec<Check>) -> anyhow::Result<()> {
    db::ping(&context.pool).await?;
    let missing = db::migrations(&context.pool).await?.iter().filter(|migration| migration.state == "missing").count();
    if missing > 0 {
        checks.push(Check::new(
            "schema",
            "problem",
            format!("{missing} migrations are missing"),
            "run `spsi db migrate` (`spsi serve` does so too)",
        ));
        return Ok(());
    }
    checks.push(Check::new("schema", "good", "every migration is applied", ""));
    let products = catalog::list(&context.pool, None).await?;
    let for_sale = products.iter().filter(|product| product.state == "active").count();
    checks.push(match for_sale {
        0 => Check::new(
            "catalogue",
            "problem",
            "nothing is for sale; /products answers 503 before the first import",
            "run `spsi catalog import FILE`",
        ),
        count => Check::new("catalogue", "good", format!("{count} products are for sale"), ""),
    });
    let clinics = crate::clinics::list(&context.pool).await?;
    let siteless = clinics.iter().filter(|clinic| clinic.site.is_none()).count();
    checks.push(match (clinics.len(), siteless) {
        (0, _) => Check::new("clinics", "problem", "there is no clinic", "run `spsi clinic add --name NAME`"),
        (all, 0) => Check::new("clinics", "good", format!("{all} clinics"), ""),
        (all, some) => {
            let advice = "their invoices wait until `spsi clinic set ID site=SITE` (sites: `spsi site add`)";
            Check::new("clinics", "warning", format!("{some} of {all} clinics have no ezyVet site"), advice)
        }
    });
    Ok(())
}
