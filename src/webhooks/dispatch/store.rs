//! SQL of the dispatcher.

use super::Busy;
use crate::events::{Event, EventId};
use crate::webhooks::attempts::NewAttempt;
use crate::webhooks::call::Target;
use crate::webhooks::policy::{Outcome, pause_after};
use sqlx::PgConnection;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// How many endpoints with waiting messages a claim visits at most.
const MAX_VISITED: i32 = 2_000;

/// What a claim may take.
pub(super) struct Claim {
    /// Continues behind this endpoint.
    pub after: i64,
    pub busy: Busy,
    pub per_endpoint: i64,
    /// Whether to claim from the endpoints that did not answer in time last, or from the others.
    pub is_slow: bool,
    pub limit: i64,
    pub lease_until: OffsetDateTime,
}

/// A message with a lease.
pub(super) struct Claimed {
    pub target: Target,
    pub event: Event,
    /// Calls before this one.
    pub attempts: u32,
    pub lease: i64,
}

/// Claims due messages. Returns the last endpoint that was visited, or `None` after the last endpoint of all.
///
/// Visits the endpoints that have waiting messages by skipping from one to the next in the index, so the cost depends on the
/// number of those endpoints, and neither on the number of messages nor on that of finished ones. `skip locked` lets several
/// processes claim at the same time.
///
/// An endpoint gets one call at a time until it has answered one well, and again after a failure.
pub(super) async fn claim(
    connection: &mut PgConnection,
    claim: &Claim,
    now: OffsetDateTime,
) -> Result<(Vec<Claimed>, Option<i64>), sqlx::Error> {
    let (busy, calls): (Vec<i64>, Vec<i64>) = claim.busy.iter().map(|(endpoint, calls)| (*endpoint, *calls)).unzip();
    let rows = sqlx::query!(
        r#"with recursive visited as (
               select (select m.endpoint_id from webhook_message m where m.due_at is not null and m.endpoint_id > $1
                       order by m.endpoint_id limit 1) as id, 1 as ordinal
               union all
               select (select m.endpoint_id from webhook_message m where m.due_at is not null and m.endpoint_id > v.id
                       order by m.endpoint_id limit 1), v.ordinal + 1
               from visited v where v.id is not null and v.ordinal < $2),
           candidate as materialized (
               select e.id as endpoint_id, m.event_id
               from visited v join webhook_endpoint e on e.id = v.id
               left join unnest($3::bigint[], $4::bigint[]) busy (endpoint_id, calls) on busy.endpoint_id = e.id
               cross join lateral (
                   select event_id from webhook_message where endpoint_id = e.id and due_at <= $5 order by due_at
                   limit greatest(0, case when e.failures > 0 or e.last_delivered_at is null then 1 else $6::bigint end - coalesce(busy.calls, 0))) m
               where e.state = 'active' and (e.not_before is null or e.not_before <= $5) and e.timed_out = $7
               order by v.ordinal limit $8),
           locked as materialized (
               select m.event_id, m.endpoint_id
               from candidate c join webhook_message m on m.event_id = c.event_id and m.endpoint_id = c.endpoint_id
               where m.due_at <= $5 for update of m skip locked),
           claimed as (
               update webhook_message m set due_at = $9, lease_token = nextval('webhook_lease_seq')
               from locked l where m.event_id = l.event_id and m.endpoint_id = l.endpoint_id
               returning m.event_id, m.endpoint_id, m.attempts, m.lease_token)
           select last.id as "last_visited?", c.attempts as "attempts?", c.lease_token as "lease?", e.id as "endpoint?",
                  e.url as "url?", e.secret as "secret?", e.previous_secret, e.previous_secret_until,
                  v.id as "event?: EventId", v.position as "position?", v.kind as "kind?", v.clinic_id,
                  v.created_at as "created_at?", v.data as "data?"
           from (select id from visited order by ordinal desc limit 1) last
           left join (claimed c join webhook_endpoint e on e.id = c.endpoint_id join event v on v.id = c.event_id) on true
           order by e.id"#,
        claim.after,
        MAX_VISITED,
        &busy,
        &calls,
        now,
        claim.per_endpoint,
        claim.is_slow,
        claim.limit,
        claim.lease_until
    )
    .fetch_all(connection)
    .await?;
    let last_visited = rows.first().and_then(|row| row.last_visited);
    let claimed = rows.into_iter().filter_map(|row| {
        Some(Claimed {
            target: Target {
                endpoint: row.endpoint?,
                url: row.url?,
                secret: row.secret?,
                previous_secret: row.previous_secret.zip(row.previous_secret_until),
            },
            event: Event {
                id: row.event?,
                kind: row.kind?,
                created_at: row.created_at?,
                data: row.data?,
                position: row.position?,
                clinic_id: row.clinic_id,
            },
            attempts: row.attempts?.unsigned_abs(),
            lease: row.lease?,
        })
    });
    Ok((claimed.collect(), last_visited))
}

/// What became of a message.
pub(super) struct Settled {
    pub event: EventId,
    pub endpoint: i64,
    pub lease: i64,
    pub state: &'static str,
    pub due_at: Option<OffsetDateTime>,
}

/// Settles messages whose lease still holds, and makes the next message of each finished one's subject due. Returns how many
/// were given up. The caller shares the lock of the fan-out.
pub(super) async fn settle(
    connection: &mut PgConnection,
    messages: &[Settled],
    now: OffsetDateTime,
) -> Result<u64, sqlx::Error> {
    let events: Vec<i64> = messages.iter().map(|settled| settled.event.0).collect();
    let endpoints: Vec<i64> = messages.iter().map(|settled| settled.endpoint).collect();
    let leases: Vec<i64> = messages.iter().map(|settled| settled.lease).collect();
    let states: Vec<String> = messages.iter().map(|settled| settled.state.to_owned()).collect();
    let due: Vec<Option<OffsetDateTime>> = messages.iter().map(|settled| settled.due_at).collect();
    let given_up = sqlx::query_scalar!(
        r#"with given as (
               select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::timestamptz[])
                   as g (event_id, endpoint_id, lease_token, state, due_at)),
           settled as (
               update webhook_message m set state = g.state, due_at = g.due_at, attempts = m.attempts + 1, lease_token = null,
                   finished_at = case when g.state <> 'waiting' then $6::timestamptz end
               from given g
               where m.event_id = g.event_id and m.endpoint_id = g.endpoint_id and m.lease_token = g.lease_token
               returning m.event_id, m.endpoint_id, m.subject_kind, m.subject_id, m.state),
           next as (
               select n.event_id, n.endpoint_id from settled s cross join lateral (
                   select m.event_id, m.endpoint_id from webhook_message m
                   where m.endpoint_id = s.endpoint_id and m.subject_kind = s.subject_kind and m.subject_id = s.subject_id
                       and m.state = 'waiting' and m.event_id <> s.event_id
                   order by m.position limit 1) n
               where s.state <> 'waiting'),
           released as (
               update webhook_message m set due_at = $6::timestamptz
               from next n where m.event_id = n.event_id and m.endpoint_id = n.endpoint_id and m.due_at is null)
           select count(*) filter (where state = 'failed') as "given_up!" from settled"#,
        &events,
        &endpoints,
        &leases,
        &states,
        &due as &[Option<OffsetDateTime>],
        now
    )
    .fetch_one(connection)
    .await?;
    Ok(given_up.unsigned_abs())
}

/// What the calls to an endpoint said of it, in their order.
#[derive(Debug, Default)]
pub(super) struct Health {
    succeeded: bool,
    /// Failures since the last success among these calls, or of all of them.
    failures: u32,
    timed_out: bool,
    error: Option<String>,
}

impl Health {
    pub fn add(&mut self, attempt: &NewAttempt) {
        self.timed_out = attempt.outcome == Outcome::TimedOut;
        self.error.clone_from(&attempt.error);
        if attempt.outcome == Outcome::Delivered {
            (self.succeeded, self.failures) = (true, 0);
        } else {
            self.failures += 1;
        }
    }
}

/// Updates the health of endpoints. Returns those that answer again after they had failed for an hour and been paused.
pub(super) async fn note_health(
    connection: &mut PgConnection,
    health: &BTreeMap<i64, Health>,
    now: OffsetDateTime,
) -> Result<Vec<i64>, sqlx::Error> {
    let endpoints: Vec<i64> = health.keys().copied().collect();
    let succeeded: Vec<bool> = health.values().map(|health| health.succeeded).collect();
    let failures: Vec<i32> = health.values().map(|health| health.failures.cast_signed()).collect();
    let timed_out: Vec<bool> = health.values().map(|health| health.timed_out).collect();
    let errors: Vec<Option<String>> = health.values().map(|health| health.error.clone()).collect();
    // The pause after 0, 1, 2 ... failures in a row, in seconds.
    let pauses: Vec<f64> =
        (0..PAUSES).map(|failures| pause_after(failures).map_or(0.0, |pause| pause.as_secs_f64())).collect();
    sqlx::query_scalar!(
        r#"with given as (
               select * from unnest($1::bigint[], $2::bool[], $3::int[], $4::bool[], $5::text[])
                   as g (id, succeeded, failures, timed_out, error)),
           before as materialized (
               select e.id, e.failures, e.failing_since from webhook_endpoint e join given g on g.id = e.id
               order by e.id for no key update of e),
           noted as (
               update webhook_endpoint e set
                   failures = n.failures,
                   failing_since = case when n.failures = 0 then null
                                        when g.succeeded then $6 else coalesce(b.failing_since, $6) end,
                   timed_out = g.timed_out, last_error = g.error,
                   not_before = $6 + nullif(($7::float8[])[least(n.failures, $8) + 1], 0) * interval '1 second',
                   last_delivered_at = case when g.succeeded then $6 else e.last_delivered_at end
               from given g join before b on b.id = g.id
               cross join lateral (
                   select case when g.succeeded then g.failures else b.failures + g.failures end as failures) n
               where e.id = g.id)
           select b.id from before b join given g on g.id = b.id
           where g.succeeded and b.failures >= 5 and b.failing_since <= $6 - interval '1 hour'"#,
        &endpoints,
        &succeeded,
        &failures,
        &timed_out,
        &errors as &[Option<String>],
        now,
        &pauses,
        PAUSES.cast_signed() - 1
    )
    .fetch_all(connection)
    .await
}

/// The pause does not grow beyond this number of failures.
const PAUSES: u32 = 16;

/// Switches off those of the active endpoints that are `gone`, or that have failed since before a time. Returns each with the
/// reason.
pub(super) async fn disable(
    connection: &mut PgConnection,
    endpoints: &[i64],
    gone: &[i64],
    failing_before: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<Vec<(i64, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"update webhook_endpoint set state = 'disabled', changed_at = $3,
               caught_up_through = coalesce(caught_up_through, (select fanned_out_through from webhook_log)),
               disabled_reason = case when id = any($1) then 'the receiver answered 410 Gone'
                   else format('every call has failed since %s; the last error: %s',
                       to_char(failing_since at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), last_error) end
           where id = any($4) and state = 'active' and (id = any($1) or failing_since <= $2)
           returning id, disabled_reason as "reason!""#,
        gone,
        failing_before,
        now,
        endpoints
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.reason)).collect())
}
