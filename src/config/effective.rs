//! The effective configuration as people see it, with the secrets hidden.

use super::Environment;
use clap::{ArgMatches, CommandFactory};

/// Returns every variable with its effective value as it is written, in the order of the declaration. A setting that is
/// declared with `hide_env_values` is a secret: its value is replaced by `[hidden]`.
pub fn effective() -> Result<Vec<(String, String)>, clap::Error> {
    let command = Environment::command();
    let matches = command.clone().try_get_matches_from(["spsi"])?;
    Ok(values(&command, &matches))
}

pub(super) fn values(command: &clap::Command, matches: &ArgMatches) -> Vec<(String, String)> {
    let settings = command.get_arguments().filter_map(|argument| Some((argument, argument.get_env()?)));
    settings
        .map(|(argument, variable)| {
            let value = match matches.get_raw(argument.get_id().as_str()) {
                None => "(not set)".to_owned(),
                Some(_) if argument.is_hide_env_values_set() => "[hidden]".to_owned(),
                Some(values) => values.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(","),
            };
            (variable.to_string_lossy().into_owned(), value)
        })
        .collect()
}
