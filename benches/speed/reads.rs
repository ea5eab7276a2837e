//! Scenarios (a) to (d): one question at a time, answered by the product, by the static body, by the textbook handler, by
//! the database alone, and by the other stacks. Every answer is compared with the product's before anything is timed.

use crate::client::{Connection, get};
use crate::database::Question;
use crate::load::{Contender, Rounds, Shot, Target, measure};
use crate::options::{Options, Plan, Scenario, USUAL_SIZE};
use crate::queries::{self, Query, Reading};
use crate::report::{Goal, Report, Section};
use crate::server::{Memory, Server};
use crate::spread::Spread;
use crate::stacks::Stack;
use crate::stage::{self, Market, Stage};
use crate::textbook::{self, Clinic};
use anyhow::{Context as _, ensure};
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use std::collections::HashMap;
use std::rc::Rc;

const CONNECTIONS: usize = 16;

/// The servers of one size, all up at the same time and idle but for the one whose turn it is.
pub struct Servers {
    pub product: Server,
    pub static_body: Server,
    pub textbook: Server,
    pub stacks: Vec<(&'static str, Server)>,
    /// By clinic.
    pub tokens: Vec<String>,
    pub client_ids: Vec<String>,
    /// Of the product before its first request.
    pub loaded: Memory,
}

impl Servers {
    /// Everybody afresh. Tokens are asked for unless there are some: they outlive a process.
    pub async fn start(
        stage: &Stage,
        market: &Market,
        stacks: &[Stack],
        tokens: Option<Vec<String>>,
    ) -> anyhow::Result<Self> {
        let product = stage.serve(&market.database)?;
        let loaded = product.process().memory();
        let client_ids = stage::client_ids(&market.catalogue);
        let tokens = match tokens {
            Some(tokens) => tokens,
            None => stage::tokens(&product, &client_ids).await?,
        };
        let started = stacks.iter().map(|stack| Ok((stack.name, stack.start(stage, &market.copy)?)));
        Ok(Self {
            stacks: started.collect::<anyhow::Result<_>>()?,
            static_body: stage.baseline("static-body", &market.copy)?,
            textbook: stage.baseline("textbook", &market.copy)?,
            product,
            tokens,
            client_ids,
            loaded,
        })
    }

    /// New processes in place of these.
    pub async fn afresh(self, stage: &Stage, market: &Market, stacks: &[Stack]) -> anyhow::Result<Self> {
        let tokens = self.tokens.clone();
        drop(self);
        Self::start(stage, market, stacks, Some(tokens)).await
    }

    /// Those who answer `/products`, the product first.
    pub fn readers(&self) -> impl Iterator<Item = &Server> {
        [&self.product, &self.textbook].into_iter().chain(self.stacks.iter().map(|(_, server)| server))
    }
}

/// What the targets of one reading are, at the usual size.
struct Goals {
    of_static: f64,
    of_textbook: f64,
    p99: Option<f64>,
}

pub async fn run(
    options: &Options,
    plan: &Plan,
    stage: &Stage,
    market: &Market,
    servers: &Servers,
    report: &mut Report,
) -> anyhow::Result<()> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS as u32);
    let pool = pool.connect_with(textbook::connect_options(&stage.url(&market.copy))?).await?;
    let clinics = textbook::clinics(&pool).await?;
    let searching = Goals { of_static: 0.6, of_textbook: 50.0, p99: Some(0.1) };
    let coding = Goals { of_static: 0.75, of_textbook: 12.0, p99: None };
    let paging = Goals { of_static: 0.6, of_textbook: 12.0, p99: None };
    type Make = fn(&crate::data::Catalogue) -> Reading;
    let readings: [(Scenario, &'static str, Make, Option<Goals>); 5] = [
        (Scenario::A, "a", queries::search, Some(searching)),
        (Scenario::A, "a", queries::search_list, None),
        (Scenario::B, "b", queries::code, Some(coding)),
        (Scenario::C, "c", queries::first_page, Some(paging)),
        (Scenario::D, "d", queries::deep_page, None),
    ];
    let mut first_page: Option<Rounds> = None;
    for (scenario, letter, make, goals) in readings {
        if !options.wants(scenario) {
            continue;
        }
        let reading = make(&market.catalogue);
        let lines = Lines { servers, clinics: &clinics, pool: &pool };
        let contenders = lines.contenders(&reading).await.with_context(|| format!("({letter}) {}", reading.title))?;
        // What Postgres plans for the baselines hangs on the rows that it happens to sample: each round has a sample of its
        // own, as any night's autovacuum would take one, and the spread shows what that makes.
        let sample = async || Ok(sqlx::query("analyze product").execute(&pool).await.map(drop)?);
        let rounds = measure(&contenders, CONNECTIONS, plan.rounds, plan.round, sample).await?;
        let products = market.catalogue.products;
        report.add(Section::of_rounds(letter, reading.title, products, &rounds));
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
    if let Some(most) = goals.p99 {
        let p99 = product.ratio(textbook, |round| round.p99);
        report.target(letter, "p99, times that of the textbook handler", p99, Goal::AtMost(most));
    }
}

struct Lines<'a> {
    servers: &'a Servers,
    clinics: &'a HashMap<String, Clinic>,
    pool: &'a sqlx::PgPool,
}

impl<'a> Lines<'a> {
    /// Asks everybody every query once, and fails where one answers otherwise than the product.
    async fn contenders(&self, reading: &Reading) -> anyhow::Result<Vec<Contender<'a>>> {
        let servers = self.servers;
        let (mut right, mut shots) = (Vec::new(), Vec::new());
        let mut connection = Connection::open(servers.product.address).await?;
        for query in &reading.queries {
            let request = self.request(query);
            let (answer, body) = connection.json(&request).await.context("product")?;
            shots.push(Shot { request, answer });
            right.push(body);
        }
        let found: usize = right.iter().map(|body| body["products"].as_array().map_or(0, Vec::len)).sum();
        ensure!(found > 0, "the product finds nothing for any of the queries");
        let static_shots = shots.iter().zip(&reading.queries).map(|(shot, query)| {
            let target = format!("/{}?{}", shot.answer.bytes, query.text);
            Shot { request: get(&target, &servers.tokens[query.clinic], false), answer: shot.answer }
        });
        let static_shots = static_shots.collect();
        let http = |name, server: &'a Server, shots: Rc<[Shot]>| Contender {
            name,
            target: Target::Http { address: server.address, process: server.process(), shots },
        };
        let mut contenders = vec![
            http("product", &servers.product, shots.into()),
            http("static body", &servers.static_body, static_shots),
            http("textbook", &servers.textbook, self.checked("textbook", &servers.textbook, reading, &right).await?),
        ];
        for (name, server) in &servers.stacks {
            contenders.push(http(name, server, self.checked(name, server, reading, &right).await?));
        }
        contenders.push(self.database(reading, &right).await?);
        Ok(contenders)
    }

    fn request(&self, query: &Query) -> Vec<u8> {
        get(&format!("/products?{}", query.text), &self.servers.tokens[query.clinic], false)
    }

    async fn checked(
        &self,
        name: &str,
        server: &Server,
        reading: &Reading,
        right: &[Value],
    ) -> anyhow::Result<Rc<[Shot]>> {
        let mut connection = Connection::open(server.address).await?;
        let mut shots = Vec::new();
        for (query, right) in reading.queries.iter().zip(right) {
            let request = self.request(query);
            let (answer, body) = connection.json(&request).await.with_context(|| format!("{name}: {}", query.text))?;
            check(name, query, &body, right)?;
            shots.push(Shot { request, answer });
        }
        Ok(shots.into())
    }

    async fn database(&self, reading: &Reading, right: &[Value]) -> anyhow::Result<Contender<'a>> {
        let mut questions = Vec::new();
        let mut connection = self.pool.acquire().await?;
        for (query, right) in reading.queries.iter().zip(right) {
            let clinic =
                self.clinics.get(&self.servers.client_ids[query.clinic]).context("a clinic that is not there")?;
            let question = Question::new(clinic.clone(), &query.text);
            check("database", query, &serde_json::from_str(&question.ask(&mut connection).await?)?, right)?;
            questions.push(question);
        }
        Ok(Contender {
            name: "database alone",
            target: Target::Sql { pool: self.pool.clone(), questions: questions.into() },
        })
    }
}

fn check(name: &str, query: &Query, answer: &Value, right: &Value) -> anyhow::Result<()> {
    let difference = difference(answer, right, String::new());
    ensure!(
        difference.is_none(),
        "{name} answers {:.100} otherwise than the product: {}",
        query.text,
        difference.unwrap_or_default()
    );
    Ok(())
}

/// Where two JSON values differ; numbers are compared by their worth, `2.0` is `2`.
pub fn difference(one: &Value, other: &Value, at: String) -> Option<String> {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(n, (a, b))| difference(a, b, format!("{at}/{n}")))
        }
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            a.iter().find_map(|(key, a)| difference(a, b.get(key).unwrap_or(&Value::Null), format!("{at}/{key}")))
        }
        (one, other) if one == other => None,
        (one, other) => Some(format!("{at}: {:.100} instead of {:.100}", one.to_string(), other.to_string())),
    }
}
