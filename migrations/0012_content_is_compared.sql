-- Whether an order that comes again says the same is told from the body that is kept: no digest of it is made for every
-- order that comes once.
alter table purchase_order drop column content_digest;
