-- Names that a reader would search for: the row of a site that holds its lease, and orders as rows on their way to the
-- statement that stores them.
alter table site_lane rename to site_lease;
alter table site_lease rename constraint site_lane_lease_has_token to site_lease_has_token;
-- A member of staff waits for the site: the worker releases the lease and takes no other before this time.
alter table site_lease rename column wanted_until to staff_request_until;

alter type sent_order rename to new_order;
alter type sent_order_line rename to new_order_line;
-- Which order of the statement the line belongs to, counted from 1.
alter type new_order_line rename attribute place to ordinal;
