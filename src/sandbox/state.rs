//! The world in a file: written whole beside the old one and then renamed, so that a crash leaves one or the other.

use std::{fs, io, path::Path};

use anyhow::Context;

use super::{clock::Chance, settings::Settings, world::World};

/// Loads the world, or makes a new one if the file does not exist.
///
/// # Errors
/// The file cannot be read or is no world.
pub fn load(path: Option<&Path>, settings: Settings, seed: u64) -> anyhow::Result<World> {
    let Some(path) = path else { return Ok(World::new(settings, seed)) };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(World::new(settings, seed)),
        Err(error) => return Err(error).with_context(|| format!("reading the sandbox state {}", path.display())),
    };
    let mut world: World =
        serde_json::from_str(&text).with_context(|| format!("{} is no sandbox state", path.display()))?;
    world.settings = settings;
    // Another seed than before, or the tokens of the last run would come again.
    world.chance = Chance::new(seed ^ Chance::new(world.tokens.len() as u64).draw());
    Ok(world)
}

/// Saves the world's text.
///
/// # Errors
/// The file cannot be written.
pub fn save(path: &Path, text: &str) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .with_context(|| format!("writing the sandbox state {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::product::tests::listed;

    #[test]
    fn a_world_is_found_again_as_it_was_left() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("world.json");
        let mut world = load(Some(&path), Settings::default(), 1)?;
        world.link_catalogue(&[listed("A", true)]);
        save(&path, &serde_json::to_string(&world)?)?;
        let again = load(Some(&path), Settings::default(), 1)?;
        assert_eq!(world.view(), again.view());
        fs::write(&path, "nonsense")?;
        assert!(load(Some(&path), Settings::default(), 1).is_err());
        Ok(())
    }
}
