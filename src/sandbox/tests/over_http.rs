//! The sandbox over real HTTP, and its clinic against a partner with canned answers.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    http::StatusCode,
    web::{self, Data},
};
use reqwest::{Client, RequestBuilder, redirect};
use serde_json::{Value, json};

use crate::sandbox::{Options, OrderLine, Sandbox, check::tests::documented, clock::Clock, start_with_clock};

const NOW: i64 = 1_700_000_000_000;

/// Starts a sandbox; returns it with a client for its partner.
async fn sandbox(options: Options) -> anyhow::Result<(Sandbox, Client)> {
    let options = Options { bind: "127.0.0.1:0".into(), ..options };
    let client = Client::builder().redirect(redirect::Policy::none()).timeout(Duration::from_secs(20)).build()?;
    Ok((start_with_clock(options, Clock::manual(NOW)).await?, client))
}

async fn token(sandbox: &Sandbox, client: &Client) -> anyhow::Result<String> {
    let form = "partner_id=sandbox-partner&client_id=sandbox-client&client_secret=sandbox-secret&site_uid=sandbox-site&grant_type=client_credentials&scope=read-separation+write-jobqueue+write-receiveinvoice+read-receiveinvoice+inventory-management";
    let request = client.post(format!("{}/oauth/token", sandbox.url)).body(form);
    let (status, body) = json(request.header("content-type", "application/x-www-form-urlencoded")).await?;
    assert_eq!((status, &body["expires_in"]), (200, &json!(28_800)));
    Ok(body["access_token"].as_str().unwrap_or_default().to_owned())
}

/// Sends a request; returns the status and the JSON of the answer.
async fn json(request: RequestBuilder) -> reqwest::Result<(u16, Value)> {
    let answer = request.send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

#[tokio::test]
async fn a_partner_calls_the_site_and_meets_its_faults() -> anyhow::Result<()> {
    let (sandbox, client) = sandbox(Options::default()).await?;
    let token = token(&sandbox, &client).await?;
    let get = || client.get(format!("{}/v2/separation?limit=200", sandbox.url)).bearer_auth(&token);
    let answer = get().send().await?;
    assert_eq!((answer.status().as_u16(), answer.headers()["x-ratelimit-remaining"].to_str()?), (200, "59"));
    assert_eq!(answer.json::<Value>().await?["items"][2]["separation"]["name"], "Main Hospital Pharmacy");
    let (status, unauthorised) = json(client.get(format!("{}/v2/separation", sandbox.url))).await?;
    assert!(status == 401 && unauthorised["messages"][0]["text"].is_string());

    sandbox.fault("cut-before:separationx1")?;
    assert!(get().send().await.is_err_and(|error| !error.is_timeout()));
    sandbox.fault("cut-after:separationx1")?;
    assert!(get().send().await.is_err());
    sandbox.fault("bad-json:separationx1")?;
    assert!(json(get()).await.is_err());
    sandbox.fault("huge-body:separation=3x1")?;
    let (_, huge) = json(get()).await?;
    assert!(huge.to_string().len() > 3 << 20 && huge["items"].is_array());
    sandbox.fault("hang:separationx1")?;
    let hung = get().timeout(Duration::from_millis(200)).send().await;
    assert!(hung.is_err_and(|error| error.is_timeout()));
    Ok(())
}

#[tokio::test]
async fn the_page_and_the_control_calls_show_and_change_the_site() -> anyhow::Result<()> {
    let (sandbox, client) = sandbox(Options::default()).await?;
    let token = token(&sandbox, &client).await?;
    let control = |path: &str| format!("{}/_sandbox/{path}", sandbox.url);
    let form = "type=ReceiveInvoice&data[method]=POST&data[endpoint]=v2/receiveinvoice&data[body][invoice_number]=I_1";
    let queue = client.post(format!("{}/v2/jobqueue", sandbox.url)).bearer_auth(&token).body(form);
    assert_eq!(json(queue.header("content-type", "application/x-www-form-urlencoded")).await?.0, 200);
    let (_, jobs) = json(client.get(control("jobs"))).await?;
    assert_eq!((&jobs[0]["id"], &jobs[0]["state"]), (&json!(9001), &json!("waiting")));
    let page = client.get(format!("{}/", sandbox.url)).send().await?.text().await?;
    assert!(page.contains("I_1") && page.contains("/_sandbox/jobs/9001/approve"));
    let pressed = client.post(control("jobs/9001/reject")).header("accept", "text/html").send().await?;
    assert_eq!((pressed.status().as_u16(), pressed.headers()["location"].to_str()?), (303, "/"));
    let foreign = client.post(control("kill-token")).header("origin", "https://elsewhere.example");
    assert_eq!(json(foreign).await?.0, 403);
    let (_, faults) = json(client.post(control("faults")).body("status:jobqueue=503x2")).await?;
    assert_eq!(faults[0]["fault"], "status:jobqueue=503x2");
    assert_eq!(json(client.get(control("finish"))).await?, (200, json!({"good": true, "unexpected": []})));
    client.get(format!("{}/v2/separation", sandbox.url)).send().await?;
    let (status, finish) = json(client.get(control("finish"))).await?;
    assert_eq!((status, &finish["unexpected"][0]["kind"]), (409, &json!("bad_token")));
    let url = sandbox.url.clone();
    sandbox.stop().await?;
    assert!(client.get(url).send().await.is_err());
    Ok(())
}

/// Starts a partner with canned answers, which accepts each token but the first; returns its URL.
fn partner() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let tokens = Data::new(AtomicU32::new(0));
    let app = move || App::new().app_data(tokens.clone()).default_service(web::to(answer));
    tokio::spawn(HttpServer::new(app).workers(1).disable_signals().listen(listener)?.run());
    Ok(url)
}

async fn answer(request: HttpRequest, body: web::Bytes, tokens: Data<AtomicU32>) -> HttpResponse {
    let product = |code: &str| {
        let mut product = documented();
        product["code"] = json!(code);
        product
    };
    let bearer = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (status, answer) = match request.uri().path_and_query().map_or("", |target| target.as_str()) {
        "/accesstoken" => {
            let number = tokens.fetch_add(1, Ordering::SeqCst) + 1;
            (200, json!({"access_token": format!("token-{number}"), "token_type": "Bearer"}))
        }
        _ if bearer == "Bearer token-1" => (401, json!({"messages": []})),
        "/categories" => (200, json!({"categories": ["consumable"]})),
        "/products?limit=[2]&page=[0]" => (200, json!({"products": [product("A"), product("B")]})),
        "/products?limit=[2]&page=[1]" => (200, json!({"products": [product("C")]})),
        "/products?name=[b%26+c]" => (200, json!({"products": [{"active": "1"}]})),
        "/products" => (200, json!({"products": [product("B"), product("A")]})),
        "/purchaseorder" => {
            let mut order: Value = serde_json::from_slice(&body).unwrap_or_default();
            if order["purchaseorder"]["purchase_order_item_list"][0]["supplier_code"] == "C" {
                (422, json!({"messages": [{"level": "error", "type": "declined", "text": "C is out of stock"}]}))
            } else {
                order["purchaseorder"]["supplier_order_number"] = json!("SO-1");
                (200, order)
            }
        }
        _ => (404, json!({"messages": []})),
    };
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or_default()).json(answer)
}

#[tokio::test]
async fn a_second_start_continues_from_the_state_file() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("world.json");
    let options = Options { state: Some(path.clone()), ..Options::default() };
    let partner = partner()?;
    let mut numbers = Vec::new();
    let mut earlier = Value::Null;
    for _ in 0..2 {
        let (sandbox, _) = sandbox(options.clone()).await?;
        if !earlier.is_null() {
            assert_eq!(sandbox.world().view(), earlier);
        }
        let clinic = sandbox.connect(&partner, "clinic-1", "top-secret")?;
        clinic.token().await?;
        clinic.pull_catalogue(Some(2)).await?;
        let order = clinic.send_order(&[OrderLine::new("A", 1, 3)], "").await?.value;
        numbers.push((order.id, order.number, order.items[0].id));
        earlier = sandbox.world().view();
        sandbox.stop().await?;
    }
    assert_eq!(numbers, [(12, "15000032".to_owned(), 9), (13, "15000033".to_owned(), 10)]);
    std::fs::write(path, "nonsense")?;
    assert!(sandbox(options).await.is_err());
    Ok(())
}

#[tokio::test]
async fn the_clinic_pulls_orders_and_checks_the_answers() -> anyhow::Result<()> {
    let (sandbox, client) = sandbox(Options::default()).await?;
    let clinic = sandbox.connect(&partner()?, "clinic-1", "top-secret")?;
    let exchange = format!("{:?}", clinic.token().await?.exchange);
    assert!(
        exchange.contains("client_credentials") && !exchange.contains("top-secret") && !exchange.contains("token-1")
    );
    assert_eq!(clinic.categories().await?.value, ["consumable"]);

    let unordered = clinic.pull_catalogue(None).await;
    assert!(unordered.is_err_and(|error| error.reason.contains("`B`, `A`")));
    assert!(sandbox.world().products.is_empty());
    let pull = clinic.pull_catalogue(Some(2)).await?;
    assert_eq!((pull.summary.linked, pull.exchanges.len()), (3, 2));
    let wrong = clinic.products(Some("b& c"), None, 0).await;
    assert!(wrong.is_err_and(|error| error.reason.starts_with("products[0].active:")));

    let order = clinic.send_order(&[OrderLine::new("A", 2, 3), OrderLine::new("B", 1, 4)], "").await?.value;
    assert_eq!((order.supplier_order_number.as_deref(), order.id), (Some("SO-1"), 12));
    let again = clinic.resend(&order).await?.value;
    assert_eq!((again.sent, again.supplier_order_number.as_deref()), (2, Some("SO-1")));
    let declined = clinic.send_order(&[OrderLine::new("C", 1, 3)], "").await?.value;
    assert_eq!((declined.reasons, declined.declined), (vec!["C is out of stock".to_owned()], true));

    let ordered = client.post(format!("{}/_sandbox/order", sandbox.url));
    let (_, ordered) = json(ordered.json(&json!({"lines": [{"code": "A", "outers": 1, "location": 4}]}))).await?;
    assert_eq!(ordered["supplier_order_number"], "SO-1");
    assert!(sandbox.world().finish().is_ok());
    sandbox.stop().await
}
