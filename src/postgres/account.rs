//! The user account that runs the server: not root, which PostgreSQL refuses, and able to reach the server's files.

use super::PostgresError;
use nix::unistd::{Uid, User};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

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
        let current = Uid::effective();
        let owner = std::fs::metadata(cluster).ok().map(|found| found.uid());
        if !current.is_root() {
            if let Some(owner) = owner.filter(|owner| *owner != current.as_raw()) {
                return Err(PostgresError::ForeignOwner { directory: cluster.to_owned(), owner });
            }
            let user = lookup(User::from_uid(current)).ok_or(PostgresError::NamelessUser(current.as_raw()))?;
            return Ok(Self::of(user, false));
        }
        owner
            .filter(|owner| *owner != 0)
            .and_then(|owner| lookup(User::from_uid(Uid::from_raw(owner))))
            .or_else(|| lookup(User::from_name("postgres")))
            .or_else(|| lookup(User::from_name("nobody")))
            .map(|user| Self::of(user, true))
            .ok_or(PostgresError::NoUnprivilegedUser)
    }

    fn of(user: User, is_switched: bool) -> Self {
        Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), is_switched }
    }

    /// Makes a child process run as this user. Changing the user id as root also drops the supplementary groups.
    pub fn apply(&self, command: &mut Command) {
        if self.is_switched {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Returns the first existing directory on the way to `path` that this user cannot enter. Returns `None` without
    /// checking if the user is not switched: then the file operation itself reports the error.
    pub fn find_blocking_directory(&self, path: &Path) -> Option<PathBuf> {
        if !self.is_switched {
            return None;
        }
        let existing = path.ancestors().find_map(|ancestor| ancestor.canonicalize().ok())?;
        let mut ancestors: Vec<_> = existing.ancestors().filter(|ancestor| ancestor.is_dir()).collect();
        ancestors.reverse();
        ancestors.into_iter().find(|ancestor| !self.may_search(ancestor)).map(Path::to_owned)
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

fn lookup(answer: nix::Result<Option<User>>) -> Option<User> {
    answer.ok().flatten()
}
