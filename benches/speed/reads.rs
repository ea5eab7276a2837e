//! Scenarios (a) to (d): single reads of the product, the static body, the textbook handler, the database alone, and the
//! other stacks. Every answer is compared with the product's before anything is timed.

use crate::client::{Connection, get};
use crate::database::DatabaseQuery;
use crate::environment::{self, Dataset, Environment};
use crate::load::{CheckedRequest, Contender, Rounds, Target, measure};
use crate::options::{Options, Plan, Scenario, USUAL_SIZE};
use crate::queries::{self, Query, QueryMix};
use crate::report::{Goal, Report, Section};
use crate::server::{Memory, Server};
use crate::stacks::Stack;
use crate::statistics::Spread;
use crate::textbook::{self, Clinic};
use anyhow::{Context as _, ensure};
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 16;

/// The servers of one dataset. All run at the same time; only the one that is being measured receives requests.
pub struct Servers {
    pub product: Server,
    pub static_body: Server,
    pub textbook: Server,
    pub stacks: Vec<(&'static str, Server)>,
    /// By clinic.
    pub tokens: Vec<String>,
    /// By clinic.
    pub client_ids: Vec<String>,
    pub product_start: ProductStart,
}

/// Measurements of the product's start.
pub struct ProductStart {
    /// From the start of the process until `/readyz` answers 200.
    pub ready_after: Duration,
    /// After the catalogue was loaded, before the first request for products.
    pub memory: Memory,
}

impl Servers {
    /// Starts every server. Requests tokens unless `tokens` holds those of an earlier process, which stay valid.
    pub async fn start(
        environment: &Environment,
        dataset: &Dataset,
        stacks: &[Stack],
        tokens: Option<Vec<String>>,
    ) -> anyhow::Result<Self> {
        let began = Instant::now();
        let product = environment.serve("product", &dataset.database, &[])?;
        wait_until_ready(&product).await?;
        let product_start = ProductStart { ready_after: began.elapsed(), memory: product.process().memory() };
        let client_ids = environment::client_ids(&dataset.catalogue);
        let tokens = match tokens {
            Some(tokens) => tokens,
            None => environment::tokens(&product, &client_ids).await?,
        };
        let started = stacks.iter().map(|stack| Ok((stack.name, stack.start(environment, &dataset.copy)?)));
        Ok(Self {
            stacks: started.collect::<anyhow::Result<_>>()?,
            static_body: environment.baseline("static-body", &dataset.copy)?,
            textbook: environment.baseline("textbook", &dataset.copy)?,
            product,
            tokens,
            client_ids,
            product_start,
        })
    }

    /// Replaces these servers by new processes.
    pub async fn restarted(
        self,
        environment: &Environment,
        dataset: &Dataset,
        stacks: &[Stack],
    ) -> anyhow::Result<Self> {
        let tokens = self.tokens.clone();
        drop(self);
        Self::start(environment, dataset, stacks, Some(tokens)).await
    }

    /// Returns the servers that answer `/products`, the product first.
    pub fn readers(&self) -> impl Iterator<Item = &Server> {
        [&self.product, &self.textbook].into_iter().chain(self.stacks.iter().map(|(_, server)| server))
    }
}

/// `/readyz` answers 200 as soon as the catalogue is loaded.
async fn wait_until_ready(server: &Server) -> anyhow::Result<()> {
    let mut connection = Connection::open(server.address).await?;
    while connection.ask(&get("/readyz", "", false)).await?.status != 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// The goals of one query mix at [`USUAL_SIZE`].
struct Goals {
    /// Rate as a multiple of the static body's.
    of_static: f64,
    /// Rate as a multiple of the textbook handler's.
    of_textbook: f64,
    /// 99th percentile of the latency as a multiple of the textbook handler's.
    p99: Option<f64>,
}

pub async fn run(
    options: &Options,
    plan: &Plan,
    environment: &Environment,
    dataset: &Dataset,
    servers: &Servers,
    report: &mut Report,
) -> anyhow::Result<()> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS as u32);
    let pool = pool.connect_with(textbook::connect_options(&environment.url(&dataset.copy))?).await?;
    let clinics = textbook::clinics(&pool).await?;
    let searching = Goals { of_static: 0.6, of_textbook: 50.0, p99: Some(0.1) };
    let coding = Goals { of_static: 0.75, of_textbook: 12.0, p99: None };
    let paging = Goals { of_static: 0.6, of_textbook: 12.0, p99: None };
    type MakeMix = fn(&crate::data::Catalogue) -> QueryMix;
    let mixes: [(Scenario, &'static str, MakeMix, Option<Goals>); 5] = [
        (Scenario::A, "a", queries::search, Some(searching)),
        (Scenario::A, "a", queries::search_list, None),
        (Scenario::B, "b", queries::code, Some(coding)),
        (Scenario::C, "c", queries::first_page, Some(paging)),
        (Scenario::D, "d", queries::deep_page, None),
    ];
    let mut first_page: Option<Rounds> = None;
    for (scenario, letter, make, goals) in mixes {
        if !options.wants(scenario) {
            continue;
        }
        let mix = make(&dataset.catalogue);
        let setup = Setup { servers, clinics: &clinics, pool: &pool };
        let contenders = setup.contenders(&mix).await.with_context(|| format!("({letter}) {}", mix.title))?;
        // Postgres chooses the baselines' plans from a random sample of rows. A new sample before each round, as
        // autovacuum takes one every night, puts the effect into the spread.
        let analyze = async || Ok(sqlx::query("analyze product").execute(&pool).await.map(drop)?);
        let rounds = measure(&contenders, CONNECTIONS, plan.rounds, plan.round, analyze).await?;
        let products = dataset.catalogue.products;
        report.add(Section::of_rounds(letter, mix.title, products, &rounds));
        if products == USUAL_SIZE {
            if let Some(goals) = goals {
                judge(report, letter, &rounds, &goals);
            }
            if scenario == Scenario::D
                && let Some(first) = &first_page
            {
                let ratio = rounds[0].spread(|round| round.median).median / first.spread(|round| round.median).median;
                report.target(
                    "d",
                    "deep page: median latency, times that of the first page",
                    Spread::of([ratio]),
                    Goal::AtMost(1.1),
                );
            }
        }
        if scenario == Scenario::C {
            first_page = rounds.into_iter().next();
        }
    }
    pool.close().await;
    Ok(())
}

fn judge(report: &mut Report, letter: &'static str, rounds: &[Rounds], goals: &Goals) {
    let [product, static_body, textbook, ..] = rounds else { return };
    let of_static = product.ratio(static_body, |round| round.per_second);
    report.target(letter, "rate, of the static ceiling", of_static, Goal::AtLeast(goals.of_static));
    let of_textbook = product.ratio(textbook, |round| round.per_second);
    report.target(letter, "rate, times the textbook handler", of_textbook, Goal::AtLeast(goals.of_textbook));
    if let Some(max) = goals.p99 {
        let p99 = product.ratio(textbook, |round| round.p99);
        report.target(letter, "p99, times that of the textbook handler", p99, Goal::AtMost(max));
    }
}

/// Everything that contenders are made of.
struct Setup<'a> {
    servers: &'a Servers,
    clinics: &'a HashMap<String, Clinic>,
    pool: &'a sqlx::PgPool,
}

impl<'a> Setup<'a> {
    /// Sends every query to every contender once. Fails if an answer differs from the product's.
    async fn contenders(&self, mix: &QueryMix) -> anyhow::Result<Vec<Contender<'a>>> {
        let servers = self.servers;
        let (mut expected, mut requests) = (Vec::new(), Vec::new());
        let mut connection = Connection::open(servers.product.address).await?;
        for query in &mix.queries {
            let request = self.request(query);
            let (answer, body) = connection.json(&request).await.context("product")?;
            requests.push(CheckedRequest { request, answer });
            expected.push(body);
        }
        let found: usize = expected.iter().map(|body| body["products"].as_array().map_or(0, Vec::len)).sum();
        ensure!(found > 0, "the product finds nothing for any of the queries");
        let static_shots = requests.iter().zip(&mix.queries).map(|(checked, query)| {
            let target = format!("/{}?{}", checked.answer.bytes, query.text);
            CheckedRequest { request: get(&target, &servers.tokens[query.clinic], false), answer: checked.answer }
        });
        let static_shots = static_shots.collect();
        let http = |name, server: &'a Server, requests: Rc<[CheckedRequest]>| Contender {
            name,
            target: Target::Http { address: server.address, process: server.process(), requests },
        };
        let mut contenders = vec![
            http("product", &servers.product, requests.into()),
            http("static body", &servers.static_body, static_shots),
            http("textbook", &servers.textbook, self.checked("textbook", &servers.textbook, mix, &expected).await?),
        ];
        for (name, server) in &servers.stacks {
            contenders.push(http(name, server, self.checked(name, server, mix, &expected).await?));
        }
        contenders.push(self.database(mix, &expected).await?);
        Ok(contenders)
    }

    fn request(&self, query: &Query) -> Vec<u8> {
        get(&format!("/products?{}", query.text), &self.servers.tokens[query.clinic], false)
    }

    async fn checked(
        &self,
        name: &str,
        server: &Server,
        mix: &QueryMix,
        expected: &[Value],
    ) -> anyhow::Result<Rc<[CheckedRequest]>> {
        let mut connection = Connection::open(server.address).await?;
        let mut requests = Vec::new();
        for (query, expected) in mix.queries.iter().zip(expected) {
            let request = self.request(query);
            let (answer, body) = connection.json(&request).await.with_context(|| format!("{name}: {}", query.text))?;
            check(name, query, &body, expected)?;
            requests.push(CheckedRequest { request, answer });
        }
        Ok(requests.into())
    }

    async fn database(&self, mix: &QueryMix, expected: &[Value]) -> anyhow::Result<Contender<'a>> {
        let mut statements = Vec::new();
        let mut connection = self.pool.acquire().await?;
        for (query, expected) in mix.queries.iter().zip(expected) {
            let clinic = self.clinics.get(&self.servers.client_ids[query.clinic]).context("an unknown clinic")?;
            let statement = DatabaseQuery::new(clinic.clone(), &query.text);
            check("database", query, &serde_json::from_str(&statement.ask(&mut connection).await?)?, expected)?;
            statements.push(statement);
        }
        Ok(Contender {
            name: "database alone",
            target: Target::Sql { pool: self.pool.clone(), queries: statements.into() },
        })
    }
}

fn check(name: &str, query: &Query, answer: &Value, expected: &Value) -> anyhow::Result<()> {
    let difference = difference(answer, expected, String::new());
    ensure!(
        difference.is_none(),
        "{name} answers {:.100} differently from the product: {}",
        query.text,
        difference.unwrap_or_default()
    );
    Ok(())
}

/// Returns where and how two JSON values differ. Numbers are compared by value: `2.0` equals `2`.
pub fn difference(one: &Value, other: &Value, path: String) -> Option<String> {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(n, (a, b))| difference(a, b, format!("{path}/{n}")))
        }
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            a.iter().find_map(|(key, a)| difference(a, b.get(key).unwrap_or(&Value::Null), format!("{path}/{key}")))
        }
        (one, other) if one == other => None,
        (one, other) => Some(format!("{path}: {:.100} instead of {:.100}", one.to_string(), other.to_string())),
    }
}
