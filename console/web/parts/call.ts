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
  /** Where gRPC is: `HOST:PORT`; when absent, the listener of the page. */
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

/** What writes from right to left and back, and other characters that nobody sees: a line that has them is not what it looks like. */
const UNSEEN = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** A value as JSON in which everything can be seen, by escapes of JSON: it has the same value. */
export function asJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(UNSEEN, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** The call by curl. A token is not shown: it is read from the environment. */
export function curl(call: Call<unknown>, withToken: boolean): string {
  const parts = [`curl ${call.streams ? '-sN' : '-s'} ${quoted(url(call))}`];
  if (call.streams) parts.push(`-H 'accept: text/event-stream'`);
  if (withToken) parts.push('-H "authorization: Bearer $TOKEN"');
  if (call.key) parts.push(`-H ${quoted(`Idempotency-Key: ${call.key}`)}`);
  if (call.body) parts.push(`-H 'content-type: application/json'`, `-d ${quoted(asJson(call.body))}`);
  return parts.join(' \\\n  ');
}

/**
 * Where gRPC is that has no address of its own. Its paths begin at the root of a listener: behind a prefix, what serves the page is in front of that
 * listener, whose address nobody here knows. The shell asks for it then.
 */
const beside = root.pathname === '/' ? location.host : '"${GRPC:?set it to HOST:PORT of the listener behind the prefix}"';

/** The call by grpcurl, which learns the contract by reflection: services and edge answer it. */
export function grpcurl(call: Call<unknown>, withToken: boolean): string {
  const parts = [`grpcurl ${location.protocol === 'https:' ? '' : '-plaintext '}`.trim()];
  if (withToken) parts.push('-H "authorization: Bearer $TOKEN"');
  parts.push(`-d ${quoted(asJson(call.message))}`, `${call.grpc ?? beside} ${call.rpc}`);
  return parts.join(' \\\n  ');
}

/** A new idempotency key. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
