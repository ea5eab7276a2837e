-- What the supplier sells. Prices are per outer and exclude tax.
create table product (
    id bigint generated always as identity primary key,
    code text not null,
    name text not null,
    type text not null,
    category text not null,
    units_per_outer numeric(18, 6) not null,
    unit_of_measure text not null,
    -- Null: not for sale, and not listed.
    list_price numeric(18, 6),
    barcode text not null default '',
    stock_available numeric(18, 6) not null default 0,
    active boolean not null default true,
    -- When it was withdrawn; it stays listed with active 0 for a time (SPSI.md 5.12).
    withdrawn_at timestamptz,
    related_urls text[] not null default '{}',
    manufacturer text not null default '',
    tax_code text not null default '',
    tax_rate numeric(9, 6),
    restricted boolean not null default false,
    constraint product_code_key unique (code),
    constraint product_code_not_empty check (code <> ''),
    constraint product_units_positive check (units_per_outer > 0),
    constraint product_list_price_not_negative check (list_price >= 0),
    constraint product_withdrawn_iff_inactive check (active = (withdrawn_at is null))
);

-- What a group of clinics pays, per outer.
create table price_list_price (
    price_list_id bigint not null references price_list on delete cascade,
    product_id bigint not null references product on delete cascade,
    contract_price numeric(18, 6) not null,
    valid_from date not null default '-infinity',
    valid_until date not null default 'infinity',
    primary key (price_list_id, product_id, valid_from),
    constraint price_list_price_not_negative check (contract_price >= 0),
    constraint price_list_price_dates check (valid_from <= valid_until)
);

-- What one clinic pays, per outer; goes before its price list.
create table clinic_price (
    clinic_id bigint not null references clinic on delete cascade,
    product_id bigint not null references product on delete cascade,
    contract_price numeric(18, 6) not null,
    valid_from date not null default '-infinity',
    valid_until date not null default 'infinity',
    primary key (clinic_id, product_id, valid_from),
    constraint clinic_price_not_negative check (contract_price >= 0),
    constraint clinic_price_dates check (valid_from <= valid_until)
);

-- One row per import that was applied.
create table catalog_import (
    id bigint generated always as identity primary key,
    file text not null,
    imported_at timestamptz not null,
    summary jsonb not null
);
