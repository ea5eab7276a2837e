"""The main story of the staff API, told with the client that openapi-python-client generates from openapi/staff.json."""
import os

from spsi_partner_staff_api_client import AuthenticatedClient
from spsi_partner_staff_api_client.api.deliveries import list_deliveries
from spsi_partner_staff_api_client.api.events import list_events
from spsi_partner_staff_api_client.api.orders import accept_order, list_orders, show_order
from spsi_partner_staff_api_client.api.shipments import create_shipment
from spsi_partner_staff_api_client.models import Acceptance, NewShipment, OrderState, Problem, Shipment

client = AuthenticatedClient(base_url=os.environ["SPSI_URL"], token=os.environ["SPSI_KEY"])

waiting = list_orders.sync(client=client, state=OrderState.HELD, asked=True, limit=10).data
assert len(waiting) == 1, waiting
number = waiting[0].supplier_order_number

order = accept_order.sync(number, client=client, body=Acceptance(reason="in stock"), idempotency_key=f"accept-{number}")
assert order.state == "accepted", order
refused = accept_order.sync(number, client=client, body=Acceptance())
assert isinstance(refused, Problem) and refused.status == 409 and "accepted" in refused.detail, refused

new = NewShipment(order=number, freight="4.50")
first = create_shipment.sync(client=client, body=new, idempotency_key=f"ship-{number}")
again = create_shipment.sync(client=client, body=new, idempotency_key=f"ship-{number}")
assert isinstance(first, Shipment) and first.id == again.id and first.freight == "4.5", (first, again)
assert show_order.sync(number, client=client).state == "shipped"

deliveries = list_deliveries.sync(client=client, order=number).data
assert {delivery.kind for delivery in deliveries} == {"receive_invoice", "supplied"}, deliveries
kinds, after = [], None
while page := list_events.sync(client=client, **({"after": after} if after else {}), limit=2).data:
    kinds += [event.type_ for event in page]
    after = page[-1].id
assert kinds[:4] == ["catalog.imported", "order.held", "order.accepted", "shipment.created"], kinds
print(number, first.invoice_number)
