//! The sandbox over real HTTP, and its clinic against a partner with canned answers.

use std::{
    io::{Read, Write},
    net::TcpListener,
    time::Duration,
};

use reqwest::{Client, Response, redirect};
use serde_json::{Value, json};

use crate::sandbox::{Options, OrderLine, ProductQuery, Sandbox, clock::Clock, start_with_clock};

const NOW: i64 = 1_700_000_000_000;

async fn sandbox() -> anyhow::Result<(Sandbox, Client, Clock)> {
    let clock = Clock::manual(NOW);
    let sandbox = start_with_clock(Options { bind: "127.0.0.1:0".into(), ..Options::default() }, clock.clone()).await?;
    let client = Client::builder().redirect(redirect::Policy::none()).timeout(Duration::from_secs(20)).build()?;
    Ok((sandbox, client, clock))
}

async fn token(sandbox: &Sandbox, client: &Client) -> anyhow::Result<String> {
    let form = "partner_id=sandbox-partner&client_id=sandbox-client&client_secret=sandbox-secret&site_uid=sandbox-site&grant_type=client_credentials&scope=read-separation+write-jobqueue+write-receiveinvoice+read-receiveinvoice+inventory-management";
    let answer = client
        .post(format!("{}/oauth/token", sandbox.url))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await?;
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await?;
    assert_eq!(body["expires_in"], 28_800);
    Ok(body["access_token"].as_str().unwrap_or_default().to_owned())
}

async fn get(sandbox: &Sandbox, client: &Client, token: &str, path: &str) -> reqwest::Result<Response> {
    client.get(format!("{}{path}", sandbox.url)).bearer_auth(token).send().await
}

#[tokio::test]
async fn a_partner_calls_the_site_and_meets_its_faults() -> anyhow::Result<()> {
    let (sandbox, client, clock) = sandbox().await?;
    let token = token(&sandbox, &client).await?;
    let answer = get(&sandbox, &client, &token, "/v2/separation?limit=200").await?;
    assert_eq!((answer.status().as_u16(), answer.headers()["x-ratelimit-remaining"].to_str()?), (200, "59"));
    let body: Value = answer.json().await?;
    assert_eq!(body["items"][2]["separation"]["name"], "Main Hospital Pharmacy");

    let unauthorised = client.get(format!("{}/v2/separation", sandbox.url)).send().await?;
    assert_eq!(unauthorised.status(), 401);
    assert!(unauthorised.json::<Value>().await?["messages"][0]["text"].is_string());

    sandbox.fault("cut-before:separationx1")?;
    let cut = get(&sandbox, &client, &token, "/v2/separation").await;
    assert!(cut.is_err_and(|error| !error.is_timeout()));
    sandbox.fault("cut-after:separationx1")?;
    assert!(get(&sandbox, &client, &token, "/v2/separation").await.is_err());
    sandbox.fault("bad-json:separationx1")?;
    assert!(get(&sandbox, &client, &token, "/v2/separation").await?.json::<Value>().await.is_err());
    sandbox.fault("huge-body:separation=3x1")?;
    let huge = get(&sandbox, &client, &token, "/v2/separation").await?.bytes().await?;
    assert!(huge.len() > 3 << 20 && serde_json::from_slice::<Value>(&huge).is_ok_and(|body| body["items"].is_array()));
    sandbox.fault("hang:separationx1")?;
    let hung = client
        .get(format!("{}/v2/separation", sandbox.url))
        .bearer_auth(&token)
        .timeout(Duration::from_millis(200))
        .send()
        .await;
    assert!(hung.is_err_and(|error| error.is_timeout()));

    let job =
        "type=ReceiveInvoice&data[method]=POST&data[endpoint]=v2/receiveinvoice&data[body][invoice_number]=INV_001";
    let queued = client
        .post(format!("{}/v2/jobqueue", sandbox.url))
        .bearer_auth(&token)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(job)
        .send()
        .await?;
    assert_eq!(queued.status(), 200);
    let jobs: Value = client.get(format!("{}/_sandbox/jobs", sandbox.url)).send().await?.json().await?;
    assert_eq!((&jobs[0]["id"], &jobs[0]["state"]), (&json!(9001), &json!("waiting")));
    let page = client.get(format!("{}/", sandbox.url)).send().await?.text().await?;
    assert!(page.contains("INV_001") && page.contains("/_sandbox/jobs/9001/approve"));
    let pressed =
        client.post(format!("{}/_sandbox/jobs/9001/reject", sandbox.url)).header("accept", "text/html").send().await?;
    assert_eq!((pressed.status().as_u16(), pressed.headers()["location"].to_str()?), (303, "/"));
    let foreign = client
        .post(format!("{}/_sandbox/kill-token", sandbox.url))
        .header("origin", "https://elsewhere.example")
        .send()
        .await?;
    assert_eq!(foreign.status(), 403);
    clock.advance(Duration::from_secs(10));
    let finish = client.get(format!("{}/_sandbox/finish", sandbox.url)).send().await?;
    assert_eq!(finish.status(), 409);
    let unexpected: Value = finish.json().await?;
    assert_eq!(
        (unexpected["unexpected"].as_array().map(Vec::len), &unexpected["unexpected"][0]["kind"]),
        (Some(1), &json!("bad_token"))
    );
    let added: Value = client
        .post(format!("{}/_sandbox/faults", sandbox.url))
        .body("status:jobqueue=503x2")
        .send()
        .await?
        .json()
        .await?;
    assert_eq!(added[0]["fault"], "status:jobqueue=503x2");
    let url = sandbox.url.clone();
    sandbox.stop().await?;
    assert!(client.get(url).send().await.is_err());
    Ok(())
}

/// Starts a partner with canned answers; returns its URL.
fn partner() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        let mut tokens = 0;
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let (head, body) = read_request(&mut stream);
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let product = |code: &str| {
                json!({"active": 1, "code": code, "name": code, "type": "medication", "category": "consumable", "units_per_outer": "10", "unit_of_measure": "box",
                "price_per_unit": "2", "list_price": 2, "contract_price": 1.5, "barcode": 6587, "stock_available": 20, "related_urls": []})
            };
            let stale = head.contains("Bearer token-1") || head.contains("bearer token-1");
            let (status, answer) = match target.as_str() {
                "/accesstoken" => {
                    tokens += 1;
                    (200, json!({"access_token": format!("token-{tokens}"), "token_type": "Bearer"}))
                }
                _ if stale && tokens == 1 && target != "/categories" => (401, json!({"messages": []})),
                "/categories" => (200, json!({"categories": ["consumable"]})),
                "/products?limit=[2]&page=[0]" => (200, json!({"products": [product("A"), product("B")]})),
                "/products?limit=[2]&page=[1]" => (200, json!({"products": [product("C")]})),
                "/products?name=[b]" => (200, json!({"products": [{"active": "1"}]})),
                "/purchaseorder" => {
                    let mut order: Value = serde_json::from_str(&body).unwrap_or_default();
                    if order["purchaseorder"]["purchase_order_item_list"][0]["supplier_code"] == "C" {
                        (
                            422,
                            json!({"messages": [{"level": "error", "type": "declined", "text": "C is out of stock", "fields": []}]}),
                        )
                    } else {
                        order["purchaseorder"]["supplier_order_number"] = json!("SO-1");
                        (200, order)
                    }
                }
                _ => (404, json!({"messages": []})),
            };
            let text = answer.to_string();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
                text.len()
            );
        }
    });
    Ok(url)
}

fn read_request(stream: &mut impl Read) -> (String, String) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).unwrap_or_default();
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:").and_then(|length| length.trim().parse().ok())
            });
            if body.len() >= length.unwrap_or(0) {
                return (head.to_owned(), body.to_owned());
            }
        }
        if count == 0 {
            return (text, String::new());
        }
    }
}

#[tokio::test]
async fn a_second_start_continues_from_the_state_file() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let options =
        Options { bind: "127.0.0.1:0".into(), state: Some(directory.path().join("world.json")), ..Options::default() };
    let partner = partner()?;
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let sandbox = start_with_clock(options.clone(), Clock::manual(NOW)).await?;
        let clinic = sandbox.connect(&partner, "clinic-1", "top-secret")?;
        clinic.categories().await?;
        clinic.pull_catalogue(Some(2)).await?;
        let order = clinic.send_order(&[OrderLine::new("A", 1, 3)], "").await?.value.order;
        let products = sandbox.world().products.len();
        numbers.push((order.id, order.number, order.items[0].id, products));
        sandbox.stop().await?;
    }
    assert_eq!(numbers, [(12, "15000032".to_owned(), 9, 3), (13, "15000033".to_owned(), 10, 3)]);
    Ok(())
}

#[tokio::test]
async fn the_clinic_pulls_orders_and_checks_the_answers() -> anyhow::Result<()> {
    let (sandbox, client, _clock) = sandbox().await?;
    let clinic = sandbox.connect(&partner()?, "clinic-1", "top-secret")?;
    let token = clinic.token().await?;
    assert!(
        !format!("{}", token.exchange).contains("top-secret") && !format!("{}", token.exchange).contains("token-1")
    );
    assert_eq!(clinic.categories().await?.value, ["consumable"]);

    let pull = clinic.pull_catalogue(Some(2)).await?;
    assert_eq!((pull.summary.linked, pull.exchanges.len()), (3, 2));
    let wrong = clinic.products(&ProductQuery { name: vec!["b".into()], ..ProductQuery::default() }, None, None).await;
    assert!(wrong.is_err_and(|error| error.reason.starts_with("products[0].active:")));

    let reply = clinic.send_order(&[OrderLine::new("A", 2, 3), OrderLine::new("B", 1, 4)], "").await?.value;
    assert_eq!((reply.supplier_order_number.as_deref(), reply.order.id), (Some("SO-1"), 12));
    let again = clinic.resend(&reply.order).await?.value;
    assert_eq!((again.order.sent, again.supplier_order_number.as_deref()), (2, Some("SO-1")));
    let declined = clinic.send_order(&[OrderLine::new("C", 1, 3)], "").await?.value;
    assert_eq!((declined.reasons, declined.order.declined), (vec!["C is out of stock".to_owned()], true));

    let ordered = client
        .post(format!("{}/_sandbox/order", sandbox.url))
        .json(&json!({"lines": [{"code": "A", "outers": 1, "location": 4}]}))
        .send()
        .await?;
    assert_eq!(ordered.json::<Value>().await?["supplier_order_number"], "SO-1");
    assert!(sandbox.world().finish().is_ok());
    sandbox.stop().await
}
