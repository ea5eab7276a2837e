-- Orders on their way to the statement that stores them, as rows in two values: a value for each column would be taken apart
-- one by one.
create type sent_order as (
    clinic_id bigint,
    ezyvet_id text,
    number text,
    purchase_order_number text,
    state text,
    is_return boolean,
    body text,
    answer_status smallint,
    answer text,
    findings jsonb,
    ordered_at timestamptz,
    ownership_id text,
    shipping_address_id text,
    freight numeric,
    freight_tax numeric,
    tax numeric,
    total numeric,
    received_at timestamptz,
    actor text,
    -- What the decision rests on: null where it was made under locks.
    catalog_version bigint,
    ship_to_mapped boolean
);

create type sent_order_line as (
    -- Of its order among the orders, from 1.
    place int,
    position int,
    ezyvet_id text,
    product_id text,
    supplier_code text,
    outers numeric,
    units_per_outer numeric,
    price_per_unit numeric,
    tax_per_unit numeric,
    quantity numeric,
    total numeric,
    total_tax numeric,
    location_id text
);

-- Whether an order that comes again says the same is told from the body that is kept: no digest of it is made for every
-- order that comes once.
alter table purchase_order drop column content_digest;
