-- Goods that left the warehouse for one order. Freight includes tax.
create table shipment (
    id bigint generated always as identity primary key,
    order_id bigint not null references purchase_order,
    clinic_id bigint not null references clinic,
    state text not null default 'shipped',
    freight numeric(18, 6) not null default 0,
    shipped_at timestamptz not null,
    received_at timestamptz,
    constraint shipment_state_known check (state in ('shipped', 'received')),
    constraint shipment_received_when_received check ((state = 'received') = (received_at is not null))
);
create index shipment_order on shipment (order_id);

-- One row per line and batch. Quantity is in units, negative for goods coming back.
create table shipment_line (
    id bigint generated always as identity primary key,
    shipment_id bigint not null references shipment on delete cascade,
    order_line_id bigint not null references purchase_order_line,
    position integer not null,
    quantity numeric(18, 6) not null,
    batch text not null default '',
    expiry date,
    constraint shipment_line_position_key unique (shipment_id, position),
    constraint shipment_line_quantity_not_zero check (quantity <> 0),
    constraint shipment_line_expiry_of_batch check (expiry is null or batch <> '')
);
create index shipment_line_order_line on shipment_line (order_line_id);

-- An invoice number is the dedupe key towards ezyVet: unique for ever (DESIGN.md 2.4).
create table invoice (
    id bigint generated always as identity primary key,
    shipment_id bigint not null references shipment,
    part integer not null default 1,
    invoice_number text not null,
    constraint invoice_number_key unique (invoice_number),
    constraint invoice_part_key unique (shipment_id, part)
);

-- The last number given out per prefix. A row, not a sequence: it rolls back with the shipment, so no gaps.
create table invoice_counter (
    prefix text primary key,
    last bigint not null
);
