-- What the supplier sells. Prices are per outer and exclude tax.
create table product (
    id bigint generated always as identity primary key,
    code text not null,
    name text not null,
    type text not null,
    category text not null,
    units_per_outer numeric(18, 6) not null,
    -- False: the supplier gave no pack size and the 1 above stands in for it; such a product cannot have a price.
    units_known boolean not null default true,
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
    constraint product_priced_units_known check (units_known or list_price is null),
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

-- Where an import puts its rows before they are compared with what is there; emptied by each import, under its lock.
-- Null: the file does not say, so the product keeps what it has.
create unlogged table staged_product_row (
    line bigint not null,
    code text not null,
    name text,
    type text,
    category text,
    units_per_outer numeric(18, 6),
    units_known boolean,
    unit_of_measure text,
    list_price numeric(18, 6),
    list_price_given boolean not null,
    barcode text,
    stock_available numeric(18, 6),
    active boolean,
    related_urls text[],
    manufacturer text,
    tax_code text,
    tax_rate numeric(9, 6),
    tax_rate_given boolean not null,
    restricted boolean
);

-- What each staged row makes of its product, and whether that is a change.
create view staged_product as
select
    s.line,
    p.id as product_id,
    s.code,
    coalesce(s.name, p.name) as name,
    coalesce(s.type, p.type) as type,
    coalesce(s.category, p.category) as category,
    coalesce(s.units_per_outer, p.units_per_outer) as units_per_outer,
    coalesce(s.units_known, p.units_known) as units_known,
    coalesce(s.unit_of_measure, p.unit_of_measure) as unit_of_measure,
    case when s.list_price_given then s.list_price else p.list_price end as list_price,
    coalesce(s.barcode, p.barcode, '') as barcode,
    coalesce(s.stock_available, p.stock_available, 0) as stock_available,
    coalesce(s.active, p.active, true) as active,
    coalesce(s.related_urls, p.related_urls, '{}') as related_urls,
    coalesce(s.manufacturer, p.manufacturer, '') as manufacturer,
    coalesce(s.tax_code, p.tax_code, '') as tax_code,
    case when s.tax_rate_given then s.tax_rate else p.tax_rate end as tax_rate,
    coalesce(s.restricted, p.restricted, false) as restricted,
    p.list_price as old_list_price,
    p.active as old_active,
    (s.name <> p.name or s.type <> p.type or s.category <> p.category
        or s.units_per_outer <> p.units_per_outer or s.units_known <> p.units_known
        or s.unit_of_measure <> p.unit_of_measure
        or (s.list_price_given and s.list_price is distinct from p.list_price)
        or s.barcode <> p.barcode or s.stock_available <> p.stock_available or s.active <> p.active
        or s.related_urls <> p.related_urls or s.manufacturer <> p.manufacturer or s.tax_code <> p.tax_code
        or (s.tax_rate_given and s.tax_rate is distinct from p.tax_rate)
        or s.restricted <> p.restricted) is true as differs
from staged_product_row s
left join product p on p.code = s.code;

create unlogged table staged_price_row (
    line bigint not null,
    -- Exactly one of the two, in a sound row.
    clinic text,
    price_list text,
    code text,
    -- Null: the price is taken away.
    contract_price numeric(18, 6),
    valid_from date,
    valid_until date,
    -- False: the row has errors; it is here so that its names are checked too.
    sound boolean not null
);

-- A clinic is named by our id or by its client id, which is never a number.
create view staged_price as
select
    s.line,
    s.clinic,
    coalesce(by_client_id.id, by_id.id) as clinic_id,
    s.price_list,
    l.id as price_list_id,
    s.code,
    p.id as product_id,
    s.contract_price,
    s.valid_from,
    s.valid_until,
    s.sound
from staged_price_row s
left join clinic by_client_id on by_client_id.client_id = s.clinic
left join clinic by_id on by_id.id::text = s.clinic
left join price_list l on l.name = s.price_list
left join product p on p.code = s.code;
