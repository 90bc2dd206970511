// A call as data: what is sent, and how the same is written for curl and for grpcurl.

/** A call of the API, and of the RPC behind it. `Answer` is what it answers. */
export interface Call<Answer> {
  /** What it is for, in the words of a button. */
  readonly title: string;
  readonly method: 'GET' | 'POST';
  /** From the root of the API, without a slash in front. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: object;
  /** The idempotency key of a write. */
  readonly key?: string;
  /** `package.Service/Method`. */
  readonly rpc: string;
  /** The request of the RPC, as ProtoJSON. */
  readonly message: object;
  /** Where gRPC is: `HOST:PORT`; the listener of the page when absent. */
  readonly grpc?: string;
  /** It goes on, as server-sent events. */
  readonly streams?: true;
  readonly answer?: Answer;
}

/** The folder that holds the page: whatever the page is served below, the API is beside that. */
const root = new URL('..', location.href.replace(/[#?].*$/, ''));

/** The URL of a call. */
export function url(call: Pick<Call<unknown>, 'path' | 'query'>): string {
  const at = new URL(call.path, root);
  for (const [name, value] of Object.entries(call.query ?? {})) {
    if (value !== '') at.searchParams.set(name, value);
  }
  return at.href;
}

/** A word of a shell. */
function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The call by curl. A token is not shown: it is read from the environment. */
export function curl(call: Call<unknown>, withToken: boolean): string {
  const parts = [`curl ${call.streams ? '-sN' : '-s'} ${quoted(url(call))}`];
  if (call.streams) parts.push(`-H 'accept: text/event-stream'`);
  if (withToken) parts.push('-H "authorization: Bearer $TOKEN"');
  if (call.key) parts.push(`-H ${quoted(`Idempotency-Key: ${call.key}`)}`);
  if (call.body) parts.push(`-H 'content-type: application/json'`, `-d ${quoted(JSON.stringify(call.body))}`);
  return parts.join(' \\\n  ');
}

/** The call by grpcurl, in the folder of the project: contracts are in `proto`. */
export function grpcurl(call: Call<unknown>, withToken: boolean): string {
  const [service = ''] = call.rpc.split('/');
  const parts = [`grpcurl ${location.protocol === 'https:' ? '' : '-plaintext '}`.trim()];
  if (withToken) parts.push('-H "authorization: Bearer $TOKEN"');
  // The services answer reflection, the edge does not.
  if (!call.grpc) parts.push(`-import-path proto -proto ${contract(service)}`);
  parts.push(`-d ${quoted(JSON.stringify(call.message))}`, `${call.grpc ?? location.host} ${call.rpc}`);
  return parts.join(' \\\n  ');
}

/** The file of a service: `ordermesh/orders/v1/orders.proto`. */
function contract(service: string): string {
  const names = service.split('.').slice(0, -1);
  return `${names.join('/')}/${names.at(-2)}.proto`;
}

/** A new idempotency key. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
