//! Reads request bodies within limits of size and time.

use super::problem::{Kind, Problem};
use actix_web::web;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use std::time::Duration;

/// Reads the whole body. Fails with 413 beyond `limit` bytes, and with 408 if the body is incomplete after `timeout`.
pub async fn read(mut payload: web::Payload, limit: usize, timeout: Duration) -> Result<Bytes, Problem> {
    let read = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| {
                Problem::new(Kind::BadRequest, format!("The request body ended too early: {error}"))
            })?;
            if body.len() + chunk.len() > limit {
                return Err(Problem::new(Kind::TooLarge, format!("The request body is larger than {limit} bytes.")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    };
    tokio::time::timeout(timeout, read).await.unwrap_or_else(|_| {
        Err(Problem::new(
            Kind::Timeout,
            format!("The request body did not arrive within {} seconds. Send the request again.", timeout.as_secs()),
        ))
    })
}
