-- The outbox: one row per call that ezyVet must get, written in the transaction of the shipment.
create table delivery (
    id bigint generated always as identity primary key,
    -- Null while the clinic has no site: waits for staff.
    site_id bigint references site,
    clinic_id bigint not null references clinic,
    shipment_id bigint not null references shipment,
    kind text not null,
    invoice_number text not null,
    -- For supplied: the stock location.
    location_id text,
    -- Must be delivered first.
    after_id bigint references delivery,
    state text not null default 'waiting',
    -- Frozen, versioned, tagged.
    payload jsonb not null,
    due_at timestamptz not null,
    attempts integer not null default 0,
    -- How far the handling of an unclear outcome has come (looked, waited, looked again, resent).
    unclear_looks integer not null default 0,
    resends integer not null default 0,
    receipt_polls integer not null default 0,
    last_error text,
    created_at timestamptz not null,
    settled_at timestamptz,
    constraint delivery_kind_known check (kind in ('receive_invoice', 'supplied')),
    constraint delivery_state_known check
        (state in ('waiting', 'sending', 'unclear', 'delivered', 'confirmed', 'skipped', 'attention', 'cancelled')),
    constraint delivery_location_of_supplied check ((kind = 'supplied') = (location_id is not null))
);
-- What the worker looks for; delivered invoices are in it while we wait for the clinic's approval.
create index delivery_due on delivery (site_id, due_at)
    where state in ('waiting', 'sending', 'unclear') or (state = 'delivered' and kind = 'receive_invoice');
create index delivery_shipment on delivery (shipment_id);

-- Every call made for a delivery. Begun before the call, so that a crash leaves a trace. Secrets are masked.
create table delivery_attempt (
    id bigint generated always as identity primary key,
    delivery_id bigint not null references delivery on delete cascade,
    purpose text not null,
    started_at timestamptz not null,
    finished_at timestamptz,
    request text not null,
    status integer,
    response text,
    outcome text,
    constraint delivery_attempt_purpose_known check (purpose in ('send', 'look', 'receipt', 'map'))
);
create index delivery_attempt_delivery on delivery_attempt (delivery_id);
