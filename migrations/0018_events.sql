-- The event log: one row per fact that the supplier's systems may want to know, written in the transaction of the fact.
--
-- Transactions commit out of order, so an identity or a time is no cursor: a reader that has read up to id 8 would miss an
-- event 7 that commits later. An event is therefore inserted without a position. A sequencer, of which only one runs at a time,
-- gives the committed events without a position the next positions. A position never appears below one that was readable before.
create sequence event_position_seq;

create table event (
    id bigint generated always as identity primary key,
    -- Null: not sequenced yet.
    position bigint,
    kind text not null,
    -- Events of one subject are delivered in order: an order with its shipments and deliveries, a site, or the catalogue.
    subject_kind text not null,
    subject_id bigint not null,
    -- No foreign key: the rows of the fact have one, and a second check would cost every order a lookup.
    clinic_id bigint,
    created_at timestamptz not null,
    -- Frozen; `version` names the schema of this kind (src/events/data.rs).
    data jsonb not null,
    constraint event_subject_known check (subject_kind in ('order', 'site', 'catalog'))
) with (
    -- Every event is updated once, by the sequencer. Frequent small vacuums keep the indexes free of the old versions.
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.02
);
-- What the sequencer reads. Holds only the events of the last moment, however long the log is.
create index event_unsequenced on event (id) where position is null;
-- What readers read: `position > cursor order by position limit n` is one range of this index.
create unique index event_position on event (position) where position is not null;
-- Readers of some kinds: one range for each kind, merged.
create index event_kind on event (kind, position) where position is not null;

-- One row. Events up to this position were deleted because of their age: an older cursor has missed events.
create table event_log (
    deleted_through bigint not null default 0,
    only_row boolean primary key default true,
    constraint event_log_one_row check (only_row)
);
insert into event_log default values;

-- Since when the circuit breaker of a site is open. An outage is recorded as one event, `site.unreachable`.
alter table site_lease add column unreachable_since timestamptz;
