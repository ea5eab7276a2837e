//! `spsi clinic`: who may order, at which prices, what they see.

use super::output::Output;
use crate::app::Context;
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
  spsi clinic set 3 restricted_licence=true price_list=gold
  spsi clinic set 3 decline_answer=409 withdrawn_for=30d
  spsi clinic set 3 decline_answer=        (back to the deployment's)")]
    Set {
        id: String,
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
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
    }
}
