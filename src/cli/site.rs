//! `spsi site`: the ezyVet sites that receive invoices and stock movements.

use super::Hint;
use super::output::{Output, note};
use crate::app::Context;
use crate::clinics::Changes;
use crate::clinics::sites::{self, NewSite, SiteChange};
use crate::db::{Page, in_transaction};
use crate::delivery::{Worker, staff};
use crate::ezyvet::Preset;
use crate::secret::Plain;
use anyhow::anyhow;
use sqlx::PgConnection;
use std::io::{BufRead, IsTerminal};

/// The environment variable that holds the client secret, if standard input does not.
const SECRET_VARIABLE: &str = "SPSI_SITE_CLIENT_SECRET";

#[derive(clap::Args)]
pub struct SiteArg {
    /// Id or name of the site
    id: String,
}

#[derive(clap::Subcommand)]
pub enum Command {
    /// Add a site. Write the client secret as one line to standard input, or set SPSI_SITE_CLIENT_SECRET
    #[command(after_help = "Examples:
  echo \"$SECRET\" | spsi site add --name harbour --preset apiv2 \\
      --partner-id P --client-id C --site-uid S
  echo secret | spsi site add --name sandbox --base-url http://127.0.0.1:8090 \\
      --partner-id P --client-id C --site-uid S")]
    Add(Box<Add>),
    /// List the sites
    List,
    /// Show a site with its settings
    Show(SiteArg),
    /// Call a site to check its credentials: token, separations, inventory
    Test(SiteArg),
    /// Read and list the separations of a site (businesses, divisions, stock locations)
    Separations(SiteArg),
    /// Change settings or credentials of a site. An empty value restores the deployment's setting
    #[command(after_help = "Examples:
  spsi site set harbour invoice_unit=outer deliver=invoice
  spsi site set harbour state=paused            (sends nothing until state=active)
  echo \"$SECRET\" | spsi site set harbour --client-secret client_id=C2

Keys: name, base_url, token_path, partner_id, client_id, site_uid, state; and the settings under
`Sites` in `spsi serve --help`, in lower case without SPSI_.")]
    Set {
        /// Id or name of the site
        id: String,
        /// Settings to change
        #[arg(value_name = "KEY=VALUE")]
        settings: Vec<String>,
        /// Read a new client secret from standard input
        #[arg(long)]
        client_secret: bool,
        /// Permit an unencrypted base URL (http://) on another host
        #[arg(long)]
        allow_http: bool,
    },
    /// List ordered products without an inventory product at the site, with likely candidates
    Unmapped(SiteArg),
    /// Assign an inventory product to a product whose code matches none, or several
    #[command(after_help = "Example:\n  spsi site pin harbour 50002 product_8f2c")]
    Pin {
        /// Id or name of the site
        id: String,
        /// ezyVet's id of the product, as on the order
        product_id: String,
        /// Uid of the inventory product; `spsi site unmapped` lists candidates
        uid: String,
    },
}

#[derive(clap::Args)]
pub struct Add {
    /// Name of the site
    #[arg(long)]
    name: String,
    /// One of ezyVet's hosts with its token path: apiv2, api, trial-apiv2 or trial-api
    #[arg(long, conflicts_with = "base_url", required_unless_present = "base_url")]
    preset: Option<Preset>,
    /// Base URL of the site's API, for instance https://apiv2.ezyvet.com
    #[arg(long)]
    base_url: Option<String>,
    /// Path of the token endpoint [default: the preset's, or /oauth/token]
    #[arg(long)]
    token_path: Option<String>,
    /// Partner id that ezyVet has given you
    #[arg(long)]
    partner_id: String,
    /// Client id that ezyVet has given you for this site
    #[arg(long)]
    client_id: String,
    /// ezyVet's uid of the site
    #[arg(long)]
    site_uid: String,
    /// Permit an unencrypted base URL (http://) on another host
    #[arg(long)]
    allow_http: bool,
    /// Setting of this site; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let Context { pool, actor, clock, .. } = context;
    let keys = context.encryption_keys()?;
    let (now, defaults) = (clock.now(), &context.settings.site);
    match command {
        Command::Add(add) => {
            let default = add.preset.unwrap_or_default();
            let base_url = add.base_url.as_deref().unwrap_or(default.base_url);
            let new = NewSite {
                base_url: base_url.to_owned(),
                allow_http: add.allow_http,
                token_path: add.token_path.unwrap_or_else(|| default.token_path.to_owned()),
                client_secret: read_secret()?,
                settings: Changes::parse(&add.settings),
                name: add.name,
                partner_id: add.partner_id,
                client_id: add.client_id,
                site_uid: add.site_uid,
            };
            let add =
                async |connection: &mut PgConnection| sites::add(connection, keys, defaults, now, actor, new).await;
            output.record(&in_transaction(pool, add).await?)
        }
        Command::List => {
            let mut sites = sites::list(pool, &sites::Filter::default(), Page::default()).await?;
            sites.sort_by(|one, other| one.name.cmp(&other.name));
            output
                .list(&["id", "name", "state", "status", "base_url", "open_deliveries", "attention_deliveries"], &sites)
        }
        Command::Show(SiteArg { id }) => output.record(&sites::find(pool, &id).await?),
        Command::Test(SiteArg { id }) => {
            let site = sites::find(pool, &id).await?;
            let worker = Worker::new(pool.clone(), keys.clone(), clock.clone(), &context.settings)?;
            let check = worker.test_site(site.id).await?;
            output.record(&check)?;
            if check.ok {
                return Ok(());
            }
            let hint =
                format!("correct the site with `spsi site set {id} KEY=VALUE`, then run `spsi site test {id}` again");
            Err(Hint::on(anyhow!("a check of site `{id}` failed"), hint))
        }
        Command::Separations(SiteArg { id }) => {
            let site = sites::find(pool, &id).await?;
            let worker = Worker::new(pool.clone(), keys.clone(), clock.clone(), &context.settings)?;
            output.list(&["id", "uid", "name", "type", "parent"], &worker.separations(site.id).await?)
        }
        Command::Set { id, settings, client_secret, allow_http } => {
            let client_secret = if client_secret { Some(read_secret()?) } else { None };
            let change = SiteChange { changes: Changes::parse(&settings), client_secret, allow_http };
            let change = async |connection: &mut PgConnection| {
                sites::change(connection, keys, defaults, now, actor, id.as_str().into(), change).await
            };
            output.record(&in_transaction(pool, change).await?)
        }
        Command::Unmapped(SiteArg { id }) => {
            let site = sites::find(pool, &id).await?;
            let columns = ["id", "supplier_code", "name", "deliveries", "candidates"];
            output.list(&columns, &staff::unmapped(pool, site.id).await?)
        }
        Command::Pin { id, product_id, uid } => {
            let site = sites::find(pool, &id).await?;
            let pin = async |connection: &mut PgConnection| {
                staff::pin_product(connection, now, actor, site.id, (&product_id, &uid)).await
            };
            in_transaction(pool, pin).await?;
            output.record(&serde_json::json!({ "id": site.id, "product_id": product_id, "uid": uid }))
        }
    }
}

fn read_secret() -> anyhow::Result<Plain> {
    if let Ok(secret) = std::env::var(SECRET_VARIABLE) {
        return Ok(Plain::new(secret));
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        note("Client secret (one line):");
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    let secret = Plain::new(line.trim());
    if secret.expose().is_empty() {
        let hint = format!("pipe it to the command (`echo \"$SECRET\" | spsi site ...`), or set {SECRET_VARIABLE}");
        return Err(Hint::on(anyhow!("the client secret is missing"), hint));
    }
    Ok(secret)
}
