-- A `supplied` whose product or stock location has no uid yet is checked again without a command of staff.

-- When a list of a site was last read in full. No row: never. A list that was read and is empty has a row.
create table site_list (
    site_id bigint not null references site on delete cascade,
    list text not null,
    -- When the reading began: everything that the site held at this time is in the list.
    read_at timestamptz not null,
    primary key (site_id, list),
    constraint site_list_known check (list in ('inventory_products', 'separations'))
);
insert into site_list (site_id, list, read_at)
select site_id, 'inventory_products', max(fetched_at) from site_inventory_product group by site_id
union all
select site_id, 'separations', max(fetched_at) from site_separation group by site_id;

-- Null: ezyVet gave the product's code (read at `fetched_at`), and not exactly one inventory product has this code.
alter table site_product alter column uid drop not null;

-- When the uids of a `supplied` were last discarded, because ezyVet refused them or staff retried the delivery.
alter table delivery add column remapped_at timestamptz;
update delivery set remapped_at = changed_at where map_refreshed;
alter table delivery drop column map_refreshed;

-- In state `attention`, a due time means: not mapped, checked again at this time. Every other `attention` waits for staff.
alter table delivery add constraint delivery_recheck_is_supplied
    check (state <> 'attention' or due_at is null or kind = 'supplied');
create index delivery_recheck on delivery (site_id, due_at, id) where state = 'attention';
-- Only deliveries that could not be mapped named these commands.
update delivery set due_at = now()
where kind = 'supplied' and state = 'attention' and site_id is not null
  and (last_error like '%spsi site pin %' or last_error like '%spsi site separations %');
