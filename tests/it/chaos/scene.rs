//! Everything that can be killed, cut or broken: a server, two workers, the cable to the database, two ezyVet sites.

use crate::support::binary::{Serving, spsi};
use crate::support::cable::Cable;
use crate::support::client::{Request, Response};
use crate::support::database::{TestDatabase, in_own_runtime};
use crate::support::supplier::{CATALOGUE, Options, Supplier};
use crate::support::until;
use serde_json::{Value, json};
use spsi_partner::sandbox::clock::Chance;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// A minute of ezyVet's is a second here, and every wait of ours is short in the same measure.
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

/// What goes wrong at a site while the storm lasts: about every fifth call that matters.
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
    sandbox: Serving,
}

/// See the module. The parts that are killed come back by themselves.
#[derive(Debug)]
pub struct Scene {
    // Dropped in this order: what calls before what is called.
    workers: Vec<Serving>,
    api: Option<Serving>,
    pub sites: Vec<Arc<Site>>,
    pub supplier: Supplier,
    cable: Cable,
    bind: String,
    /// What was done, by name.
    pub blows: BTreeMap<&'static str, u32>,
}

impl Site {
    /// A control call.
    pub fn control(&self, method: &str, target: &str, body: &Value) -> Response {
        let request = Request::new(method, self.sandbox.url(), format!("/_sandbox/{target}"));
        if method == "GET" { request.send() } else { request.json(body).send() }
    }
}

impl Scene {
    pub fn set(seed: u64) -> Self {
        let database = Arc::new(in_own_runtime(TestDatabase::new));
        let cable = Cable::to(database.url());
        let options = Options { catalogue: Some(CATALOGUE), settings: &SETTINGS, database_url: Some(cable.url()) };
        let supplier = Supplier::on(database, options);
        let bind = format!("127.0.0.1:{}", steady_port());
        let mut scene =
            Self { workers: Vec::new(), api: None, sites: Vec::new(), supplier, cable, bind, blows: BTreeMap::new() };
        scene.api = Some(scene.serve("api"));
        for number in 0..2 {
            let site = scene.site(number, seed);
            scene.sites.push(Arc::new(site));
        }
        scene.workers = (0..2).map(|_| scene.serve("worker")).collect();
        scene
    }

    fn serve(&self, role: &str) -> Serving {
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

    /// Faults at both sites from now on.
    pub fn begin_storm(&self) {
        for site in &self.sites {
            site.control("POST", "faults", &json!(FAULTS)).expect(200);
        }
    }

    /// One blow at a random place. Whatever it hit is back afterwards.
    pub fn strike(&mut self, chance: &mut Chance) {
        let (kind, which) = (chance.draw() % 10, (chance.draw() % 2) as usize);
        let blow = match kind {
            0..4 => {
                drop(self.workers.remove(which));
                let worker = self.serve("worker");
                self.workers.push(worker);
                "worker killed"
            }
            4..6 => {
                // Killed before the next one takes its address.
                self.api = None;
                self.api = Some(self.serve("api"));
                "server killed"
            }
            6..8 => {
                self.cable.cut();
                pause(chance, 200, 2000);
                self.cable.mend();
                "database away"
            }
            8 => {
                self.cable.cut();
                self.cable.mend();
                "database connections broken"
            }
            _ => {
                self.sites[which].control("POST", "faults", &json!(["status=503x8"])).expect(200);
                "site out of order"
            }
        };
        *self.blows.entry(blow).or_default() += 1;
    }

    /// The faults end, and everything that runs is whole.
    pub fn calm(&mut self) {
        self.cable.mend();
        for site in &self.sites {
            site.control("DELETE", "faults", &Value::Null).expect(200);
        }
        let url = format!("http://{}", self.bind);
        until("the server is ready again", Duration::from_secs(20), || {
            (Request::new("GET", &url, "/readyz").send().status == 200).then_some(())
        });
    }
}

/// A random moment: here the wait is the point.
pub fn pause(chance: &mut Chance, least: u64, most: u64) {
    std::thread::sleep(Duration::from_millis(least + chance.draw() % (most - least)));
}

/// A free port that is not among those which the system gives to others while the server is down.
fn steady_port() -> u16 {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    (first..32_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}
