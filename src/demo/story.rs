//! What happens in the demo, step by step. Each step checks what it tells; the first that is not so ends the story.

use super::narrator::Narrator;
use crate::app::Context;
use crate::clinics::IssuedClinic;
use crate::delivery::staff::{self, Delivery, Filter};
use crate::orders;
use crate::sandbox::{Clinic, OrderLine as WantedLine, ProductQuery, Sandbox};
use crate::shipments::{self, NewShipment, Requested, Shipment};
use crate::values::plain;
use anyhow::{Context as _, bail, ensure};
use rust_decimal::Decimal;
use std::time::{Duration, Instant};
use time::{Date, OffsetDateTime};

/// Longest time that the deliveries and the clinic's approval may take.
const PATIENCE: Duration = Duration::from_secs(120);
const PAGE: usize = 1000;
/// The sandbox's stock locations.
const LOCATIONS: [u64; 2] = [3, 4];

/// Tells the whole story.
pub async fn tell(
    context: &Context,
    sandbox: &Sandbox,
    url: &str,
    clinic: &IssuedClinic,
    narrator: &Narrator,
) -> anyhow::Result<()> {
    let caller = sandbox.connect(url, &clinic.client_id, clinic.client_secret.expose())?;
    let seen = sandbox.world().calls.len();
    let order = clinic_orders(context, &caller, narrator).await?;
    let shipments = warehouse_ships(context, &order, narrator).await?;
    deliveries_arrive(context, sandbox, &order, &shipments, seen, narrator).await?;
    let world = sandbox.world();
    if let Err(events) = world.finish() {
        let events: Vec<_> = events.iter().map(|event| format!("{event:?}")).collect();
        bail!("the sandbox saw what it should not have seen: {}", events.join("; "));
    }
    ensure!(world.doubled_invoices().is_empty(), "an invoice arrived twice: {:?}", world.doubled_invoices());
    narrator.say("\nThe story is told: one order, two shipments, two invoices, each exactly once.");
    Ok(())
}

/// The clinic's ezyVet pulls the catalogue and sends an order; its number.
async fn clinic_orders(context: &Context, caller: &Clinic, narrator: &Narrator) -> anyhow::Result<String> {
    narrator.step(1, "The clinic's ezyVet asks us for a token");
    narrator.show(&caller.token().await?.exchange);

    narrator.step(2, "It lists the categories that this clinic can see");
    let categories = caller.categories().await?;
    narrator.show(&categories.exchange);
    ensure!(
        !categories.value.is_empty(),
        "the clinic sees no product: the catalogue has none with a list_price, so nothing is for sale"
    );

    narrator.step(3, "Nightly it pulls the whole catalogue, page by page, and links its products to ours");
    let pull = caller.pull_catalogue(Some(PAGE)).await?;
    if let Some(first) = pull.exchanges.first() {
        narrator.show(first);
    }
    let total: u128 = pull.exchanges.iter().map(|exchange| exchange.duration.as_millis()).sum();
    narrator.say(&format!("   {} products in {} pages, {total} ms in all", pull.products.len(), pull.exchanges.len()));
    ensure!(!pull.products.is_empty(), "the clinic sees no product");

    let wanted = wanted(&pull.products)?;
    narrator.step(4, "Staff at the clinic search while they type");
    let word: String =
        pull.products.iter().find(|product| product.code == wanted[0].code).map_or_else(String::new, |product| {
            product.name.split_whitespace().next().unwrap_or_default().to_lowercase()
        });
    let query = ProductQuery { name: vec![word], ..ProductQuery::default() };
    let found = caller.products(&query, Some(2), Some(0)).await?;
    narrator.show(&found.exchange);
    ensure!(!found.value.is_empty(), "the search found nothing");

    narrator.step(5, "They send a purchase order: three lines, for two stock locations");
    let sent = caller.send_order(&wanted, "").await?;
    narrator.show(&sent.exchange);
    let number = sent
        .value
        .supplier_order_number
        .with_context(|| format!("the order was declined: {}", sent.value.reasons.join("; ")))?;
    narrator.say(&format!("   Stored, decided, answered: the clinic knows it as {number}"));
    let again = caller.resend(&sent.value.order).await?;
    ensure!(again.value.supplier_order_number.as_ref() == Some(&number), "the same order again got another answer");
    narrator
        .say("   The same order sent again (ezyVet's network hiccups) gets the same answer, and is not a second order");

    narrator.step(6, "The order desk sees it (spsi order show)");
    let shown = orders::show(&context.pool, &number).await?;
    for line in &shown.items {
        narrator.say(&format!(
            "   item {}  {:14} {:44}  {} units  at {}  for location {}",
            line.item,
            line.supplier_code,
            line.name.chars().take(44).collect::<String>(),
            plain(line.quantity),
            plain(line.price_per_unit),
            line.location_id
        ));
    }
    narrator.say(&format!("   state: {}", shown.order.state));
    ensure!(shown.order.state == "accepted", "the order is {}, not accepted", shown.order.state);
    Ok(number)
}

/// Three products that can be had: two for the first location, one for the second.
fn wanted(products: &[crate::sandbox::product::Listed]) -> anyhow::Result<Vec<WantedLine>> {
    let enough = |product: &&crate::sandbox::product::Listed| {
        let two_outers = product.units_per_outer * Decimal::TWO;
        product.active
            && product.list_price > Decimal::ZERO
            && product.units_per_outer >= Decimal::ONE
            && product.stock_available >= two_outers
    };
    let mut chosen: Vec<_> = products.iter().filter(enough).collect();
    if chosen.len() < 3 {
        // A catalogue without stock figures: ordered all the same, as back-orders.
        chosen = products.iter().filter(|product| product.active && product.list_price > Decimal::ZERO).collect();
    }
    ensure!(!chosen.is_empty(), "the catalogue has no active product with a price that the clinic could order");
    let pick = |at: usize| chosen[at * (chosen.len() - 1) / 2].code.clone();
    let mut codes = vec![pick(0), pick(1), pick(2)];
    codes.dedup();
    let last = codes.len() - 1;
    let location = |at: usize| LOCATIONS[usize::from(at > 0 && at == last)];
    Ok(codes.into_iter().enumerate().map(|(at, code)| WantedLine::new(code, 2, location(at))).collect())
}

/// Two parcels: the first with half of the first line from two batches and with freight, the second with the rest.
async fn warehouse_ships(context: &Context, order: &str, narrator: &Narrator) -> anyhow::Result<Vec<Shipment>> {
    let (pool, now, actor) = (&context.pool, context.clock.now(), &context.actor);
    let lines = orders::show(pool, order).await?.items;
    let first = lines.first().context("the order has no line")?;
    let expiry = |days: i64| -> Option<Date> { Some((now + time::Duration::days(days)).date()) };
    let half = first.units_per_outer;
    let one = if half >= Decimal::TWO { (half / Decimal::TWO).ceil() } else { half };
    let other = half - one;
    let mut parcel: Vec<Requested> = [(one, "A2231", 400), (other, "A2240", 520)]
        .into_iter()
        .filter(|(quantity, ..)| !quantity.is_zero())
        .map(|(quantity, batch, days)| Requested {
            item: first.item.clone(),
            quantity,
            batch: batch.into(),
            expiry: expiry(days),
        })
        .collect();
    if let Some(last) = lines.last().filter(|last| last.item != first.item) {
        parcel.push(Requested {
            item: last.item.clone(),
            quantity: last.quantity,
            batch: "B0907".into(),
            expiry: expiry(700),
        });
    }
    narrator.step(7, "The warehouse packs a first parcel: two batches, expiry dates, freight (spsi shipment create)");
    let flags: Vec<_> = parcel
        .iter()
        .map(|line| format!("--line {}:{}@{}/{}", line.item, plain(line.quantity), line.batch, text(line.expiry)))
        .collect();
    narrator.say(&format!("   $ spsi shipment create {order} {} --freight 12.50", flags.join(" ")));
    let new = NewShipment {
        order: order.to_owned(),
        lines: parcel,
        freight: Decimal::new(1250, 2),
        ..NewShipment::default()
    };
    let first = shipments::ship(pool, &context.settings.site, now, actor, &new).await?;
    narrator.say(&format!(
        "   shipment {}, invoice {}; the order is {}",
        first.id,
        first.invoice_number,
        state(context, order).await?
    ));

    narrator.step(8, "A second parcel with everything that is outstanding");
    narrator.say(&format!("   $ spsi shipment create {order}"));
    let new = NewShipment { order: order.to_owned(), ..NewShipment::default() };
    let second = shipments::ship(pool, &context.settings.site, now, actor, &new).await?;
    let state = state(context, order).await?;
    narrator.say(&format!("   shipment {}, invoice {}; the order is {state}", second.id, second.invoice_number));
    ensure!(state == "shipped" || state == "received", "the order is {state}, not shipped");
    Ok(vec![first, second])
}

fn text(day: Option<Date>) -> String {
    day.map_or_else(String::new, |day| day.to_string())
}

async fn state(context: &Context, order: &str) -> anyhow::Result<String> {
    Ok(orders::show(&context.pool, order).await?.order.state)
}

/// The worker delivers, the clinic approves, and we notice.
async fn deliveries_arrive(
    context: &Context,
    sandbox: &Sandbox,
    order: &str,
    shipments: &[Shipment],
    seen: usize,
    narrator: &Narrator,
) -> anyhow::Result<()> {
    narrator.step(
        9,
        "The worker tells ezyVet: a ReceiveInvoice job for each parcel, then `supplied` for each stock location",
    );
    wait_for(context, order, |delivery| matches!(delivery.state.as_str(), "delivered" | "confirmed" | "skipped"))
        .await?;
    let calls: Vec<_> = sandbox.world().calls.iter().skip(seen).cloned().collect();
    for call in calls.iter().filter(|call| call.method == "POST") {
        narrator.call(&call.method, &call.target, &call.body, call.status, &call.answer);
    }
    let looked_up = calls.iter().filter(|call| call.method == "GET").count();
    narrator.say(&format!("   (and {looked_up} calls to look up product and location uids, which are remembered, and to ask for approvals)"));

    narrator.step(10, "Staff at the clinic approve the invoices, and we notice (GET /v2/receiveinvoice)");
    wait_for(context, order, |delivery| delivery.kind == "supplied" || delivery.state == "confirmed").await?;
    for delivery in deliveries(context, order).await? {
        let at = delivery.delivered_at.map(|at| format!(" at {}", clock_time(at))).unwrap_or_default();
        narrator.say(&format!(
            "   {:16} {:12} {}{at}, {} attempt(s)",
            delivery.kind, delivery.invoice_number, delivery.state, delivery.attempts
        ));
    }
    let state = state(context, order).await?;
    narrator.say(&format!("   The order is {state}."));
    ensure!(state == "received", "the order is {state}, not received");
    let world = sandbox.world();
    for shipment in shipments {
        let arrived =
            world.invoices.iter().filter(|invoice| invoice.draft.invoice_number == shipment.invoice_number).count();
        ensure!(arrived == 1, "invoice {} is at ezyVet {arrived} times", shipment.invoice_number);
    }
    Ok(())
}

fn clock_time(at: OffsetDateTime) -> String {
    format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())
}

async fn deliveries(context: &Context, order: &str) -> anyhow::Result<Vec<Delivery>> {
    Ok(staff::list(&context.pool, &Filter { order: Some(order.to_owned()), ..Filter::default() }).await?)
}

/// Waits until every delivery of the order is as wished; gives up when one needs staff, and says why.
async fn wait_for(context: &Context, order: &str, wished: impl Fn(&Delivery) -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let deliveries = deliveries(context, order).await?;
        if let Some(stuck) =
            deliveries.iter().find(|delivery| ["attention", "unclear", "cancelled"].contains(&delivery.state.as_str()))
        {
            bail!(
                "delivery {} ({}) is {}: {}",
                stuck.id,
                stuck.kind,
                stuck.state,
                stuck.last_error.as_deref().unwrap_or("no reason given")
            );
        }
        if !deliveries.is_empty() && deliveries.iter().all(&wished) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let states: Vec<_> =
                deliveries.iter().map(|delivery| format!("{} {}", delivery.kind, delivery.state)).collect();
            bail!("after {} seconds the deliveries are still: {}", PATIENCE.as_secs(), states.join(", "));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
