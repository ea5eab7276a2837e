//! A minimal ezyVet with scripted answers, for tests that need an exact answer, such as particular bytes or headers.

use actix_web::dev::{Server, ServerHandle};
use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use url::form_urlencoded;

/// The fault of one call. "Done" means that the call is carried out.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Not done; answers this status, body and headers.
    Answer(u16, &'static str, Vec<(&'static str, &'static str)>),
    /// Done; the answer is cut off.
    DoneThenCut,
    /// Not done; never answers.
    Hang,
    /// Done; answers after this time.
    DoneLate(std::time::Duration),
    /// The token dies; then the call proceeds.
    TokenKilled,
}

/// The state of the site.
#[derive(Default)]
pub struct World {
    /// Number of issued tokens.
    pub tokens: u32,
    live_token: String,
    /// Form fields of the accepted jobs, oldest first.
    pub jobs: Vec<HashMap<String, String>>,
    /// Location uid and body of the accepted `supplied` calls, oldest first.
    pub supplied: Vec<(String, Value)>,
    /// Numbers of the approved invoices.
    pub approved: Vec<String>,
    /// Fields that replace those of every invoice in an answer.
    pub shown: Value,
    /// Staff approve each job at once.
    pub approve_at_once: bool,
    /// Uid and code of each product in the inventory list.
    pub inventory: Vec<(&'static str, &'static str)>,
    /// Method and path of the calls, oldest first.
    pub calls: Vec<String>,
    faults: HashMap<&'static str, VecDeque<Fault>>,
}

/// A running site; dropping it stops the server.
pub struct Ezyvet {
    pub url: String,
    world: Arc<Mutex<World>>,
    handle: ServerHandle,
}

impl Ezyvet {
    pub fn start() -> Self {
        let world = Arc::new(Mutex::new(World {
            inventory: vec![("product_a", "CODE-50001"), ("product_b", "CODE-50002")],
            ..World::default()
        }));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let shared = Data::from(world.clone());
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server: Server =
                    HttpServer::new(move || App::new().app_data(shared.clone()).default_service(web::to(answer)))
                        .workers(1)
                        .disable_signals()
                        .shutdown_timeout(0)
                        .listen(listener)
                        .expect("listen")
                        .run();
                send.send(server.handle()).expect("handed over");
                server.await.expect("served");
            });
        });
        Self { url, world, handle: receive.recv().expect("started") }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("not poisoned")
    }

    /// Queues faults for the next calls of an endpoint (`token`, `jobqueue`, `receiveinvoice`, `separation`, `product`,
    /// `products`, `supplied`), one per call.
    pub fn break_next(&self, endpoint: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.world().faults.entry(endpoint).or_default().extend(faults);
    }

    /// Returns the invoice numbers of the accepted jobs, oldest first.
    pub fn invoice_numbers(&self) -> Vec<String> {
        self.world().jobs.iter().map(|job| job["data[body][invoice_number]"].clone()).collect()
    }

    /// Returns the number of calls whose method and path begin with `call`.
    pub fn count(&self, call: &str) -> usize {
        self.world().calls.iter().filter(|other| other.starts_with(call)).count()
    }
}

impl Drop for Ezyvet {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

async fn answer(request: HttpRequest, body: Bytes, world: Data<Mutex<World>>) -> HttpResponse {
    let endpoint = match request.path() {
        "/oauth/token" => "token",
        "/v2/jobqueue" => "jobqueue",
        "/v2/receiveinvoice" => "receiveinvoice",
        "/v2/separation" => "separation",
        "/inventory/v1/products" => "products",
        "/inventory/v1/supplied" => "supplied",
        path if path.starts_with("/v2/product/") => "product",
        _ => return HttpResponse::NotFound().finish(),
    };
    let fault = {
        let mut world = world.lock().expect("not poisoned");
        world.calls.push(format!("{} {}", request.method(), request.path()));
        world.faults.get_mut(endpoint).and_then(VecDeque::pop_front)
    };
    match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Answer(status, body, headers)) => {
            let mut response = HttpResponse::build(status.try_into().expect("a status"));
            for header in headers {
                response.insert_header(header);
            }
            return response.content_type("application/json").body(body);
        }
        Some(Fault::TokenKilled) => world.lock().expect("not poisoned").live_token.clear(),
        Some(Fault::DoneThenCut | Fault::DoneLate(_)) | None => {}
    }
    let (status, answer) = world.lock().expect("not poisoned").act(endpoint, &request, &body);
    if matches!(fault, Some(Fault::DoneThenCut)) {
        let cut = futures_util::stream::iter([Ok(Bytes::from_static(b"{\"ite")), Err(std::io::Error::other("cut"))]);
        return HttpResponse::Ok().streaming(cut);
    }
    if let Some(Fault::DoneLate(wait)) = fault {
        actix_web::rt::time::sleep(wait).await;
    }
    HttpResponse::build(status.try_into().expect("a status")).json(answer)
}

impl World {
    fn act(&mut self, endpoint: &str, request: &HttpRequest, body: &[u8]) -> (u16, Value) {
        let query: HashMap<String, String> =
            form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect();
        if endpoint == "token" {
            self.tokens += 1;
            self.live_token = format!("token-{}", self.tokens);
            return (200, json!({ "access_token": self.live_token, "token_type": "Bearer", "expires_in": "28800" }));
        }
        let authorization =
            request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if self.live_token.is_empty() || authorization != format!("Bearer {}", self.live_token) {
            return (401, json!({ "messages": ["Token expired."] }));
        }
        match endpoint {
            "jobqueue" => {
                let job: HashMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
                if self.approve_at_once {
                    self.approved.push(job["data[body][invoice_number]"].clone());
                }
                self.jobs.push(job);
                (200, json!({ "items": [{ "jobqueue": { "id": self.jobs.len() } }], "messages": [] }))
            }
            "receiveinvoice" => {
                let found = self.approved.iter().filter(|number| Some(*number) == query.get("invoice_number"));
                let item = |number| {
                    let mut item = json!({ "id": 1, "invoice_number": number, "active": 1 });
                    self.shown.as_object().into_iter().flatten().for_each(|(key, value)| item[key] = value.clone());
                    json!({ "receiveinvoice": item })
                };
                let items: Vec<_> = found.map(item).collect();
                (200, json!({ "items": items, "meta": { "items_page_total": "1" } }))
            }
            "separation" => {
                let item = |id: u32| json!({ "separation": { "id": id, "uid": format!("ownershipSeparation_{id}"), "separation_type": "Location" } });
                (200, json!({ "items": [item(1), item(3), item(4)], "meta": { "items_page_total": 1 } }))
            }
            "product" => {
                let id = request.path().rsplit('/').next().unwrap_or_default();
                (200, json!({ "items": [{ "product": { "id": id, "code": format!("CODE-{id}") } }] }))
            }
            "products" => {
                let data: Vec<_> =
                    self.inventory.iter().map(|(id, code)| json!({ "id": id, "code": code, "name": code })).collect();
                (200, json!({ "data": data, "meta": { "items_page_total": 1 } }))
            }
            _ => {
                let lines = serde_json::from_slice(body).expect("JSON");
                self.supplied.push((query["locationUID"].clone(), lines));
                (200, json!({ "data": [], "meta": {} }))
            }
        }
    }
}
