//! Scenario (j): a client that asks for a token before every call, as ezyVet may do (SPSI.md 1), against one that keeps its
//! token.

use crate::client::{Connection, get};
use crate::environment::{Dataset, token_request};
use crate::load::{Round, Rounds, closed_loop};
use crate::options::Plan;
use crate::queries::{self, Query};
use crate::reads::Servers;
use crate::report::{Report, Section};
use anyhow::{Context as _, ensure};
use std::rc::Rc;

const CONNECTIONS: usize = 16;

pub async fn run(plan: &Plan, dataset: &Dataset, servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    let queries: Rc<[Query]> = queries::code(&dataset.catalogue).queries.into();
    let mut all = ["token kept", "token before every call"].map(|name| Rounds { name, rounds: Vec::new() });
    // The first round warms up.
    for number in 0..=plan.rounds {
        for (rounds, is_token_fetched) in all.iter_mut().zip([false, true]) {
            let round = call(plan, servers, &queries, is_token_fetched).await.context(rounds.name)?;
            if number > 0 {
                rounds.rounds.push(round);
            }
        }
    }
    let title = "a token before every call, then one code";
    let mut section = Section::of_rounds("j", title, dataset.catalogue.products, &all);
    section.note = "With a token before every call, an answer is two requests.".to_owned();
    report.add(section);
    Ok(())
}

async fn call(plan: &Plan, servers: &Servers, queries: &Rc<[Query]>, is_token_fetched: bool) -> anyhow::Result<Round> {
    let product = &servers.product;
    let before = product.process().processor_time();
    let (tokens, client_ids): (Rc<[String]>, Rc<[String]>) =
        (servers.tokens.clone().into(), servers.client_ids.clone().into());
    let queries = Rc::clone(queries);
    let ask = Rc::new(async move |connection: &mut Connection, number: usize| {
        let query = &queries[number % queries.len()];
        let target = format!("/products?{}", query.text);
        let answer = if is_token_fetched {
            let (_, answer) = connection.json(&token_request(&client_ids[query.clinic])).await?;
            let token = answer["access_token"].as_str().context("an answer without a token")?;
            connection.ask(&get(&target, token, false)).await?
        } else {
            connection.ask(&get(&target, &tokens[query.clinic], false)).await?
        };
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    });
    let open = || Connection::open(product.address);
    let (latencies, took) =
        closed_loop(CONNECTIONS, plan.round, open, async move |connection: &mut Connection, number| {
            ask(connection, number).await
        })
        .await?;
    Ok(Round::new(latencies, took, Some(product.process().processor_time() - before)))
}
