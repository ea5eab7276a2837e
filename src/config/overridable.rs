//! Settings of the deployment that a clinic or a site may override: declared once, and from that the flag, the
//! environment variable, the help text and the `set ID KEY=VALUE` key.

/// Declares a group of settings. Each line: doc comment, name, type, environment variable, default.
macro_rules! overridable {
    ($(#[$doc:meta])* $group:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $env:literal, $default:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, clap::Args, Validate)]
        #[command(next_help_heading = stringify!($group))]
        pub struct $group {
            $(
                $(#[$field_doc])*
                #[arg(long, env = $env, default_value = $default, hide_env_values = true)]
                pub $field: $type,
            )+
        }

        impl $group {
            /// Every key that [`Self::set`] takes, with its environment variable.
            pub const KEYS: &[(&str, &str)] = &[$((stringify!($field), $env),)+];

            /// Sets one setting from its text. The error names the key and says what would be right.
            pub fn set(&mut self, key: &str, value: &str) -> Result<(), BadSetting> {
                let mut changed = self.clone();
                changed.set_unchecked(key, value)?;
                changed.validate().map_err(|errors| BadSetting(told(&errors).join("; ")))?;
                *self = changed;
                Ok(())
            }

            fn set_unchecked(&mut self, key: &str, value: &str) -> Result<(), BadSetting> {
                match key {
                    $(stringify!($field) => {
                        self.$field = value.parse().map_err(|error| BadSetting(format!("{key}: {error}")))?;
                    })+
                    _ => {
                        let known: Vec<_> = Self::KEYS.iter().map(|(key, _)| *key).collect();
                        return Err(BadSetting(format!("`{key}` is no setting; there are {}", known.join(", "))));
                    }
                }
                Ok(())
            }

            /// These settings with the overrides of a row laid over. An override that no longer reads (its words have
            /// changed since it was stored) is left out and reported in the log, never a reason to stop serving.
            pub fn overridden<'a>(&self, overrides: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
                let mut settings = self.clone();
                for (key, value) in overrides {
                    if let Err(error) = settings.set(key, value) {
                        tracing::warn!(%error, "a stored setting is left out");
                    }
                }
                settings
            }

            /// Key, environment variable and present value of each.
            pub fn entries(&self) -> Vec<(&'static str, &'static str, String)> {
                vec![$((stringify!($field), $env, self.$field.to_string()),)+]
            }
        }
    };
}
pub(super) use overridable;
