create sequence supplier_order_seq;

-- An order as ezyVet sent it, and what we made of it (SPSI.md 1, 3).
create table purchase_order (
    id bigint generated always as identity primary key,
    clinic_id bigint not null references clinic,
    ezyvet_id text not null,
    supplier_order_number text not null,
    purchase_order_number text not null,
    state text not null,
    is_return boolean not null,
    revision integer not null default 1,
    -- Digest of what counts as content: the same order again is told from a changed one by it (SPSI.md 5.11).
    content_digest bytea not null,
    -- As received, unknown fields included. json and not jsonb: it goes back word for word, in its own order.
    body json not null,
    -- The first answer, word for word: a repeated order gets it again.
    answer_status smallint not null,
    answer_body json not null,
    -- [{rule, action, line, text}]
    findings jsonb not null default '[]',
    ordered_at timestamptz,
    ownership_id text not null,
    shipping_address_id text not null,
    freight numeric(18, 6) not null,
    freight_tax numeric(18, 6) not null,
    tax numeric(18, 6) not null,
    total numeric(18, 6) not null,
    received_at timestamptz not null,
    changed_at timestamptz not null,
    constraint purchase_order_ezyvet_id_key unique (clinic_id, ezyvet_id),
    constraint purchase_order_number_key unique (supplier_order_number),
    constraint purchase_order_state_known check
        (state in ('accepted', 'held', 'declined', 'part_shipped', 'shipped', 'received', 'cancelled'))
);
create index purchase_order_open on purchase_order (clinic_id, received_at) where state in ('accepted', 'held', 'part_shipped');
create index purchase_order_same_number on purchase_order (clinic_id, purchase_order_number);

-- Quantities are in units, prices per unit; both exclude tax unless the name says otherwise.
create table purchase_order_line (
    id bigint generated always as identity primary key,
    order_id bigint not null references purchase_order on delete cascade,
    position integer not null,
    ezyvet_id text not null,
    -- ezyVet's id of the clinic's product.
    product_id text not null,
    supplier_code text not null,
    outers numeric(18, 6) not null,
    units_per_outer numeric(18, 6) not null,
    price_per_unit numeric(18, 6) not null,
    tax_per_unit numeric(18, 6) not null,
    quantity numeric(18, 6) not null,
    total numeric(18, 6) not null,
    total_tax numeric(18, 6) not null,
    -- The stock location the goods go to: the line's ownership_id.
    location_id text not null,
    -- Units that staff took off the order.
    cancelled numeric(18, 6) not null default 0,
    constraint purchase_order_line_position_key unique (order_id, position),
    constraint purchase_order_line_ezyvet_id_key unique (order_id, ezyvet_id)
);

-- Every version of an order that ezyVet sent, oldest first.
create table purchase_order_revision (
    order_id bigint not null references purchase_order on delete cascade,
    revision integer not null,
    received_at timestamptz not null,
    body json not null,
    findings jsonb not null,
    primary key (order_id, revision)
);
