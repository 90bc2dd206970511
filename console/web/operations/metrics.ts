// The text format of Prometheus, as far as the charts need it.

/** One sample: its labels, and its value. */
interface Sample {
  readonly labels: string;
  readonly value: number;
}

/** Samples by the name of their metric. */
export type Scrape = ReadonlyMap<string, readonly Sample[]>;

export function parse(text: string): Scrape {
  const found = new Map<string, Sample[]>();
  for (const line of text.split('\n')) {
    const [, name, labels = '', value] = /^([a-zA-Z_:][\w:]*)(\{.*\})? ([^ ]+)/.exec(line) ?? [];
    if (!name || value === undefined) continue;
    const sample = { labels, value: Number(value) };
    const samples = found.get(name);
    if (samples) samples.push(sample);
    else found.set(name, [sample]);
  }
  return found;
}

/** The sum of the samples whose labels have this text; `undefined` where there is none. */
export function sum(scrape: Scrape, name: string, having = ''): number | undefined {
  const samples = (scrape.get(name) ?? []).filter(({ labels }) => labels.includes(having));
  return samples.length === 0 ? undefined : samples.reduce((total, { value }) => total + value, 0);
}

/** The value of a label. */
export function label(labels: string, name: string): string {
  return new RegExp(`[{,]${name}="([^"]*)"`).exec(labels)?.[1] ?? '';
}

/** The value below which this share of what was observed between two scrapes lies, by the buckets of a histogram: its upper bound. */
export function quantile(before: Scrape, after: Scrape, name: string, share: number, having = ''): number | undefined {
  const bounds = new Map<number, number>();
  const add = (scrape: Scrape, sign: 1 | -1) => {
    for (const { labels, value } of scrape.get(`${name}_bucket`) ?? []) {
      if (!labels.includes(having)) continue;
      const text = label(labels, 'le');
      const bound = text === '+Inf' ? Infinity : Number(text);
      bounds.set(bound, (bounds.get(bound) ?? 0) + sign * value);
    }
  };
  add(after, 1);
  add(before, -1);
  const sorted = [...bounds].sort(([a], [b]) => a - b);
  const total = sorted.at(-1)?.[1] ?? 0;
  if (total <= 0) return undefined;
  const finite = sorted.filter(([bound]) => bound !== Infinity);
  const found = finite.find(([, count]) => count >= share * total) ?? finite.at(-1);
  return found?.[0];
}
