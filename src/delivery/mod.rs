//! Deliveries: calls that ezyVet must receive, exactly once in effect (DESIGN.md 2.4 to 2.7).
//!
//! Guarantees: a delivery is inserted in the transaction of its shipment. A call is begun in the database before it leaves
//! and settled after its answer, both fenced by the lease on the site; no transaction is open during the call. If a holder
//! dies during a call, the next holder treats the delivery as unclear: an invoice is looked up before it may be sent again,
//! a `supplied` waits for staff. Payloads are frozen. Nothing is dropped: a delivery that cannot continue says why.
//!
//! Structure: `worker` acquires leases (`lease`) and opens a `session` per site (token, `budget`, circuit breaker). `step`
//! takes each due row of the outbox (`store`) one step further, and `policy` decides what follows. `inventory_mapping`
//! finds the uids of a `supplied`. `staff` holds what people do with deliveries.

mod attempts;
pub mod budget;
mod check;
mod compare;
mod inventory_mapping;
mod lease;
pub mod payload;
mod policy;
mod session;
pub mod staff;
mod step;
pub(crate) mod store;
mod worker;

pub use session::StopReason;
pub use worker::{Worker, WorkerError};
