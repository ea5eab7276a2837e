//! Saves and loads the state file. Saving writes a new file and renames it, so that a crash leaves a complete file.

use std::fs;

use anyhow::Context;

use super::{Options, World, clock::Chance};

/// Loads the world from `--state`, or creates one if the flag or the file is missing.
///
/// # Errors
/// The file cannot be read, or it is not a state file.
pub fn load(options: Options) -> anyhow::Result<World> {
    let Some(path) = options.state.as_deref() else { return Ok(World::new(options)) };
    if let Ok(false) = path.try_exists() {
        return Ok(World::new(options));
    }
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read the sandbox state file {}", path.display()))?;
    let mut world: World = serde_json::from_str(&text).with_context(|| {
        format!("{} is not a sandbox state file; delete it or choose another file with `--state`", path.display())
    })?;
    // The plain seed would issue the tokens of the last run again.
    world.chance = Chance::new(options.seed ^ Chance::new(world.tokens.len() as u64).draw());
    world.configure(options);
    Ok(world)
}

/// Saves the world to `--state`, if the flag is given.
///
/// # Errors
/// The file cannot be written.
pub fn save(world: &World) -> anyhow::Result<()> {
    let Some(path) = &world.options.state else { return Ok(()) };
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_string(world)?)
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write the sandbox state file {}", path.display()))
}
