// The process that answers and its parts; the processes of each service, with their versions and builds, and which of them publishes.
import { span, Time } from '../parts/time';
import { Card, Chip } from '../parts/ui';
import { getStatus, type Running } from './calls';
import { usePoll } from './poll';

/** What `/readyz` says. */
export interface Readiness {
  readonly parts: Readonly<Record<string, string>>;
  readonly states: Readonly<Record<string, 'ok' | 'degraded' | 'failed' | 'paused'>>;
}

export function readinessOf(text: string): Readiness | undefined {
  try {
    return JSON.parse(text);
  } catch {
    // Nothing, or what a proxy says when there is nobody behind it.
    return undefined;
  }
}

const KINDS = { ok: 'good', degraded: 'warn', failed: 'bad', paused: 'plain' } as const;

export function Process({ readiness, names }: { readiness: Readiness | undefined; names: readonly string[] }) {
  return (
    <>
      <Card title="Processes">
        {names.map((name) => (
          <Publishes key={name} service={name} />
        ))}
      </Card>
      <Parts readiness={readiness} />
    </>
  );
}

/** The parts of the process that answers. */
function Parts({ readiness }: { readiness: Readiness | undefined }) {
  return (
    <Card title="Parts of this process">
      {!readiness && <p class="faint">It does not say how it is.</p>}
      {readiness && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Parts of the process">
          <table data-testid="parts">
            <thead>
              <tr>
                <th scope="col">Part</th>
                <th scope="col">State</th>
              </tr>
            </thead>
            <tbody>
              {Object.entries(readiness.states).map(([part, state]) => (
                <tr key={part}>
                  <td>{part}</td>
                  <td>
                    <Chip kind={KINDS[state] ?? 'plain'}>{state}</Chip> {state === 'ok' ? '' : readiness.parts[part]}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}

/** The processes of a service, and which one publishes. */
function Publishes({ service }: { service: string }) {
  const { answer } = usePoll(service, () => getStatus(service), 2_000);
  const relay = answer?.relay;
  if (!answer) return null;
  return (
    <>
      <p data-testid={`publishes-${service}`}>
        <strong>{service}</strong> is of version {answer.version}.{' '}
        {relay?.leaseHolder
          ? `Its messages are published by ${relay.leaseHolder}, for ${span(parseFloat(relay.leaseLeft ?? '0'))} unless it renews that.`
          : 'No process publishes its messages at present.'}
      </p>
      <div class="scroll" tabIndex={0} role="region" aria-label={`Processes of ${service}`}>
        <table data-testid={`processes-${service}`}>
          <thead>
            <tr>
              <th scope="col">Process of {service}</th>
              <th scope="col">Version</th>
              <th scope="col">Build</th>
              <th scope="col">Host</th>
              <th scope="col">Started</th>
              <th scope="col">Last seen</th>
            </tr>
          </thead>
          <tbody>
            {(answer.processes ?? []).map((one) => (
              <One key={one.processId} one={one} publishes={one.processId === relay?.leaseHolder} />
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function One({ one, publishes }: { one: Running; publishes: boolean }) {
  return (
    <tr>
      <td>
        {one.processId} {publishes && <Chip kind="good">publishes</Chip>} {one.answers && <Chip kind="plain">answers</Chip>}
      </td>
      <td>{one.version}</td>
      <td>{one.build}</td>
      <td>{one.host}</td>
      <td>
        <Time at={one.startTime} compact />
      </td>
      <td>
        <Time at={one.seenTime} compact />
      </td>
    </tr>
  );
}
