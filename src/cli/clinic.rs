//! `spsi clinic`: who may order, at which prices, what they see.

use super::output::Output;
use crate::app::Context;
use crate::clinics::mapping::{self, Kind, NewMapping};
use crate::clinics::{self, ClinicDraft};
use crate::config::Span;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Adds a clinic and prints the credentials that are entered in its ezyVet; the secret is shown this once.
    #[command(after_help = "Example:\n  spsi clinic add --name 'Harbour Vets' --site harbour")]
    Add {
        /// Name of the clinic
        #[arg(long)]
        name: String,
        /// Its ezyVet site, by id or name: where invoices go
        #[arg(long)]
        site: Option<String>,
        /// The client id to give it; a new one is made if there is none
        #[arg(long)]
        client_id: Option<String>,
    },
    /// Lists the clinics.
    List,
    /// Shows a clinic with its settings, by id, client id or name.
    Show { id: String },
    /// Gives a clinic a new secret, shown this once; its tokens die within seconds.
    #[command(
        after_help = "Example: leave the old secret good for a day, while the clinic enters the new one:\n  spsi clinic rotate-secret 3 --overlap 1d"
    )]
    RotateSecret {
        id: String,
        /// How long the old secret stays good beside the new one
        #[arg(long, default_value = "0s")]
        overlap: Span,
    },
    /// Shuts a clinic out; its tokens die within seconds.
    Suspend { id: String },
    /// Lets a suspended clinic in again.
    Resume { id: String },
    /// Changes what a clinic sees, pays and is answered; an empty value goes back to the deployment's setting.
    #[command(after_help = "Examples:
  spsi clinic set 3 hidden_categories=VACCINE,IMPLANT hidden_products=00097403-01
  spsi clinic set 3 restricted_licence=true price_list=gold tax_code=GST tax_rate=15
  spsi clinic set 3 decline_answer=409 withdrawn_for=30d
  spsi clinic set 3 decline_answer=        (back to the deployment's)")]
    Set {
        id: String,
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
    /// Says once what the ids on a clinic's orders mean: delivery addresses and account numbers. It holds for every clinic
    /// of its site.
    #[command(after_help = "Examples:
  spsi clinic map 3 --ship-to '2=12 Harbour St, Dunedin' --account 1=ACC-77
  spsi clinic map 3 --ship-to 2=                                forgets it
  spsi clinic map 3                                             shows what is known, and what is still to be told")]
    Map {
        id: String,
        /// The address of a shipping_address_id; may repeat
        #[arg(long, value_name = "ID=ADDRESS", value_parser = pair)]
        ship_to: Vec<(String, String)>,
        /// The account of an order's ownership_id; may repeat
        #[arg(long, value_name = "ID=ACCOUNT", value_parser = pair)]
        account: Vec<(String, String)>,
    },
    /// Lists ids on orders with what they mean; those that are still to be told first.
    Mappings {
        /// Of this clinic only: id, client id or name
        #[arg(long)]
        clinic: Option<String>,
        /// Only what is still to be told
        #[arg(long)]
        unmapped: bool,
    },
}

const MAPPING_COLUMNS: [&str; 6] = ["clinic", "kind", "ezyvet_id", "state", "value", "orders"];

fn pair(text: &str) -> Result<(String, String), String> {
    let (id, value) = text.split_once('=').ok_or("write it like 2='12 Harbour St'")?;
    Ok((id.to_owned(), value.to_owned()))
}

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let Context { pool, actor, .. } = context;
    let now = context.clock.now();
    match command {
        Command::Add { name, site, client_id } => {
            let draft = ClinicDraft { name, site, client_id };
            output.record(&clinics::add(pool, now, actor, draft).await?)
        }
        Command::List => {
            output.list(&["id", "name", "client_id", "state", "site", "price_list"], &clinics::list(pool).await?)
        }
        Command::Show { id } => output.record(&clinics::show(pool, &context.settings.clinic, &id).await?),
        Command::RotateSecret { id, overlap } => {
            output.record(&clinics::rotate_secret(pool, now, actor, &id, overlap.0).await?)
        }
        Command::Suspend { id } => output.record(&clinics::suspend(pool, now, actor, &id).await?),
        Command::Resume { id } => output.record(&clinics::resume(pool, now, actor, &id).await?),
        Command::Set { id, settings } => {
            clinics::set(pool, now, actor, &context.settings.clinic, &id, &settings).await?;
            output.record(&clinics::show(pool, &context.settings.clinic, &id).await?)
        }
        Command::Map { id, ship_to, account } => {
            let kinds = [(Kind::ShipTo, ship_to), (Kind::Account, account)];
            let mappings: Vec<_> = kinds
                .into_iter()
                .flat_map(|(kind, pairs)| pairs.into_iter().map(move |pair| (kind, pair)))
                .map(|(kind, (ezyvet_id, value))| NewMapping { kind, ezyvet_id, value })
                .collect();
            output.list(&MAPPING_COLUMNS, &mapping::map(pool, now, actor, &id, &mappings).await?)
        }
        Command::Mappings { clinic, unmapped } => {
            let mut mappings = mapping::list(pool, clinic.as_deref()).await?;
            mappings.retain(|mapping| !unmapped || mapping.value.is_none());
            output.list(&MAPPING_COLUMNS, &mappings)
        }
    }
}
