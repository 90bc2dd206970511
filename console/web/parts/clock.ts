// What time it is at the server: times of the API are by its clock, and that of this machine may be another one.

/** By how much the server's clock may be ahead of this one, in milliseconds: between these, as far as its answers say. */
let [least, most] = [-Infinity, Infinity];

/** By how much the server's clock is ahead. Of clocks that may be the same nothing is corrected. */
function ahead(): number {
  if (least <= 0 && most >= 0) return 0;
  return (least + most) / 2;
}

/** What the server's clock shows when `Date.now()` is this. */
export const atServer = (here: number): number => here + ahead();

/** What it shows now. */
export const now = (): number => atServer(Date.now());

/** What the header `Date` of an answer says, which is in whole seconds, and of some moment between the request and the answer. */
export function learn(date: string | null, sent: number, received: number): void {
  const second = Date.parse(date ?? '');
  if (Number.isNaN(second)) return;
  const [from, to] = [second - received, second + 1_000 - sent];
  least = Math.max(least, from);
  most = Math.min(most, to);
  // One of the clocks was set meanwhile.
  if (least > most) [least, most] = [from, to];
}
