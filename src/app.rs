//! The composition root: from settings to running parts, the only wiring.

use crate::clock::Clock;
use crate::config::Settings;
use crate::postgres::Embedded;
use crate::secret::KeyRing;
use sqlx::PgPool;

/// What every command works with.
pub struct Context {
    pub settings: Settings,
    pub pool: PgPool,
    /// Seals ezyVet's credentials.
    pub encryption_keys: KeyRing,
    /// Signs our tokens.
    pub token_keys: KeyRing,
    pub clock: Clock,
    /// Who is at work, for the audit trail: `cli:<user>`.
    pub actor: String,
    /// The private Postgres, while there is no DATABASE_URL.
    pub embedded: Option<Embedded>,
}
