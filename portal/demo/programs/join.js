// Who has written to us about a parcel that really is late or lost, and what are these customers worth?
const text = "where is my parcel";
const [late, lost, urgent, high] = await Promise.all([
  codemode.shipping.list_shipments({ status: "late" }),
  codemode.shipping.list_shipments({ status: "lost" }),
  codemode.helpdesk.search_tickets({ text, priority: "urgent" }),
  codemode.helpdesk.search_tickets({ text, priority: "high" }),
]);

const parcels = new Map([...late.shipments, ...lost.shipments].map((parcel) => [parcel.order_id, parcel]));
const waiting = [...urgent.tickets, ...high.tickets].filter(
  (ticket) => ticket.status !== "closed" && parcels.has(ticket.order_id),
);

const ids = [...new Set(waiting.map((ticket) => ticket.customer_id))];
const rows = await Promise.all(
  ids.map(async (customer_id) => {
    const [customer, history] = await Promise.all([
      codemode.shop.get_customer({ customer_id }),
      codemode.shop.list_orders({ customer_id, limit: 1000 }),
    ]);
    const tickets = waiting.filter((ticket) => ticket.customer_id === customer_id);
    return {
      customer: customer.name,
      tier: customer.tier,
      spent: Math.round(history.orders.reduce((sum, order) => sum + order.total, 0)),
      tickets: tickets.length,
      days_late: Math.max(...tickets.map((ticket) => parcels.get(ticket.order_id).days_late)),
    };
  }),
);
return rows.sort((a, b) => b.spent - a.spent);
