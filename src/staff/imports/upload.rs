//! Reads an upload: a multipart form with files and options, or one CSV file with the options in the query.

use crate::catalog::import::ImportKind;
use crate::catalog::imports::{UploadOptions, UploadedFile, UploadedFiles};
use crate::staff::Staff;
use crate::staff::problem::{FieldError, Kind, Problem, Result};
use crate::staff::write::Content;
use bytes::Bytes;
use serde::Deserialize;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// Time for an upload to arrive: 64 MB at 2 Mbit/s.
const TIMEOUT: Duration = Duration::from_secs(300);
const CSV: &str = "text/csv";
const FORM: &str = "multipart/form-data";

/// The body of an upload, as sent.
#[derive(Debug)]
pub struct UploadBody {
    media_type: String,
    bytes: Bytes,
}

impl Content for UploadBody {
    const MEDIA_TYPES: &'static [&'static str] = &[CSV, FORM];

    fn limit(staff: &Staff) -> usize {
        staff.settings.staff.max_upload_bytes
    }

    fn timeout(_: &Staff) -> Duration {
        TIMEOUT
    }

    fn parse(media_type: &str, bytes: Bytes) -> Result<Self> {
        Ok(Self { media_type: media_type.to_owned(), bytes })
    }
}

/// The options of a file that is sent as `text/csv`. A form has them as fields.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UploadParams {
    /// What a `text/csv` body is: `products` or `prices` [default: products]
    file: Option<String>,
    /// Name of the file, for errors and lists [default: products.csv or prices.csv]
    name: Option<String>,
    /// What a products file changes: `full` (all columns; products that are missing are withdrawn), `stock` or `prices`
    /// [default: full]
    kind: Option<String>,
    /// `comma`, `semicolon`, `tab`, `pipe`, or a character [default: detected]
    delimiter: Option<String>,
    /// `utf-8` or `windows-1252` [default: detected]
    encoding: Option<String>,
    /// `point` or `comma` [default: detected]
    decimal: Option<String>,
    /// Lines such as `code = Article number` that name the columns of the file
    mapping: Option<String>,
    /// `true` permits more withdrawals than SPSI_WITHDRAWAL_LIMIT [default: false]
    allow_withdrawals: Option<String>,
}

/// The form of an upload.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the schema is used")]
pub struct UploadForm {
    /// The products file.
    #[schema(value_type = Option<String>, format = Binary)]
    products: Option<Vec<u8>>,
    /// The contract prices file.
    #[schema(value_type = Option<String>, format = Binary)]
    prices: Option<Vec<u8>>,
    /// What the products file changes [default: full].
    kind: Option<ImportKind>,
    /// `comma`, `semicolon`, `tab`, `pipe`, or a character [default: detected].
    delimiter: Option<String>,
    /// `utf-8` or `windows-1252` [default: detected].
    encoding: Option<String>,
    /// `point` or `comma` [default: detected].
    decimal: Option<String>,
    /// Lines such as `code = Article number` that name the columns of the files.
    mapping: Option<String>,
    /// Permit more withdrawals than SPSI_WITHDRAWAL_LIMIT [default: false].
    allow_withdrawals: Option<bool>,
}

/// Reads the files and the options. Reports every invalid option.
pub(super) async fn read(body: &UploadBody, params: UploadParams) -> Result<(UploadedFiles, UploadOptions)> {
    let (mut files, mut fields, mut errors) = (UploadedFiles::default(), params, Vec::new());
    if body.media_type.to_ascii_lowercase().starts_with(FORM) {
        read_form(body, &mut files, &mut fields, &mut errors).await?;
    } else {
        let is_prices = fields.file.as_deref() == Some("prices");
        let name = fields.name.take();
        let name = name.unwrap_or_else(|| if is_prices { "prices.csv" } else { "products.csv" }.to_owned());
        let file = Some(UploadedFile { name, content: body.bytes.clone() });
        if is_prices { files.prices = file } else { files.products = file }
    }
    if fields.file.as_deref().is_some_and(|file| !["products", "prices"].contains(&file)) {
        errors.push(FieldError::new("file", "must be products or prices"));
    }
    let kind = match fields.kind.as_deref() {
        None | Some("full") => ImportKind::Full,
        Some("stock") => ImportKind::Stock,
        Some("prices") => ImportKind::Prices,
        Some(_) => {
            errors.push(FieldError::new("kind", "must be full, stock or prices"));
            ImportKind::Full
        }
    };
    let allow_withdrawals = match fields.allow_withdrawals.as_deref() {
        None | Some("false" | "0") => false,
        Some("true" | "1") => true,
        Some(_) => {
            errors.push(FieldError::new("allow_withdrawals", "must be true or false"));
            false
        }
    };
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let UploadParams { delimiter, encoding, decimal, mapping, .. } = fields;
    Ok((files, UploadOptions { kind, delimiter, encoding, decimal, mapping, allow_withdrawals }))
}

async fn read_form(
    body: &UploadBody,
    files: &mut UploadedFiles,
    fields: &mut UploadParams,
    errors: &mut Vec<FieldError>,
) -> Result<()> {
    let unreadable =
        |error: multer::Error| Problem::new(Kind::BadRequest, format!("The form cannot be read: {error}."));
    let boundary = multer::parse_boundary(&body.media_type).map_err(unreadable)?;
    let bytes = body.bytes.clone();
    let stream = futures_util::stream::once(async move { Ok::<_, std::convert::Infallible>(bytes) });
    let mut parts = multer::Multipart::new(stream, boundary);
    while let Some(part) = parts.next_field().await.map_err(unreadable)? {
        let name = part.name().unwrap_or_default().to_owned();
        let field = match name.as_str() {
            "products" | "prices" => {
                let file_name = part.file_name().filter(|file| !file.is_empty()).map(str::to_owned);
                let content = part.bytes().await.map_err(unreadable)?;
                let file = UploadedFile { name: file_name.unwrap_or_else(|| format!("{name}.csv")), content };
                let slot = if name == "products" { &mut files.products } else { &mut files.prices };
                if slot.replace(file).is_some() {
                    errors.push(FieldError::new(name, "is given twice"));
                }
                continue;
            }
            "kind" => &mut fields.kind,
            "delimiter" => &mut fields.delimiter,
            "encoding" => &mut fields.encoding,
            "decimal" => &mut fields.decimal,
            "mapping" => &mut fields.mapping,
            "allow_withdrawals" => &mut fields.allow_withdrawals,
            _ => {
                errors.push(FieldError::new(name, "is not a field of this form"));
                continue;
            }
        };
        let text = part.text().await.map_err(unreadable)?;
        *field = Some(text).filter(|text| !text.is_empty());
    }
    Ok(())
}
