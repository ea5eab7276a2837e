//! The settings that a site can override: how ezyVet is called, and what invoices contain.

use super::overridable::overridable;
use super::*;

overridable! {
    /// The deployment's settings that a site can override.
    SiteSettings, "Sites (`spsi site set` overrides these for one site)" {
        /// Unit of quantity, price and tax on an invoice: `unit` or `outer` [SPSI.md 5.5]
        invoice_unit: Basis = "SPSI_INVOICE_UNIT", "unit";
        /// Meaning of freight_tax on an invoice: `percent` or `amount` [SPSI.md 5.6]
        freight_tax: FreightTax = "SPSI_FREIGHT_TAX", "percent";
        /// Tax included in the freight, in percent, if the order has no freight tax
        freight_tax_rate: Amount = "SPSI_FREIGHT_TAX_RATE", "0";
        /// `type` of the job that delivers an invoice [SPSI.md 5.7]
        #[validate(length(min = 1, message = "must not be empty"))]
        job_type: String = "SPSI_JOB_TYPE", "ReceiveInvoice";
        /// `action` of the job that delivers an invoice [SPSI.md 5.7]
        #[validate(length(min = 1, message = "must not be empty"))]
        job_action: String = "SPSI_JOB_ACTION", "ApiRequest";
        /// `endpoint` in the job that delivers an invoice [SPSI.md 5.7]
        #[validate(length(min = 1, message = "must not be empty"))]
        job_endpoint: String = "SPSI_JOB_ENDPOINT", "v2/receiveinvoice";
        /// Encoding of the job: `form` (PHP brackets) or `json` [SPSI.md 5.7]
        job_encoding: JobEncoding = "SPSI_JOB_ENCODING", "form";
        /// Maximum number of form fields in one job. A longer invoice is split into several; 0 means no limit [SPSI.md 5.15]
        max_form_fields: u32 = "SPSI_MAX_FORM_FIELDS", "900";
        /// Deliveries of a shipment: `both`, `invoice` or `supplied` [SPSI.md 5.8]
        deliver: Deliver = "SPSI_DELIVER", "both";
        /// Unit of the quantities in `supplied`: `unit` or `outer` [SPSI.md 5.9]
        supplied_unit: Basis = "SPSI_SUPPLIED_UNIT", "unit";
        /// Separator of scopes in a token request: `space` or `comma` [SPSI.md 5.10]
        scope_separator: ScopeSeparator = "SPSI_SCOPE_SEPARATOR", "space";
        /// Handling of an invoice whose outcome is unclear: `resend` (look for it, wait, look again, resend once under the
        /// same number) or `hold` (leave it to staff) [SPSI.md 5.14]
        unclear: Unclear = "SPSI_UNCLEAR", "resend";
        /// Wait between the two looks for an unclear invoice, and pause of an endpoint after two unclear calls in a row
        /// [SPSI.md 5.14]
        unclear_wait: Span = "SPSI_UNCLEAR_WAIT", "15m";
        /// Handling of a sent call that ezyVet answers with 500 to 599, except 503: `unclear` (ezyVet may have done it, as if
        /// no answer had come) or `not-done` (send again, an invoice after a look). Choose `not-done` only for a site that
        /// never answers 500 after doing a call [SPSI.md 5.14]
        server_error: ServerError = "SPSI_SERVER_ERROR", "unclear";
        /// Maximum time for a response of ezyVet
        #[validate(custom(function = "not_zero"))]
        call_timeout: Span = "SPSI_CALL_TIMEOUT", "30s";
        /// Wait before the first retry of a failed call. Each further retry doubles the wait
        retry_base: Span = "SPSI_RETRY_BASE", "5s";
        /// Maximum wait before a retry
        retry_max: Span = "SPSI_RETRY_MAX", "1h";
        /// Number of consecutive failures after which the circuit breaker pauses calls to the site
        #[validate(range(min = 1, message = "must be at least 1"))]
        breaker_failures: u32 = "SPSI_BREAKER_FAILURES", "5";
        /// Maximum number of concurrent calls of one kind (invoices, supplied) to the site
        #[validate(range(min = 1, max = 64, message = "must be 1 to 64"))]
        calls_at_once: u32 = "SPSI_CALLS_AT_ONCE", "4";
        /// Wait before a refused inventory scope is tried again, and before products and locations without a uid are looked
        /// up again
        inventory_recheck: Span = "SPSI_INVENTORY_RECHECK", "24h";
        /// Minimum age of a stored list (inventory products, separations) before it is read again for a missing entry. A
        /// delivery that is younger than the list waits for this. A shorter time finds new products sooner and spends more
        /// of the rate
        inventory_list_life: Span = "SPSI_INVENTORY_LIST_LIFE", "10m";
        /// First wait before the worker asks whether the clinic has approved an invoice. Each further wait is longer
        receipt_poll: Span = "SPSI_RECEIPT_POLL", "15m";
        /// Maximum wait between two questions whether the clinic has approved an invoice
        receipt_poll_max: Span = "SPSI_RECEIPT_POLL_MAX", "24h";
        /// Age of an invoice after which the worker no longer asks whether the clinic has approved it
        receipt_give_up: Span = "SPSI_RECEIPT_GIVE_UP", "30d";
        /// Number of calls that ezyVet permits per endpoint and window
        #[validate(range(min = 1, message = "must be at least 1"))]
        rate_per_endpoint: u32 = "SPSI_RATE_PER_ENDPOINT", "60";
        /// Number of calls that ezyVet permits over all endpoints per window
        #[validate(range(min = 1, message = "must be at least 1"))]
        rate_per_site: u32 = "SPSI_RATE_PER_SITE", "180";
        /// Window in which ezyVet counts calls
        #[validate(custom(function = "not_zero"))]
        rate_window: Span = "SPSI_RATE_WINDOW", "60s";
        /// Prefix of the invoice numbers
        invoice_prefix: String = "SPSI_INVOICE_PREFIX", "INV-";
        /// Check digit (Luhn) at the end of the invoice numbers: `on` or `off`
        invoice_check_digit: Switch = "SPSI_INVOICE_CHECK_DIGIT", "off";
        /// Check of each invoice before it is sent: `on` leaves an invoice that ezyVet would refuse to staff, `off` sends it
        check_invoices: Switch = "SPSI_CHECK_INVOICES", "on";
        /// Number of days from the date of an invoice to its due date
        payment_days: u32 = "SPSI_PAYMENT_DAYS", "30";
        /// Tax code of an invoice line if neither the product nor the clinic has one
        tax_code: String = "SPSI_TAX_CODE", "S";
        /// Tax codes that exist at the site, separated by commas. An invoice with another code is left to staff; empty
        /// permits every code
        known_tax_codes: String = "SPSI_KNOWN_TAX_CODES", "";
    }
}
