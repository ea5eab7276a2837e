//! `spsi sandbox`: starts a sandbox, prints how to use it, and runs until Ctrl-C or SIGTERM.

use std::io::Write;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::{Options, start};

/// Runs a sandbox until Ctrl-C or SIGTERM, then saves its state.
///
/// # Errors
/// The sandbox cannot start, or its state file cannot be written.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let sandbox = start(options.clone()).await?;
    let _ = writeln!(std::io::stdout(), "{}", greeting(&sandbox.url, &options));
    eprintln!("listening on {}", sandbox.url);
    wait_for_signal().await?;
    eprintln!("stopping the sandbox");
    let unexpected = sandbox.world().finish().err().unwrap_or_default();
    unexpected.iter().for_each(|event| eprintln!("unexpected call: {event}"));
    sandbox.stop().await
}

async fn wait_for_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome.context("cannot listen for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}

/// Returns the first steps: address, credentials, commands to copy.
fn greeting(url: &str, options: &Options) -> String {
    let Options { partner_id, client_id, client_secret, site_uid, .. } = options;
    let is_default = client_secret == &Options::default().client_secret;
    let secret = if is_default { client_secret.as_str() } else { "CLIENT_SECRET" };
    let clinic = match &options.partner {
        Some(partner) => format!(
            "Let its clinic call {partner}:
  curl -X POST {url}/_sandbox/pull -d '{{\"page_size\": 200}}'
  curl -X POST {url}/_sandbox/order -d '{{\"lines\": [{{\"code\": \"CODE\", \"outers\": 2, \"location\": 3}}]}}'"
        ),
        None => "Its clinic calls no partner. To send orders, restart with
  --partner URL --partner-client-id ID --partner-client-secret SECRET"
            .to_owned(),
    };
    format!(
        "A simulated ezyVet site is running. Its page: {url}/
  base URL      {url}
  partner id    {partner_id}
  client id     {client_id}
  client secret {secret}
  site uid      {site_uid}

Register it with spsi:
  echo {secret} | spsi site add --name Sandbox --base-url {url} --partner-id {partner_id} --client-id {client_id} --site-uid {site_uid}
Get an access token:
  curl {url}/oauth/token -d partner_id={partner_id} -d client_id={client_id} -d client_secret={secret} -d site_uid={site_uid} \\
    -d grant_type=client_credentials -d 'scope=read-separation write-jobqueue'
List and approve jobs, inject a fault:
  curl {url}/_sandbox/jobs
  curl -X POST {url}/_sandbox/approve-all
  curl -X POST {url}/_sandbox/faults -d 'status:jobqueue=503x2'
{clinic}
Stop with Ctrl-C."
    )
}
