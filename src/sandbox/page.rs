//! The page at `/`: the state of the site. It loads nothing else and escapes all data.

use super::{
    clock::{Millis, readable},
    job::JobState,
    world::World,
};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884}\
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:0 auto;padding:1.5rem}\
h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}p{margin:.25rem 0;opacity:.8}\
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
th{font-weight:600;font-size:.85rem}\
form{display:inline}\
button{font:inherit;padding:.1rem .6rem;margin-right:.3rem;cursor:pointer}\
.bad{color:#c33}.good{color:#283}.none{opacity:.6}";

/// The number of rows that a table shows: the latest ones.
const MAX_ROWS: usize = 30;

/// Escapes text for HTML.
fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

/// Renders a table. Escapes the cells; the second part of a row is HTML for a last cell, if it is not empty.
fn table(title: &str, columns: &[&str], rows: impl Iterator<Item = (Vec<String>, String)>) -> String {
    let cell = |html: &str| format!("<td>{html}</td>");
    let heads: String = columns.iter().map(|column| format!("<th scope=col>{column}</th>")).collect();
    let rows: String = rows
        .take(MAX_ROWS)
        .map(|(cells, html)| {
            let cells: String = cells.iter().map(|text| cell(&escape(text))).collect();
            format!("<tr>{cells}{}</tr>", if html.is_empty() { String::new() } else { cell(&html) })
        })
        .collect();
    let none = if rows.is_empty() { "<p class=none>None.</p>" } else { "" };
    format!("<h2>{title}</h2><div class=scroll><table><tr>{heads}</tr>{rows}</table></div>{none}")
}

/// A row of text.
fn row<const N: usize>(cells: [String; N]) -> (Vec<String>, String) {
    (cells.into(), String::new())
}

/// Renders the page.
pub fn render(world: &World, now: Millis) -> String {
    let site = world.separations.iter().find(|part| part.kind == "Business").map_or("ezyVet site", |part| &part.name);
    let (site, now) = (escape(site), readable(now - now.rem_euclid(1000)));
    let linked = world.products.iter().filter(|product| product.linked).count();
    let waiting = world.jobs.iter().filter(|job| job.state == JobState::Waiting).count();
    let [order_count, invoice_count, supplied] = [world.orders.len(), world.invoices.len(), world.supplied.len()];
    let unexpected = match world.events.len() {
        0 => "<p class=good>No unexpected calls.</p>".to_owned(),
        count => format!("<p class=bad><a href=#unexpected>{count} unexpected calls</a></p>"),
    };
    let tables = [jobs, invoices, orders, stock, faults, unexpected_calls, calls].map(|table| table(world));
    format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\"><meta http-equiv=refresh content=5><link rel=icon href=\"data:,\"><title>ezyVet sandbox</title><style>{STYLE}</style></head><body>\
         <h1>Sandbox: {site}</h1><p>{now} &middot; {linked} linked products &middot; {order_count} orders &middot; {waiting} jobs waiting &middot; {invoice_count} invoices &middot; {supplied} supplied calls</p>\
         {unexpected}{}</body></html>",
        tables.concat()
    )
}

fn unexpected_calls(world: &World) -> String {
    let rows = world.events.iter().rev().map(|event| row([readable(event.at), event.to_string()]));
    table("<span id=unexpected>Unexpected calls</span>", &["Time", "Description"], rows)
}

fn button(job: u64, verb: &str) -> String {
    format!("<form method=post action=\"/_sandbox/jobs/{job}/{}\"><button>{verb}</button></form>", verb.to_lowercase())
}

fn jobs(world: &World) -> String {
    let rows = world.jobs.iter().rev().map(|job| {
        let lines = job.body["line_item"].as_array().map_or(0, Vec::len);
        let (state, actions) = match job.state {
            JobState::Waiting => {
                ("waiting for approval".into(), [button(job.id, "Approve"), button(job.id, "Reject")].concat())
            }
            JobState::Approved => ("approved".into(), "&nbsp;".into()),
            JobState::Rejected => ("rejected".into(), "&nbsp;".into()),
            JobState::Failed => (format!("failed: {}", job.error), "&nbsp;".into()),
        };
        (vec![job.id.to_string(), job.invoice_number().unwrap_or_default(), lines.to_string(), state], actions)
    });
    table("Jobs", &["Job", "Invoice number", "Lines", "State", ""], rows)
}

fn invoices(world: &World) -> String {
    let rows = world.invoices.iter().rev().map(|invoice| {
        let draft = &invoice.draft;
        row([
            invoice.id.to_string(),
            draft.invoice_number.clone(),
            draft.lines.len().to_string(),
            draft.freight.to_string(),
            draft.comments.clone(),
            readable(invoice.created),
        ])
    });
    table("Receive invoices", &["Id", "Number", "Lines", "Freight", "Comments", "Approved"], rows)
}

fn orders(world: &World) -> String {
    let lines = world.orders.iter().rev().flat_map(|order| order.items.iter().map(move |item| (order, item)));
    let rows = lines.map(|(order, item)| {
        let answer = match (&order.supplier_order_number, order.declined) {
            (Some(number), _) => number.clone(),
            (None, true) => format!("declined: {}", order.reasons.join("; ")),
            (None, false) => "none yet".into(),
        };
        let location = world.separations.iter().find(|part| part.id == item.location_id);
        row([
            order.number.clone(),
            answer,
            item.id.to_string(),
            format!("{} {}", item.supplier_code, item.name),
            location.map(|part| part.name.clone()).unwrap_or_default(),
            item.quantity.normalize().to_string(),
            item.received.normalize().to_string(),
        ])
    });
    let columns = ["Number", "Supplier's answer", "Line", "Product", "Location", "Units ordered", "Units received"];
    table("Purchase orders", &columns, rows)
}

fn stock(world: &World) -> String {
    let counts = world.stock.iter().flat_map(|(location, units)| units.iter().map(move |units| (location, units)));
    let rows = counts.map(|(location, (uid, units))| {
        let name = world.separations.iter().find(|part| part.uid == *location).map_or(location, |part| &part.name);
        let product = world.products.iter().find(|product| product.uid == *uid).map_or(uid, |product| &product.name);
        row([name.clone(), product.clone(), units.normalize().to_string()])
    });
    table("Stock", &["Location", "Product", "Units"], rows)
}

fn faults(world: &World) -> String {
    let rows = world.faults.list().iter().map(|(id, fault)| row([id.to_string(), fault.to_string()]));
    table("Active faults", &["Id", "Fault"], rows)
}

fn calls(world: &World) -> String {
    let rows = world.calls.iter().rev().map(|call| {
        let status = if call.status == 0 { "no answer".into() } else { call.status.to_string() };
        let target = format!("{} {}", call.method, call.target);
        row([readable(call.at), target, status, call.fault.clone().unwrap_or_default()])
    });
    table("Latest calls", &["Time", "Call", "Status", "Fault"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{Options, OrderLine, product::tests::listed};

    #[test]
    fn the_page_escapes_all_data() {
        let mut world = World::new(Options::default());
        let mut product = listed("A", true);
        product.name = "<script>alert('x')</script>".into();
        world.link_catalogue(&[product]);
        assert!(world.write_order(0, &[OrderLine::new("A", 1, 3)], "").is_ok());
        let page = render(&world, 0);
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;alert(&#39;x&#39;)"));
    }
}
