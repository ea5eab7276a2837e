//! The clinic cache: every clinic in memory, so that a request needs no query to identify its caller.
//!
//! A change replaces the whole cache. It reaches every process at once by a database notification, and within the refresh
//! interval if the notification is lost.

use super::store::{self, ClinicRow};
use crate::config::ClinicSettings;
use crate::db::Pool;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;

/// A clinic with its effective settings.
pub struct CachedClinic {
    pub row: ClinicRow,
    pub settings: ClinicSettings,
}

struct Clinics {
    version: i64,
    by_client_id: HashMap<String, Arc<CachedClinic>>,
}

/// The clinics at the last refresh. Cheap to clone.
#[derive(Clone)]
pub struct ClinicCache {
    clinics: Arc<ArcSwap<Clinics>>,
    defaults: Arc<ClinicSettings>,
    pool: Pool,
}

impl ClinicCache {
    /// Creates an empty cache; [`ClinicCache::refresh`] fills it.
    pub fn new(pool: Pool, defaults: ClinicSettings) -> Self {
        let clinics = Clinics { version: -1, by_client_id: HashMap::new() };
        Self { clinics: Arc::new(ArcSwap::from_pointee(clinics)), defaults: Arc::new(defaults), pool }
    }

    /// Returns the clinic with this client id, as of the last refresh.
    pub fn find(&self, client_id: &str) -> Option<Arc<CachedClinic>> {
        self.clinics.load().by_client_id.get(client_id).cloned()
    }

    /// Returns the version, which grows with every change of a clinic.
    pub fn version(&self) -> i64 {
        self.clinics.load().version
    }

    /// Returns whether the cache was ever filled.
    pub fn is_loaded(&self) -> bool {
        self.version() >= 0
    }

    /// Reads the clinics again if they changed, and returns whether they did. An error leaves the cache as it is.
    pub async fn refresh(&self) -> Result<bool, sqlx::Error> {
        if store::clinics_version(&self.pool).await? == self.clinics.load().version {
            return Ok(false);
        }
        let (version, rows) = store::load_clinic_cache(&self.pool).await?;
        let clinics = rows.into_iter().map(|row| {
            let settings = self.defaults.overridden(&row.settings.0);
            (row.client_id.clone(), Arc::new(CachedClinic { row, settings }))
        });
        let fresh = Arc::new(Clinics { version, by_client_id: clinics.collect() });
        // Two refreshes may overtake each other: keep the newer version.
        self.clinics
            .rcu(|current| if current.version > fresh.version { Arc::clone(current) } else { Arc::clone(&fresh) });
        Ok(true)
    }
}
