//! The system under test: a server, two workers, a proxy to the database, and two simulated ezyVet sites. Each can fail.

use crate::support::binary::{RunningServer, spsi};
use crate::support::client::{Request, Response};
use crate::support::database::{TestDatabase, in_own_runtime};
use crate::support::database_proxy::DatabaseProxy;
use crate::support::supplier::{CATALOGUE, Options, Supplier};
use crate::support::until;
use serde_json::{Value, json};
use spsi_partner::sandbox::clock::Chance;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// ezyVet's rate window of a minute is a second here, and the product's waits are shortened accordingly.
const SETTINGS: [(&str, &str); 11] = [
    ("SPSI_ROLE", "api"),
    ("SPSI_RATE_WINDOW", "1s"),
    ("SPSI_CALL_TIMEOUT", "1s"),
    ("SPSI_LEASE", "3s"),
    ("SPSI_RETRY_BASE", "100ms"),
    ("SPSI_RETRY_MAX", "1s"),
    ("SPSI_UNCLEAR_WAIT", "4s"),
    ("SPSI_RECEIPT_POLL", "1s"),
    ("SPSI_WORKER_POLL", "250ms"),
    ("SPSI_DB_TIMEOUT", "2s"),
    ("SPSI_TOKEN_TRIES_PER_ADDRESS", "100000"),
];

/// The faults of a site during the storm: about every fifth call for a delivery fails.
const FAULTS: [&str; 18] = [
    "status:jobqueue=503@4%",
    "status:jobqueue=500@2%",
    "status-after:jobqueue=502@2%",
    "cut-before:jobqueue@3%",
    "cut-after:jobqueue@4%",
    "hang:jobqueue@2%",
    "bad-json:jobqueue@2%",
    "error-in-200:jobqueue@2%",
    "rate-limit:jobqueue@1%",
    "status:supplied=503@3%",
    "cut-after:supplied@2%",
    "hang:supplied@1%",
    "bad-json:supplied@1%",
    "status:receiveinvoice=500@3%",
    "cut-after:receiveinvoice@3%",
    "cut-after:token@5%",
    "token-killed@1%",
    "delay:any=300ms@2%",
];

/// A simulated ezyVet site whose clinic orders from the supplier.
#[derive(Debug)]
pub struct Site {
    pub clinic_id: i64,
    sandbox: RunningServer,
}

/// The system under test. [`Scene::strike`] restarts the processes that it kills.
#[derive(Debug)]
pub struct Scene {
    // Declared in this order, so that callers are dropped before the servers they call.
    workers: Vec<RunningServer>,
    api: Option<RunningServer>,
    pub sites: Vec<Arc<Site>>,
    pub supplier: Supplier,
    proxy: DatabaseProxy,
    bind: String,
    /// Number of strikes by name.
    pub strikes: BTreeMap<&'static str, u32>,
}

impl Site {
    /// Calls the sandbox's control interface.
    pub fn control(&self, method: &str, target: &str, body: &Value) -> Response {
        let request = Request::new(method, self.sandbox.url(), format!("/_sandbox/{target}"));
        if method == "GET" { request.send() } else { request.json(body).send() }
    }
}

impl Scene {
    pub fn set_up(seed: u64) -> Self {
        let database = Arc::new(in_own_runtime(TestDatabase::new));
        let proxy = DatabaseProxy::to(database.url());
        let options = Options { catalogue: Some(CATALOGUE), settings: &SETTINGS, database_url: Some(proxy.url()) };
        let supplier = Supplier::on(database, options);
        let bind = format!("127.0.0.1:{}", fixed_port());
        let mut scene =
            Self { workers: Vec::new(), api: None, sites: Vec::new(), supplier, proxy, bind, strikes: BTreeMap::new() };
        scene.api = Some(scene.serve("api"));
        for number in 0..2 {
            let site = scene.site(number, seed);
            scene.sites.push(Arc::new(site));
        }
        scene.workers = (0..2).map(|_| scene.serve("worker")).collect();
        scene
    }

    fn serve(&self, role: &str) -> RunningServer {
        let bind = if role == "api" { self.bind.as_str() } else { "127.0.0.1:0" };
        self.supplier.spsi(["serve", "--role", role, "--bind", bind]).serve()
    }

    fn site(&self, number: u64, seed: u64) -> Site {
        let clinic = self.supplier.clinic();
        let (partner, seed) = (format!("http://{}", self.bind), (seed + number).to_string());
        let arguments: [&[&str]; 3] = [
            &["sandbox", "--bind", "127.0.0.1:0"],
            &["--seed", &seed, "--rate-window", "1s", "--approve-after", "300ms", "--partner", &partner],
            &["--partner-client-id", &clinic.client_id, "--partner-client-secret", &clinic.client_secret],
        ];
        let sandbox = spsi(arguments.concat()).serve();
        let name = format!("site-{number}");
        let add: [&[&str]; 2] = [
            &["site", "add", "--name", &name, "--base-url", sandbox.url(), "--partner-id", "sandbox-partner"],
            &["--client-id", "sandbox-client", "--site-uid", "sandbox-site"],
        ];
        let added = self.supplier.spsi(add.concat()).stdin("sandbox-secret\n").run();
        assert_eq!(added.code, Some(0), "{}", added.stderr);
        self.supplier.run(["clinic", "set", &clinic.id, &format!("site={name}")]);
        let site = Site { clinic_id: clinic.id.parse().expect("a number"), sandbox };
        site.control("POST", "pull", &json!({})).expect(200);
        site
    }

    /// Turns on the faults at both sites.
    pub fn begin_storm(&self) {
        for site in &self.sites {
            site.control("POST", "faults", &json!(FAULTS)).expect(200);
        }
    }

    /// Makes one random part fail, and restores it.
    pub fn strike(&mut self, chance: &mut Chance) {
        let (kind, which) = (chance.draw() % 10, (chance.draw() % 2) as usize);
        let strike = match kind {
            0..4 => {
                drop(self.workers.remove(which));
                let worker = self.serve("worker");
                self.workers.push(worker);
                "worker killed"
            }
            4..6 => {
                // Dropped first, because the next server takes its address.
                self.api = None;
                self.api = Some(self.serve("api"));
                "server killed"
            }
            6..8 => {
                self.proxy.cut();
                pause(chance, 200, 2000);
                self.proxy.restore();
                "database unreachable"
            }
            8 => {
                self.proxy.cut();
                self.proxy.restore();
                "database connections broken"
            }
            _ => {
                self.sites[which].control("POST", "faults", &json!(["status=503x8"])).expect(200);
                "site answers 503"
            }
        };
        *self.strikes.entry(strike).or_default() += 1;
    }

    /// Ends all faults and waits until the server is ready.
    pub fn calm(&mut self) {
        self.proxy.restore();
        for site in &self.sites {
            site.control("DELETE", "faults", &Value::Null).expect(200);
        }
        let url = format!("http://{}", self.bind);
        until("the server is ready again", Duration::from_secs(20), || {
            (Request::new("GET", &url, "/readyz").send().status == 200).then_some(())
        });
    }
}

/// Sleeps for a random time, in milliseconds.
pub fn pause(chance: &mut Chance, min: u64, max: u64) {
    std::thread::sleep(Duration::from_millis(min + chance.draw() % (max - min)));
}

/// Returns a free port outside of the ephemeral range, so that no other process gets it while the server is down.
fn fixed_port() -> u16 {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    (first..32_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}
