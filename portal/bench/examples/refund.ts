type Input = { order: string };

async function refund({ order }: Input): Promise<string> {
  try {
    await codemode.shop.refund_order({ order_id: order, reason: "late" });
    return `refunded ${order}`;
  } catch (error) {
    if (error instanceof ToolError) return `not refunded: ${error.message}`;
    throw error;
  }
}

await refund(input as Input);
