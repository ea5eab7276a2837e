//! The steps of the demo. Each step checks its result; the first failed check ends the demo.

use super::narrator::Narrator;
use crate::app::Context;
use crate::clinics::IssuedClinic;
use crate::db::{self, Page};
use crate::delivery::staff::{self, Delivery, Filter};
use crate::orders::{self, OrderInFull};
use crate::sandbox::{Clinic, Listed, OrderLine, Sandbox};
use crate::shipments::{self, NewShipment, Requested, Shipment};
use crate::values::plain;
use anyhow::{Context as _, bail, ensure};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use std::time::{Duration, Instant};

/// Maximum time for the deliveries and the clinic's approval.
pub(super) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);
/// Products per page of the catalogue.
const PAGE_SIZE: usize = 1000;
/// Outers of the first product. The first parcel has two of them, one from each of two batches.
const FIRST_OUTERS: i64 = 4;
/// Outers of every other product.
const OTHER_OUTERS: i64 = 2;
/// The sandbox's ids of its stock locations.
const LOCATIONS: [u64; 2] = [3, 4];

/// The story up to the ERP.
pub struct Played {
    /// The clinic.
    pub caller: Clinic,
    /// What it ordered.
    pub lines: Vec<OrderLine>,
    pub shipments: usize,
}

/// Plays every step before the ERP takes over.
pub async fn play(
    context: &Context,
    sandbox: &Sandbox,
    url: &str,
    clinic: &IssuedClinic,
    narrator: &Narrator,
) -> anyhow::Result<Played> {
    let caller = sandbox.connect(url, &clinic.client_id, clinic.client_secret.expose())?;
    let earlier_calls = sandbox.world().calls.len();
    let (order, lines) = clinic_orders(context, &caller, narrator).await?;
    let shipments = warehouse_ships(context, &order, narrator).await?;
    deliver(context, sandbox, &order, earlier_calls, narrator).await?;
    let world = sandbox.world();
    if let Err(events) = world.finish() {
        let events: Vec<_> = events.iter().map(|event| format!("{event:?}")).collect();
        bail!("the sandbox recorded unexpected events: {}", events.join("; "));
    }
    ensure!(world.doubled_invoices().is_empty(), "invoices arrived twice: {:?}", world.doubled_invoices());
    for shipment in &shipments {
        let number = &shipment.invoice_number;
        let copies = world.invoices.iter().filter(|invoice| &invoice.draft.invoice_number == number).count();
        ensure!(copies == 1, "ezyVet has {copies} copies of invoice {number} instead of one");
    }
    Ok(Played { caller, lines, shipments: shipments.len() })
}

/// The clinic's ezyVet downloads the catalogue and sends an order. Returns the supplier order number and the lines.
async fn clinic_orders(
    context: &Context,
    caller: &Clinic,
    narrator: &Narrator,
) -> anyhow::Result<(String, Vec<OrderLine>)> {
    narrator.step(1, "The clinic's ezyVet logs in to the supplier");
    narrator.show(&caller.token().await?.exchange);

    narrator.step(2, "ezyVet reads the categories of products that this clinic can buy");
    let categories = caller.categories().await?;
    narrator.show(&categories.exchange);
    ensure!(!categories.value.is_empty(), "no product of the catalogue has a list_price, so none is for sale");

    narrator.step(3, "Every night, ezyVet downloads the catalogue with this clinic's prices, page by page");
    let pull = caller.pull_catalogue(Some(PAGE_SIZE)).await?;
    if let Some(first) = pull.exchanges.first() {
        narrator.show(first);
    }
    let total: u128 = pull.exchanges.iter().map(|exchange| exchange.duration_ms).sum();
    narrator.say(&format!("   {} products in {} pages, {total} ms in all", pull.products.len(), pull.exchanges.len()));
    let chosen = choose_products(&pull.products)?;

    narrator.step(4, "A nurse at the clinic types a product name, and ezyVet searches the catalogue");
    let name = chosen[0].name.split_whitespace().next().unwrap_or_default().to_lowercase();
    let found = caller.products(Some(&name), Some(2), 0).await?;
    narrator.show(&found.exchange);
    ensure!(!found.value.is_empty(), "the search for {name:?} found no product");

    narrator.step(5, "The clinic approves a purchase order, and ezyVet sends it to the supplier");
    let lines = order_lines(&chosen);
    let sent = caller.send_order(&lines, "").await?;
    narrator.show(&sent.exchange);
    let reply = sent.value;
    let number = reply.supplier_order_number.clone();
    let number = number.with_context(|| format!("the order was declined: {}", reply.reasons.join("; ")))?;
    narrator.say(&format!("   The order is stored and accepted. Its number at the supplier is {number}."));
    let again = caller.resend(&reply).await?;
    ensure!(
        again.value.supplier_order_number.as_ref() == Some(&number),
        "a second copy of the order got another number"
    );
    narrator.say("   ezyVet sends the same order once more, as after a network fault: same number, no second order.");

    narrator.step(6, &format!("Staff of the supplier look at the order (`spsi order show {number}`)"));
    let shown = orders::show(&mut *context.pool.begin().await?, &number).await?;
    for item in &shown.items {
        let outers = plain((item.quantity / item.units_per_outer).round_dp(3));
        let name: String = item.name.chars().take(44).collect();
        narrator.say(&format!(
            "   line {}: {outers} packs of {} = {} units of {name} ({}), {} per unit, for stock location {}",
            item.item,
            plain(item.units_per_outer),
            plain(item.quantity),
            item.supplier_code,
            plain(item.price_per_unit),
            item.location_id
        ));
    }
    narrator.say(&format!("   The order is {}.", shown.order.state));
    ensure!(shown.order.state == "accepted", "the order is {}, not accepted", shown.order.state);
    Ok((number, lines))
}

/// Chooses up to three different products, spread over the catalogue. Prefers packs of a whole number of units that are in
/// stock; takes any product for sale if the catalogue has no stock figures, which makes back-orders.
fn choose_products(products: &[Listed]) -> anyhow::Result<Vec<&Listed>> {
    let for_sale = |product: &&Listed| product.active && product.list_price > Decimal::ZERO;
    let in_stock = |product: &&Listed| {
        let pack = product.units_per_outer;
        pack >= Decimal::ONE && pack.fract().is_zero() && product.stock_available >= pack * Decimal::from(FIRST_OUTERS)
    };
    let mut candidates: Vec<_> = products.iter().filter(for_sale).filter(in_stock).collect();
    if candidates.len() < 3 {
        candidates = products.iter().filter(for_sale).collect();
    }
    ensure!(!candidates.is_empty(), "the catalogue has no active product with a price");
    let last = candidates.len() - 1;
    let mut chosen = vec![candidates[0], candidates[last / 2], candidates[last]];
    chosen.dedup_by(|one, other| one.code == other.code);
    Ok(chosen)
}

/// Orders the last product for the second stock location, and the others for the first.
fn order_lines(products: &[&Listed]) -> Vec<OrderLine> {
    let line = |(i, product): (usize, &&Listed)| {
        let outers = if i == 0 { FIRST_OUTERS } else { OTHER_OUTERS };
        let location = LOCATIONS[usize::from(i > 0 && i + 1 == products.len())];
        OrderLine::new(product.code.clone(), outers, location)
    };
    products.iter().enumerate().map(line).collect()
}

/// The warehouse ships two parcels: the first with two packs of the first line, from two batches, and the whole last line;
/// the second with the rest.
async fn warehouse_ships(context: &Context, order: &str, narrator: &Narrator) -> anyhow::Result<Vec<Shipment>> {
    let today = context.clock.now().date();
    let items = orders::show(&mut *context.pool.begin().await?, order).await?.items;
    let first = items.first().context("the order has no line")?;
    let packed = |item: &str, quantity: Decimal, batch: &str, days: i64| Requested {
        item: item.to_owned(),
        quantity,
        batch: batch.to_owned(),
        expiry: today.checked_add(time::Duration::days(days)),
    };
    let pack = first.units_per_outer;
    let mut parcel = vec![packed(&first.item, pack, "A2231", 400), packed(&first.item, pack, "A2240", 520)];
    if let Some(last) = items.last().filter(|last| last.item != first.item) {
        parcel.push(packed(&last.item, last.quantity, "B0907", 700));
    }
    narrator.step(7, "The warehouse packs a first parcel: whole packs from several batches, with freight");
    let flags: Vec<_> = parcel
        .iter()
        .map(|line| {
            let expiry = line.expiry.map(|day| format!("/{day}")).unwrap_or_default();
            format!("--line {}:{}@{}{expiry}", line.item, plain(line.quantity), line.batch)
        })
        .collect();
    narrator.say(&format!("   $ spsi shipment create {order} {} --freight 12.50", flags.join(" ")));
    let new =
        NewShipment { order: order.to_owned(), lines: parcel, freight: Decimal::new(1250, 2), ..Default::default() };
    let (first, _) = ship(context, &new, narrator).await?;

    narrator.step(8, "The warehouse packs a second parcel: everything that is still outstanding");
    narrator.say(&format!("   $ spsi shipment create {order}"));
    let (second, state) =
        ship(context, &NewShipment { order: order.to_owned(), ..Default::default() }, narrator).await?;
    ensure!(state == "shipped" || state == "received", "the order is {state}, not shipped");
    Ok(vec![first, second])
}

/// Records a shipment. Returns it with the state of its order.
async fn ship(context: &Context, new: &NewShipment, narrator: &Narrator) -> anyhow::Result<(Shipment, String)> {
    let Context { pool, settings, actor, clock, .. } = context;
    let ship = async |connection: &mut PgConnection| {
        shipments::ship(connection, &settings.site, clock.now(), actor, new).await
    };
    let shipment = db::in_transaction(pool, ship).await?;
    let OrderInFull { order, .. } = orders::show(&mut *pool.begin().await?, &new.order).await?;
    let (id, number) = (shipment.id, &shipment.invoice_number);
    narrator.say(&format!("   Shipment {id} has invoice {number}. The order is now {}.", order.state));
    Ok((shipment, order.state))
}

/// The worker delivers, and the clinic approves the invoices.
async fn deliver(
    context: &Context,
    sandbox: &Sandbox,
    order: &str,
    earlier_calls: usize,
    narrator: &Narrator,
) -> anyhow::Result<()> {
    narrator
        .step(9, "The supplier sends both invoices to ezyVet, and books the goods into the clinic's stock locations");
    let is_delivered = |delivery: &Delivery| ["delivered", "confirmed", "skipped"].contains(&delivery.state.as_str());
    wait_for(context, order, is_delivered).await?;
    let calls: Vec<_> = sandbox.world().calls.iter().skip(earlier_calls).cloned().collect();
    let (sent, read): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.method == "POST");
    for call in sent {
        narrator.call(&call.method, &call.target, &call.body, &call.status.to_string(), &call.answer);
    }
    let count = read.len();
    narrator
        .say(&format!("   ({count} further calls read ids of products and stock locations, and look for approvals.)"));

    narrator.step(10, "The clinic approves the invoices in ezyVet, and the supplier notices");
    wait_for(context, order, |delivery| delivery.kind == "supplied" || delivery.state == "confirmed").await?;
    let mut delivered = deliveries(context, order).await?;
    delivered.sort_by_key(|delivery| delivery.id);
    for Delivery { kind, invoice_number, state, attempts, .. } in delivered {
        narrator.say(&format!("   {kind:16} {invoice_number:12} {state}, attempts: {attempts}"));
    }
    let state = orders::show(&mut *context.pool.begin().await?, order).await?.order.state;
    narrator.say(&format!("   The order is now {state}."));
    ensure!(state == "received", "the order is {state}, not received");
    Ok(())
}

async fn deliveries(context: &Context, order: &str) -> anyhow::Result<Vec<Delivery>> {
    let filter = Filter { order: Some(order.to_owned()), ..Filter::default() };
    Ok(staff::list(&mut *context.pool.begin().await?, &filter, Page::default()).await?)
}

/// Waits until every delivery of the order satisfies `is_done`. Fails if one needs staff, or after [`DELIVERY_TIMEOUT`].
pub(super) async fn wait_for(
    context: &Context,
    order: &str,
    is_done: impl Fn(&Delivery) -> bool,
) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let deliveries = deliveries(context, order).await?;
        let needs_staff =
            |delivery: &&Delivery| ["attention", "unclear", "cancelled"].contains(&delivery.state.as_str());
        if let Some(Delivery { id, kind, state, last_error, .. }) = deliveries.iter().find(needs_staff) {
            bail!("delivery {id} ({kind}) is {state}: {}", last_error.as_deref().unwrap_or("no reason recorded"));
        }
        if !deliveries.is_empty() && deliveries.iter().all(&is_done) {
            return Ok(());
        }
        if started.elapsed() > DELIVERY_TIMEOUT {
            let states: Vec<_> = deliveries.iter().map(|one| format!("{} {}", one.kind, one.state)).collect();
            bail!("after {} seconds, the deliveries are still: {}", DELIVERY_TIMEOUT.as_secs(), states.join(", "));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
