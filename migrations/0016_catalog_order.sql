-- The server loads products in byte order of their code. With this index they stream from the first row on, instead of
-- after a sort of the whole table.
create index product_code_bytes on product (code collate "C") where list_price is not null;
