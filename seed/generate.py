#!/usr/bin/env python3
"""Makes products.csv, price_lists.csv and prices.csv of this folder. Every price and every stock in them is an EXAMPLE.

    python3 generate.py PATH/TO/vet_products.csv [--check]

The original is the file that README.md describes. The same original gives the same bytes on every machine: the only
source of variety is SHA-256 of the product code, and all arithmetic is on integers. --check writes nothing and fails
where a file here differs from what the original gives. clinics.csv is written by hand and is the input for prices.csv.
"""

import csv
import hashlib
import io
import math
import pathlib
import sys
from decimal import Decimal

HERE = pathlib.Path(__file__).parent
COLUMNS = ["code", "name", "type", "category", "units_per_outer", "unit_of_measure", "list_price", "barcode",
           "stock_available", "active", "related_urls", "manufacturer", "tax_code", "tax_rate", "price_note"]
EXAMPLE = "EXAMPLE price and stock, generated"
NO_PACK = "no pack size in the source: no price"
EXAMPLE_CONTRACT = "EXAMPLE price, generated"

# One in so many of the products that are no longer marketed is kept, so that clinics see withdrawn products too.
KEEP_WITHDRAWN = 10

# Measures in millilitres or grams, times 1000; the lower end of the price band in cents per square root of them.
VOLUME = {"ml": 1_000, "l": 1_000_000, "fl oz": 29_574, "gal": 3_785_412}
WEIGHT = {"mg": 1, "g": 1_000, "kg": 1_000_000, "oz": 28_350, "lb": 453_592}
PIECE_BAND, VOLUME_BAND, WEIGHT_BAND = 300, 80, 50

# (price list, percent of the list price, one in so many products)
PRICE_LISTS = [("Example Buying Group", 92, 25), ("Example Teaching Hospitals", 85, 60)]
# client id -> (percent of the list price, one in so many products)
CLINIC_PRICES = {"seed-harbour-vet": (88, 150), "seed-station-road": (90, 80), "seed-meadow-farm": (80, 200)}


def number(code, purpose):
    """A number that depends on nothing but its arguments."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{code}".encode()).digest()[:8], "big")


def thousandths(text):
    return int(Decimal(text) * 1000)


def band_and_size(units, measure):
    """The price band and the size of one outer in thousandths of a piece, millilitre or gram."""
    amount, _, unit = measure.partition(" ")
    if not amount[:1].isdigit():
        amount, unit = "1", measure
    unit = unit.lower()
    content = thousandths(units) * thousandths(amount)
    if unit in VOLUME:
        return VOLUME_BAND, content * VOLUME[unit] // 1_000_000
    if unit in WEIGHT:
        return WEIGHT_BAND, content * WEIGHT[unit] // 1_000_000
    return PIECE_BAND, content // 1_000


def money(cents):
    return f"{cents // 100}.{cents % 100:02}"


def list_price_cents(row):
    """Grows with the square root of the pack, within a band per kind of measure; in steps of 5 cents, 1.95 or more."""
    band, size = band_and_size(row["units_per_outer"], row["unit_of_measure"])
    rate = band + number(row["code"], "price") % (2 * band)
    # size is in thousandths: the root of (size * 1000) is the root of the size in wholes, times 1000.
    cents = rate * math.isqrt(size * 1000) // 1000
    return max(195, (cents + 2) // 5 * 5)


def percent_of(cents, percent):
    return (cents * percent + 50) // 100


def products(original):
    for row in original:
        packed = row["units_per_outer"] != "" and row["unit_of_measure"] != ""
        active = row["active"] == "1"
        if not active and not (packed and number(row["code"], "keep") % KEEP_WITHDRAWN == 0):
            continue
        made = {column: row.get(column, "") for column in COLUMNS}
        made["price_note"] = EXAMPLE if packed else NO_PACK
        if packed:
            made["list_price"] = money(list_price_cents(row))
            stock = number(row["code"], "stock") % 250 - 25
            made["stock_available"] = str(max(0, stock)) if active else "0"
        yield made


def contract_rows(made, party, percent, one_in):
    for row in made:
        if row["list_price"] and row["active"] == "1" and number(row["code"], party) % one_in == 0:
            cents = int(row["list_price"].replace(".", ""))
            yield [party, row["code"], money(percent_of(cents, percent)), EXAMPLE_CONTRACT]


def table(header, rows):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue().encode()


def main(arguments):
    paths = [argument for argument in arguments if argument != "--check"]
    if len(paths) != 1:
        sys.exit(__doc__)
    with open(paths[0], encoding="utf-8", newline="") as file:
        made = sorted(products(csv.DictReader(file)), key=lambda row: row["code"].encode())
    with open(HERE / "clinics.csv", encoding="utf-8", newline="") as file:
        clients = [row["client_id"] for row in csv.DictReader(file)]
    price_lists = [row for name, *rule in PRICE_LISTS for row in contract_rows(made, name, *rule)]
    prices = [row for client in clients if client in CLINIC_PRICES
              for row in contract_rows(made, client, *CLINIC_PRICES[client])]
    tail = ["code", "contract_price", "price_note"]
    files = {
        "products.csv": table(COLUMNS, ([row[column] for column in COLUMNS] for row in made)),
        "price_lists.csv": table(["price_list", *tail], price_lists),
        "prices.csv": table(["clinic", *tail], prices),
    }
    stale = []
    for name, content in files.items():
        path = HERE / name
        if "--check" not in arguments:
            path.write_bytes(content)
        elif not path.exists() or path.read_bytes() != content:
            stale.append(name)
        print(f"{name}: {len(content.splitlines()) - 1} rows, {len(content)} bytes", file=sys.stderr)
    if stale:
        sys.exit(f"differ from what the original gives: {', '.join(stale)}")


if __name__ == "__main__":
    main(sys.argv[1:])
