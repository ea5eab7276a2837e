//! The last chapter of the demo: an ERP (`seed/erp.py`) is asked about an order, accepts it and ships it.

use super::CLINIC;
use super::narrator::Narrator;
use super::story;
use crate::app::Context;
use crate::auth::api_keys::{self, Role};
use crate::clinics::{self, Changes};
use crate::db::{self, Page};
use crate::events::{self, Event};
use crate::sandbox::{Clinic, OrderLine, Sandbox};
use crate::webhooks::{self, NewEndpoint};
use anyhow::{Context as _, ensure};
use sqlx::PgConnection;
use std::net::TcpListener;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const PROGRAM: &str = include_str!("../../seed/erp.py");
/// Names the key in the audit trail, and describes the webhook.
const KEY_NAME: &str = "demo-erp";
/// More events than one order causes.
const MAX_EVENTS: i64 = 1000;

/// Plays the chapter: one order with one shipment. Leaves no key, webhook or setting behind. Returns false if python3 is
/// not installed.
pub async fn play(
    context: &Context,
    sandbox: &Sandbox,
    (url, caller): (&str, &Clinic),
    lines: &[OrderLine],
    narrator: &Narrator,
) -> anyhow::Result<bool> {
    narrator.step(11, "The supplier's ERP takes over: it is asked about every order, by a webhook");
    if !has_python().await {
        narrator.say("   (Left out: this chapter runs seed/erp.py, and python3 is not installed.)");
        return Ok(false);
    }
    let mut connected = Connected::new(context, url, narrator).await?;
    let played = order_and_ship(context, sandbox, (caller, &mut connected), lines, narrator).await;
    let disconnected = connected.disconnect(context).await;
    played.and(disconnected).map(|()| true)
}

/// The clinic orders; the ERP accepts and ships; the worker delivers.
async fn order_and_ship(
    context: &Context,
    sandbox: &Sandbox,
    (caller, erp): (&Clinic, &mut Connected),
    lines: &[OrderLine],
    narrator: &Narrator,
) -> anyhow::Result<()> {
    let before = events::sequence(&context.pool).await?;
    // A changed rule reaches the server within this time.
    tokio::time::sleep(context.settings.catalog.refresh.0).await;
    narrator.step(12, "The clinic sends another order. The supplier takes it and leaves the decision to the ERP");
    let sent = caller.send_order(lines.get(lines.len().saturating_sub(1)..).unwrap_or(lines), "").await?;
    narrator.show(&sent.exchange);
    let reply = sent.value;
    let number = reply.supplier_order_number;
    let number = number.with_context(|| format!("the order was declined: {}", reply.reasons.join("; ")))?;
    for _ in 0..2 {
        let line = tokio::time::timeout(story::DELIVERY_TIMEOUT, erp.output.next_line()).await;
        let line = line.context("the ERP got no webhook in time")??.context("the ERP ended")?;
        narrator.say(&format!("   ERP: {line}"));
        ensure!(line.starts_with(&number), "the ERP wrote about another order");
    }
    narrator.step(13, "The goods of the ERP's shipment are invoiced in ezyVet like all others");
    story::wait_for(context, &number, |delivery| delivery.kind == "supplied" || delivery.state == "confirmed").await?;
    let events = events::list(&context.pool, Some(before), &[], MAX_EVENTS).await?;
    let about_order = |event: &&Event| event.data.to_string().contains(&number);
    let kinds: Vec<_> = events.iter().filter(about_order).map(|event| event.kind.as_str()).collect();
    narrator.say(&format!("   Events that the ERP received about {number}: {}", kinds.join(", ")));
    let doubled = sandbox.world().doubled_invoices();
    ensure!(doubled.is_empty(), "invoices arrived twice: {doubled:?}");
    Ok(())
}

/// Switches the rule on that asks the ERP, or back to the deployment's setting.
async fn ask(context: &Context, connection: &mut PgConnection, on: bool) -> anyhow::Result<()> {
    let change = Changes::parse(&[format!("rule_ask={}", if on { "ask" } else { "" })]);
    let (now, actor, defaults) = (context.clock.now(), &context.actor, &context.settings.clinic);
    clinics::set(connection, now, actor, defaults, CLINIC.into(), change).await?;
    Ok(())
}

async fn has_python() -> bool {
    let version = Command::new("python3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    version.is_ok_and(|status| status.success())
}

/// A running ERP with its key and its webhook.
struct Connected {
    program: Child,
    output: Lines<BufReader<ChildStdout>>,
    webhook: i64,
}

impl Connected {
    async fn new(context: &Context, url: &str, narrator: &Narrator) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (keys, now, actor) = (context.encryption_keys()?, context.clock.now(), &context.actor);
        let allow_private = context.settings.webhooks.webhook_allow_private;
        let url_of_erp = format!("http://127.0.0.1:{port}/");
        let new = NewEndpoint { url: url_of_erp, description: KEY_NAME.into(), ..NewEndpoint::default() };
        let connect = async |connection: &mut PgConnection| -> anyhow::Result<_> {
            // An interrupted demo leaves its key and its webhook behind.
            let _ = api_keys::revoke(connection, now, actor, KEY_NAME).await;
            for webhook in webhooks::list(connection, Page::default()).await? {
                if webhook.description == KEY_NAME {
                    webhooks::remove(connection, now, actor, webhook.id).await?;
                }
            }
            let key = api_keys::add(connection, now, actor, KEY_NAME, Role::Admin, None).await?;
            let webhook = webhooks::add(connection, keys, allow_private, now, actor, new).await?;
            ask(context, connection, true).await?;
            Ok((key, webhook))
        };
        let (key, webhook) = db::in_transaction(&context.pool, connect).await?;
        narrator.say(&format!("   $ spsi key add --role admin --name {KEY_NAME}"));
        narrator.say(&format!("   $ spsi webhook add --url {}", webhook.endpoint.url));
        narrator.say(&format!("   $ spsi clinic set {CLINIC} rule_ask=ask"));
        narrator.say("   $ python3 seed/erp.py");
        let mut program = Command::new("python3")
            .arg("-")
            .env("SPSI_URL", url)
            .env("SPSI_KEY", key.key.expose())
            .env("WEBHOOK_SECRET", &webhook.secret)
            .env("ERP_PORT", port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("python3 does not start")?;
        if let Some(mut input) = program.stdin.take() {
            input.write_all(PROGRAM.as_bytes()).await?;
        }
        let output = BufReader::new(program.stdout.take().context("python3 has no output")?).lines();
        Ok(Self { program, output, webhook: webhook.endpoint.id })
    }

    async fn disconnect(mut self, context: &Context) -> anyhow::Result<()> {
        let (now, actor) = (context.clock.now(), &context.actor);
        self.program.kill().await?;
        let disconnect = async |connection: &mut PgConnection| -> anyhow::Result<()> {
            ask(context, connection, false).await?;
            webhooks::remove(connection, now, actor, self.webhook).await?;
            api_keys::revoke(connection, now, actor, KEY_NAME).await?;
            Ok(())
        };
        db::in_transaction(&context.pool, disconnect).await
    }
}
