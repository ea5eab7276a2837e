-- What became of an invoice that arrived. Stale: not approved for so long that it is no longer asked for; a person should.
alter table delivery add column stale boolean not null default false;
-- Where the invoice that ezyVet holds is not the one that we sent: [{what, sent, stored}].
alter table delivery add column differences jsonb not null default '[]';
