//! Copies the files into the staging tables, and collects the errors of single rows and of rows that contradict others.

use super::prices::{self, PriceRows};
use super::problems::Refusal;
use super::pump::{Chunk, Pumped, Rows, pump};
use super::rows::ProductRows;
use super::summary::{ContractSummary, ImportSummary};
use super::{ImportError, ImportKind, Progress, Run, SourceFile, SourceFiles, store};
use sqlx::PgConnection;
use sqlx::postgres::PgCopyIn;
use tokio::sync::mpsc;

impl Run<'_> {
    /// Stages the files. Fails with all errors of both files.
    pub(super) async fn stage(
        &self,
        connection: &mut PgConnection,
        files: SourceFiles,
    ) -> Result<ImportSummary, ImportError> {
        let SourceFiles { products, prices } = files;
        let mut summary = ImportSummary {
            file: products.as_ref().map(|file| file.name.clone()),
            prices_file: prices.as_ref().map(|file| file.name.clone()),
            ..Default::default()
        };
        let mut refusal = Refusal::default();
        if let Some(file) = products {
            let staged = self.stage_products(connection, file).await?;
            summary.rows = staged.rows;
            summary.notes.extend(staged.notes);
            refusal.add(staged.problems);
        }
        if let Some(file) = prices {
            // If the products file has an invalid header, its codes are unknown, and an error for each would mislead.
            let (staged, new_price_lists) = self.stage_prices(connection, file, !refusal.has_invalid_header()).await?;
            summary.contract_prices =
                Some(ContractSummary { rows: staged.rows, new_price_lists, ..Default::default() });
            summary.notes.extend(staged.notes);
            refusal.add(staged.problems);
        }
        if refusal.count == 0 {
            return Ok(summary);
        }
        refusal.errors.sort();
        Err(ImportError::Refused(Box::new(refusal)))
    }

    async fn stage_products(&self, connection: &mut PgConnection, file: SourceFile) -> Result<Pumped, ImportError> {
        let copy = store::copy_products(connection).await?;
        let mut staged = self.copy(copy, file, ProductRows::new(self.options.kind)).await?;
        store::analyze_products(connection).await?;
        let problems = &mut staged.problems;
        let repeated = store::find_repeated_codes(connection).await?;
        problems.add_found("code", repeated, |found| format!("is already on line {}", found.first_line));
        if self.options.kind != ImportKind::Full {
            let unknown = store::find_unknown_codes(connection).await?;
            problems.add_found("code", unknown, |_| "is not in the catalogue");
            let unpacked = store::find_prices_without_units(connection).await?;
            let reason = "has no known pack size; import the product with its units_per_outer first";
            problems.add_found("code", unpacked, |_| reason);
        }
        Ok(staged)
    }

    /// Returns the names of the new price lists, too.
    async fn stage_prices(
        &self,
        connection: &mut PgConnection,
        file: SourceFile,
        are_codes_known: bool,
    ) -> Result<(Pumped, Vec<String>), ImportError> {
        let copy = prices::store::copy_prices(connection).await?;
        let mut staged = self.copy(copy, file, PriceRows).await?;
        prices::store::analyze_prices(connection).await?;
        let new_price_lists = prices::store::insert_price_lists(connection).await?;
        let problems = &mut staged.problems;
        let unknown = prices::store::find_unknown_clinics(connection).await?;
        problems.add_found("clinic", unknown, |_| "is neither the id nor the client id of a clinic");
        if are_codes_known {
            let unknown = prices::store::find_unknown_products(connection).await?;
            problems.add_found("code", unknown, |_| "is not in the catalogue");
        }
        let repeated = prices::store::find_repeated_prices(connection).await?;
        problems.add_found("code", repeated, |found| format!("already has a price on line {}", found.first_line));
        Ok((staged, new_price_lists))
    }

    /// Copies a file's rows into a staging table.
    async fn copy<R: Rows>(
        &self,
        mut copy: PgCopyIn<&mut PgConnection>,
        SourceFile { name, content }: SourceFile,
        rows: R,
    ) -> Result<Pumped, ImportError> {
        let (sender, mut receiver) = mpsc::channel::<Chunk>(4);
        let (file, format) = (name.clone(), self.options.format.clone());
        let reading = tokio::task::spawn_blocking(move || pump(&file, content, &format, rows, &sender));
        while let Some(chunk) = receiver.recv().await {
            copy.send(chunk.lines).await?;
            (self.progress)(Progress::Reading { file: &name, rows: chunk.rows });
        }
        copy.finish().await?;
        match reading.await {
            Ok(Ok(pumped)) => Ok(pumped),
            Ok(Err(source)) => Err(ImportError::Read { file: name, source }),
            Err(_) => Err(ImportError::Stopped { file: name }),
        }
    }
}
