-- The rows of an order of ten lines, stored by the best single statement that we know: what Postgres itself can do, and
-- what `spsi serve` is measured against (orders at the limit of the disk). Order, first revision, lines with what they
-- reserve, the move of stock and the audit entry, as orders/store.rs writes them; bodies of the same size. Nothing is read
-- or decided, and nothing checked but what the tables check themselves.
--
--   pgbench -n -M prepared -f benches/sql/place_order.sql -D clinics=5 -D products=4000 -c 8 -j 2 -T 20 DATABASE
--
-- On a migrated database that holds clinics.
--   clinics   orders are of the clinics with the ids 1 to this; all of them must exist (a seeded database: 5)
--   products  lines are of codes P000001 to this; no product needs to exist
\set clinic random(1, :clinics)
\set id random(1, 4000000000000000000)
\set product random(1, :products)
\set step random(1, 997)
with given as materialized (
    select :clinic::bigint as clinic_id, :id::bigint::text as ezyvet_id, now() as at,
        array(select 'P' || lpad((1 + (:product::bigint + n * :step::bigint) % :products::bigint)::text, 6, '0') from generate_series(1, 10) n) as codes),
written as materialized (
    select given.*, 'SO-' || ezyvet_id as number,
        '{"id":"' || ezyvet_id || '","active":"1","created_at":"1514493886","modified_at":"1514493886","date":"1514466000",'
        '"shipping_address_id":"2","comments":"Please deliver before noon","freight":"0","freight_tax":"0","tax":"46.50",'
        '"total":"511.50","client_id":"2","supplier_id":"10006","status":"Approved","supplier_order_number":"",'
        '"supplier_account_number":"","purchase_order_number":"1500' || ezyvet_id || '","ownership_id":"1","purchase_order_item_list":['
        || (select string_agg('{"id":"' || n || '","product_id":"' || 50000 + n || '","supplier_code":"' || codes[n]
            || '","outers":"1","units_per_outer":"30","price_per_unit":"1.5500","tax_per_unit":"0.1550","quantity":"30",'
            '"total":"46.50","total_tax":"4.65","ownership_id":"3"}', ',') from generate_series(1, 10) n) || ']}' as body
    from given),
placed as (
    insert into purchase_order (clinic_id, ezyvet_id, supplier_order_number, purchase_order_number, state, is_return,
        body, answer_status, answer_body, findings, ordered_at, ownership_id, shipping_address_id,
        freight, freight_tax, tax, total, received_at, changed_at)
    select clinic_id, ezyvet_id, number, '1500' || ezyvet_id, 'accepted', false, body::json, 200,
        ('{"purchaseorder":' || body || '}')::json, '[]', at, '1', '2', 0, 0, 46.50, 511.50, at, at
    from written
    returning id),
revised as (
    insert into purchase_order_revision (order_id, revision, received_at, body, findings)
    select placed.id, 1, at, body::json, '[]' from placed, written),
lined as (
    insert into purchase_order_line (order_id, position, ezyvet_id, product_id, supplier_code, outers, units_per_outer,
        price_per_unit, tax_per_unit, quantity, total, total_tax, location_id, reserved)
    select placed.id, n, n::text, (50000 + n)::text, code, 1, 30, 1.55, 0.155, 30, 46.50, 4.65, '3', 30
    from placed, given, unnest(given.codes) with ordinality line(code, n)),
moved as (
    insert into stock_move (moved_at, codes) select at, codes from given)
insert into audit_entry (at, actor, action, subject_kind, subject_id, detail)
select at, 'pgbench', 'order.place', 'order', placed.id,
    jsonb_build_object('number', number, 'state', 'accepted', 'findings', '[]'::jsonb)
from placed, written;
