//! `spsi sandbox`: starts a sandbox, says how to use it, and runs until it is told to stop.

use anyhow::Context;

use super::{Options, start};

/// Runs a sandbox until Ctrl-C or SIGTERM, then saves its world.
///
/// # Errors
/// It cannot start, or its state cannot be written.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let sandbox = start(options.clone()).await?;
    println!("{}", greeting(&sandbox.url, &options));
    eprintln!("listening on {}", sandbox.url);
    interrupted().await?;
    eprintln!("stopping the sandbox");
    let unexpected = sandbox.world().finish().err().unwrap_or_default();
    unexpected.iter().for_each(|event| eprintln!("unexpected: {event}"));
    sandbox.stop().await
}

async fn interrupted() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .context("listening for SIGTERM")?;
        tokio::select! {
            outcome = tokio::signal::ctrl_c() => outcome.context("listening for Ctrl-C"),
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.context("listening for Ctrl-C")
}

/// What a newcomer needs: address, credentials, lines to copy.
fn greeting(url: &str, options: &Options) -> String {
    let Options { partner_id, client_id, client_secret, site_uid, .. } = options;
    let default = client_secret == &Options::default().client_secret;
    let secret = if default { client_secret.as_str() } else { "(as given)" };
    let clinic = match &options.partner {
        Some(partner) => format!(
            "Its clinic calls {partner}:
  curl -X POST {url}/_sandbox/pull -d '{{\"page_size\": 200}}'
  curl -X POST {url}/_sandbox/order -d '{{\"lines\": [{{\"code\": \"CODE\", \"outers\": 2, \"location\": 3}}]}}'"
        ),
        None => "Its clinic has no partner; give one with --partner URL --partner-client-id ID --partner-client-secret SECRET.".to_owned(),
    };
    format!(
        "A simulated ezyVet site listens at {url} (page: {url}/)
  partner id    {partner_id}
  client id     {client_id}
  client secret {secret}
  site uid      {site_uid}

Make it known:
  echo {secret} | spsi site add --name Sandbox --base-url {url} --partner-id {partner_id} --client-id {client_id} --site-uid {site_uid}
Ask for a token:
  curl {url}/oauth/token -d partner_id={partner_id} -d client_id={client_id} -d client_secret={secret} -d site_uid={site_uid} \\
    -d grant_type=client_credentials -d 'scope=read-separation write-jobqueue'
Look and act:
  curl {url}/_sandbox/jobs
  curl -X POST {url}/_sandbox/approve-all
  curl -X POST {url}/_sandbox/faults -d 'status:jobqueue=503x2'
{clinic}
Ctrl-C stops it."
    )
}
