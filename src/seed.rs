//! The example data: real products with example prices, and five example clinics (`seed/README.md`).
//!
//! A second load imports the catalogue again and keeps the clinics.

use crate::app::Context;
use crate::catalog::import::{ImportOptions, ImportSummary, SourceFile, import};
use crate::clinics::{self, Changes, ClinicDraft, ClinicError};
use crate::db;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use std::io::Cursor;
use std::path::Path;

/// The four files of a seed folder.
pub struct Files {
    products: Vec<u8>,
    price_lists: Vec<u8>,
    clinics: Vec<u8>,
    prices: Vec<u8>,
}

/// A row of `clinics.csv`. `|` separates several values in a cell.
#[derive(Deserialize)]
struct ExampleClinic {
    client_id: String,
    name: String,
    price_list: String,
    hidden_categories: String,
    hidden_products: String,
    restricted_licence: String,
}

/// The result of a load.
#[derive(Debug, Serialize)]
pub struct Seeded {
    pub products: u64,
    pub clinics: Vec<SeededClinic>,
}

/// An example clinic. The secret is present only if the load has created the clinic.
#[derive(Debug, Serialize)]
pub struct SeededClinic {
    pub id: i64,
    pub name: String,
    pub client_id: String,
    pub client_secret: Option<String>,
    pub price_list: Option<String>,
}

impl Files {
    /// Reads the files of a folder, or the built-in ones.
    pub fn open(folder: Option<&Path>) -> anyhow::Result<Self> {
        let read = |name: &str, built_in: &[u8]| match folder.map(|folder| folder.join(name)) {
            Some(path) => std::fs::read(&path).with_context(|| format!("cannot read {}", path.display())),
            None => Ok(built_in.to_vec()),
        };
        Ok(Self {
            products: read("products.csv", include_bytes!("../seed/products.csv"))?,
            price_lists: read("price_lists.csv", include_bytes!("../seed/price_lists.csv"))?,
            clinics: read("clinics.csv", include_bytes!("../seed/clinics.csv"))?,
            prices: read("prices.csv", include_bytes!("../seed/prices.csv"))?,
        })
    }

    /// Replaces the products with another catalogue, and drops the example prices, which refer to the example products.
    pub fn with_products(mut self, products: Vec<u8>) -> Self {
        self.products = products;
        self.price_lists.clear();
        self.prices.clear();
        self
    }
}

/// Imports the products with the price lists, creates the missing clinics, then imports the clinics' own prices. Without
/// `allow_withdrawals`, the load fails instead of replacing a real catalogue.
pub async fn load(context: &Context, files: Files, allow_withdrawals: bool) -> anyhow::Result<Seeded> {
    let summary = load_file(
        context,
        Some(("seed/products.csv", files.products)),
        Some(("seed/price_lists.csv", files.price_lists)),
        allow_withdrawals,
    )
    .await?;
    let mut seeded = Vec::new();
    for clinic in csv::Reader::from_reader(files.clinics.as_slice()).deserialize() {
        seeded.push(ensure_clinic(context, clinic.context("clinics.csv")?).await?);
    }
    load_file(context, None, Some(("seed/prices.csv", files.prices)), false).await?;
    Ok(Seeded {
        products: summary.map_or(0, |summary| summary.new + summary.changed + summary.unchanged),
        clinics: seeded,
    })
}

async fn load_file(
    context: &Context,
    products: Option<(&str, Vec<u8>)>,
    prices: Option<(&str, Vec<u8>)>,
    allow_withdrawals: bool,
) -> anyhow::Result<Option<ImportSummary>> {
    let source = |file: Option<(&str, Vec<u8>)>| {
        file.filter(|(_, content)| !content.is_empty())
            .map(|(name, content)| SourceFile { name: name.to_owned(), content: Box::new(Cursor::new(content)) })
    };
    let (products, prices) = (source(products), source(prices));
    if products.is_none() && prices.is_none() {
        return Ok(None);
    }
    let options = ImportOptions { allow_withdrawals, ..ImportOptions::default() };
    let (now, actor) = (context.clock.now(), &context.actor);
    let summary = db::in_transaction(&context.pool, async |connection| {
        import(connection, now, actor, products, prices, &options, &|_| ()).await
    });
    Ok(Some(summary.await?))
}

async fn ensure_clinic(context: &Context, example: ExampleClinic) -> anyhow::Result<SeededClinic> {
    let (pool, now, actor) = (&context.pool, context.clock.now(), &context.actor);
    let secret = match clinics::find(pool, &example.client_id).await {
        Ok(_) => None,
        Err(ClinicError::NoClinic(_)) => {
            let draft =
                ClinicDraft { name: example.name.clone(), site: None, client_id: Some(example.client_id.clone()) };
            let list = |text: &str| {
                serde_json::json!(text.split('|').filter(|value| !value.is_empty()).collect::<Vec<_>>()).to_string()
            };
            let pairs = [
                format!("price_list={}", example.price_list),
                format!("hidden_categories={}", list(&example.hidden_categories)),
                format!("hidden_products={}", list(&example.hidden_products)),
                format!("restricted_licence={}", example.restricted_licence),
            ];
            let add = async |connection: &mut PgConnection| {
                let issued = clinics::add(connection, now, actor, draft).await?;
                let (defaults, target) = (&context.settings.clinic, issued.client_id.as_str().into());
                clinics::set(connection, now, actor, defaults, target, Changes::parse(&pairs)).await?;
                Ok::<_, ClinicError>(issued)
            };
            Some(db::in_transaction(pool, add).await?.client_secret.expose().to_owned())
        }
        Err(error) => return Err(error.into()),
    };
    let clinic = clinics::find(pool, &example.client_id).await?;
    Ok(SeededClinic {
        id: clinic.id.0,
        name: clinic.name,
        client_id: clinic.client_id,
        client_secret: secret,
        price_list: clinic.price_list,
    })
}
