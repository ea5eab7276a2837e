//! Baseline: the most that actix-web can do. It sends `bytes` of one text, and does nothing else.

use crate::listen;
use actix_web::body::SizedStream;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bytes::Bytes;
use futures_util::stream;
use std::convert::Infallible;

/// Longer bodies go out in pieces of this size: in one piece actix-web would copy them whole.
const PIECE: usize = 64 * 1024;
const ROOM: usize = 1 << 20;

pub async fn serve() -> anyhow::Result<()> {
    let text = Bytes::from(b"{\"active\":1,\"code\":\"00048348-02\"},".repeat(ROOM / 32));
    let (listener, threads) = listen()?;
    let app = move || {
        let text = web::Data::new(text.clone());
        App::new().app_data(text).service(web::resource("/{bytes}").route(web::get().to(body)))
    };
    Ok(HttpServer::new(app).workers(threads).listen(listener)?.run().await?)
}

async fn body(request: HttpRequest, text: web::Data<Bytes>, bytes: web::Path<usize>) -> HttpResponse {
    let bytes = bytes.into_inner();
    let mut builder = HttpResponse::Ok();
    builder.content_type("application/json");
    // Says that it is compressed, and is not: nobody reads it.
    if request.headers().contains_key("accept-encoding") {
        builder.insert_header(("content-encoding", "gzip"));
    }
    if bytes <= PIECE {
        return builder.body(text.slice(..bytes));
    }
    let text = Bytes::clone(&text);
    let pieces = (0..bytes).step_by(PIECE).map(move |from| {
        let start = from % (ROOM - PIECE);
        Ok::<_, Infallible>(text.slice(start..start + PIECE.min(bytes - from)))
    });
    builder.body(SizedStream::new(bytes as u64, stream::iter(pieces)))
}
