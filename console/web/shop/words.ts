// What states and reasons mean, for people.
import { money } from '../parts/money';
import type { Order, Payment } from './calls';

/** The kind of chip of a status. */
export function kind(status: Order['status']): 'good' | 'bad' | 'busy' | 'plain' {
  switch (status) {
    case 'FINISHED':
      return 'good';
    case 'CANCELLED':
      return 'bad';
    case 'NEW':
      return 'busy';
    default:
      return 'plain';
  }
}

/** Why an order was cancelled, in a few words. */
export function because(reason: Order['cancelReason']): string {
  switch (reason) {
    case 'INSUFFICIENT_FUNDS':
      return 'not enough money';
    case 'ACCOUNT_NOT_FOUND':
      return 'no account';
    case 'CURRENCY_MISMATCH':
      return 'another currency';
    case 'USER_REQUESTED':
      return 'you cancelled it';
    case 'PAYMENT_EXPIRED':
      return 'not paid in time';
    default:
      return '';
  }
}

/** What became of an order, and what to do. */
export function outcome(order: Order, payment: Payment | undefined): string {
  const amount = money(order.amount, order.currencyCode);
  if (order.status === 'FINISHED') return `Paid: ${amount} was debited, once.`;
  switch (order.cancelReason) {
    case 'INSUFFICIENT_FUNDS': {
      const seen = payment?.balanceObserved;
      const had = seen === undefined ? '' : ` The balance was ${money(seen, order.currencyCode)}.`;
      return `There was not enough money for ${amount}.${had} Top up, and order again.`;
    }
    case 'ACCOUNT_NOT_FOUND':
      return 'There is no account to pay from. Open one, top it up, and order again.';
    case 'CURRENCY_MISMATCH':
      return `The account is held in another currency than ${order.currencyCode}. Order in the currency of the account.`;
    case 'USER_REQUESTED':
      return 'You cancelled it before it was paid. Nothing was debited.';
    case 'PAYMENT_EXPIRED':
      return 'It was not paid in time. Nothing was debited: order again.';
    default:
      return order.cancelRequestTime ? 'Cancellation was asked for. The payment and the cancellation race.' : 'It is being paid.';
  }
}
