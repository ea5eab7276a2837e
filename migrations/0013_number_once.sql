-- An order's purchase_order_number is told by an index to be a repeated one, and not by looking for it before: of two orders
-- that come at the same time, neither sees the other.
alter table purchase_order add column repeats_number boolean not null default false;
update purchase_order o set repeats_number = true
where purchase_order_number <> '' and exists (
    select from purchase_order other
    where other.clinic_id = o.clinic_id and other.purchase_order_number = o.purchase_order_number and other.id < o.id);
drop index purchase_order_same_number;
create unique index purchase_order_number_once on purchase_order (clinic_id, purchase_order_number)
    where purchase_order_number <> '' and not repeats_number;

alter type sent_order add attribute repeats_number boolean;
