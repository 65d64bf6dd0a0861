// Who has written to us about a parcel that really is late or lost,
// and what are these customers worth?
const text = "where is my parcel";
const [late, lost, urgent, high] = await Promise.all([
  codemode.shipping.list_shipments({ status: "late" }),
  codemode.shipping.list_shipments({ status: "lost" }),
  codemode.helpdesk.search_tickets({ text, priority: "urgent" }),
  codemode.helpdesk.search_tickets({ text, priority: "high" }),
]);

const parcels = new Map();
for (const parcel of [...late.shipments, ...lost.shipments]) {
  parcels.set(parcel.order_id, parcel);
}
const waiting = [...urgent.tickets, ...high.tickets].filter(
  (t) => t.status !== "closed" && parcels.has(t.order_id),
);

const ids = new Set(waiting.map((t) => t.customer_id));
const rows = await Promise.all(
  [...ids].map(async (customer_id) => {
    const [customer, { orders }] = await Promise.all([
      codemode.shop.get_customer({ customer_id }),
      codemode.shop.list_orders({ customer_id, limit: 1000 }),
    ]);
    const own = waiting.filter((t) => t.customer_id === customer_id);
    return {
      customer: customer.name,
      tier: customer.tier,
      spent: Math.round(orders.reduce((sum, o) => sum + o.total, 0)),
      tickets: own.length,
      days_late: Math.max(
        ...own.map((t) => parcels.get(t.order_id).days_late),
      ),
    };
  }),
);
return rows.sort((a, b) => b.spent - a.spent);
