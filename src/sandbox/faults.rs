//! Faults on demand: failures of the ezyVet half, switched on by flag, by control call, or in the comments of an order.
//!
//! Grammar: `KIND[:ENDPOINT][=VALUE][xN][@P%]`. `xN`: the next N matching calls only; `@P%`: each matching call with this
//! probability, under the seed; neither: every matching call.

use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::clock::{Chance, parse_span};

/// The help text of `--fault`.
pub const HELP: &str = "\
Inject a fault: KIND[:ENDPOINT][=VALUE][xN][@P%]; may be repeated

Kinds that do not carry out the call:
  status=CODE        answer CODE
  rate-limit         answer 429 until the rate limit window ends
  error-in-200       answer 200 with an error message in the body
  no-inventory       answer 403 (the inventory endpoints only)
  redirect           answer 307 with another location
  cut-before         cut the connection
  hang               never answer

Kinds that carry out the call:
  status-after=CODE  answer CODE
  cut-after          cut the connection instead of answering
  bad-json           answer with invalid JSON
  huge-body[=MB]     answer with MB megabytes (default 64)

Kinds that let the call proceed:
  delay=SPAN         answer after SPAN (500ms, 2s, 15m)
  token-killed       invalidate the access token first

Endpoints: token jobqueue receiveinvoice separation product
  productsupplier products requirements supplied,
  inventory (the last three), any (the default)

xN: the next N calls only. @P%: each call with probability P percent.

Switch on a fault while the sandbox runs:
  curl -X POST URL/_sandbox/faults -d 'status:jobqueue=503x2'

Switch on a fault for one order only: write it into the order's comments.
  curl -X POST URL/_sandbox/order -d '{\"lines\": [{\"code\": \"CODE\",
    \"outers\": 1}], \"comments\": \"sandbox:fault=cut-after:jobqueuex1\"}'
It strikes the order's jobs, its supplied calls, and the look-ups of its
invoices and products. It strikes the other endpoints, whose calls do not
name an order, only if the fault names the endpoint.

Examples:
  status:jobqueue=503x2  delay:any=5s@10%  cut-after:suppliedx1
  token-killed@1%  rate-limit:jobqueuex1";

/// An endpoint of the ezyVet half; each has its own rate counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
#[value(rename_all = "lower")]
pub enum Endpoint {
    /// `POST /oauth/token` and the older path.
    Token,
    /// `/v2/jobqueue`.
    JobQueue,
    /// `/v2/receiveinvoice`.
    ReceiveInvoice,
    /// `/v2/separation`.
    Separation,
    /// `/v2/product`.
    Product,
    /// `/v2/productsupplier`.
    ProductSupplier,
    /// `/inventory/v1/products`.
    Products,
    /// `/inventory/v1/requirements`.
    Requirements,
    /// `/inventory/v1/supplied`.
    Supplied,
    /// Any other path.
    #[value(skip)]
    Unknown,
}

impl Endpoint {
    /// Returns the name in logs and totals, and in faults.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Returns whether its calls name an order, directly or by a product or invoice number.
    fn names_orders(self) -> bool {
        matches!(self, Self::JobQueue | Self::ReceiveInvoice | Self::Product | Self::Supplied)
    }

    /// Returns whether it belongs to the inventory API, which a site may not grant.
    fn is_inventory(self) -> bool {
        matches!(self, Self::Products | Self::Requirements | Self::Supplied)
    }
}

/// The calls that a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Calls to every endpoint.
    Any,
    /// Calls to the inventory API.
    Inventory,
    /// Calls to one endpoint.
    One(Endpoint),
}

/// The failure that a fault causes. "Done" means that the call is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not done; the answer has this status.
    Status(u16),
    /// Done; the answer has this status.
    StatusAfter(u16),
    /// Done; the answer comes late.
    Delay(Duration),
    /// Not done; no answer is sent.
    Hang,
    /// The live token dies; then the call proceeds.
    TokenKilled,
    /// Not done; 429, also for the following calls until the reset.
    RateLimit,
    /// Done; the connection is cut before the first byte of the answer.
    CutAfter,
    /// Not done; the connection is cut.
    CutBefore,
    /// Done; the answer is not JSON.
    BadJson,
    /// Not done; 200 with an error-level message.
    ErrorIn200,
    /// Not done; 403 for a missing scope.
    NoInventory,
    /// Not done; 307 to another path.
    Redirect,
    /// Done; the answer has this many megabytes.
    HugeBody(u32),
}

impl Kind {
    /// Reads the kind and the value of a fault.
    fn parse(name: &str, value: Option<&str>) -> Result<Self, String> {
        let status = || {
            let code = value.and_then(|value| value.parse().ok()).filter(|code| (100..=599).contains(code));
            code.ok_or("the value must be a status from 100 to 599")
        };
        Ok(match name {
            "status" => Self::Status(status()?),
            "status-after" => Self::StatusAfter(status()?),
            "delay" => Self::Delay(parse_span(value.unwrap_or_default())?),
            "hang" => Self::Hang,
            "token-killed" => Self::TokenKilled,
            "rate-limit" => Self::RateLimit,
            "cut-after" => Self::CutAfter,
            "cut-before" => Self::CutBefore,
            "bad-json" => Self::BadJson,
            "error-in-200" => Self::ErrorIn200,
            "no-inventory" => Self::NoInventory,
            "redirect" => Self::Redirect,
            "huge-body" => {
                Self::HugeBody(value.unwrap_or("64").parse().map_err(|_| "the size must be in whole megabytes")?)
            }
            other => return Err(format!("unknown kind `{other}`")),
        })
    }
}

/// A fault: its kind, the calls that it strikes, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The failure.
    pub kind: Kind,
    /// The endpoints.
    pub target: Target,
    /// Number of remaining strikes; `None` means unlimited.
    pub remaining: Option<u32>,
    /// Probability in percent; `None` means always.
    pub percent: Option<u8>,
    /// Id of the order to whose calls the fault is limited.
    pub order: Option<u64>,
    /// The text from which it was read, without count and probability.
    spelling: String,
}

impl Fault {
    /// Returns whether the fault strikes a call to `endpoint` about these orders.
    fn matches(&self, endpoint: Endpoint, orders: &BTreeSet<u64>) -> bool {
        let is_named = !endpoint.names_orders() && self.target == Target::One(endpoint);
        if self.order.is_some_and(|order| !orders.contains(&order) && !is_named) {
            return false;
        }
        match self.target {
            Target::Any => match self.kind {
                Kind::TokenKilled => endpoint != Endpoint::Token,
                Kind::NoInventory => endpoint.is_inventory(),
                _ => true,
            },
            Target::Inventory => endpoint.is_inventory(),
            Target::One(one) => one == endpoint,
        }
    }

    /// Returns whether the fault decides the answer. After a delay or a killed token, the call proceeds.
    fn ends_the_call(&self) -> bool {
        !matches!(self.kind, Kind::Delay(_) | Kind::TokenKilled)
    }
}

/// The faults that are switched on.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    list: Vec<(u64, Fault)>,
    last_id: u64,
}

impl Faults {
    /// Adds a fault; returns its id.
    pub fn add(&mut self, fault: Fault) -> u64 {
        self.last_id += 1;
        self.list.push((self.last_id, fault));
        self.last_id
    }

    /// Removes a fault; returns false if none has this id.
    pub fn remove(&mut self, id: u64) -> bool {
        let before = self.list.len();
        self.list.retain(|(other, _)| *other != id);
        self.list.len() != before
    }

    /// Removes all faults.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// Returns the faults with their ids.
    pub fn list(&self) -> &[(u64, Fault)] {
        &self.list
    }

    /// Returns the faults as JSON: their ids and their spelling.
    pub(super) fn as_json(&self) -> Value {
        self.list.iter().map(|(id, fault)| json!({"id": id, "fault": fault.to_string()})).collect()
    }

    /// Returns whether any fault is limited to an order.
    pub(super) fn has_order_faults(&self) -> bool {
        self.list.iter().any(|(_, fault)| fault.order.is_some())
    }

    /// Returns the faults that strike a call about these orders, and removes used-up ones. At most one of them ends the
    /// call: the first that matches.
    pub fn take(&mut self, endpoint: Endpoint, orders: &BTreeSet<u64>, chance: &mut Chance) -> Vec<Kind> {
        let mut struck = Vec::new();
        let mut ended = false;
        for (_, fault) in &mut self.list {
            if !fault.matches(endpoint, orders) || (ended && fault.ends_the_call()) {
                continue;
            }
            if fault.percent.is_some_and(|percent| !chance.happens(percent)) {
                continue;
            }
            ended |= fault.ends_the_call();
            fault.remaining = fault.remaining.map(|remaining| remaining.saturating_sub(1));
            struck.push(fault.kind.clone());
        }
        self.list.retain(|(_, fault)| fault.remaining != Some(0));
        struck
    }
}

/// Reads the faults in the comments of an order (`sandbox:fault=cut-after:jobqueuex1`).
///
/// # Errors
/// A fault is misspelt.
pub(super) fn in_comments(comments: &str) -> Result<Vec<Fault>, String> {
    comments.split_whitespace().filter_map(|word| word.strip_prefix("sandbox:fault=")).map(str::parse).collect()
}

impl Fault {
    fn parse(text: &str) -> Result<Self, String> {
        let (rest, percent) = match text.trim().split_once('@') {
            Some((rest, percent)) => {
                let percent = percent.trim_end_matches('%').parse().ok().filter(|percent| (1..=100).contains(percent));
                (rest, Some(percent.ok_or("the probability must be 1% to 100%")?))
            }
            None => (text.trim(), None),
        };
        // No kind and no endpoint has an `x` in its name.
        let (spelling, remaining) = match rest.rsplit_once('x') {
            Some((spelling, count)) => {
                let count = count.parse().ok().filter(|count| *count > 0);
                (spelling, Some(count.ok_or("the count must be at least 1")?))
            }
            None => (rest, None),
        };
        let (rest, value) = spelling.split_once('=').map_or((spelling, None), |(rest, value)| (rest, Some(value)));
        let (name, target) = rest.split_once(':').unwrap_or((rest, "any"));
        let target = match target {
            "any" => Target::Any,
            "inventory" => Target::Inventory,
            one => Target::One(Endpoint::from_str(one, false).map_err(|_| format!("unknown endpoint `{one}`"))?),
        };
        let kind = Kind::parse(name, value)?;
        Ok(Self { kind, target, remaining, percent, order: None, spelling: spelling.to_owned() })
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|reason| {
            format!(
                "fault `{text}`: {reason}; write KIND[:ENDPOINT][=VALUE][xN][@P%], such as status:jobqueue=503x2 (`spsi sandbox --help` lists the kinds and endpoints)"
            )
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelling)?;
        self.remaining.map_or(Ok(()), |remaining| write!(f, "x{remaining}"))?;
        self.percent.map_or(Ok(()), |percent| write!(f, "@{percent}%"))?;
        self.order.map_or(Ok(()), |order| write!(f, " of order {order}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: BTreeSet<u64> = BTreeSet::new();

    fn fault(text: &str) -> Fault {
        text.parse().unwrap_or_else(|error: String| panic!("{error}"))
    }

    #[test]
    fn every_example_of_the_help_text_parses_and_prints_as_written() {
        let examples = HELP.rsplit_once("Examples:").map(|(_, examples)| examples).unwrap_or_default();
        assert_eq!(examples.split_whitespace().count(), 5);
        for example in examples.split_whitespace() {
            assert_eq!(fault(example).to_string(), example);
        }
    }

    #[test]
    fn a_counted_fault_strikes_the_given_number_of_times() {
        let mut faults = Faults::default();
        faults.add(fault("status:jobqueue=503x2"));
        let mut chance = Chance::new(1);
        assert!(faults.take(Endpoint::Token, &NONE, &mut chance).is_empty());
        assert_eq!(faults.take(Endpoint::JobQueue, &NONE, &mut chance), [Kind::Status(503)]);
        assert_eq!(faults.take(Endpoint::JobQueue, &NONE, &mut chance), [Kind::Status(503)]);
        assert!(faults.take(Endpoint::JobQueue, &NONE, &mut chance).is_empty());
        assert!(faults.list().is_empty());
    }

    #[test]
    fn one_fault_at_most_ends_a_call_and_delays_still_apply() {
        let mut faults = Faults::default();
        for text in ["cut-afterx1", "hangx1", "delay=5s"] {
            faults.add(fault(text));
        }
        let struck = faults.take(Endpoint::Supplied, &NONE, &mut Chance::new(1));
        assert_eq!(struck, [Kind::CutAfter, Kind::Delay(Duration::from_secs(5))]);
        assert_eq!(faults.list().len(), 2);
    }

    #[test]
    fn a_fault_of_an_order_strikes_calls_about_this_order_and_named_endpoints_without_orders() {
        let mut faults = Faults::default();
        for text in ["status=503", "hang:token"] {
            faults.add(Fault { order: Some(12), ..fault(text) });
        }
        let mut take =
            |endpoint, orders: &[u64]| faults.take(endpoint, &orders.iter().copied().collect(), &mut Chance::new(1));
        assert_eq!(take(Endpoint::JobQueue, &[12]), [Kind::Status(503)]);
        assert_eq!(take(Endpoint::Supplied, &[11, 12]), [Kind::Status(503)]);
        assert!(take(Endpoint::JobQueue, &[13]).is_empty() && take(Endpoint::Separation, &[]).is_empty());
        assert_eq!(take(Endpoint::Token, &[]), [Kind::Hang]);
        assert_eq!(faults.list()[0].1.to_string(), "status=503 of order 12");
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let run = |seed| {
            let mut faults = Faults::default();
            faults.add(fault("hang@30%"));
            let mut chance = Chance::new(seed);
            (0..1000).map(|_| faults.take(Endpoint::Products, &NONE, &mut chance).len()).collect::<Vec<_>>()
        };
        assert_eq!(run(5), run(5));
        let struck: usize = run(5).iter().sum();
        assert!((250..350).contains(&struck), "{struck} of 1000");
    }

    #[test]
    fn an_invalid_fault_is_refused_with_the_reason() {
        for (text, reason) in [
            ("foo", "unknown kind `foo`"),
            ("hang:nowhere", "unknown endpoint `nowhere`"),
            ("status:any", "status from 100"),
            ("delay=5", "not a duration"),
            ("hangx0", "at least 1"),
            ("hang@0%", "1% to 100%"),
        ] {
            let error = text.parse::<Fault>().err().unwrap_or_default();
            assert!(error.contains(reason), "{error}");
        }
    }
}
