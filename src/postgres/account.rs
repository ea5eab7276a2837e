//! The user account that runs the server: not root, which PostgreSQL refuses, and able to reach the server's files.

use super::PostgresError;
use nix::unistd::{Uid, User};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The user that runs `initdb`, `pg_ctl` and `postgres`.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// This process is root and switches to the user in each child process.
    pub is_switched: bool,
}

impl Account {
    /// Chooses the user of this process; as root the owner of the existing cluster, else `postgres`, else `nobody`.
    pub fn choose(cluster: &Path) -> Result<Self, PostgresError> {
        let known = |found: nix::Result<Option<User>>| found.ok().flatten();
        let current = Uid::effective();
        let user = if current.is_root() {
            let owner = std::fs::metadata(cluster).ok().map(|found| Uid::from_raw(found.uid()));
            owner
                .filter(|owner| !owner.is_root())
                .and_then(|owner| known(User::from_uid(owner)))
                .or_else(|| known(User::from_name("postgres")))
                .or_else(|| known(User::from_name("nobody")))
                .ok_or(PostgresError::NoUnprivilegedUser)?
        } else {
            known(User::from_uid(current)).ok_or(PostgresError::NamelessUser(current.as_raw()))?
        };
        let User { name, uid, gid, .. } = user;
        Ok(Self { name, uid: uid.as_raw(), gid: gid.as_raw(), is_switched: current.is_root() })
    }

    /// Returns the first existing directory on the way to `path` that this user cannot enter. Returns `None` without
    /// checking if the user is not switched: then the file operation itself reports the error.
    pub fn find_blocking_directory(&self, path: &Path) -> Option<PathBuf> {
        if !self.is_switched {
            return None;
        }
        let existing = path.ancestors().find_map(|ancestor| ancestor.canonicalize().ok())?;
        let directories: Vec<_> = existing.ancestors().filter(|ancestor| ancestor.is_dir()).collect();
        directories.into_iter().rev().find(|directory| !self.may_search(directory)).map(Path::to_owned)
    }

    fn may_search(&self, directory: &Path) -> bool {
        let Ok(found) = std::fs::metadata(directory) else { return false };
        let bit = match () {
            () if found.uid() == self.uid => 0o100,
            () if found.gid() == self.gid => 0o010,
            () => 0o001,
        };
        found.mode() & bit != 0
    }
}
