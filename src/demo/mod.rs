//! `spsi demo`: a whole order on this machine, over real HTTP between the supplier's server and a simulated ezyVet.
//!
//! The demo stops everything that it started. A second run keeps the data and plays a new order.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod erp;
mod narrator;
mod story;

use crate::app::{Context, Role, actor};
use crate::clinics::sites::{self, NewSite, SiteChange, SiteError};
use crate::clinics::{self, Changes, IssuedClinic};
use crate::config::{DEFAULT_BIND, Settings, Span};
use crate::db;
use crate::sandbox::{self, Sandbox};
use crate::secret::Plain;
use crate::seed;
use crate::shutdown;
use anyhow::Context as _;
use clap::Parser;
use narrator::Narrator;
use sqlx::PgConnection;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;
use story::Played;

/// The client id of the example clinic that orders.
const CLINIC: &str = "seed-harbour-vet";
const SITE: &str = "sandbox";
const SANDBOX_ADDRESS: &str = "127.0.0.1:8090";

/// Play a whole order on this machine: private Postgres, example catalogue, server, worker and a simulated ezyVet
#[derive(clap::Args)]
#[command(after_help = "Examples:
  spsi demo                        (plays the order, prints URLs and credentials, and stays up)
  spsi demo --once                 (exits after the last step: 0 on success, 1 if a step failed)
  spsi demo --products mine.csv    (with your own catalogue)")]
pub struct Options {
    /// Exit after the last step
    #[arg(long)]
    once: bool,
    /// CSV file with a catalogue that replaces the built-in example
    #[arg(long, value_name = "FILE")]
    products: Option<PathBuf>,
    #[command(flatten)]
    pub settings: Settings,
}

/// Plays the demo, then stays up until Ctrl-C unless `once` is set. Fails if a step fails. Ends without an error if the
/// reader of the output closes the pipe. `name` is the name for the audit trail.
pub async fn run(mut options: Options, name: Option<&str>) -> anyhow::Result<()> {
    let narrator = Narrator::new();
    narrator.title("spsi-partner: a whole order on this machine");
    prepare(&mut options.settings);
    let listener = listen(&mut options.settings, &narrator)?;
    let mut context = Context::open(options.settings.clone()).await?;
    context.actor = actor::command_line(name);
    match &context.embedded {
        Some(embedded) => narrator.say(&format!("Postgres: {embedded}")),
        None => narrator.say("Postgres: the database in DATABASE_URL"),
    }
    let ended = serve_and_play(&context, listener, &options, &narrator).await;
    let closed = context.close().await;
    ended.and(closed)
}

async fn serve_and_play(
    context: &Context,
    listener: TcpListener,
    options: &Options,
    narrator: &Narrator,
) -> anyhow::Result<()> {
    load_catalogue(context, options, narrator).await?;
    let sandbox = start_sandbox(context).await?;
    let (trigger, shutdown) = shutdown::channel();
    let url = format!("http://{}", listener.local_addr()?);
    let clinic = connect(context, &sandbox).await?;
    narrator.say(&format!(
        "Supplier: server and delivery worker at {url}\nClinic:   a simulated ezyVet at {}",
        sandbox.url
    ));
    let served = context.serve(Role::All, listener, shutdown);
    let played = async {
        let ended = tokio::select! {
            ended = play(context, &sandbox, &url, &clinic, narrator) => ended.map(|()| !options.once),
            () = shutdown::signal() => Err(anyhow::anyhow!("interrupted")),
            () = narrator.pipe_closed() => Ok(false),
        };
        if let Ok(true) = ended {
            stay_up(&url, &sandbox, &clinic, narrator).await;
        }
        trigger.pull();
        ended.map(drop)
    };
    let (served, played) = tokio::join!(served, played);
    sandbox.stop().await?;
    played.and(served)
}

/// Plays every step.
async fn play(
    context: &Context,
    sandbox: &Sandbox,
    url: &str,
    clinic: &IssuedClinic,
    narrator: &Narrator,
) -> anyhow::Result<()> {
    let Played { caller, lines, mut shipments } = story::play(context, sandbox, url, clinic, narrator).await?;
    let mut orders = "1 order";
    if erp::play(context, sandbox, (url, &caller), &lines, narrator).await? {
        (orders, shipments) = ("2 orders", shipments + 1);
    }
    let counts = format!("{orders}, {shipments} shipments, {shipments} invoices");
    narrator.say(&format!("\nDone: {counts}, each delivered exactly once."));
    Ok(())
}

async fn load_catalogue(context: &Context, options: &Options, narrator: &Narrator) -> anyhow::Result<()> {
    let files = seed::Files::open(None)?;
    let (files, source) = match &options.products {
        None => (files, "a real product register with example prices and stock, see seed/README.md".to_owned()),
        Some(path) => {
            let products = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            (files.with_products(products), path.display().to_string())
        }
    };
    let seeded = seed::load(context, files, true).await?;
    narrator.say(&format!("Catalogue: {} products ({source})", seeded.products));
    if options.products.is_none() {
        narrator.say(
            "Contains information licensed under the Open Government Licence - Canada. Source: Anses-ANMV, CC BY; reshaped.",
        );
    }
    Ok(())
}

/// Shortens the waits that take minutes in production, unless the environment sets them, and permits webhooks to this machine.
fn prepare(settings: &mut Settings) {
    let is_unset = |variable: &str| std::env::var_os(variable).is_none();
    if is_unset("SPSI_RECEIPT_POLL") {
        settings.site.receipt_poll = Span(Duration::from_secs(1));
    }
    if is_unset("SPSI_RETRY_BASE") {
        settings.site.retry_base = Span(Duration::from_millis(500));
    }
    // The demo's ERP runs on this machine.
    settings.webhooks.webhook_allow_private = true;
}

/// Binds the requested address. If it is the default and in use, binds a free port instead.
fn listen(settings: &mut Settings, narrator: &Narrator) -> anyhow::Result<TcpListener> {
    let requested = settings.server.bind;
    match TcpListener::bind(requested) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse && requested.to_string() == DEFAULT_BIND => {
            let listener = TcpListener::bind((requested.ip(), 0))?;
            let bound = listener.local_addr()?;
            settings.server.bind = bound;
            narrator.say(&format!("{requested} is in use: listening on {bound} instead (`--bind` chooses an address)"));
            Ok(listener)
        }
        Err(error) => {
            Err(error).with_context(|| format!("cannot listen on {requested}; choose another address with `--bind`"))
        }
    }
}

/// Starts the simulated ezyVet at its usual address, or at a free port if that is in use or the server's port is free too.
async fn start_sandbox(context: &Context) -> anyhow::Result<Sandbox> {
    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        options: sandbox::Options,
    }
    let address = match TcpListener::bind(SANDBOX_ADDRESS) {
        Ok(_) if context.settings.server.bind.port() != 0 => SANDBOX_ADDRESS,
        _ => "127.0.0.1:0",
    };
    let mut options = Arguments::try_parse_from(["sandbox", "--bind", address, "--approve-after", "1s"])?.options;
    // The sandbox continues from its last state, so that a clinic does not use an order id twice.
    options.state = context.embedded.as_ref().map(|embedded| embedded.data_dir().join("sandbox.json"));
    sandbox::start(options).await
}

/// Registers the sandbox as a site of the supplier, and assigns the clinic to it. Returns new credentials of the clinic.
async fn connect(context: &Context, sandbox: &Sandbox) -> anyhow::Result<IssuedClinic> {
    let (pool, keys, now, actor) = (&context.pool, context.encryption_keys()?, context.clock.now(), &context.actor);
    let defaults = &context.settings.site;
    let is_known = !matches!(sites::find(pool, SITE).await, Err(SiteError::Unknown(_)));
    let new_url = Changes::parse(&[format!("base_url={}", sandbox.url)]);
    let connect = async |connection: &mut PgConnection| {
        if is_known {
            let change = SiteChange { changes: new_url, ..SiteChange::default() };
            return sites::change(connection, keys, defaults, now, actor, SITE.into(), change).await;
        }
        let new = NewSite {
            name: SITE.into(),
            base_url: sandbox.url.clone(),
            allow_http: false,
            token_path: "/oauth/token".into(),
            partner_id: "sandbox-partner".into(),
            client_id: "sandbox-client".into(),
            client_secret: Plain::new("sandbox-secret"),
            site_uid: "sandbox-site".into(),
            settings: Changes::default(),
        };
        sites::add(connection, keys, defaults, now, actor, new).await
    };
    db::in_transaction(pool, connect).await?;
    let assign = async |connection: &mut PgConnection| {
        let (defaults, site) =
            (&context.settings.clinic, Changes::parse(&[format!("site={SITE}"), "rule_ask=".to_owned()]));
        clinics::set(connection, now, actor, defaults, CLINIC.into(), site).await?;
        // The database has only hashes of secrets, so a second run needs a new secret.
        clinics::rotate_secret(connection, now, actor, CLINIC.into(), Duration::ZERO).await
    };
    Ok(db::in_transaction(pool, assign).await?)
}

/// Returns the command line that runs this program again. After `cargo run`, `spsi` is not on the path.
fn command(arguments: &[&str]) -> String {
    let program = std::env::current_exe().map_or_else(|_| "spsi".to_owned(), |path| path.display().to_string());
    format!("{program} {}", arguments.join(" "))
}

/// Prints what a visitor can try, and waits for Ctrl-C or a closed pipe.
async fn stay_up(url: &str, sandbox: &Sandbox, clinic: &IssuedClinic, narrator: &Narrator) {
    let (id, secret) = (&clinic.client_id, clinic.client_secret.expose());
    let orders = command(&["order", "list"]);
    let key = command(&["key", "add", "--role", "admin", "--name", "me"]);
    narrator.title("The server and the simulated ezyVet stay up. Press Ctrl-C to stop");
    narrator.say(&format!(
        "API explorer  {url}/docs/   (choose Authorize, enter the credentials below, and try the calls)\n\
         Staff API     {url}/staff/docs/   (needs a key: {key})\n\
         ezyVet        {sandbox}/   (approve jobs, see invoices, stock and calls, inject faults)\n\
         Metrics       {url}/metrics\n\
         Credentials   client_id {id}   client_secret {secret}\n\n\
         Try it from another terminal:\n\n\
         TOKEN=$(curl -s {url}/accesstoken -d grant_type=client_credentials -d client_id={id} -d client_secret={secret} | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n\
         curl -s -H \"Authorization: Bearer $TOKEN\" {url}/categories\n\
         curl -sg -H \"Authorization: Bearer $TOKEN\" '{url}/products?name=[tablet]&limit=[3]&page=[0]'\n\n\
         In this folder, as long as the demo runs (also `shipment list`, `delivery list`, `audit list`):\n\n\
         {orders}",
        sandbox = sandbox.url,
    ));
    tokio::select! {
        () = shutdown::signal() => narrator.say("\nStopping."),
        () = narrator.pipe_closed() => {}
    }
}
