-- Files of shipments that were imported: the same content ships its goods once.
create table shipment_file (
    -- SHA-256 of the content.
    digest bytea primary key,
    file text not null,
    at timestamptz not null,
    actor text not null
);
