-- API keys of the supplier's own systems, for /staff/v1.
create table api_key (
    id bigint generated always as identity primary key,
    -- The public part of the key, by which the key is found: `spsi_<role>_<public_id>_<secret>`.
    public_id text not null,
    name text not null,
    role text not null,
    -- SHA-256. The secret has 160 random bits, so a slow hash would protect nothing more.
    secret_hash bytea not null,
    created_at timestamptz not null,
    -- Null: never.
    expires_at timestamptz,
    -- To the minute: not every request writes.
    last_used_at timestamptz,
    revoked_at timestamptz,
    constraint api_key_public_id_key unique (public_id),
    constraint api_key_name_not_empty check (name <> ''),
    constraint api_key_role_known check (role in ('viewer', 'orders', 'warehouse', 'catalogue', 'billing', 'admin'))
);
-- A name can be given again after its key was revoked.
create unique index api_key_name_key on api_key (name) where revoked_at is null;

-- Answers to writes with an Idempotency-Key, written in the transaction of the write. Deleted after SPSI_IDEMPOTENCY_KEPT_FOR.
create table idempotent_answer (
    api_key_id bigint not null references api_key on delete cascade,
    idempotency_key text not null,
    -- SHA-256 of method, path, query and body.
    fingerprint bytea not null,
    created_at timestamptz not null,
    -- Null only within the transaction of the write.
    status smallint,
    headers jsonb not null default '[]',
    -- Sealed, because the answer may show a secret once.
    body bytea,
    primary key (api_key_id, idempotency_key)
);
create index idempotent_answer_created_at on idempotent_answer (created_at);
