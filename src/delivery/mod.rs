//! Deliveries: calls that ezyVet must get, exactly once in effect (DESIGN.md 2.4 to 2.7).
//!
//! Guarantees: a delivery is written in the transaction of its shipment. It is begun in the database before the call and
//! settled after it, both fenced by the lease on its site; no transaction is open during the call. A holder that dies
//! leaves a begun call behind, which the next one treats as unclear: an invoice is looked for before it may be sent again,
//! a `supplied` call is held for staff. Payloads are frozen. Nothing is dropped: what cannot go on says why.
//!
//! Shape: `worker` takes lanes (`lease`), opens a `session` per site (token, `budget`), takes due rows from the outbox
//! (`store`) one `step` further, and `policy` says what follows. `staff` is what people do with deliveries.

mod attempts;
pub mod budget;
pub mod check;
pub mod compare;
mod lease;
mod map;
pub mod payload;
pub mod policy;
mod session;
pub mod staff;
mod step;
pub(crate) mod store;
mod worker;

pub use session::Stop;
pub use worker::{Worker, WorkerError};
