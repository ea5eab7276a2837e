-- The staged rows that change a product, found once by the comparison: the merge then touches no others.
create unlogged table staged_product_change (
    line bigint not null
);
