// Amounts: minor units on the wire, major units on the screen, and never a floating-point number between.

/**
 * Currencies whose digits behind the point by ISO 4217 are not 2. Browsers know others: those of what people pay in cash (CLDR), which are 0 for
 * RSD. Those of the services are in `proto/rules.rs`.
 */
const DIGITS: readonly (readonly [number, string])[] = [
  [0, 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF'],
  [3, 'BHD IQD JOD KWD LYD OMR TND'],
  [4, 'CLF UYW'],
];

/** Digits behind the point of a currency: 2 of RUB, 0 of JPY. */
export function digits(currency: string): number {
  return DIGITS.find(([, codes]) => codes.split(' ').includes(currency))?.[0] ?? 2;
}

const grouped = new Intl.NumberFormat('en', { useGrouping: true });

/** An amount of minor units as people write it, without the currency: `1,234.50`. */
export function major(minor: string | bigint, currency: string): string {
  const amount = BigInt(minor);
  const places = digits(currency);
  const text = (amount < 0n ? -amount : amount).toString().padStart(places + 1, '0');
  const whole = grouped.format(BigInt(text.slice(0, text.length - places)));
  const sign = amount < 0n ? '−' : '';
  return places === 0 ? sign + whole : `${sign}${whole}.${text.slice(-places)}`;
}

/** An amount of minor units with its currency: `1,234.50 RUB`. */
export function money(minor: string | bigint | undefined, currency: string | undefined): string {
  if (minor === undefined) return '–';
  // A no-break space: an amount is one word.
  return `${major(minor, currency ?? '')}\u00a0${currency ?? ''}`;
}

const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });

/** An amount of minor units in a few letters, rounded and without its currency, for the scale of a chart: `2.5K`. */
export const rounded = (minor: number, currency: string): string => compact.format(minor / 10 ** digits(currency));

/** The largest amount of a request, in minor units. */
const MOST = 1_000_000_000_000n;

/** `1,234.50`, `1 234,50` and `1,234,567` without what stands between groups: of three digits each, as in the amounts that are shown. */
function ungrouped(text: string): string {
  if (/^[1-9]\d{0,2}(,\d{3})+(\.\d+)?$/.test(text)) return text.replaceAll(',', '');
  return /^[1-9]\d{0,2}(\s\d{3})+([.,]\d+)?$/.test(text) ? text.replace(/\s/g, '') : text;
}

/** The minor units of what somebody has typed, or what is wrong with it. */
export function minorOf(text: string, currency: string): { minor: string } | { wrong: string } {
  const places = digits(currency);
  const typed = text.trim();
  if (places === 3 && /^[1-9]\d{0,2},\d{3}$/.test(typed)) {
    return { wrong: `Write ${typed.replace(',', '')} or ${typed.replace(',', '.')}: a comma may mean either.` };
  }
  const parts = /^(\d+)(?:[.,](\d+))?$/.exec(ungrouped(typed));
  if (!parts && /^\d[\d\s]*\d$/.test(typed)) return { wrong: `Write ${typed.replace(/\s/g, '')}, or groups of three digits.` };
  if (!parts) return { wrong: `Write an amount of ${currency}, such as ${places === 0 ? '250' : '250 or 99.90'}.` };
  const fraction = parts[2] ?? '';
  if (fraction.length > places) {
    return { wrong: places === 0 ? `${currency} has no smaller unit.` : `${currency} has ${places} digits behind the point.` };
  }
  const minor = BigInt((parts[1] ?? '') + fraction.padEnd(places, '0'));
  if (minor === 0n) return { wrong: 'Write an amount above zero.' };
  if (minor > MOST) return { wrong: `At most ${money(MOST, currency)} at once.` };
  return { minor: minor.toString() };
}
