//! Webhooks: signed calls that bring events to the supplier's own systems (Standard Webhooks).
//!
//! Guarantees: every event arrives at every endpoint that wants it at least once, in order for each subject, under an id by
//! which the receiver recognises a repetition; also if a process is killed between the commit and the call. Calls leave the
//! network only to public addresses, unless the operator permits others ([`address`]).
//!
//! Structure: `endpoints` holds what staff do; `fan_out` makes a message per event and endpoint; `dispatch` sends messages
//! (`call`, `signature`, `client`), and `policy` decides what follows; `attempts` is the history.

pub mod address;
mod attempts;
mod call;
pub mod client;
mod dispatch;
mod endpoints;
mod fan_out;
mod policy;
pub mod signature;

pub use attempts::{Attempt, list as list_attempts};
pub use dispatch::{DispatchError, Dispatcher};
pub use endpoints::{
    Change, Endpoint, EndpointError, EndpointWithSecret, FieldError, NewEndpoint, ReplayFrom, TEST_TYPE, add, find,
    list, lock, remove, replay, reseal, resend, rotate_secret, set, test,
};
