// The main story of the staff API, told with the types that openapi-typescript generates from openapi/staff.json.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths } from "./staff.js";

const headers = { authorization: `Bearer ${process.env.SPSI_KEY}` };
const api = createClient<paths>({ baseUrl: process.env.SPSI_URL, headers });

const waiting = await api.GET("/staff/v1/orders", { params: { query: { state: "held", asked: true, limit: 10 } } });
assert.equal(waiting.data?.data.length, 1);
const id = waiting.data.data[0].supplier_order_number;

const once = (key: string) => ({ "Idempotency-Key": `${key}-${id}` });
const accepted = await api.POST("/staff/v1/orders/{id}/accept", {
  params: { path: { id }, header: once("accept") },
  body: { reason: "in stock" },
});
assert.equal(accepted.data?.state, "accepted");
const refused = await api.POST("/staff/v1/orders/{id}/accept", { params: { path: { id } }, body: {} });
assert.equal(refused.error?.status, 409);

const ship = () =>
  api.POST("/staff/v1/shipments", { params: { header: once("ship") }, body: { order: id, freight: "4.50" } });
const [first, again] = [await ship(), await ship()];
assert.equal(first.response.status, 201);
assert.equal(again.data?.id, first.data?.id);
const shown = await api.GET("/staff/v1/orders/{id}", { params: { path: { id } } });
assert.equal(shown.data?.state, "shipped");

const deliveries = await api.GET("/staff/v1/deliveries", { params: { query: { order: id } } });
assert.deepEqual(new Set(deliveries.data?.data.map((delivery) => delivery.kind)), new Set(["receive_invoice", "supplied"]));
console.log(id, first.data?.invoice_number);
