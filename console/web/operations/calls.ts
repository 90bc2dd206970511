// The calls that the operations room makes, all of the operator's API. Each service has the same paths below its name.
import type { paths } from '../api/admin';
import type { Call } from '../parts/call';
import { PAGE } from '../parts/pages';
import type { AnswerOf, BodyOf } from '../parts/types';
import { addressOf } from './services';

export type Status = AnswerOf<paths['/admin/v1/orders/status']['get']>;
export type Running = NonNullable<Status['processes']>[number];
export type Groups = AnswerOf<paths['/admin/v1/orders/parked:groups']['get']>;
export type Group = NonNullable<Groups['groups']>[number];
export type Messages = AnswerOf<paths['/admin/v1/orders/parked']['get']>;
export type Message = NonNullable<Messages['messages']>[number];
export type Previewed = AnswerOf<paths['/admin/v1/orders/parked:preview']['post']>;
export type Redrives = AnswerOf<paths['/admin/v1/orders/redrives']['get']>;
export type Redrive = NonNullable<Redrives['redrives']>[number];
export type Redriven = AnswerOf<paths['/admin/v1/orders/parked:redrive']['post']>;
export type Discarded = AnswerOf<paths['/admin/v1/orders/parked:discard']['post']>;
export type Pauses = AnswerOf<paths['/admin/v1/orders/pauses']['get']>;
export type Pause = NonNullable<Pauses['pauses']>[number];
export type NewPause = BodyOf<paths['/admin/v1/orders/pauses']['post']>;
export type Explanation = AnswerOf<paths['/admin/v1/orders/{order_id}:explain']['get']>;
export type Books = AnswerOf<paths['/admin/v1/payments/reconciliation']['get']>;
export type Compared = AnswerOf<paths['/admin/v1/orders/reconciliation']['get']>;
export type Difference = NonNullable<Compared['differences']>[number];
export type Healed = AnswerOf<paths['/admin/v1/orders/reconciliation:heal']['post']>;
export type Events = AnswerOf<paths['/admin/v1/orders/audit']['get']>;
export type AuditEvent = NonNullable<Events['events']>[number];

/** Which parked messages are meant: conditions that are not given are none. */
export type Filter = NonNullable<BodyOf<paths['/admin/v1/orders/parked:preview']['post']>['filter']>;
export type NewRedrive = BodyOf<paths['/admin/v1/orders/redrives']['post']>;
/** Any object may be a patch, which OpenAPI says of its type and no more. */
export type Patch = Omit<BodyOf<paths['/admin/v1/orders/parked/{sequence}:edit']['post']>, 'patch'> & { patch: object };
export type Discard = BodyOf<paths['/admin/v1/orders/parked:discard']['post']>;

const MESSAGING = 'ordermesh.messaging.v1.MessagingAdminService';
const ORDERS = 'ordermesh.orders.v1.OrdersAdminService';
const PAUSES = 'ordermesh.messaging.v1.PausesService';

const part = encodeURIComponent;

function get<Answer>(service: string, title: string, path: string, rpc: string, query: Record<string, string>, message: object): Call<Answer> {
  return { title, method: 'GET', path: `admin/v1/${service}/${path}`, query, rpc, message, ...addressOf(service) };
}

function post<Answer>(service: string, title: string, path: string, rpc: string, body: object, message: object = body): Call<Answer> {
  return { title, method: 'POST', path: `admin/v1/${service}/${path}`, body, rpc, message, ...addressOf(service) };
}

/** A filter in a query: `filter.cause`. */
function asQuery(filter: Filter): Record<string, string> {
  const given = Object.entries(filter).map(([name, value]) => [`filter.${name}`, String(value)]);
  return Object.fromEntries(given);
}

export function getStatus(service: string): Call<Status> {
  return get(service, `What waits in ${service}`, 'status', `${MESSAGING}/GetMessagingStatus`, {}, {});
}

export function listGroups(service: string, filter?: Filter): Call<Groups> {
  const message = filter ? { filter } : {};
  return get(service, 'Group parked messages', 'parked:groups', `${MESSAGING}/ListParkedMessageGroups`, asQuery(filter ?? {}), message);
}

export function listMessages(service: string, filter: Filter, pageToken: string, pageSize = PAGE): Call<Messages> {
  const view = 'PARKED_MESSAGE_VIEW_BASIC';
  const query = { ...asQuery(filter), view, pageSize: String(pageSize), pageToken };
  const message = { filter, view, pageSize, pageToken };
  return get(service, 'List parked messages', 'parked', `${MESSAGING}/ListParkedMessages`, query, message);
}

export function readMessage(service: string, sequence: string): Call<Messages> {
  const view = 'PARKED_MESSAGE_VIEW_FULL';
  const query = { 'filter.sequences': sequence, view };
  const message = { filter: { sequences: [sequence] }, view };
  return get(service, 'Read a parked message', 'parked', `${MESSAGING}/ListParkedMessages`, query, message);
}

export function preview(service: string, filter: Filter): Call<Previewed> {
  return post(service, 'Preview a redrive', 'parked:preview', `${MESSAGING}/PreviewParkedMessages`, { filter, maxMessages: 100 });
}

/** Whether the caller may act: nothing is redriven. */
export function mayAct(service: string): Call<Redriven> {
  const body = { operator: 'console', dryRun: true, maxMessages: '1' };
  return post(service, 'Ask what I may do', 'parked:redrive', `${MESSAGING}/RedriveParkedMessages`, body);
}

export function startRedrive(service: string, body: NewRedrive): Call<Redrive> {
  return post(service, 'Start a redrive', 'redrives', `${MESSAGING}/StartRedrive`, body);
}

export function stopRedrive(service: string, redriveId: string, operator: string): Call<Redrive> {
  const body = { operator };
  const path = `redrives/${part(redriveId)}:stop`;
  return post(service, 'Stop the redrive', path, `${MESSAGING}/StopRedrive`, body, { redriveId, ...body });
}

export function listRedrives(service: string, pageToken: string): Call<Redrives> {
  const query = { pageSize: '20', pageToken };
  return get(service, 'List redrives', 'redrives', `${MESSAGING}/ListRedrives`, query, { pageSize: 20, pageToken });
}

export function edit(service: string, sequence: string, body: Patch): Call<Message> {
  const title = body.dryRun ? 'Try an edit' : 'Edit the message';
  return post(service, title, `parked/${part(sequence)}:edit`, `${MESSAGING}/EditParkedMessage`, body, { sequence, ...body });
}

export function discard(service: string, body: Discard): Call<Discarded> {
  return post(service, 'Discard messages', 'parked:discard', `${MESSAGING}/DiscardParkedMessages`, body);
}

export function listPauses(service: string): Call<Pauses> {
  return get(service, `What is paused in ${service}`, 'pauses', `${PAUSES}/ListPauses`, {}, {});
}

export function pause(service: string, body: NewPause, key: string): Call<Pause> {
  return { ...post<Pause>(service, 'Pause', 'pauses', `${PAUSES}/CreatePause`, body, { pause: body, requestId: key }), key };
}

export function endPause(service: string, sequence: string, operator: string): Call<object> {
  const body = { operator };
  return post(service, 'Resume', `pauses/${part(sequence)}:resume`, `${PAUSES}/DeletePause`, body, { sequence, ...body });
}

export function explain(orderId: string): Call<Explanation> {
  return get('orders', 'Explain an order', `${part(orderId)}:explain`, `${ORDERS}/ExplainOrder`, {}, { orderId });
}

export function reconcile(): Call<Books> {
  const rpc = 'ordermesh.payments.v1.PaymentsAdminService/GetReconciliationReport';
  return get('payments', 'Add up the books', 'reconciliation', rpc, {}, {});
}

export function listDifferences(healed: boolean, pageToken: string, pageSize = PAGE): Call<Compared> {
  const query = { healed: healed ? 'true' : '', pageSize: String(pageSize), pageToken };
  return get('orders', 'List differences', 'reconciliation', `${ORDERS}/GetReconciliation`, query, { healed, pageSize, pageToken });
}

export function heal(body: { operator: string; reason: string }): Call<Healed> {
  return post('orders', 'Heal differences', 'reconciliation:heal', `${ORDERS}/HealDifferences`, body);
}

export function listEvents(service: string, filter: string, pageToken: string, pageSize = PAGE): Call<Events> {
  const rpc = 'ordermesh.audit.v1.AuditService/ListAuditEvents';
  return get(service, 'List who did what', 'audit', rpc, { filter, pageSize: String(pageSize), pageToken }, { filter, pageSize, pageToken });
}
