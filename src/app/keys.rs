//! Loads the encryption and token keys from the environment or, with the private Postgres, from a file created once.

use crate::app::Hint;
use crate::config::DatabaseSettings;
use crate::postgres::Embedded;
use crate::secret::KeyRing;
use anyhow::{Context, anyhow};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;
use tempfile::NamedTempFile;

const FILE: &str = "keys.env";

/// The keys that are set. Commands without need for a missing key work without it.
pub struct Keys {
    encryption: Option<KeyRing>,
    token: Option<KeyRing>,
}

impl Keys {
    pub fn encryption(&self) -> anyhow::Result<&KeyRing> {
        self.encryption.as_ref().ok_or_else(|| missing("SPSI_ENCRYPTION_KEYS"))
    }

    pub fn token(&self) -> anyhow::Result<&KeyRing> {
        self.token.as_ref().ok_or_else(|| missing("SPSI_TOKEN_KEYS"))
    }
}

fn missing(variable: &str) -> anyhow::Error {
    Hint::on(
        anyhow!("{variable} is not set; it is required with DATABASE_URL"),
        "run `spsi key generate`, store the keys safely, and set them for every replica and every command",
    )
}

/// Loads the keys of this deployment.
pub fn find(settings: &DatabaseSettings, embedded: Option<&Embedded>) -> anyhow::Result<Keys> {
    let (encryption, token) = (settings.encryption_keys.clone(), settings.token_keys.clone());
    let Some(embedded) = embedded.filter(|_| encryption.is_none() || token.is_none()) else {
        return Ok(Keys { encryption, token });
    };
    let file = load_file(embedded.data_dir())?;
    Ok(Keys { encryption: encryption.or(file.encryption), token: token.or(file.token) })
}

/// Reads the key file. Creates it first if it is missing, readable only by its owner. If two processes create it at the same
/// time, both use the file of the first.
fn load_file(directory: &Path) -> anyhow::Result<Keys> {
    let path = directory.join(FILE);
    let shown = path.display();
    if !path.exists() {
        let (encryption, token) = (KeyRing::generate()?, KeyRing::generate()?);
        let (encryption, token) = (encryption.expose(), token.expose());
        let mut file = NamedTempFile::new_in(directory).with_context(|| format!("cannot write {shown}"))?;
        write!(file, "SPSI_ENCRYPTION_KEYS={}\nSPSI_TOKEN_KEYS={}\n", encryption.expose(), token.expose())?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(&path) {
            Err(error) if error.error.kind() != ErrorKind::AlreadyExists => {
                return Err(error.error).with_context(|| format!("cannot create {shown}"));
            }
            _ => {}
        }
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {shown}"))?;
    let ring = |name: &str| -> anyhow::Result<KeyRing> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.with_context(|| format!("{shown} has no {name}"))?.parse().with_context(|| format!("{name} in {shown}"))
    };
    Ok(Keys { encryption: Some(ring("SPSI_ENCRYPTION_KEYS")?), token: Some(ring("SPSI_TOKEN_KEYS")?) })
}
