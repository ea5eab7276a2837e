# Build stage. Cargo.toml's rust-version or later. Needs no database: the metadata of the SQL queries is in .sqlx.
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
# Without default features: the image expects DATABASE_URL and cannot download a private Postgres.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --profile dist --locked --no-default-features --bin spsi \
    && cp target/dist/spsi /spsi

FROM debian:bookworm-slim
# ca-certificates: HTTPS calls to ezyVet. curl: the health check.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --home-dir /nonexistent spsi
COPY --from=build /spsi /usr/local/bin/spsi
USER spsi
ENV SPSI_BIND=0.0.0.0:8080 SPSI_LOG_FORMAT=json
EXPOSE 8080
# Checks /healthz, not /readyz: an unreachable database is no reason to restart the process.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD curl --fail --silent --output /dev/null http://127.0.0.1:8080/healthz || exit 1
ENTRYPOINT ["spsi"]
CMD ["serve"]
