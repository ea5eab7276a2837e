//! What may be set per site: how ezyVet is called, and what invoices look like.

use super::overridable::overridable;
use super::*;

overridable! {
    /// What a site may have otherwise than the deployment.
    SiteSettings {
        /// What quantity, price and tax on an invoice count: unit or outer [SPSI.md 5.5]
        invoice_unit: Basis = "SPSI_INVOICE_UNIT", "unit";
        /// What freight_tax on an invoice is: percent or amount [SPSI.md 5.6]
        freight_tax: FreightTax = "SPSI_FREIGHT_TAX", "percent";
        /// Tax inside freight, in percent, where the order does not tell
        freight_tax_rate: Amount = "SPSI_FREIGHT_TAX_RATE", "0";
        /// Type of the job [SPSI.md 5.7]
        #[validate(length(min = 1, message = "must not be empty"))]
        job_type: String = "SPSI_JOB_TYPE", "ReceiveInvoice";
        /// Action of the job [SPSI.md 5.7]
        #[validate(length(min = 1, message = "must not be empty"))]
        job_action: String = "SPSI_JOB_ACTION", "ApiRequest";
        /// Endpoint inside the job [SPSI.md 5.7]
        #[validate(length(min = 1, message = "must not be empty"))]
        job_endpoint: String = "SPSI_JOB_ENDPOINT", "v2/receiveinvoice";
        /// form (PHP brackets) or json [SPSI.md 5.7]
        job_encoding: JobEncoding = "SPSI_JOB_ENCODING", "form";
        /// Most form fields in one job; an invoice of more is split; 0 for no limit [SPSI.md 5.15]
        max_form_fields: u32 = "SPSI_MAX_FORM_FIELDS", "900";
        /// What a shipment becomes: both, invoice or supplied [SPSI.md 5.8]
        deliver: Deliver = "SPSI_DELIVER", "both";
        /// What supplied counts: unit or outer [SPSI.md 5.9]
        supplied_unit: Basis = "SPSI_SUPPLIED_UNIT", "unit";
        /// Between scopes in a token request: space or comma [SPSI.md 5.10]
        scope_separator: ScopeSeparator = "SPSI_SCOPE_SEPARATOR", "space";
        /// After an unclear outcome of an invoice: resend (look, wait, look, resend once) or hold for staff [SPSI.md 5.14]
        unclear: Unclear = "SPSI_UNCLEAR", "resend";
        /// How long to wait between the two looks [SPSI.md 5.14]
        unclear_wait: Span = "SPSI_UNCLEAR_WAIT", "15m";
        /// What an answer of 500 to 599 (503 apart) says of a call that sends: unclear (it may have been done: as without an answer) or not-done (sent again; an invoice after a look) [SPSI.md 5.14]
        server_error: ServerError = "SPSI_SERVER_ERROR", "not-done";
        /// Longest wait for an answer of ezyVet
        #[validate(custom(function = "some_time"))]
        call_timeout: Span = "SPSI_CALL_TIMEOUT", "30s";
        /// First wait before a failed call is repeated; doubles from there
        retry_base: Span = "SPSI_RETRY_BASE", "5s";
        /// Longest wait before a failed call is repeated
        retry_max: Span = "SPSI_RETRY_MAX", "1h";
        /// Failures of the site in a row after which it is left alone for the time of a repeated call, then probed with one
        #[validate(range(min = 1, message = "must be at least 1"))]
        breaker_failures: u32 = "SPSI_BREAKER_FAILURES", "5";
        /// Calls of one kind (invoices, supplied) that are under way at once
        #[validate(range(min = 1, max = 64, message = "must be 1 to 64"))]
        calls_at_once: u32 = "SPSI_CALLS_AT_ONCE", "4";
        /// Life of a token whose own end cannot be read, at the most
        #[validate(custom(function = "some_time"))]
        token_life: Span = "SPSI_EZYVET_TOKEN_LIFE", "8h";
        /// How long before its end a token is replaced; a tenth of its life at the most
        token_margin: Span = "SPSI_EZYVET_TOKEN_MARGIN", "60s";
        /// A site that refused the inventory scopes is asked again after this
        inventory_recheck: Span = "SPSI_INVENTORY_RECHECK", "24h";
        /// A list of inventory products that is younger is not read again for a code that it lacks
        inventory_list_life: Span = "SPSI_INVENTORY_LIST_LIFE", "10m";
        /// First wait before asking whether the clinic has approved an invoice; grows from there
        receipt_poll: Span = "SPSI_RECEIPT_POLL", "15m";
        /// Longest wait between two questions whether the clinic has approved
        receipt_poll_max: Span = "SPSI_RECEIPT_POLL_MAX", "24h";
        /// When to stop asking whether the clinic has approved
        receipt_give_up: Span = "SPSI_RECEIPT_GIVE_UP", "30d";
        /// Calls that ezyVet permits per endpoint and window
        #[validate(range(min = 1, message = "must be at least 1"))]
        rate_per_endpoint: u32 = "SPSI_RATE_PER_ENDPOINT", "60";
        /// Calls that ezyVet permits over all endpoints per window
        #[validate(range(min = 1, message = "must be at least 1"))]
        rate_per_site: u32 = "SPSI_RATE_PER_SITE", "180";
        /// The window that these count in
        #[validate(custom(function = "some_time"))]
        rate_window: Span = "SPSI_RATE_WINDOW", "60s";
        /// In front of the invoice numbers that we give
        invoice_prefix: String = "SPSI_INVOICE_PREFIX", "INV-";
        /// Whether these end in a check digit: on or off
        invoice_check_digit: Switch = "SPSI_INVOICE_CHECK_DIGIT", "off";
        /// Whether an invoice that practice systems refuse is kept for staff instead of sent: on or off
        check_invoices: Switch = "SPSI_CHECK_INVOICES", "on";
        /// Days from the invoice's date to its due date
        payment_days: u32 = "SPSI_PAYMENT_DAYS", "30";
        /// Tax code on invoice lines whose product has none
        tax_code: String = "SPSI_TAX_CODE", "S";
        /// Tax codes that the site knows, comma separated; an invoice with another waits for staff; empty for any
        known_tax_codes: String = "SPSI_KNOWN_TAX_CODES", "";
        /// Pages of a list that are read at the most, of 200 each
        #[validate(range(min = 1, message = "must be at least 1"))]
        max_list_pages: u32 = "SPSI_MAX_LIST_PAGES", "500";
        /// Largest answer of ezyVet that is read, in bytes
        #[validate(range(min = 1024, message = "must be at least 1024"))]
        max_response_bytes: u32 = "SPSI_MAX_RESPONSE_BYTES", "4194304";
    }
}
