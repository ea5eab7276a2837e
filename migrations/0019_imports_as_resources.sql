-- An import is a resource: an upload is checked and shown, then applied, and the last applied import can be rolled back.
alter table catalog_import rename column imported_at to applied_at;
alter table catalog_import
    alter column applied_at drop not null,
    add column created_at timestamptz,
    add column actor text not null default '',
    add column state text not null default 'applied',
    -- How an upload is read: kind, format and permission to withdraw. Null for files that were imported at once.
    add column options jsonb,
    -- The catalogue's version that the shown difference was computed from.
    add column checked_version bigint,
    -- Imports in the order in which they were applied; only the last one can be rolled back.
    add column apply_number bigint,
    -- The import has inserted the products with these ids: products are inserted only under the import lock.
    add column first_product_id bigint,
    add column last_product_id bigint,
    -- The rows of catalog_import_product and catalog_import_price are complete, so that the import can be rolled back.
    add column is_undo_kept boolean not null default false,
    add column rolled_back_at timestamptz,
    -- What a roll-back has done.
    add column roll_back jsonb,
    add constraint catalog_import_state_known check (state in ('checked', 'applied', 'rolled_back', 'expired')),
    add constraint catalog_import_applied_at_known check ((state in ('applied', 'rolled_back')) = (applied_at is not null)),
    add constraint catalog_import_rolled_back_at_known check ((state = 'rolled_back') = (rolled_back_at is not null));
update catalog_import set created_at = applied_at;
alter table catalog_import alter column created_at set not null;
create sequence catalog_import_apply_number;
create index catalog_import_applied on catalog_import (apply_number) where state = 'applied';

-- An uploaded file in pieces; kept until the import is applied or expires. Postgres compresses the pieces.
create table catalog_import_file (
    import_id bigint not null references catalog_import on delete cascade,
    kind text not null,
    position integer not null,
    name text not null,
    content bytea not null,
    primary key (import_id, kind, position),
    constraint catalog_import_file_kind_known check (kind in ('products', 'prices'))
);

-- The products that an import changes. Of a column that it leaves alone, `before_` and `after_` are both null. An applied
-- import has no rows for its new products, which catalog_import counts by id: a first import is not written twice. Imports
-- are never deleted, and a foreign key would be checked row by row.
create table catalog_import_product (
    import_id bigint not null,
    id bigint generated always as identity,
    code text not null,
    change text not null,
    before_name text,
    before_type text,
    before_category text,
    -- Pack size and whether it is known: both or none.
    before_units_per_outer numeric,
    before_units_known boolean,
    before_unit_of_measure text,
    before_list_price numeric,
    before_barcode text,
    before_stock_available numeric,
    before_active boolean,
    before_withdrawn_at timestamptz,
    before_related_urls text[],
    before_manufacturer text,
    before_tax_code text,
    before_tax_rate numeric,
    before_restricted boolean,
    after_name text,
    after_type text,
    after_category text,
    after_units_per_outer numeric,
    after_units_known boolean,
    after_unit_of_measure text,
    after_list_price numeric,
    after_barcode text,
    after_stock_available numeric,
    after_active boolean,
    after_related_urls text[],
    after_manufacturer text,
    after_tax_code text,
    after_tax_rate numeric,
    after_restricted boolean,
    primary key (import_id, id),
    constraint catalog_import_product_change_known check (change in ('new', 'changed', 'withdrawn', 'relisted'))
);

-- The contract prices that an import changes. Without `before_price` it adds the price, without `after_price` it removes
-- the price. Names, because an import that is only checked has created neither the products nor the price lists.
create table catalog_import_price (
    import_id bigint not null,
    id bigint generated always as identity,
    clinic_id bigint,
    price_list text,
    code text not null,
    valid_from date not null,
    before_price numeric,
    before_until date,
    after_price numeric,
    after_until date,
    primary key (import_id, id),
    constraint catalog_import_price_of_clinic_or_list check ((clinic_id is null) <> (price_list is null))
);

-- A row may name only some columns, so a new product takes the defaults of a full import. Otherwise as in 0002.
create or replace view staged_product as
select
    s.line,
    p.id as product_id,
    s.code,
    coalesce(s.name, p.name) as name,
    coalesce(s.type, p.type) as type,
    coalesce(s.category, p.category) as category,
    coalesce(s.units_per_outer, p.units_per_outer, 1::numeric(18, 6)) as units_per_outer,
    coalesce(s.units_known, p.units_known, false) as units_known,
    coalesce(s.unit_of_measure, p.unit_of_measure, '') as unit_of_measure,
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
