use super::*;
use clap::CommandFactory;

#[derive(Parser)]
struct Everything {
    #[command(flatten)]
    settings: Settings,
}

#[test]
fn every_setting_has_a_variable_and_a_help_text() {
    let command = Everything::command();
    command.clone().debug_assert();
    for argument in command.get_arguments() {
        let name = argument.get_id();
        let variable =
            argument.get_env().and_then(|name| name.to_str()).unwrap_or_else(|| panic!("{name} has no variable"));
        assert!(variable == "DATABASE_URL" || variable.starts_with("SPSI_"), "{variable}");
        assert!(argument.get_help().is_some(), "{name} has no help");
        assert!(argument.is_hide_env_values_set(), "{name} would show its value in the help");
    }
}

#[test]
fn a_value_that_would_make_nothing_work_is_refused_with_its_name() {
    let arguments = ["x", "--db-connections", "0", "--lease", "0s", "--rate-per-site", "0"];
    let settings = Everything::try_parse_from(arguments).unwrap().settings;
    let told = settings.checked().unwrap_err().0;
    assert_eq!(
        told,
        "db_connections must be at least 1 (SPSI_DB_CONNECTIONS); lease must be longer than nothing (SPSI_LEASE); \
         rate_per_site must be at least 1 (SPSI_RATE_PER_SITE)"
    );
    let mut site = Everything::try_parse_from(["x"]).unwrap().settings.site;
    assert!(site.set("rate_window", "0s").unwrap_err().0.contains("rate_window must be longer than nothing"));
    assert_eq!(site.rate_window, Span::seconds(60));
}

#[test]
fn the_doctor_tells_of_every_setting() {
    let settings = Everything::try_parse_from(["x"]).unwrap().settings;
    let told: Vec<_> = secrets_hidden(&settings).into_iter().map(|(variable, _)| variable).collect();
    for argument in Everything::command().get_arguments() {
        let variable = argument.get_env().and_then(|name| name.to_str()).unwrap();
        assert!(told.contains(&variable), "{variable}");
    }
}

#[test]
fn an_override_wins_over_the_deployment_and_a_wrong_one_is_refused() {
    let settings = Everything::try_parse_from(["x"]).unwrap().settings.clinic;
    let overrides = Overrides::from([("barcode".into(), "string".into()), ("gone".into(), "1".into())]);
    assert_eq!(settings.overridden(&overrides).barcode, BarcodeType::String);
    let mut changed = settings.clone();
    assert!(changed.set("price_basis", "box").unwrap_err().0.contains("price_basis: `box` is none of unit, outer"));
    assert!(changed.set("nonsense", "1").unwrap_err().0.contains("decline_answer"));
    assert_eq!(changed, settings);
}
