-- Stock. `product.stock_available` is what is on hand, in units: a file from the warehouse sets it, a shipment lowers it.
-- What clinics are shown is that less what open orders have reserved. The reservations stand at the lines and are added
-- up when they are read: no counter can drift from them, and two orders of one product wait for nothing.
comment on column product.stock_available is 'On hand, in units; reservations are not taken off.';
alter table purchase_order_line
    -- Units held for this line: what is outstanding of an order that is accepted, held or part_shipped. Returns reserve nothing.
    add column reserved numeric(18, 6) not null default 0,
    add constraint purchase_order_line_reserved_not_negative check (reserved >= 0);
create index purchase_order_line_reserved on purchase_order_line (supplier_code) include (reserved) where reserved > 0;
create index purchase_order_line_supplier_code on purchase_order_line (supplier_code);

-- Whose stock moved, one row per transaction that moved any. Processes read what is newer than their last look: `xid` is
-- compared with the oldest transaction that was under way then, so that nothing is missed however commits overtake each
-- other. Old rows are deleted.
create table stock_move (
    id bigint generated always as identity primary key,
    xid bigint not null default pg_current_xact_id()::text::bigint,
    moved_at timestamptz not null,
    codes text[] not null
);
create index stock_move_xid on stock_move (xid);
create index stock_move_moved_at on stock_move (moved_at);

-- What ezyVet's bare ids mean (SPSI.md 1): the address behind a shipping_address_id, the account behind an ownership_id.
-- Told once by staff, for a site; for a clinic while it has none.
create table ezyvet_mapping (
    id bigint generated always as identity primary key,
    kind text not null,
    site_id bigint references site on delete cascade,
    clinic_id bigint references clinic on delete cascade,
    ezyvet_id text not null,
    value text not null,
    changed_at timestamptz not null,
    constraint ezyvet_mapping_key unique nulls not distinct (kind, site_id, clinic_id, ezyvet_id),
    constraint ezyvet_mapping_kind_known check (kind in ('ship_to', 'account')),
    constraint ezyvet_mapping_of_site_or_clinic check ((site_id is null) <> (clinic_id is null)),
    constraint ezyvet_mapping_not_empty check (ezyvet_id <> '' and value <> '')
);
-- A clinic's own word goes before that of its site.
create view clinic_mapping as
select c.id as clinic_id, m.kind, m.ezyvet_id,
    (array_agg(m.value order by m.clinic_id is null))[1] as value
from clinic c
join ezyvet_mapping m on m.clinic_id = c.id or m.site_id = c.site_id
group by c.id, m.kind, m.ezyvet_id;

create index purchase_order_received_at on purchase_order (received_at);
