//! The settings that a clinic can override: prices and products as it sees them, and the rules of the order decision.

use super::overridable::overridable;
use super::*;

overridable! {
    /// The deployment's settings that a clinic can override.
    ClinicSettings, "Clinics (`spsi clinic set` overrides these for one clinic)" {
        /// Response to a declined order: 422, 400 or 409 with the reasons in `messages`, or 200 with the status Cancelled
        /// [SPSI.md 5.1]
        decline_answer: DeclineAnswer = "SPSI_DECLINE_ANSWER", "422";
        /// Basis of list_price and contract_price in /products: `unit` or `outer` (the pack that is sold) [SPSI.md 5.2]
        price_basis: Basis = "SPSI_PRICE_BASIS", "unit";
        /// contract_price of a product for which the clinic has none: `list` (the list price), `null` or `omit`
        /// [SPSI.md 5.3]
        missing_contract_price: MissingContractPrice = "SPSI_MISSING_CONTRACT_PRICE", "list";
        /// JSON type of barcodes: `auto` (a number unless digits would be lost) or `string` [SPSI.md 5.4]
        barcode: BarcodeType = "SPSI_BARCODE", "auto";
        /// A known order id with changed content: `revise` (a new revision while nothing has shipped, else 409) or `refuse`
        /// (always 409) [SPSI.md 5.11]
        changed_order: ChangedOrder = "SPSI_CHANGED_ORDER", "revise";
        /// How long a withdrawn product stays listed with `active` 0: a duration, `0s` or `forever` [SPSI.md 5.12]
        withdrawn_for: Retention = "SPSI_WITHDRAWN_FOR", "90d";
        /// A line whose product code is unknown or hidden from the clinic. Each rule has four actions: `off`, `note` (accept with
        /// a note to staff), `hold` (leave the order to staff) and `decline`
        rule_unknown_product: RuleAction = "SPSI_RULE_UNKNOWN_PRODUCT", "decline";
        /// A line for a withdrawn product
        rule_withdrawn_product: RuleAction = "SPSI_RULE_WITHDRAWN_PRODUCT", "decline";
        /// A line for a restricted product, ordered by a clinic without the licence
        rule_restricted_product: RuleAction = "SPSI_RULE_RESTRICTED_PRODUCT", "decline";
        /// A line whose units_per_outer differs from the catalogue
        rule_pack_size: RuleAction = "SPSI_RULE_PACK_SIZE", "hold";
        /// A line whose quantity is not outers x units_per_outer, or whose total is not quantity x price
        rule_line_arithmetic: RuleAction = "SPSI_RULE_LINE_ARITHMETIC", "decline";
        /// Header totals that differ from the sum of the lines
        rule_header_totals: RuleAction = "SPSI_RULE_HEADER_TOTALS", "note";
        /// A price below the clinic's price by more than the tolerance
        rule_price_below: RuleAction = "SPSI_RULE_PRICE_BELOW", "hold";
        /// A price above the clinic's price by more than the tolerance
        rule_price_above: RuleAction = "SPSI_RULE_PRICE_ABOVE", "note";
        /// Percentage by which an ordered price can differ from the clinic's price
        price_tolerance: Amount = "SPSI_PRICE_TOLERANCE", "1";
        /// A line for more than the free stock. `note` accepts the rest as a back-order
        rule_stock_short: RuleAction = "SPSI_RULE_STOCK_SHORT", "note";
        /// A quantity that is not a whole number of outers
        rule_broken_pack: RuleAction = "SPSI_RULE_BROKEN_PACK", "hold";
        /// An order below the minimum order
        rule_minimum_order: RuleAction = "SPSI_RULE_MINIMUM_ORDER", "decline";
        /// Minimum order as a total without tax. 0 means no minimum
        minimum_order: Amount = "SPSI_MINIMUM_ORDER", "0";
        /// An order of a clinic whose account is on hold
        rule_account_on_hold: RuleAction = "SPSI_RULE_ACCOUNT_ON_HOLD", "hold";
        /// A purchase_order_number that the clinic has used before under another id
        rule_repeated_number: RuleAction = "SPSI_RULE_REPEATED_NUMBER", "note";
        /// A shipping_address_id without an address (`spsi clinic map` adds one)
        rule_ship_to_unmapped: RuleAction = "SPSI_RULE_SHIP_TO_UNMAPPED", "note";
        /// An order that returns goods (negative quantities)
        rule_return: RuleAction = "SPSI_RULE_RETURN", "hold";
        /// Decision about an order that the other rules accept: `off` (accepted), `ask` (held until the supplier's system or
        /// staff accept or decline it) or `hook` (the order hook is asked while ezyVet waits)
        rule_ask: AskRule = "SPSI_RULE_ASK", "off";
        /// Time to decide about an order that is held by `rule_ask`. Afterwards `ask_default` applies
        #[validate(custom(function = "not_zero"))]
        ask_within: Span = "SPSI_ASK_WITHIN", "4h";
        /// Decision about an order that is still held by `rule_ask` when its time is over: `hold` (it stays held for staff),
        /// `accept` or `decline`
        ask_default: AskDefault = "SPSI_ASK_DEFAULT", "hold";
    }
}
