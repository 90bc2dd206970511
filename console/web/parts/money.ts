// Amounts: minor units on the wire, major units on the screen, and never a floating-point number between.

/** Digits behind the point of a currency by ISO 4217, which ECMA-402 has: 2 of RUB, 0 of JPY. */
export function digits(currency: string): number {
  try {
    const options = new Intl.NumberFormat('en', { style: 'currency', currency }).resolvedOptions();
    return options.maximumFractionDigits ?? 2;
  } catch {
    // No code of a currency: the service says so.
    return 2;
  }
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

/** The largest amount of a request, in minor units. */
const MOST = 1_000_000_000_000n;

/** The minor units of what somebody has typed, or what is wrong with it. */
export function minorOf(text: string, currency: string): { minor: string } | { wrong: string } {
  const places = digits(currency);
  const parts = /^(\d+)(?:[.,](\d+))?$/.exec(text.trim().replace(/[\s\u00a0]/g, ''));
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
