-- Baseline of `POST /purchaseorder` (scenario (g) of docs/benchmarks.md): stores the rows of an order of ten lines with the
-- fastest single statement that we know. The rows are those of orders/store.rs, with bodies of the same size: order, first
-- revision, lines with their reservations, stock movement, audit entry, event. The statement reads and decides nothing; only the
-- constraints of the tables check the rows.
--
--   pgbench -n -M prepared -f benches/sql/place_order.sql -D clinics=5 -D products=4000 -c 8 -j 2 -T 20 DATABASE
--
-- Needs a migrated database with clinics. Variables:
--   clinics   the orders are from the clinics with ids 1 to `clinics`, all of which must exist (a seeded database has 5)
--   products  the lines have codes from P000001 on, this many; the products need not exist
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
    insert into stock_move (moved_at, codes) select at, codes from given),
recorded as (
    insert into event (kind, subject_kind, subject_id, clinic_id, created_at, data)
    select 'order.accepted', 'order', placed.id, clinic_id, at, jsonb_build_object('version', 1, 'id', placed.id,
        'supplier_order_number', number, 'clinic', 'Harbour Vets', 'clinic_id', clinic_id, 'ezyvet_id', ezyvet_id,
        'purchase_order_number', '1500' || ezyvet_id, 'state', 'accepted', 'is_return', false, 'revision', 1,
        'total', '511.5', 'findings', '[]'::jsonb, 'reason', null)
    from placed, written)
insert into audit_entry (at, actor, action, subject_kind, subject_id, detail)
select at, 'pgbench', 'order.place', 'order', placed.id,
    jsonb_build_object('number', number, 'state', 'accepted', 'findings', '[]'::jsonb)
from placed, written;
