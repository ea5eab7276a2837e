-- Orders that the supplier's system decides about (rule_ask). Such an order is held; when `decide_by` has passed without a
-- decision, `decide_default` applies. Every decision clears both.
alter table purchase_order
    add column decide_by timestamptz,
    add column decide_default text,
    add constraint purchase_order_decide_default_known check (decide_default in ('hold', 'accept', 'decline')),
    add constraint purchase_order_decide_whole check ((decide_by is null) = (decide_default is null)),
    add constraint purchase_order_decide_while_held check (decide_by is null or state = 'held');
-- Holds the orders that wait, not history: the next deadline is its first entry.
create index purchase_order_decide_by on purchase_order (decide_by) where decide_by is not null;

alter type new_order add attribute decide_by timestamptz, add attribute decide_default text;
