// A mistake: a loop without an end, after something was already done.
// The voucher exists, and the answer says so.
const { orders } = await codemode.shop.list_orders({ status: "paid" });
await codemode.shop.create_voucher({
  customer_id: orders[0].customer_id,
  percent: 10,
});

while (true) {}
