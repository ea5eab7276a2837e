//! Where the keys come from: the environment; or, beside the private Postgres, a file that is made once.

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

/// The keys that there are. What needs none works without.
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
    anyhow!("{variable} is not set, and with a DATABASE_URL of your own the keys are yours to keep").context(Hint(
        "`spsi key generate` makes them; set them for every replica and every command, and keep them".into(),
    ))
}

/// The keys of this deployment.
pub fn find(settings: &DatabaseSettings, embedded: Option<&Embedded>) -> anyhow::Result<Keys> {
    let (encryption, token) = (settings.encryption_keys.clone(), settings.token_keys.clone());
    let Some(embedded) = embedded.filter(|_| encryption.is_none() || token.is_none()) else {
        return Ok(Keys { encryption, token });
    };
    let kept = kept(embedded.data_dir())?;
    Ok(Keys { encryption: encryption.or(kept.encryption), token: token.or(kept.token) })
}

/// Reads the key file, or makes it, readable by its owner alone. Of two processes that make it at once, one wins.
fn kept(directory: &Path) -> anyhow::Result<Keys> {
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
        // A link, unlike a rename, does not replace what another process has put there meanwhile.
        match fs::hard_link(&draft, &path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot make {shown}"));
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
