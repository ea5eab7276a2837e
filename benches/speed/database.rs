//! Baseline: the database without a server. Postgres runs the textbook handler's statement and writes the JSON itself, so
//! there is no HTTP and there are no rows to decode.

use crate::textbook::{Clinic, Filters};
use sqlx::{AssertSqlSafe, PgConnection};

/// One query of a clinic as a statement with its bound values.
#[derive(Clone, Debug)]
pub struct DatabaseQuery {
    clinic: Clinic,
    filters: Filters,
    statement: String,
}

impl DatabaseQuery {
    pub fn new(clinic: Clinic, query: &str) -> Self {
        let filters = Filters::parse(query);
        let (rows, _) = filters.statement();
        let statement = format!(
            r#"select json_build_object('products', coalesce(json_agg(json_build_object(
                'active', p.active::int, 'code', p.code, 'name', p.name, 'type', p.type, 'category', p.category,
                'units_per_outer', trim_scale(p.units_per_outer)::text, 'unit_of_measure', p.unit_of_measure,
                'price_per_unit', trim_scale(round(p.list_price / p.units_per_outer, 6))::text,
                'list_price', trim_scale(round(p.list_price / p.units_per_outer, 6)),
                'contract_price', trim_scale(round(coalesce(p.contract_price, p.list_price) / p.units_per_outer, 6)),
                'barcode', case when p.barcode ~ '^[1-9][0-9]{{0,14}}$' then to_json(p.barcode::bigint) else to_json(p.barcode) end,
                'stock_available', trim_scale(p.stock_available), 'related_urls', p.related_urls)), '[]'))::text
            from ({rows}) p"#
        );
        Self { clinic, filters, statement }
    }

    pub async fn ask(&self, connection: &mut PgConnection) -> anyhow::Result<String> {
        let clinic = &self.clinic;
        let mut query = sqlx::query_scalar(AssertSqlSafe(self.statement.clone()))
            .bind(clinic.id)
            .bind(clinic.price_list_id)
            .bind(&clinic.hidden_categories)
            .bind(&clinic.hidden_products)
            .bind(&clinic.only_categories)
            .bind(&clinic.only_products)
            .bind(clinic.restricted_licence);
        for list in self.filters.statement().1 {
            query = query.bind(list);
        }
        Ok(query.fetch_one(connection).await?)
    }
}
