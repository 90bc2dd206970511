// What an operation of an OpenAPI document takes and answers.

/** The answer of an operation. */
export type AnswerOf<Operation> = Operation extends { responses: { 200: { content: { 'application/json': infer Answer } } } }
  ? Answer
  : never;

/** The body of its request. */
export type BodyOf<Operation> = Operation extends { requestBody?: { content: { 'application/json': infer Body } } }
  ? Body
  : never;

/** Its query. */
export type QueryOf<Operation> = Operation extends { parameters: { query?: infer Query } } ? NonNullable<Query> : never;

/** One message of its stream. */
export type EventOf<Operation> = Operation extends { responses: { 200: { content: { 'application/x-ndjson': infer Event } } } }
  ? Event
  : never;
