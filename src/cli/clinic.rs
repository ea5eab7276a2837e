//! `spsi clinic`: clinics, their credentials and settings.

use super::output::Output;
use crate::app::Context;
use crate::clinics::mapping::{self, Kind, NewMapping, Owner};
use crate::clinics::{self, Changes, ClinicDraft, ClinicState};
use crate::config::Span;
use crate::db::{Page, in_transaction};
use sqlx::PgConnection;

#[derive(clap::Args)]
pub struct ClinicArg {
    /// Id, client id or name of the clinic
    id: String,
}

#[derive(clap::Subcommand)]
pub enum Command {
    /// Add a clinic and print its credentials for ezyVet. The secret is shown only once
    #[command(after_help = "Example:\n  spsi clinic add --name 'Harbour Vets' --site harbour")]
    Add {
        /// Name of the clinic
        #[arg(long)]
        name: String,
        /// ezyVet site that receives its invoices, by id or name
        #[arg(long)]
        site: Option<String>,
        /// Client id of the clinic [default: a new random one]
        #[arg(long)]
        client_id: Option<String>,
    },
    /// List the clinics
    List,
    /// Show a clinic with its settings
    Show(ClinicArg),
    /// Give a clinic a new secret, shown only once. Its access tokens expire within seconds
    #[command(
        after_help = "Example, with the old secret valid for another day:\n  spsi clinic rotate-secret 3 --overlap 1d"
    )]
    RotateSecret {
        /// Id, client id or name of the clinic
        id: String,
        /// How long the old secret stays valid, for instance 1d
        #[arg(long, default_value = "0s")]
        overlap: Span,
    },
    /// Refuse all requests of a clinic. Its access tokens expire within seconds
    Suspend(ClinicArg),
    /// Accept requests of a suspended clinic again
    Resume(ClinicArg),
    /// Change settings of a clinic. An empty value restores the deployment's setting
    #[command(after_help = "Examples:
  spsi clinic set 3 hidden_categories=VACCINE,IMPLANT hidden_products=00097403-01
  spsi clinic set 3 restricted_licence=true price_list=gold tax_code=GST tax_rate=15
  spsi clinic set 3 decline_answer=409 withdrawn_for=30d
  spsi clinic set 3 decline_answer=        (the deployment's setting again)

Keys: name, site, price_list, hidden_categories, hidden_products, only_categories, only_products,
restricted_licence, on_hold, tax_code, tax_rate, tax_overrides_product; and the settings under
`Clinics` in `spsi serve --help`, in lower case without SPSI_.")]
    Set {
        /// Id, client id or name of the clinic
        id: String,
        /// Settings to change
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
    /// Map the ids on a clinic's orders to delivery addresses and accounts, for every clinic of its site
    #[command(after_help = "Examples:
  spsi clinic map 3 --ship-to '2=12 Harbour St, Dunedin' --account 1=ACC-77
  spsi clinic map 3 --ship-to 2=            (removes the address)
  spsi clinic map 3                         (shows every id of the site with its mapping)")]
    Map {
        /// Id, client id or name of the clinic
        id: String,
        /// Address of a shipping_address_id; repeatable
        #[arg(long, value_name = "ID=ADDRESS", value_parser = pair)]
        ship_to: Vec<(String, String)>,
        /// Account of an ownership_id; repeatable
        #[arg(long, value_name = "ID=ACCOUNT", value_parser = pair)]
        account: Vec<(String, String)>,
    },
    /// List the ids on orders with their mappings. Unmapped ids come first
    Mappings {
        /// Only ids on orders of this clinic: id, client id or name
        #[arg(long)]
        clinic: Option<String>,
        /// Only unmapped ids
        #[arg(long)]
        unmapped: bool,
    },
}

const MAPPING_COLUMNS: [&str; 6] = ["clinic", "kind", "ezyvet_id", "state", "value", "orders"];

fn pair(text: &str) -> Result<(String, String), String> {
    let (id, value) = text.split_once('=').ok_or("write ID=VALUE, for instance `2=12 Harbour St`")?;
    Ok((id.to_owned(), value.to_owned()))
}

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let Context { pool, actor, .. } = context;
    let now = context.clock.now();
    match command {
        Command::Add { name, site, client_id } => {
            let draft = ClinicDraft { name, site, client_id };
            let add = async |connection: &mut PgConnection| clinics::add(connection, now, actor, draft).await;
            output.record(&in_transaction(pool, add).await?)
        }
        Command::List => {
            let mut clinics = clinics::list(pool, &clinics::Filter::default(), Page::default()).await?;
            clinics.sort_by_key(|clinic| clinic.id);
            output.list(&["id", "name", "client_id", "state", "site", "price_list"], &clinics)
        }
        Command::Show(ClinicArg { id }) => output.record(&clinics::show(pool, &context.settings.clinic, &id).await?),
        Command::RotateSecret { id, overlap } => {
            let rotate = async |connection: &mut PgConnection| {
                clinics::rotate_secret(connection, now, actor, id.as_str().into(), overlap.0).await
            };
            output.record(&in_transaction(pool, rotate).await?)
        }
        Command::Suspend(ClinicArg { id }) => {
            let suspend = async |connection: &mut PgConnection| {
                clinics::set_state(connection, now, actor, id.as_str().into(), ClinicState::Suspended).await
            };
            output.record(&in_transaction(pool, suspend).await?)
        }
        Command::Resume(ClinicArg { id }) => {
            let resume = async |connection: &mut PgConnection| {
                clinics::set_state(connection, now, actor, id.as_str().into(), ClinicState::Active).await
            };
            output.record(&in_transaction(pool, resume).await?)
        }
        Command::Set { id, settings } => {
            let (defaults, changes) = (&context.settings.clinic, Changes::parse(&settings));
            let set = async |connection: &mut PgConnection| {
                clinics::set(connection, now, actor, defaults, id.as_str().into(), changes).await
            };
            output.record(&in_transaction(pool, set).await?)
        }
        Command::Map { id, ship_to, account } => {
            let kinds = [(Kind::ShipTo, ship_to), (Kind::Account, account)];
            let mappings: Vec<_> = kinds
                .into_iter()
                .flat_map(|(kind, pairs)| pairs.into_iter().map(move |pair| (kind, pair)))
                .map(|(kind, (ezyvet_id, value))| NewMapping { kind, ezyvet_id, value: Some(value) })
                .collect();
            let map = async |connection: &mut PgConnection| {
                let owner = Owner::Clinic(clinics::find(&mut *connection, &id).await?.id);
                mapping::map(connection, now, actor, owner, &mappings).await?;
                mapping::list(connection, Some(&id)).await
            };
            output.list(&MAPPING_COLUMNS, &in_transaction(pool, map).await?)
        }
        Command::Mappings { clinic, unmapped } => {
            let mut mappings = mapping::list(&mut *pool.begin().await?, clinic.as_deref()).await?;
            mappings.retain(|mapping| !unmapped || mapping.value.is_none());
            output.list(&MAPPING_COLUMNS, &mappings)
        }
    }
}
