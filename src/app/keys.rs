//! Loads the encryption and token keys from the environment or, with the private Postgres, from a file created once.

use crate::app::Hint;
use crate::config::DatabaseSettings;
use crate::postgres::Embedded;
use crate::secret::KeyRing;
use anyhow::{Context, anyhow};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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
    anyhow!("{variable} is not set; it is required with DATABASE_URL").context(Hint(
        "run `spsi key generate`, store the keys safely, and set them for every replica and every command".into(),
    ))
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
        let text = format!(
            "SPSI_ENCRYPTION_KEYS={}\nSPSI_TOKEN_KEYS={}\n",
            encryption.expose().expose(),
            token.expose().expose()
        );
        let draft = directory.join(format!("{FILE}.{}", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .with_context(|| format!("cannot write {shown}"))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // Unlike a rename, a hard link does not replace a file that another process has created meanwhile.
        match fs::hard_link(&draft, &path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot create {shown}"));
            }
            _ => fs::remove_file(&draft)?,
        }
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {shown}"))?;
    let ring = |name: &str| -> anyhow::Result<KeyRing> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.with_context(|| format!("{shown} has no {name}"))?.parse().with_context(|| format!("{name} in {shown}"))
    };
    Ok(Keys { encryption: Some(ring("SPSI_ENCRYPTION_KEYS")?), token: Some(ring("SPSI_TOKEN_KEYS")?) })
}
