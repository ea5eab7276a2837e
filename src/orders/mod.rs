//! Purchase orders (SPSI.md 1, POST /purchaseorder).
//!
//! The life of an order, one file a step: [`http`] receives the request, [`read`] parses it, [`intake`] places it:
//! it collects the terms, has [`decide`] decide (pure), and has [`store`] store the order in one statement.
//!
//! Guarantees: a 200 means that the order is committed. A second submission of an order gets the first answer, however many
//! copies arrive at the same time; changed content becomes a revision or is refused (SPSI.md 5.11).

pub mod answer;
mod ask;
mod batch_writer;
mod decide;
pub mod document;
mod echo;
mod form;
pub mod hook;
pub mod http;
pub mod intake;
pub mod number;
pub mod overdue;
pub mod read;
mod recent_reservations;
mod revisions;
pub mod rules;
mod staff;
pub mod stock;
mod store;

use crate::clinics::cache::CachedClinic;

pub use revisions::Change;
pub use staff::{
    Action, CancelProblem, CancelledLine, Filter, Order, OrderInFull, OrderLine, OrderState, Revision, WrongLine,
    change, find, list, show,
};

/// Why an order cannot be placed, or a staff command about an order cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The order exists with other content and can no longer be revised.
    #[error("{0}")]
    CannotRevise(String),
    #[error("there is no order `{0}`; `spsi order list` shows all orders")]
    NotFound(String),
    /// The order's state does not allow the command.
    #[error("order {order} is {state}; only an order that is {} can be changed by `{verb}`", allowed.join(" or "))]
    State { order: String, state: String, verb: &'static str, allowed: &'static [&'static str] },
    /// The command is based on a version of the order that is no longer current.
    #[error("order {order} has changed since it was read; read it again")]
    Stale { order: String },
    /// The order's lines do not allow the cancellation.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    WrongLines(Vec<WrongLine>),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// The actor in audit entries for what a clinic sent.
fn actor(clinic: &CachedClinic) -> String {
    format!("ezyvet:{}", clinic.row.client_id)
}
