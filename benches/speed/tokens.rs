//! Scenario (j): a token asked for before every call, as ezyVet may do (SPSI.md 1), against a token that is kept.

use crate::client::{Connection, get};
use crate::load::{Round, Rounds, closed_loop};
use crate::options::Plan;
use crate::queries::{self, Query};
use crate::reads::Servers;
use crate::report::{Report, Section};
use crate::stage::{Market, token_request};
use anyhow::{Context as _, ensure};
use std::rc::Rc;

const CONNECTIONS: usize = 16;

struct Caller {
    connection: Connection,
    queries: Rc<[Query]>,
}

pub async fn run(plan: &Plan, market: &Market, servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    let queries: Rc<[Query]> = queries::code(&market.catalogue).queries.into();
    let mut all =
        [("token kept", false), ("token before every call", true)].map(|(name, _)| Rounds { name, rounds: Vec::new() });
    for turn in 0..=plan.rounds {
        for (rounds, every_time) in all.iter_mut().zip([false, true]) {
            let round = call(plan, servers, &queries, every_time).await.context(rounds.name)?;
            // The first one is to warm up.
            if turn > 0 {
                rounds.rounds.push(round);
            }
        }
    }
    let mut section =
        Section::of_rounds("j", "a token before every call, then one code", market.catalogue.products, &all);
    section.note = "With a token before every call, an answer is two requests.".to_owned();
    report.add(section);
    Ok(())
}

async fn call(plan: &Plan, servers: &Servers, queries: &Rc<[Query]>, every_time: bool) -> anyhow::Result<Round> {
    let product = &servers.product;
    let before = product.process().processor_time();
    let (tokens, client_ids): (Rc<[String]>, Rc<[String]>) =
        (servers.tokens.clone().into(), servers.client_ids.clone().into());
    let open =
        || async { Ok(Caller { connection: Connection::open(product.address).await?, queries: Rc::clone(queries) }) };
    let ask = async move |caller: &mut Caller, turn: usize| {
        let query = &caller.queries[turn % caller.queries.len()];
        let target = format!("/products?{}", query.text);
        let answer = if every_time {
            let (_, answer) = caller.connection.json(&token_request(&client_ids[query.clinic])).await?;
            let token = answer["access_token"].as_str().context("an answer without a token")?;
            caller.connection.ask(&get(&target, token, false)).await?
        } else {
            caller.connection.ask(&get(&target, &tokens[query.clinic], false)).await?
        };
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    };
    let ask = Rc::new(ask);
    let (latencies, took) =
        closed_loop(CONNECTIONS, plan.round, open, async move |caller: &mut Caller, turn| ask(caller, turn).await)
            .await?;
    Ok(Round::new(latencies, took, Some(product.process().processor_time() - before)))
}
