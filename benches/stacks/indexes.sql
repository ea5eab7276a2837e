-- Indexes for the queries of the baselines, created in their copy of the database.
create extension if not exists pg_trgm;
create index bench_product_name on product using gin (lower(name) gin_trgm_ops);
create index bench_product_code on product using gin (lower(code) gin_trgm_ops);
create index bench_product_category on product (category);
analyze;
