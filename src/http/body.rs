//! Reading a request's body with an end to its size and to its time.

use super::problem::{Kind, Problem};
use actix_web::web;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use std::time::Duration;

/// The whole body. 413 beyond `limit` bytes, 408 when it is not there after `timeout`: a client that trickles is let go.
pub async fn read(mut payload: web::Payload, limit: usize, timeout: Duration) -> Result<Bytes, Problem> {
    let read = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk
                .map_err(|error| Problem::new(Kind::BadRequest, format!("the body did not arrive whole: {error}")))?;
            if body.len() + chunk.len() > limit {
                return Err(Problem::new(Kind::TooLarge, format!("the body is larger than {limit} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    };
    tokio::time::timeout(timeout, read).await.unwrap_or_else(|_| {
        Err(Problem::new(Kind::Timeout, format!("the body did not arrive within {} seconds", timeout.as_secs())))
    })
}
