"""An ERP in twenty lines: it listens for events, accepts the orders that it is asked about, and ships what is accepted."""
import base64, hashlib, hmac, json, os, urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

API, KEY, SECRET = os.environ["SPSI_URL"] + "/staff/v1", os.environ["SPSI_KEY"], os.environ["WEBHOOK_SECRET"]

def post(path, body, once):
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", "Idempotency-Key": once}
    return json.load(urllib.request.urlopen(urllib.request.Request(API + path, json.dumps(body).encode(), headers)))

class Listener(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + body
        expected = hmac.new(base64.b64decode(SECRET.removeprefix("whsec_")), signed, hashlib.sha256).digest()
        if "v1," + base64.b64encode(expected).decode() not in self.headers["webhook-signature"].split():
            return self.send_error(401)
        event = json.loads(body)
        order = event["data"].get("supplier_order_number")
        if event["type"] == "order.held" and "ask" in [finding["action"] for finding in event["data"]["findings"]]:
            post(f"/orders/{order}/accept", {"reason": "checked by the ERP"}, event["id"])
            print(f"{order} checked and accepted", flush=True)
        elif event["type"] == "order.accepted":
            print(f"{order} shipped, invoice", post("/shipments", {"order": order}, event["id"])["invoice_number"], flush=True)
        self.send_response(204)
        self.end_headers()

HTTPServer(("127.0.0.1", int(os.environ.get("ERP_PORT", "8099"))), Listener).serve_forever()
