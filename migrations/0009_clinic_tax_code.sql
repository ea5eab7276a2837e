-- The tax code on a clinic's invoice lines whose product has none; empty: the site's.
alter table clinic add column tax_code text not null default '';
