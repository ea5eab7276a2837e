"""Baseline: GET /products in FastAPI with asyncpg, the same handler as benches/speed/textbook.rs.

Reads SPSI_TOKEN_KEYS, SPEED_SOCKET_DIR and SPEED_DATABASE. One worker process for each core, on one port.
"""

import base64
import contextlib
import os
import pathlib
import socket
import sys
from decimal import ROUND_HALF_UP, Decimal

import asyncpg
import jwt
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.middleware.gzip import GZipMiddleware

SELECT = (pathlib.Path(__file__).parent.parent / "products.sql").read_text()
KEY = base64.b64decode(os.environ["SPSI_TOKEN_KEYS"].split(",")[0].split(":")[1] + "==")
MICRO = Decimal("0.000001")
CONNECTIONS = 16
WORKERS = os.cpu_count() or 2


@contextlib.asynccontextmanager
async def lifespan(app):
    app.state.pool = await asyncpg.create_pool(
        host=os.environ["SPEED_SOCKET_DIR"], database=os.environ["SPEED_DATABASE"], user="postgres",
        min_size=1, max_size=max(1, CONNECTIONS // WORKERS), server_settings={"plan_cache_mode": "force_custom_plan"})
    rows = await app.state.pool.fetch("select * from clinic where state = 'active'")
    app.state.clinics = {row["client_id"]: row for row in rows}
    # The parent process listens before it starts its workers. Each worker writes this line, in one write.
    os.write(2, f"listening on http://127.0.0.1:{os.environ['SPEED_PORT']}\n".encode())
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)
app.add_middleware(GZipMiddleware, compresslevel=1)


def plain(number):
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def like(text):
    text = text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{text}%"


def barcode(text):
    if text.isascii() and text.isdigit() and text[0] != "0" and int(text) < 1 << 53:
        return int(text)
    return text


def product(row):
    def per_unit(price):
        return (price / row["units_per_outer"]).quantize(MICRO, ROUND_HALF_UP)

    list_price = per_unit(row["list_price"])
    contract_price = list_price if row["contract_price"] is None else per_unit(row["contract_price"])
    return {
        "active": int(row["active"]), "code": row["code"], "name": row["name"], "type": row["type"],
        "category": row["category"], "units_per_outer": plain(row["units_per_outer"]),
        "unit_of_measure": row["unit_of_measure"], "price_per_unit": plain(list_price), "list_price": float(list_price),
        "contract_price": float(contract_price), "barcode": barcode(row["barcode"]),
        "stock_available": float(row["stock_available"]), "related_urls": row["related_urls"],
    }


@app.get("/products")
async def products(request: Request):
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        client = jwt.decode(token, KEY, algorithms=["HS256"])["sub"]
    except jwt.PyJWTError:
        return Response(status_code=401)
    clinic = app.state.clinics[client]
    values = [clinic[key] for key in ("id", "price_list_id", "hidden_categories", "hidden_products", "only_categories",
                                      "only_products", "restricted_licence")]
    conditions = page = ""
    query = request.query_params
    for column in ("name", "code"):
        terms = query.getlist(column) + query.getlist(f"{column}[]")
        if terms:
            values.append([like(text) for text in terms])
            conditions += f" and lower(p.{column}) like any (${len(values)})"
    if "limit" in query:
        limit = int(query["limit"])
        values += [limit, limit * int(query.get("page", 0))]
        page = f"limit ${len(values) - 1} offset ${len(values)}"
    statement = SELECT.replace("/* conditions */", conditions).replace("/* page */", page)
    rows = await app.state.pool.fetch(statement, *values)
    return Response(orjson.dumps({"products": [product(row) for row in rows]}), media_type="application/json")


if __name__ == "__main__":
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ["SPEED_PORT"] = str(port)
    os.chdir(pathlib.Path(__file__).parent)
    uvicorn.run("server:app", port=port, workers=WORKERS, log_level="warning", access_log=False)
