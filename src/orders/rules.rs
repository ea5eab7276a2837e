//! The decision rules for `spsi order rules`: each rule's action, its default, and where it is set.

use crate::config::{ClinicSettings, Overrides};
use clap::Args;
use serde::Serialize;

/// A rule, or a limit that a rule uses.
#[derive(Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Rule {
    /// The key for `spsi clinic set`.
    pub id: &'static str,
    /// `off`, `note`, `hold` or `decline`; `off`, `ask` or `hook` for `rule_ask`; the value of a limit.
    pub setting: String,
    pub default: String,
    /// `default`, `deployment` or `clinic`.
    pub set_by: &'static str,
    /// The environment variable that sets it for the deployment.
    pub variable: &'static str,
    pub meaning: String,
}

/// Limits and settings that rules use.
const LIMITS: [&str; 4] = ["price_tolerance", "minimum_order", "ask_within", "ask_default"];

/// Returns every rule and limit, with a clinic's overrides. `in_environment` returns whether a variable is set.
pub fn rules(deployment: &ClinicSettings, clinic: &Overrides, in_environment: impl Fn(&str) -> bool) -> Vec<Rule> {
    let command = ClinicSettings::augment_args(clap::Command::new("rules"));
    let in_force = deployment.overridden(clinic);
    let rules = in_force.entries().into_iter().filter(|(id, ..)| id.starts_with("rule_") || LIMITS.contains(id));
    rules
        .map(|(id, variable, setting)| {
            let argument = command.get_arguments().find(|argument| argument.get_id() == id);
            let default = argument.and_then(|argument| argument.get_default_values().first());
            let default = default.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default();
            let meaning = argument.and_then(clap::Arg::get_help).map(ToString::to_string).unwrap_or_default();
            let of_deployment = deployment.entries().into_iter().find(|(key, ..)| *key == id);
            let set_by = if clinic.contains_key(id) {
                "clinic"
            } else if in_environment(variable) || of_deployment.is_some_and(|(.., value)| value != default) {
                "deployment"
            } else {
                "default"
            };
            Rule { id, setting, default, set_by, variable, meaning }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::decide::tests::settings;

    #[test]
    fn every_rule_reports_its_action_and_where_it_is_set() {
        let deployment = settings(&["--rule-pack-size", "decline"]);
        let clinic = Overrides::from([("rule_return".into(), "note".into())]);
        let rules = rules(&deployment, &clinic, |variable| variable == "SPSI_MINIMUM_ORDER");
        let of = |id: &str| {
            let rule = rules.iter().find(|rule| rule.id == id).unwrap();
            (rule.setting.as_str(), rule.default.as_str(), rule.set_by)
        };
        assert_eq!(of("rule_pack_size"), ("decline", "hold", "deployment"));
        assert_eq!(of("rule_return"), ("note", "hold", "clinic"));
        assert_eq!(of("minimum_order"), ("0", "0", "deployment"));
        assert_eq!(of("rule_withdrawn_product"), ("decline", "decline", "default"));
        assert!(rules.iter().all(|rule| !rule.meaning.is_empty() && rule.variable.starts_with("SPSI_")));
        assert_eq!(of("ask_within"), ("4h", "4h", "default"));
        assert_eq!(rules.iter().filter(|rule| rule.id.starts_with("rule_")).count(), 16);
    }
}
