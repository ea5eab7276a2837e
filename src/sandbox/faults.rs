//! Faults on demand: what can go wrong between us and a real ezyVet, by flag or by control call.
//!
//! Grammar: `KIND[:ENDPOINT][=VALUE][xN][@P%]`. `xN` = the next N matching calls, then never again; `@P%` = each matching
//! call with that probability, under the seed; neither = every matching call.

use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

use super::clock::{Chance, parse_span};

/// The help text of `--fault`.
pub const HELP: &str = "\
A fault to inject: KIND[:ENDPOINT][=VALUE][xN][@P%]; may be repeated

Kinds:
  status=CODE        not done; answers CODE
  status-after=CODE  done; answers CODE all the same
  delay=SPAN         done; answers late
  hang               not done; never answers
  token-killed       the live token dies before the call
  rate-limit         429 until the window ends
  cut-before         not done; the connection is cut
  cut-after          done; the connection is cut before the answer
  bad-json           done; the answer cannot be read
  error-in-200       not done; 200 with an error message inside
  no-inventory       403 on the inventory endpoints
  redirect           not done; 307 to another place
  huge-body[=MB]     done; the answer has 64 MB or as many as given

Endpoints: token jobqueue receiveinvoice separation product
  productsupplier products requirements supplied,
  inventory (the last three), any (the default)

xN: the next N calls only. @P%: by chance, under the seed.

A fault may also be switched on by an order of the sandbox's clinic whose
comments hold it as a magic value, and by a control call. That of an order
strikes calls about this order alone: its jobs, the look-ups of its invoices
and products, its supplied calls. Calls about no order (token, separation,
productsupplier, products, requirements) it strikes only where it names them:
  curl -X POST URL/_sandbox/order -d '{\"lines\": [{\"code\": \"CODE\",
    \"outers\": 1}], \"comments\": \"sandbox:fault=cut-after:jobqueuex1\"}'
  curl -X POST URL/_sandbox/faults -d 'status:jobqueue=503x2'

Examples:
  status:jobqueue=503x2  delay:any=5s@10%  cut-after:suppliedx1
  token-killed@1%  rate-limit:jobqueuex1";

/// One endpoint of the ezyVet half; each has its own rate counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// No route of ezyVet's.
    Unknown,
}

impl Endpoint {
    const NAMES: [(&str, Endpoint); 10] = [
        ("token", Self::Token),
        ("jobqueue", Self::JobQueue),
        ("receiveinvoice", Self::ReceiveInvoice),
        ("separation", Self::Separation),
        ("product", Self::Product),
        ("productsupplier", Self::ProductSupplier),
        ("products", Self::Products),
        ("requirements", Self::Requirements),
        ("supplied", Self::Supplied),
        ("unknown", Self::Unknown),
    ];

    /// The name used in faults, logs and totals.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, endpoint)| *endpoint == self).map_or("unknown", |(name, _)| name)
    }

    /// Whether its calls say nothing of an order.
    fn is_about_no_order(self) -> bool {
        !matches!(self, Self::JobQueue | Self::ReceiveInvoice | Self::Product | Self::Supplied)
    }

    /// Whether it belongs to the inventory API, which a site may not grant.
    pub fn is_inventory(self) -> bool {
        matches!(self, Self::Products | Self::Requirements | Self::Supplied)
    }
}

/// Which calls a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every call.
    Any,
    /// The inventory API.
    Inventory,
    /// One endpoint.
    One(Endpoint),
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not done; answers this status.
    Status(u16),
    /// Done; answers this status all the same.
    StatusAfter(u16),
    /// Done; the answer comes late.
    Delay(Duration),
    /// Not done; no answer.
    Hang,
    /// The live token dies before the call.
    TokenKilled,
    /// 429; the counter stays used up until its reset.
    RateLimit,
    /// Done; the connection is cut before a byte of the answer.
    CutAfter,
    /// Not done; the connection is cut.
    CutBefore,
    /// Done; the answer is not JSON.
    BadJson,
    /// Not done; 200 with an error-level message.
    ErrorIn200,
    /// 403 for a missing scope.
    NoInventory,
    /// Not done; 307 to another place.
    Redirect,
    /// Done; the answer has this many megabytes.
    HugeBody(u32),
}

/// A fault with its target and how often it strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// For which calls.
    pub target: Target,
    /// How many times more; none = without end.
    pub remaining: Option<u32>,
    /// With which probability; none = always.
    pub percent: Option<u8>,
    /// Only calls about this order; none = all.
    pub order: Option<u64>,
}

impl Fault {
    /// `about`: the orders that the call is about.
    fn matches(&self, endpoint: Endpoint, about: &BTreeSet<u64>) -> bool {
        let named = endpoint.is_about_no_order() && self.target == Target::One(endpoint);
        if self.order.is_some_and(|order| !about.contains(&order) && !named) {
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

    /// Delays and killed tokens let the call go on; everything else is its end.
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
    /// Adds a fault and gives its number.
    pub fn add(&mut self, fault: Fault) -> u64 {
        self.last_id += 1;
        self.list.push((self.last_id, fault));
        self.last_id
    }

    /// Removes one fault; false if there is none of that number.
    pub fn remove(&mut self, id: u64) -> bool {
        let before = self.list.len();
        self.list.retain(|(other, _)| *other != id);
        self.list.len() != before
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// The faults with their numbers.
    pub fn list(&self) -> &[(u64, Fault)] {
        &self.list
    }

    /// Whether some strike only calls about their order.
    pub(super) fn some_are_of_orders(&self) -> bool {
        self.list.iter().any(|(_, fault)| fault.order.is_some())
    }

    /// What strikes this call, which is about these orders. At most one fault that ends the call, the first that applies; spent faults disappear.
    pub fn take(&mut self, endpoint: Endpoint, about: &BTreeSet<u64>, chance: &mut Chance) -> Vec<Kind> {
        let mut struck = Vec::new();
        let mut ended = false;
        for (_, fault) in &mut self.list {
            if !fault.matches(endpoint, about) || (ended && fault.ends_the_call()) {
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

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = |why: &str| {
            format!(
                "fault `{text}`: {why}; the form is KIND[:ENDPOINT][=VALUE][xN][@P%], such as status:jobqueue=503x2"
            )
        };
        let (rest, percent) = match text.trim().rsplit_once('@') {
            Some((rest, percent)) => {
                let percent = percent.trim_end_matches('%').parse().ok().filter(|percent| (1..=100).contains(percent));
                (rest, Some(percent.ok_or_else(|| refuse("the probability is 1% to 100%"))?))
            }
            None => (text.trim(), None),
        };
        let (rest, remaining) = match rest.rsplit_once('x') {
            Some((before, count)) if !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()) => {
                let count = count.parse().ok().filter(|count| *count > 0);
                (before, Some(count.ok_or_else(|| refuse("the count is at least 1"))?))
            }
            _ => (rest, None),
        };
        let (rest, value) = rest.split_once('=').map_or((rest, None), |(rest, value)| (rest, Some(value.trim())));
        let (name, target) = rest.split_once(':').map_or((rest, "any"), |(name, target)| (name, target));
        let target = match target.trim() {
            "any" => Target::Any,
            "inventory" => Target::Inventory,
            one => {
                let found =
                    Endpoint::NAMES.iter().find(|(name, endpoint)| *name == one && *endpoint != Endpoint::Unknown);
                Target::One(found.ok_or_else(|| refuse(&format!("no endpoint `{one}`")))?.1)
            }
        };
        let status = || {
            value
                .and_then(|value| value.parse().ok())
                .filter(|code| (100..=599).contains(code))
                .ok_or_else(|| refuse("a status from 100 to 599 is needed"))
        };
        let kind = match name.trim() {
            "status" => Kind::Status(status()?),
            "status-after" => Kind::StatusAfter(status()?),
            "delay" => Kind::Delay(parse_span(value.unwrap_or_default()).map_err(|why| refuse(&why))?),
            "hang" => Kind::Hang,
            "token-killed" => Kind::TokenKilled,
            "rate-limit" => Kind::RateLimit,
            "cut-after" => Kind::CutAfter,
            "cut-before" => Kind::CutBefore,
            "bad-json" => Kind::BadJson,
            "error-in-200" => Kind::ErrorIn200,
            "no-inventory" => Kind::NoInventory,
            "redirect" => Kind::Redirect,
            "huge-body" => Kind::HugeBody(
                value.map_or(Ok(64), |value| value.parse().map_err(|_| refuse("the size is in whole megabytes")))?,
            ),
            other => return Err(refuse(&format!("no fault `{other}`"))),
        };
        Ok(Self { kind, target, remaining, percent, order: None })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value) = match &self.kind {
            Kind::Status(code) => ("status", Some(code.to_string())),
            Kind::StatusAfter(code) => ("status-after", Some(code.to_string())),
            Kind::Delay(span) => ("delay", Some(format!("{}ms", span.as_millis()))),
            Kind::Hang => ("hang", None),
            Kind::TokenKilled => ("token-killed", None),
            Kind::RateLimit => ("rate-limit", None),
            Kind::CutAfter => ("cut-after", None),
            Kind::CutBefore => ("cut-before", None),
            Kind::BadJson => ("bad-json", None),
            Kind::ErrorIn200 => ("error-in-200", None),
            Kind::NoInventory => ("no-inventory", None),
            Kind::Redirect => ("redirect", None),
            Kind::HugeBody(size) => ("huge-body", Some(size.to_string())),
        };
        let target = match self.target {
            Target::Any => "any",
            Target::Inventory => "inventory",
            Target::One(one) => one.name(),
        };
        write!(f, "{name}:{target}")?;
        value.map_or(Ok(()), |value| write!(f, "={value}"))?;
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
    fn every_example_of_the_help_text_is_understood_and_printed_back() {
        let examples = HELP.rsplit_once("Examples:").map(|(_, examples)| examples).unwrap_or_default();
        assert_eq!(examples.split_whitespace().count(), 5);
        for example in examples.split_whitespace() {
            assert_eq!(fault(&fault(example).to_string()), fault(example));
        }
    }

    #[test]
    fn a_counted_fault_strikes_that_many_times() {
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
    fn only_one_fault_ends_a_call_and_delays_add_to_it() {
        let mut faults = Faults::default();
        for text in ["cut-afterx1", "hangx1", "delay=5s"] {
            faults.add(fault(text));
        }
        let struck = faults.take(Endpoint::Supplied, &NONE, &mut Chance::new(1));
        assert_eq!(struck, [Kind::CutAfter, Kind::Delay(Duration::from_secs(5))]);
        assert_eq!(faults.list().len(), 2);
    }

    #[test]
    fn a_fault_of_an_order_strikes_calls_about_it_and_what_it_names_that_is_about_none() {
        let mut faults = Faults::default();
        for text in ["status=503", "hang:token"] {
            faults.add(Fault { order: Some(12), ..fault(text) });
        }
        let mut take =
            |endpoint, about: &[u64]| faults.take(endpoint, &about.iter().copied().collect(), &mut Chance::new(1));
        assert_eq!(take(Endpoint::JobQueue, &[12]), [Kind::Status(503)]);
        assert_eq!(take(Endpoint::Supplied, &[11, 12]), [Kind::Status(503)]);
        assert!(take(Endpoint::JobQueue, &[13]).is_empty() && take(Endpoint::Separation, &[]).is_empty());
        assert_eq!(take(Endpoint::Token, &[]), [Kind::Hang]);
        assert_eq!(faults.list()[0].1.to_string(), "status:any=503 of order 12");
    }

    #[test]
    fn chance_is_the_same_under_the_same_seed() {
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
    fn a_wrong_fault_says_what_is_wrong() {
        for (text, why) in [
            ("foo", "no fault `foo`"),
            ("hang:nowhere", "no endpoint `nowhere`"),
            ("status:any", "status from 100"),
            ("delay=5", "not a duration"),
            ("hangx0", "at least 1"),
            ("hang@0%", "1% to 100%"),
        ] {
            let error = text.parse::<Fault>().err().unwrap_or_default();
            assert!(error.contains(why), "{error}");
        }
    }
}
