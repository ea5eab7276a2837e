//! Names the person or program behind a command, for the audit trail.

use nix::unistd::{Uid, User, gethostname};

/// Returns the actor of a command: `cli:NAME` if a name is given (`--actor` or `SPSI_ACTOR`), else `cli:LOGIN@HOST`. The
/// prefix `cli:` is always there, so that a name cannot imitate an actor of the HTTP API.
pub fn command_line(name: Option<&str>) -> String {
    match name.map(str::trim).filter(|name| !name.is_empty()) {
        Some(name) => format!("cli:{name}"),
        None => {
            let host = gethostname().unwrap_or_else(|_| "localhost".into());
            format!("cli:{}@{}", login_name(), host.display())
        }
    }
}

/// Returns the user who called `sudo`, else the login name of the real user id, else `uid-ID`: in a container, the password
/// database often lacks the user.
fn login_name() -> String {
    let user_id = Uid::current();
    let sudo_user = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    let login = || User::from_uid(user_id).ok().flatten().map(|user| user.name);
    sudo_user.or_else(login).unwrap_or_else(|| format!("uid-{user_id}"))
}
