// A service in TypeScript that talks to ordermesh: opens an account, tops it up, places an order and watches it to its end.
//
// Stubs are generated from proto/ beside this file (docs/CLIENTS.md). Arguments: the addresses of orders and payments.

import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Order_Status, OrdersService } from "./stubs/ordermesh/orders/v1/orders_pb.js";
import { PaymentsService } from "./stubs/ordermesh/payments/v1/payments_pb.js";

async function main(ordersAddress: string, paymentsAddress: string): Promise<number> {
  const orders = createClient(OrdersService, createGrpcTransport({ baseUrl: `http://${ordersAddress}` }));
  const payments = createClient(PaymentsService, createGrpcTransport({ baseUrl: `http://${paymentsAddress}` }));

  // Each write has a key, so that all of this can be run again: the second run changes nothing.
  await payments.createAccount({ account: { userId: "typescript" }, requestId: "account" });
  await payments.topUpAccount({ userId: "typescript", amount: 1000n, requestId: "top-up" });
  const placed = await orders.createOrder({ order: { userId: "typescript", amount: 300n }, requestId: "order" });

  // The stream ends with the version that ends the order.
  let status: Order_Status | undefined;
  for await (const { order } of orders.watchOrder({ orderId: placed.id }, { timeoutMs: 20_000 })) {
    status = order?.status;
    console.log(`version ${order?.version}: ${status === undefined ? "none" : Order_Status[status]}`);
  }
  return status === Order_Status.FINISHED ? 0 : 1;
}

const [orders, payments] = process.argv.slice(2);
if (orders === undefined || payments === undefined) {
  throw new Error("arguments: the addresses of orders and payments");
}
process.exitCode = await main(orders, payments);
