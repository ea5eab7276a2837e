-- Who did what, when, why. Append-only: the table refuses changes.
create table audit_entry (
    id bigint generated always as identity primary key,
    at timestamptz not null,
    actor text not null,
    action text not null,
    subject_kind text not null,
    subject_id bigint,
    detail jsonb not null default '{}'
);
create index audit_entry_subject on audit_entry (subject_kind, subject_id);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'audit entries are never changed';
end $$;
create trigger audit_entry_append_only before update or delete on audit_entry
    for each row execute function refuse_change();
