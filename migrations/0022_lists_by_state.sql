-- Lists are pages of descending ids. Systems ask again and again for the few orders in a state (`?state=accepted`), and staff
-- for the few deliveries that need them: without these indexes, such a page walks the history for them.
create index purchase_order_state on purchase_order (state, id);
create index delivery_needs_staff on delivery (state, id) where state in ('attention', 'unclear');
-- An invoice number is unique, but its deliveries were found by a scan.
create index delivery_invoice_number on delivery (invoice_number);
