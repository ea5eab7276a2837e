//! Settings of the deployment that a clinic or a site can override. One declaration yields the flag, the environment
//! variable, the help text and the key for `set ID KEY=VALUE`.

/// Declares a group of settings. Each line has a doc comment (the help text), a name, a type, an environment variable and a
/// default.
macro_rules! overridable {
    ($(#[$doc:meta])* $group:ident, $heading:literal {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $env:literal, $default:literal;)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, clap::Args, validator::Validate)]
        #[command(next_help_heading = $heading)]
        pub struct $group {
            $(
                $(#[$field_doc])*
                #[arg(long, env = $env, default_value = $default)]
                pub $field: $type,
            )+
        }

        impl $group {
            /// Every key that [`Self::set`] accepts, with its environment variable.
            pub const KEYS: &[(&str, &str)] = &[$((stringify!($field), $env),)+];

            /// Parses and sets one setting. The error names the key and the valid values; the settings are then unchanged.
            pub fn set(&mut self, key: &str, value: &str) -> Result<(), BadSetting> {
                let mut changed = self.clone();
                changed.set_unchecked(key, value)?;
                changed.validate().map_err(|errors| BadSetting(describe(&errors).join("; ")))?;
                *self = changed;
                Ok(())
            }

            fn set_unchecked(&mut self, key: &str, value: &str) -> Result<(), BadSetting> {
                match key {
                    $(stringify!($field) => {
                        self.$field = value.parse().map_err(|error| BadSetting(format!("{key}: {error}")))?;
                    })+
                    _ => {
                        let keys: Vec<_> = Self::KEYS.iter().map(|(key, _)| *key).collect();
                        return Err(BadSetting(format!("unknown setting `{key}`; use one of: {}", keys.join(", "))));
                    }
                }
                Ok(())
            }

            /// Returns these settings with the overrides of a row applied. An override that no longer parses, because a
            /// newer release removed its key or value, is skipped with a warning: it never keeps the server from starting.
            pub fn overridden<'a>(&self, overrides: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
                let mut settings = self.clone();
                for (key, value) in overrides {
                    if let Err(error) = settings.set(key, value) {
                        tracing::warn!(%error, "a stored setting is ignored");
                    }
                }
                settings
            }

            /// Returns the key, the environment variable and the present value of each setting.
            pub fn entries(&self) -> Vec<(&'static str, &'static str, String)> {
                vec![$((stringify!($field), $env, self.$field.to_string()),)+]
            }
        }
    };
}
pub(super) use overridable;
