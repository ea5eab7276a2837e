//! Saves and loads the state file. Saving writes a new file and renames it, so that a crash leaves a complete file.

use std::{fs, io, path::Path};

use anyhow::Context;

use super::{Options, World, clock::Chance};

/// Loads the world from `--state`, or creates one if the flag or the file is missing.
///
/// # Errors
/// The file cannot be read, or it is not a state file.
pub fn load(options: Options) -> anyhow::Result<World> {
    let Some(path) = options.state.as_deref() else { return Ok(World::new(options)) };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(World::new(options)),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read the sandbox state file {}", path.display()));
        }
    };
    let mut world: World = serde_json::from_str(&text).with_context(|| {
        let path = path.display();
        format!("{path} is not a sandbox state file; delete it or choose another file with `--state`")
    })?;
    // The plain seed would issue the tokens of the last run again.
    world.chance = Chance::new(options.seed ^ Chance::new(world.tokens.len() as u64).draw());
    world.configure(options);
    Ok(world)
}

/// Saves the JSON of the world.
///
/// # Errors
/// The file cannot be written.
pub fn save(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write the sandbox state file {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::product::tests::listed;

    #[test]
    fn a_loaded_world_equals_the_saved_one() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("world.json");
        let options = Options { state: Some(path.clone()), ..Options::default() };
        let mut world = load(options.clone())?;
        world.link_catalogue(&[listed("A", true)]);
        save(&path, &serde_json::to_string(&world)?)?;
        assert_eq!(world.view(), load(options.clone())?.view());
        fs::write(&path, "nonsense")?;
        assert!(load(options).is_err());
        Ok(())
    }
}
