use super::*;
use clap::CommandFactory;

fn parse<const N: usize>(arguments: [&str; N]) -> Settings {
    Environment::try_parse_from(["spsi"].into_iter().chain(arguments)).unwrap().settings
}

#[test]
fn every_setting_has_a_variable_and_a_help_text() {
    let command = Environment::command();
    command.clone().debug_assert();
    for argument in command.get_arguments() {
        let name = argument.get_id();
        let variable =
            argument.get_env().and_then(|name| name.to_str()).unwrap_or_else(|| panic!("{name} has no variable"));
        assert!(variable == "DATABASE_URL" || variable.starts_with("SPSI_"), "{variable}");
        assert!(argument.get_help().is_some(), "{name} has no help");
    }
}

#[test]
fn a_value_with_which_nothing_works_is_refused_with_its_name() {
    let settings = parse(["--db-connections", "0", "--lease", "0s", "--rate-per-site", "0"]);
    assert_eq!(
        settings.checked().unwrap_err().0,
        "db_connections must be at least 1 (SPSI_DB_CONNECTIONS); lease must be longer than 0s (SPSI_LEASE); \
         rate_per_site must be at least 1 (SPSI_RATE_PER_SITE)"
    );
    let mut site = parse([]).site;
    assert!(site.set("rate_window", "0s").unwrap_err().0.contains("rate_window must be longer than 0s"));
    assert_eq!(site.rate_window, Span::seconds(60));
}

#[test]
fn the_effective_configuration_hides_exactly_the_secrets() {
    let command = Environment::command();
    let keys = crate::secret::KeyRing::generate().unwrap().expose();
    let (keys, url) = (keys.expose(), "postgres://user:password@host/database");
    let secrets = ["--database-url", url, "--encryption-keys", keys, "--token-keys", keys];
    let others = ["--trusted-proxies", "10.0.0.1,10.0.0.2", "--lease", "90s"];
    let arguments = ["spsi"].into_iter().chain(secrets).chain(others);
    let values = effective::values(&command, &command.clone().get_matches_from(arguments));
    let hidden: Vec<_> =
        values.iter().filter(|(_, value)| value == "[hidden]").map(|(name, _)| name.as_str()).collect();
    assert_eq!(hidden, ["DATABASE_URL", "SPSI_ENCRYPTION_KEYS", "SPSI_TOKEN_KEYS"]);
    let value = |variable: &str| values.iter().find(|(name, _)| name == variable).unwrap().1.as_str();
    assert_eq!(value("SPSI_TRUSTED_PROXIES"), "10.0.0.1,10.0.0.2");
    assert_eq!(value("SPSI_LEASE"), "90s");
    assert_eq!(value("SPSI_RETRY_MAX"), "1h");
    assert_eq!(value("SPSI_PUBLIC_URL"), "(not set)");
}

#[test]
fn an_override_wins_over_the_deployment_and_an_invalid_one_is_refused() {
    let settings = parse([]).clinic;
    let overrides = Overrides::from([("barcode".into(), "string".into()), ("gone".into(), "1".into())]);
    assert_eq!(settings.overridden(&overrides).barcode, BarcodeType::String);
    let mut changed = settings.clone();
    assert!(
        changed.set("price_basis", "box").unwrap_err().0.contains("price_basis: `box` is not valid; use one of: unit")
    );
    assert!(changed.set("nonsense", "1").unwrap_err().0.contains("decline_answer"));
    assert_eq!(changed, settings);
}
