// Whose paid orders are worth the most, and how to reach these people?
const { orders } = await codemode.shop.list_orders({ status: "paid", limit: input.limit });
const people = await Promise.all(
  orders.map(({ customer_id }) => codemode.shop.get_customer({ customer_id })),
);
console.log(`${orders.length} orders`);
const rows = orders.map((order, n) => ({ name: people[n].name, email: people[n].email, total: order.total }));
rows.sort((a, b) => b.total - a.total);
