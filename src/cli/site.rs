//! `spsi site`: the ezyVet databases that we call.

use super::Hint;
use super::output::Output;
use crate::app::Context;
use crate::clinics::sites::{self, BaseUrl, Change, NewSite};
use crate::config::Overrides;
use crate::delivery::{Worker, staff};
use crate::ezyvet::Preset;
use crate::secret::Plain;
use std::io::{BufRead, IsTerminal};

/// Where a secret may come from, if not from standard input.
const SECRET_VARIABLE: &str = "SPSI_SITE_CLIENT_SECRET";

#[derive(clap::Subcommand)]
pub enum Command {
    /// Adds a site. The client secret is one line on standard input, or in SPSI_SITE_CLIENT_SECRET.
    #[command(after_help = "Examples:
  echo \"$SECRET\" | spsi site add --name harbour --preset apiv2 --partner-id P --client-id C --site-uid S
  echo secret | spsi site add --name sandbox --base-url http://127.0.0.1:8090 --partner-id P --client-id C --site-uid S")]
    Add(Box<Add>),
    /// Lists the sites.
    List,
    /// Shows a site, by id or name.
    Show { id: String },
    /// Calls a site: token, separations, inventory.
    Test { id: String },
    /// Reads a site's separations (businesses, divisions, stock locations) afresh.
    Separations { id: String },
    /// Changes a site, its credentials or settings; an empty value goes back to the deployment's setting. state=paused
    /// stops sending to it, state=active goes on.
    #[command(after_help = "Examples:
  spsi site set harbour invoice_unit=outer deliver=invoice
  spsi site set harbour state=paused            (nothing is sent until state=active)
  echo \"$SECRET\" | spsi site set harbour --client-secret client_id=C2")]
    Set {
        id: String,
        #[arg(value_name = "KEY=VALUE")]
        settings: Vec<String>,
        /// Take a new client secret from standard input
        #[arg(long)]
        client_secret: bool,
        /// Allow an unencrypted base URL
        #[arg(long)]
        allow_http: bool,
    },
    /// Lists the products that wait for an inventory product to be found, with the likely candidates.
    Unmapped { id: String },
    /// Says which inventory product a product of the clinic's is, where its code does not tell.
    #[command(after_help = "Example:\n  spsi site pin harbour 50002 product_8f2c")]
    Pin {
        id: String,
        /// ezyVet's number of the product, as on the order
        product_id: String,
        /// The inventory product's uid
        uid: String,
    },
}

#[derive(clap::Args)]
pub struct Add {
    /// Name of the site
    #[arg(long)]
    name: String,
    /// One of ezyVet's hosts, with its token path: apiv2, api, trial-apiv2, trial-api
    #[arg(long, conflicts_with = "base_url", required_unless_present = "base_url")]
    preset: Option<Preset>,
    /// Scheme and host of the site's API
    #[arg(long)]
    base_url: Option<String>,
    /// Where tokens are asked for [default: the preset's, or /oauth/token]
    #[arg(long)]
    token_path: Option<String>,
    /// Our partner id with ezyVet
    #[arg(long)]
    partner_id: String,
    /// Our client id for this site
    #[arg(long)]
    client_id: String,
    /// ezyVet's uid of the site
    #[arg(long)]
    site_uid: String,
    /// Allow an unencrypted base URL other than this machine's
    #[arg(long)]
    allow_http: bool,
    /// Settings of this site's own
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let Context { pool, actor, clock, .. } = context;
    let keys = context.encryption_keys()?;
    let (now, defaults) = (clock.now(), &context.settings.site);
    match command {
        Command::Add(add) => {
            let default = add.preset.unwrap_or(Preset::ApiV2);
            let base_url = add.base_url.as_deref().unwrap_or(default.base_url());
            let new = NewSite {
                base_url: BaseUrl::parse(base_url, add.allow_http)?,
                token_path: add.token_path.unwrap_or_else(|| default.token_path().to_owned()),
                client_secret: read_secret()?,
                settings: add.settings.iter().map(|pair| split(pair)).collect::<anyhow::Result<Overrides>>()?,
                name: add.name,
                partner_id: add.partner_id,
                client_id: add.client_id,
                site_uid: add.site_uid,
            };
            output.record(&sites::add(pool, keys, defaults, now, actor, new).await?)
        }
        Command::List => output.list(
            &["id", "name", "state", "status", "base_url", "open_deliveries", "attention_deliveries"],
            &sites::list(pool).await?,
        ),
        Command::Show { id } => output.record(&sites::find(pool, &id).await?),
        Command::Test { id } => {
            let site = sites::find(pool, &id).await?;
            let worker = Worker::new(pool.clone(), keys.clone(), clock.clone(), &context.settings)?;
            let check = worker.test_site(site.id).await?;
            output.record(&check)?;
            if check.ok {
                return Ok(());
            }
            let hint = format!("correct it with: spsi site set {id} KEY=VALUE, then test again");
            Err(anyhow::anyhow!("the site cannot be called").context(Hint(hint)))
        }
        Command::Separations { id } => {
            let site = sites::find(pool, &id).await?;
            let worker = Worker::new(pool.clone(), keys.clone(), clock.clone(), &context.settings)?;
            output.list(&["id", "uid", "name", "type", "parent"], &worker.separations(site.id).await?)
        }
        Command::Set { id, settings, client_secret, allow_http } => {
            let mut changes: Vec<Change> = Vec::new();
            for pair in &settings {
                let (key, value) = split(pair)?;
                changes.push(Change::Set(key, value));
            }
            if client_secret {
                changes.push(Change::ClientSecret(read_secret()?));
            }
            output.record(&sites::change(pool, keys, defaults, now, actor, &id, (changes, allow_http)).await?)
        }
        Command::Unmapped { id } => {
            let site = sites::find(pool, &id).await?;
            let columns = ["id", "supplier_code", "name", "deliveries", "candidates"];
            output.list(&columns, &staff::unmapped(pool, site.id).await?)
        }
        Command::Pin { id, product_id, uid } => {
            let site = sites::find(pool, &id).await?;
            staff::pin_product(pool, now, actor, site.id, (&product_id, &uid)).await?;
            output.record(&serde_json::json!({ "id": site.id, "product_id": product_id, "uid": uid }))
        }
    }
}

fn split(pair: &str) -> anyhow::Result<(String, String)> {
    let (key, value) = pair.split_once('=').ok_or_else(|| anyhow::anyhow!("`{pair}` is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn read_secret() -> anyhow::Result<Plain> {
    if let Ok(secret) = std::env::var(SECRET_VARIABLE) {
        return Ok(Plain::new(secret));
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("client secret (one line):");
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    let secret = Plain::new(line.trim());
    if secret.expose().is_empty() {
        let hint = format!("write it to standard input: echo \"$SECRET\" | spsi site ..., or set {SECRET_VARIABLE}");
        return Err(anyhow::anyhow!("no client secret came").context(Hint(hint)));
    }
    Ok(secret)
}
