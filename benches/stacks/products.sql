-- The query of every baseline for /products. A baseline replaces the comments `conditions` and `page`.
-- $1 clinic, $2 its price list, $3 hidden categories, $4 hidden products, $5 only categories, $6 only products, $7 licence
-- for restricted products.
-- The page is cut before prices and stock are joined. The bench's contract prices of a product never overlap in time, so
-- plain joins give one row for each product.
select p.code, p.name, p.type, p.category, p.units_per_outer, p.unit_of_measure, p.list_price,
    coalesce(own.contract_price, list.contract_price) as contract_price, p.barcode,
    greatest(p.stock_available - coalesce((select sum(l.reserved) from purchase_order_line l
        where l.supplier_code = p.code and l.reserved > 0), 0), 0) as stock_available,
    p.active, p.related_urls
from (
    select * from product p
    where p.list_price is not null
        and (p.active or p.withdrawn_at > now() - interval '90 days')
        and p.category <> all ($3) and p.code <> all ($4)
        and (cardinality($5::text[]) = 0 and cardinality($6::text[]) = 0 or p.category = any ($5) or p.code = any ($6))
        and ($7 or not p.restricted)
        /* conditions */
    order by p.code
    /* page */
) p
left join clinic_price own
    on own.clinic_id = $1 and own.product_id = p.id and current_date between own.valid_from and own.valid_until
left join price_list_price list
    on list.price_list_id = $2 and list.product_id = p.id and current_date between list.valid_from and list.valid_until
order by p.code
