//! Parses keys from flags and the environment. An error names the setting and never repeats its value.

use crate::secret::KeyRing;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use std::ffi::OsStr;

/// The value parser for [`KeyRing`]. clap's own parser would print every key in its error.
#[derive(Clone, Copy)]
pub(super) struct Keys;

impl TypedValueParser for Keys {
    type Value = KeyRing;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<KeyRing, clap::Error> {
        let setting = argument.and_then(clap::Arg::get_env).unwrap_or_default().display();
        let refused = |text: String| clap::Error::raw(ErrorKind::ValueValidation, text).with_cmd(command);
        let text = value.to_str().ok_or_else(|| refused(format!("{setting} is not UTF-8\n")))?;
        text.parse().map_err(|error| refused(format!("{setting}: {error}\n")))
    }
}
