// What this listener serves, who looks at it, and what they may do.
import { url } from '../parts/call';
import { Failed, faultOf, unanswered, type Fault } from '../parts/fault';
import { owner, send } from '../parts/send';
import { Store } from '../parts/store';
import { claims, token, wanted } from '../parts/token';
import { mayAct } from './calls';

/** A service of this process. */
export interface Service {
  readonly name: string;
  /** Where its gRPC is, for command lines. */
  readonly grpc: string | undefined;
}

/** The services of this process; `undefined` until they are known. */
export const services = new Store<readonly Service[] | undefined>(undefined);

/** Why they are not known. */
export const trouble = new Store<Fault | undefined>(undefined);

export function addressOf(service: string): { grpc?: string } {
  const grpc = services.get()?.find(({ name }) => name === service)?.grpc;
  return grpc ? { grpc } : {};
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { description?: string }>>>>;
}

let retry: ReturnType<typeof setTimeout> | undefined;
let askAgain: ReturnType<typeof setTimeout> | undefined;

/** Reads the document of this listener, which is open to everybody, and what the caller may do. Tries again until there is an answer. */
export async function discover(): Promise<void> {
  clearTimeout(retry);
  try {
    const answer = await fetch(url({ path: 'admin/v1/openapi.json' }), { signal: AbortSignal.timeout(10_000) });
    if (!answer.ok && answer.status !== 404) throw new Failed(await faultOf(answer, false));
    const document: Document = answer.ok ? await answer.json() : { paths: {} };
    const found = new Map<string, Service>();
    for (const [path, operations] of Object.entries(document.paths)) {
      const name = path.split('/')[3] ?? '';
      // The same call by grpcurl ends in the address and the method.
      const address = Object.values(operations)[0]?.description?.match(/' (\S+:\d+) [\w.]+\/\w+\s*```\s*$/)?.[1];
      if (!found.has(name)) found.set(name, { name, grpc: address });
    }
    services.set([...found.values()]);
    trouble.set(undefined);
    await askRights();
  } catch (error) {
    trouble.set(error instanceof Failed ? error.fault : unanswered());
    retry = setTimeout(() => void discover(), 2_000);
  }
}

/** Whether the caller may act; `undefined` until that is known. */
export const acts = new Store<boolean | undefined>(undefined);

/** Asks the service what the token is good for: who only reads sees no buttons. Asks again when there is no answer to that. */
export async function askRights(): Promise<void> {
  clearTimeout(askAgain);
  const first = services.get()?.[0];
  // Whoever signs in is asked for then.
  if (!first || wanted.get()) return;
  try {
    await send(mayAct(first.name), true);
    acts.set(true);
  } catch (error) {
    if (!(error instanceof Failed)) return;
    const { status } = error.fault;
    if (status === 403) acts.set(false);
    else if (status !== 401) askAgain = setTimeout(() => void askRights(), 2_000);
  }
}

const subject = () => claims(token.get()).sub ?? '';

// What is sent is of whose token it is, whatever name is noted with it.
owner.set(subject());
token.follow(() => owner.set(subject()));

const KEY = 'ordermesh.operator';

const nameOf = () => sessionStorage.getItem(KEY) ?? subject();

/** The name that is noted with whatever is done: of a token its subject, until somebody writes another one. */
export const operator = new Store(nameOf());
token.follow(() => operator.set(nameOf()));

export function callMe(name: string): void {
  sessionStorage.setItem(KEY, name);
  operator.set(name);
}
