//! Baseline: the ceiling of actix-web. `GET /N` sends N bytes from memory and does nothing else.

use crate::listen;
use actix_web::body::SizedStream;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bytes::Bytes;
use futures_util::stream;
use std::convert::Infallible;

/// Longer bodies are sent in chunks of this size: actix-web would copy a body that is given as one buffer.
const CHUNK_BYTES: usize = 64 * 1024;
const BUFFER_BYTES: usize = 1 << 20;

pub async fn serve() -> anyhow::Result<()> {
    let text = Bytes::from(b"{\"active\":1,\"code\":\"00048348-02\"},".repeat(BUFFER_BYTES / 32));
    let (listener, threads) = listen()?;
    let app = move || {
        let text = web::Data::new(text.clone());
        App::new().app_data(text).service(web::resource("/{bytes}").route(web::get().to(body)))
    };
    // A ceiling must not wait for the client's delayed ACKs.
    Ok(HttpServer::new(app).workers(threads).tcp_nodelay(true).listen(listener)?.run().await?)
}

async fn body(request: HttpRequest, text: web::Data<Bytes>, bytes: web::Path<usize>) -> HttpResponse {
    let bytes = bytes.into_inner();
    let mut builder = HttpResponse::Ok();
    builder.content_type("application/json");
    // The bench's client compares this header with the product's answer. It does not decompress this body.
    if request.headers().contains_key("accept-encoding") {
        builder.insert_header(("content-encoding", "gzip"));
    }
    if bytes <= CHUNK_BYTES {
        return builder.body(text.slice(..bytes));
    }
    let text = Bytes::clone(&text);
    let chunks = (0..bytes).step_by(CHUNK_BYTES).map(move |from| {
        let start = from % (BUFFER_BYTES - CHUNK_BYTES);
        Ok::<_, Infallible>(text.slice(start..start + CHUNK_BYTES.min(bytes - from)))
    });
    builder.body(SizedStream::new(bytes as u64, stream::iter(chunks)))
}
