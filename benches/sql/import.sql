-- Baseline of `spsi catalog import FILE` (scenario (h) of docs/benchmarks.md): import of a whole catalogue as an expert would
-- write it for psql, with COPY into an unlogged table and one MERGE. The rows of `product` are the same as the product's.
--
--   psql -v file=/path/to/products.csv -f benches/sql/import.sql DATABASE
--
-- Needs a migrated database and PostgreSQL 15 or later. The file is UTF-8 with a header and has the fourteen columns below, in
-- this order. Only the constraints of the tables check the rows: the script counts no changes and asks for no permission.
\set ON_ERROR_STOP on
begin;
set local work_mem = '128MB';
create unlogged table import_file (
    code text, name text, type text, category text, units_per_outer numeric, unit_of_measure text, list_price numeric,
    barcode text, stock_available numeric, active text, related_urls text, manufacturer text, tax_code text, tax_rate numeric);
-- \copy does not expand variables, so the command is built as text.
select format('\copy import_file from %L with (format csv, header)', :'file') as copy \gset
\o /dev/null
:copy
\o
analyze import_file;
update product p set active = false, withdrawn_at = now()
where p.active and not exists (select from import_file f where f.code = p.code);
merge into product p using (
    select code, name, type, category, coalesce(units_per_outer, 1) as units_per_outer, units_per_outer is not null as units_known,
        coalesce(unit_of_measure, '') as unit_of_measure, list_price, coalesce(barcode, '') as barcode,
        coalesce(stock_available, 0) as stock_available, coalesce(active, '1') = '1' as active,
        coalesce(string_to_array(related_urls, ' '), '{}') as related_urls, coalesce(manufacturer, '') as manufacturer,
        coalesce(tax_code, '') as tax_code, tax_rate
    from import_file) f on f.code = p.code
when matched and (p.name <> f.name or p.type <> f.type or p.category <> f.category or p.units_per_outer <> f.units_per_outer
        or p.units_known <> f.units_known or p.unit_of_measure <> f.unit_of_measure
        or p.list_price is distinct from f.list_price or p.barcode <> f.barcode or p.stock_available <> f.stock_available
        or p.active <> f.active or p.related_urls <> f.related_urls or p.manufacturer <> f.manufacturer
        or p.tax_code <> f.tax_code or p.tax_rate is distinct from f.tax_rate) then
    update set name = f.name, type = f.type, category = f.category, units_per_outer = f.units_per_outer,
        units_known = f.units_known, unit_of_measure = f.unit_of_measure, list_price = f.list_price, barcode = f.barcode,
        stock_available = f.stock_available, active = f.active,
        withdrawn_at = case when not f.active then coalesce(p.withdrawn_at, now()) end,
        related_urls = f.related_urls, manufacturer = f.manufacturer, tax_code = f.tax_code, tax_rate = f.tax_rate
when not matched then
    insert (code, name, type, category, units_per_outer, units_known, unit_of_measure, list_price, barcode, stock_available,
        active, withdrawn_at, related_urls, manufacturer, tax_code, tax_rate)
    values (f.code, f.name, f.type, f.category, f.units_per_outer, f.units_known, f.unit_of_measure, f.list_price, f.barcode,
        f.stock_available, f.active, case when not f.active then now() end, f.related_urls, f.manufacturer, f.tax_code,
        f.tax_rate);
drop table import_file;
update data_version set value = value + 1 where name = 'catalog';
commit;
