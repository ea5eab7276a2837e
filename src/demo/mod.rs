//! `spsi demo`: the whole story on this machine, with real HTTP between a supplier (us) and a simulated ezyVet.
//!
//! It starts everything it needs and stops everything it started. A second start keeps the data and tells the story
//! again with a new order.

mod narrator;
mod story;

use crate::app::{Context, Role};
use crate::clinics::sites::{self, BaseUrl, Change, NewSite};
use crate::clinics::{self, IssuedClinic};
use crate::config::{Overrides, Settings, Span};
use crate::sandbox::{self, Sandbox};
use crate::secret::Plain;
use crate::seed;
use crate::shutdown::{self, ShutdownTrigger};
use anyhow::Context as _;
use clap::Parser;
use narrator::Narrator;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

/// The clinic of the seed that plays the clinic.
const CLINIC: &str = "seed-harbour-vet";
const SITE: &str = "sandbox";
const SANDBOX_ADDRESS: &str = "127.0.0.1:8090";

/// What the demo may be told.
#[derive(Debug)]
pub struct Options {
    /// End after the story.
    pub once: bool,
    /// A catalogue in place of the built-in one.
    pub products: Option<PathBuf>,
}

/// Plays the story; stays up afterwards unless told otherwise. An error is a step of the story that failed.
pub async fn run(mut settings: Settings, options: Options) -> anyhow::Result<()> {
    let narrator = Narrator::new();
    narrator.title("spsi-partner: the whole story on this machine");
    hurry(&mut settings);
    let listener = listen(&mut settings, &narrator)?;
    let context = Context::open(settings).await?;
    match &context.embedded {
        Some(embedded) => narrator.say(&format!("Postgres: {embedded}")),
        None => narrator.say("Postgres: the one that DATABASE_URL names"),
    }
    let ended = play(&context, listener, &options, &narrator).await;
    let closed = context.close().await;
    ended.and(closed)
}

async fn play(context: &Context, listener: TcpListener, options: &Options, narrator: &Narrator) -> anyhow::Result<()> {
    let files = seed::Files::open(None)?;
    let files = match &options.products {
        None => files,
        Some(path) => {
            files.with_products(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
        }
    };
    let seeded = seed::load(context, files, true).await?;
    narrator.say(&format!(
        "Catalogue: {} products. Prices and stock of the built-in one are examples (see seed/README.md); the products are real:\n\
         Contains information licensed under the Open Government Licence - Canada. Source: Anses-ANMV, CC BY; reshaped.",
        seeded.products
    ));
    let sandbox = start_sandbox(context).await?;
    let (trigger, shutdown) = shutdown::channel();
    let url = format!("http://{}", listener.local_addr()?);
    let clinic = connect(context, &sandbox).await?;
    narrator.say(&format!("Server and worker: {url}   Sandbox (a simulated ezyVet): {}", sandbox.url));
    let served = context.serve(Role::All, listener, shutdown);
    let told = async {
        let told = tokio::select! {
            told = story::tell(context, &sandbox, &url, &clinic, narrator) => told,
            () = shutdown::signal() => Err(anyhow::anyhow!("interrupted")),
        };
        if told.is_ok() && !options.once {
            stay_up(&url, &sandbox, &clinic, narrator).await;
        }
        stop(&trigger, told)
    };
    let (served, told) = tokio::join!(served, told);
    sandbox.stop().await?;
    told.and(served)
}

fn stop(trigger: &ShutdownTrigger, told: anyhow::Result<()>) -> anyhow::Result<()> {
    trigger.pull();
    told
}

/// A demo is not waited for: what takes minutes in production takes a second here, unless the environment says otherwise.
fn hurry(settings: &mut Settings) {
    let unset = |variable: &str| std::env::var_os(variable).is_none();
    if unset("SPSI_RECEIPT_POLL") {
        settings.site.receipt_poll = Span(Duration::from_secs(1));
    }
    if unset("SPSI_RETRY_BASE") {
        settings.site.retry_base = Span(Duration::from_millis(500));
    }
}

/// The address that was asked for; if it is the usual one and is taken, a free one.
fn listen(settings: &mut Settings, narrator: &Narrator) -> anyhow::Result<TcpListener> {
    #[derive(Parser)]
    struct Defaults {
        #[command(flatten)]
        server: crate::config::ServerSettings,
    }
    let asked = settings.server.bind;
    match TcpListener::bind(asked) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse && Defaults::parse_from(["spsi"]).server.bind == asked => {
            let listener = TcpListener::bind((asked.ip(), 0))?;
            settings.server.bind = listener.local_addr()?;
            narrator.say(&format!("{asked} is taken; using {} instead (choose with --bind)", settings.server.bind));
            Ok(listener)
        }
        Err(error) => {
            Err(error).with_context(|| format!("cannot listen at {asked}; choose another address with --bind"))
        }
    }
}

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
    // Its world goes on where it ended, so that ids are not used twice for one clinic.
    options.state = context.embedded.as_ref().map(|embedded| embedded.data_dir().join("sandbox.json"));
    sandbox::start(options).await
}

/// Makes the sandbox's site known to us, and us to the sandbox's clinic.
async fn connect(context: &Context, sandbox: &Sandbox) -> anyhow::Result<IssuedClinic> {
    let (pool, keys, now, actor) = (&context.pool, context.encryption_keys()?, context.clock.now(), &context.actor);
    let defaults = &context.settings.site;
    if sites::list(pool).await?.iter().any(|site| site.name == SITE) {
        let moved = vec![Change::Set("base_url".into(), sandbox.url.clone())];
        sites::change(pool, keys, defaults, now, actor, SITE, (moved, false)).await?;
    } else {
        let new = NewSite {
            name: SITE.into(),
            base_url: BaseUrl::parse(&sandbox.url, false)?,
            token_path: "/oauth/token".into(),
            partner_id: "sandbox-partner".into(),
            client_id: "sandbox-client".into(),
            client_secret: Plain::new("sandbox-secret"),
            site_uid: "sandbox-site".into(),
            settings: Overrides::new(),
        };
        sites::add(pool, keys, defaults, now, actor, new).await?;
    }
    clinics::set(pool, now, actor, &context.settings.clinic, CLINIC, &[format!("site={SITE}")]).await?;
    // Only hashes of secrets are kept, so a second start cannot show the first one's.
    Ok(clinics::rotate_secret(pool, now, actor, CLINIC, Duration::ZERO).await?)
}

/// How this program is called again: after `cargo run` it is not on the path.
fn program() -> String {
    std::env::current_exe().map_or_else(|_| "spsi".to_owned(), |path| path.display().to_string())
}

async fn stay_up(url: &str, sandbox: &Sandbox, clinic: &IssuedClinic, narrator: &Narrator) {
    let (id, secret) = (&clinic.client_id, clinic.client_secret.expose());
    narrator.title("Everything stays up; Ctrl-C stops it");
    narrator.say(&format!(
        "Explorer     {url}/docs/      (Authorize with the credentials below, then try the calls)\n\
         Sandbox      {sandbox}/           (jobs to approve, invoices, stock, calls, faults)\n\
         Metrics      {url}/metrics\n\
         Credentials  client_id {id}   client_secret {secret}\n\n\
         Copy and paste:\n\n\
         TOKEN=$(curl -s {url}/accesstoken -d grant_type=client_credentials -d client_id={id} -d client_secret={secret} | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n\
         curl -s -H \"Authorization: Bearer $TOKEN\" {url}/categories\n\
         curl -sg -H \"Authorization: Bearer $TOKEN\" '{url}/products?name=[tablet]&limit=[3]&page=[0]'\n\
         {spsi} order list        (and shipment list, delivery list: in this folder, from another terminal)",
        sandbox = sandbox.url,
        spsi = program()
    ));
    shutdown::signal().await;
    narrator.say("\nStopping.");
}
