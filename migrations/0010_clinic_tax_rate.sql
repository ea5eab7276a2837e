-- The tax rate on a clinic's invoice lines, in percent; null: none of its own. Where it stands is told in shipments/tax.rs.
alter table clinic add column tax_rate numeric(9, 6),
    -- The clinic's tax goes before the product's, not only where the product has none.
    add column tax_overrides_product boolean not null default false,
    add constraint clinic_tax_rate_is_percentage check (tax_rate between 0 and 100);
