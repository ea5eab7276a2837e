//! The page at `/`: the state of the site. It loads nothing else and escapes all data.

use std::fmt::Write;

use super::{
    clock::{Millis, readable},
    job::JobState,
    wire::list_of,
    world::World,
};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8881}\
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:0 auto;padding:1.5rem}\
h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}p{margin:.25rem 0;opacity:.8}\
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
th{font-weight:600;font-size:.85rem}td.number{text-align:right;font-variant-numeric:tabular-nums}\
code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}form{display:inline}\
button{font:inherit;padding:.1rem .6rem;margin-right:.3rem;cursor:pointer}\
.bad{color:#c33}.good{color:#283}.none{opacity:.6}";

/// The number of rows that a table shows: the latest ones.
const MAX_ROWS: usize = 30;

/// Escapes text for HTML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

struct Table {
    html: String,
    rows: usize,
}

impl Table {
    fn new(title: &str, columns: &[&str]) -> Self {
        let mut html = format!("<h2>{title}</h2><div class=scroll><table><tr>");
        columns.iter().for_each(|column| html.push_str(&format!("<th scope=col>{column}</th>")));
        html.push_str("</tr>");
        Self { html, rows: 0 }
    }

    /// Adds a row and escapes its cells.
    fn row(&mut self, cells: &[String]) {
        self.row_with(cells, "");
    }

    /// Adds a row whose last cell is trusted HTML.
    fn row_with(&mut self, cells: &[String], html: &str) {
        self.html.push_str("<tr>");
        cells.iter().for_each(|cell| self.html.push_str(&format!("<td>{}</td>", escape(cell))));
        if !html.is_empty() {
            self.html.push_str(&format!("<td>{html}</td>"));
        }
        self.html.push_str("</tr>");
        self.rows += 1;
    }

    fn finish(self) -> String {
        let none = if self.rows == 0 { "<p class=none>None.</p>" } else { "" };
        format!("{}</table></div>{none}", self.html)
    }
}

/// Renders the page.
pub fn render(world: &World, now: Millis) -> String {
    let waiting = world.jobs.iter().filter(|job| job.state == JobState::Waiting).count();
    let mut page = String::from(
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\"><meta http-equiv=refresh content=5><link rel=icon href=\"data:,\"><title>ezyVet sandbox</title><style>",
    );
    page.push_str(STYLE);
    page.push_str("</style></head><body>");
    let linked = world.products.iter().filter(|product| product.linked).count();
    let _ = write!(
        page,
        "<h1>Sandbox: {}</h1><p>{} &middot; {linked} linked products &middot; {} orders &middot; {waiting} jobs waiting &middot; {} invoices &middot; {} supplied calls</p>",
        escape(world.separations.iter().find(|part| part.kind == "Business").map_or("ezyVet site", |part| &part.name)),
        readable(now - now.rem_euclid(1000)),
        world.orders.len(),
        world.invoices.len(),
        world.supplied.len()
    );
    match world.events.len() {
        0 => page.push_str("<p class=good>No unexpected calls.</p>"),
        count => page.push_str(&format!("<p class=bad><a href=#unexpected>{count} unexpected calls</a></p>")),
    }
    page.push_str(&jobs(world));
    page.push_str(&invoices(world));
    page.push_str(&orders(world));
    page.push_str(&stock(world));
    page.push_str(&faults(world));
    if !world.events.is_empty() {
        let mut table = Table::new("<span id=unexpected>Unexpected calls</span>", &["Time", "Description"]);
        world.events.iter().rev().take(MAX_ROWS).for_each(|event| table.row(&[readable(event.at), event.to_string()]));
        page.push_str(&table.finish());
    }
    page.push_str(&calls(world));
    page.push_str("</body></html>");
    page
}

fn button(action: &str, label: &str) -> String {
    format!("<form method=post action=\"{}\"><button>{label}</button></form>", escape(action))
}

fn jobs(world: &World) -> String {
    let mut table = Table::new("Jobs", &["Job", "Invoice number", "Lines", "State", ""]);
    for job in world.jobs.iter().rev().take(MAX_ROWS) {
        let lines = job.body.get("line_item").and_then(list_of).map_or(0, |list| list.len());
        let (state, actions) = match job.state {
            JobState::Waiting => (
                "waiting for approval".into(),
                format!(
                    "{}{}",
                    button(&format!("/_sandbox/jobs/{}/approve", job.id), "Approve"),
                    button(&format!("/_sandbox/jobs/{}/reject", job.id), "Reject")
                ),
            ),
            JobState::Approved => ("approved".into(), "&nbsp;".into()),
            JobState::Rejected => ("rejected".into(), "&nbsp;".into()),
            JobState::Failed => (format!("failed: {}", job.error), "&nbsp;".into()),
        };
        table.row_with(
            &[job.id.to_string(), job.invoice_number().unwrap_or_default(), lines.to_string(), state],
            &actions,
        );
    }
    table.finish()
}

fn invoices(world: &World) -> String {
    let mut table = Table::new("Receive invoices", &["Id", "Number", "Lines", "Freight", "Comments", "Approved"]);
    for invoice in world.invoices.iter().rev().take(MAX_ROWS) {
        let draft = &invoice.draft;
        table.row(&[
            invoice.id.to_string(),
            draft.invoice_number.clone(),
            draft.lines.len().to_string(),
            draft.freight.to_string(),
            draft.comments.clone(),
            readable(invoice.created),
        ]);
    }
    table.finish()
}

fn orders(world: &World) -> String {
    let mut table = Table::new(
        "Purchase orders",
        &["Number", "Supplier's answer", "Line", "Product", "Location", "Units ordered", "Units received"],
    );
    for order in world.orders.iter().rev().take(MAX_ROWS) {
        let answer = match (&order.supplier_order_number, order.declined) {
            (Some(number), _) => number.clone(),
            (None, true) => format!("declined: {}", order.reasons.join("; ")),
            (None, false) => "none yet".into(),
        };
        for item in &order.items {
            let location = world
                .separations
                .iter()
                .find(|part| part.id == item.location_id)
                .map_or_else(String::new, |part| part.name.clone());
            table.row(&[
                order.number.clone(),
                answer.clone(),
                item.id.to_string(),
                format!("{} {}", item.supplier_code, item.name),
                location,
                item.quantity.normalize().to_string(),
                item.received.normalize().to_string(),
            ]);
        }
    }
    table.finish()
}

fn stock(world: &World) -> String {
    let mut table = Table::new("Stock", &["Location", "Product", "Units"]);
    for (location, products) in &world.stock {
        let name = world.separations.iter().find(|part| part.uid == *location).map_or(location, |part| &part.name);
        for (uid, units) in products.iter().take(MAX_ROWS) {
            let product =
                world.products.iter().find(|product| product.uid == *uid).map_or(uid, |product| &product.name);
            table.row(&[name.clone(), product.clone(), units.normalize().to_string()]);
        }
    }
    table.finish()
}

fn faults(world: &World) -> String {
    let mut table = Table::new("Active faults", &["Id", "Fault"]);
    world.faults.list().iter().for_each(|(id, fault)| table.row(&[id.to_string(), fault.to_string()]));
    table.finish()
}

fn calls(world: &World) -> String {
    let mut table = Table::new("Latest calls", &["Time", "Call", "Status", "Fault"]);
    for call in world.calls.iter().rev().take(MAX_ROWS) {
        let status = if call.status == 0 { "no answer".into() } else { call.status.to_string() };
        table.row(&[
            readable(call.at),
            format!("{} {}", call.method, call.target),
            status,
            call.fault.clone().unwrap_or_default(),
        ]);
    }
    table.finish()
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
        let order = world.write_order(0, &[OrderLine::new("A", 1, 3)], "");
        assert!(order.is_ok());
        let page = render(&world, 0);
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;alert(&#39;x&#39;)"));
    }
}
