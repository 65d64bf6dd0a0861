// The shop, in JavaScript: runs in an isolate of its own, and its timers take no time.
const people = { C001: "Ada", C002: "Bo" };
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export default {
  "shop.list_orders": async ({ limit }) => {
    await sleep(2000);
    const orders = Object.keys(people).map((customer_id, n) => ({ id: `O${n}`, customer_id, status: "paid", total: n + 1 }));
    return { total: orders.length, orders: orders.slice(0, limit) };
  },
  "shop.get_customer": ({ customer_id }) => {
    if (!(customer_id in people)) throw new Error(`there is no customer ${customer_id}`);
    return { id: customer_id, name: people[customer_id], email: `${people[customer_id].toLowerCase()}@example.com` };
  },
};
