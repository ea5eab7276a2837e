//! A supplier as clinics and staff see it: a database, keys, a catalogue, clinics, and the real `spsi serve`.

use super::binary::{CommandOutput, Program, RunningServer, spsi};
use super::client::{Request, Response};
use super::database::{TestDatabase, in_own_runtime};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tempfile::TempDir;

/// Changes are visible on every replica within this time (DESIGN.md 3).
pub const SOON: Duration = Duration::from_secs(5);

/// Thirteen products, one for each special case of a catalogue.
pub const CATALOGUE: &str = "\
code,name,type,category,units_per_outer,unit_of_measure,list_price,barcode,stock_available,active,related_urls,restricted
AMX,Amoxicillin 250 mg tablets,medication,TABLET,10,tablet,25.00,09876543210987,40,1,,0
BND,2m-bandage,medication,consumable,1,box,2,6587,20,1,https://example.com/bandage,0
BND-1,1m-bandage,medication,consumable,1,box,1.50,6588,5,1,https://example.com/a https://example.com/b,0
CAFE,Café crème Größe,food,Diät,1,piece,3,,,1,,0
DEC,Powder 2.5 kg,medication,POWDER,2.5,kg,10,96385074,1.5,1,,0
KET,Ketamine 10 mL,medication,CONTROLLED,10,mL,30,5000000000001,9,1,,1
NOP,No price yet,medication,consumable,1,box,,1,1,1,,0
OLD,Withdrawn collar,accessory,consumable,1,piece,7,77,0,0,,0
THIRD,Three in a pack,medication,consumable,3,piece,10,123,300,1,,0
TP1,Test product 1,medication,consumable,1,box,4,99999999999999999,100,1,,0
VAC,Vaccine 25 doses,vaccine,VACCINE,25,dose,100,4000000000002,50,1,,0
WATER,\"STERILE WATER, USP\",medication,\"FLUIDS, IV\",1,bag,5,11,12,1,,0
[X],Odd [brackets] \"quotes\",medication,consumable,1,box,6,12,1,1,,0
";

/// A clinic with its credentials and a token.
#[derive(Clone, Debug)]
pub struct Clinic {
    pub id: String,
    pub client_id: String,
    pub client_secret: String,
    pub token: String,
}

/// The initial state of a supplier.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// `None`: no catalogue is imported.
    pub catalogue: Option<&'a str>,
    /// Environment variables of the server and of all commands.
    pub settings: &'a [(&'a str, &'a str)],
    /// Replaces the URL of the test database, for instance by that of a proxy.
    pub database_url: Option<&'a str>,
}

/// A running supplier.
#[derive(Debug)]
pub struct Supplier {
    // Declared first, so that the server is dropped before its database.
    server: RunningServer,
    environment: Environment,
    directory: TempDir,
    pub database: Arc<TestDatabase>,
}

#[derive(Clone, Debug)]
struct Environment(Vec<(String, String)>);

impl Environment {
    fn apply(&self, program: Program) -> Program {
        self.0.iter().fold(program, |program, (name, value)| program.env(name, value))
    }
}

impl Supplier {
    /// Returns the supplier that concurrent tests share. Each test adds clinics of its own and must not change anything that
    /// other clinics see.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Supplier>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let supplier = Arc::new(Self::start(&[("SPSI_TOKEN_TRIES_PER_ADDRESS", "100000")]));
            *shared = Arc::downgrade(&supplier);
            supplier
        })
    }

    /// Starts a supplier with [`CATALOGUE`] and these settings.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        Self::with(Options { catalogue: Some(CATALOGUE), settings, ..Options::default() })
    }

    pub fn with(options: Options<'_>) -> Self {
        Self::on(Arc::new(in_own_runtime(TestDatabase::new)), options)
    }

    /// Starts a supplier on an existing database.
    pub fn on(database: Arc<TestDatabase>, options: Options<'_>) -> Self {
        let url = options.database_url.unwrap_or(database.url());
        let mut environment = vec![("DATABASE_URL".to_owned(), url.to_owned())];
        environment.extend(keys().iter().cloned());
        environment.extend(options.settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let environment = Environment(environment);
        let directory = tempfile::tempdir().expect("a directory");
        if let Some(catalogue) = options.catalogue {
            let file = directory.path().join("products.csv");
            std::fs::write(&file, catalogue).expect("write");
            let file = file.to_str().expect("UTF-8");
            let ended = environment.apply(spsi(["catalog", "import", file, "--allow-withdrawals"])).run();
            assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        }
        let server = environment.apply(spsi(["serve", "--bind", "127.0.0.1:0"])).serve();
        Self { server, environment, directory, database }
    }

    pub fn url(&self) -> &str {
        self.server.url()
    }

    pub fn log(&self) -> String {
        self.server.stderr()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        self.server.signal(signal);
    }

    /// Kills the server. Commands and replicas still work.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts another `spsi serve` on the same database, with the same keys.
    pub fn replica(&self) -> RunningServer {
        self.spsi(["serve", "--bind", "127.0.0.1:0"]).serve()
    }

    /// Writes a file for a command to read.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).expect("write");
        path
    }

    /// Returns a command with the supplier's environment.
    pub fn spsi<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Program {
        self.environment.apply(spsi(arguments))
    }

    /// Runs a command and returns its JSON output. Panics if the command fails.
    #[track_caller]
    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Value {
        let ended = self.spsi(["--output", "json"].into_iter().chain(arguments)).run();
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout))
    }

    /// Imports a whole catalogue with `--allow-withdrawals`.
    pub fn import(&self, catalogue: &str) -> CommandOutput {
        let file = self.file("import.csv", catalogue);
        self.spsi(["catalog", "import", file.to_str().expect("UTF-8"), "--allow-withdrawals"]).run()
    }

    /// Adds a clinic and requests a token for it.
    pub fn clinic(&self) -> Clinic {
        self.clinic_with(&[])
    }

    /// Adds a clinic with these settings and requests a token for it.
    pub fn clinic_with(&self, settings: &[&str]) -> Clinic {
        static NAMES: Mutex<u32> = Mutex::new(0);
        let number = {
            let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
            *names += 1;
            *names
        };
        let added = self.run(["clinic", "add", "--name", &format!("Clinic {number}")]);
        let text = |key: &str| added[key].as_str().unwrap_or_else(|| panic!("{key}: {added}")).to_owned();
        let (id, client_id, mut client_secret) = (added["id"].to_string(), text("client_id"), text("client_secret"));
        if !settings.is_empty() {
            self.run(["clinic", "set", &id].into_iter().chain(settings.iter().copied()));
            // The server accepts the new secret only after it has read this change, and with it the settings.
            let rotated = self.run(["clinic", "rotate-secret", &id]);
            client_secret = rotated["client_secret"].as_str().expect("a secret").to_owned();
        }
        let mut clinic = Clinic { id, client_id, client_secret, token: String::new() };
        clinic.token = self.token(&clinic);
        clinic
    }

    /// Requests a token.
    #[track_caller]
    pub fn token(&self, clinic: &Clinic) -> String {
        token_at(self.url(), clinic).expect(200)["access_token"].as_str().expect("a token").to_owned()
    }

    pub fn request(&self, method: &str, target: impl AsRef<[u8]>) -> Request {
        Request::new(method, self.url(), target)
    }

    #[track_caller]
    pub fn get(&self, clinic: &Clinic, target: impl AsRef<[u8]>) -> Response {
        self.request("GET", target).bearer(&clinic.token).send()
    }

    /// Sends a purchase order as JSON.
    #[track_caller]
    pub fn order(&self, clinic: &Clinic, order: &Value) -> Response {
        self.request("POST", "/purchaseorder").bearer(&clinic.token).json(order).send()
    }

    /// Returns the codes of the products that a query finds.
    #[track_caller]
    pub fn codes(&self, clinic: &Clinic, target: impl AsRef<[u8]>) -> Vec<String> {
        let target = target.as_ref();
        let answer = self.get(clinic, target);
        assert_eq!(answer.status, 200, "{}: {}", String::from_utf8_lossy(target), answer.text());
        let body = answer.json();
        let products = body["products"].as_array().expect("products");
        products.iter().map(|product| product["code"].as_str().expect("a code").to_owned()).collect()
    }

    /// Returns one product as the clinic sees it.
    #[track_caller]
    pub fn product(&self, clinic: &Clinic, code: &str) -> Option<Value> {
        let body = self.get(clinic, "/products").expect(200);
        body["products"].as_array().expect("products").iter().find(|product| product["code"] == code).cloned()
    }
}

/// Requests a token from a server.
pub fn token_at(url: &str, clinic: &Clinic) -> Response {
    let body = json!({"client_id": clinic.client_id, "client_secret": clinic.client_secret,
                      "grant_type": "client_credentials"});
    Request::new("POST", url, "/accesstoken").json(&body).send()
}

/// Returns the server keys, generated once by `spsi key generate`.
fn keys() -> &'static [(String, String)] {
    static KEYS: OnceLock<Vec<(String, String)>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let ended = spsi(["key", "generate", "--output", "json"]).run();
        let keys: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.stderr));
        let keys = keys.as_object().expect("an object").iter();
        keys.map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())).collect()
    })
}
