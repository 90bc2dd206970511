// A chart of one or more series over time or over a count: lines of SVG in the colours of the style sheet, so that both schemes, contrast and print
// are those of the page. A library draws more, and is as large as the whole shop.
import { useState } from 'preact/hooks';

/** A line. `undefined` is a gap. */
export interface Series {
  readonly name: string;
  readonly points: readonly (number | undefined)[];
}

const WIDTH = 600;
const HEIGHT = 160;
const SIDE = 8;
const TOP = 12;
const BOTTOM = 8;

/** The shares of the largest number at which lines lie, from the top. `.ticks` of the style sheet has its labels where they are. */
const SHARES = [1, 0.5, 0] as const;

/** A number that is easily read, not below the largest one. */
function ceiling(largest: number): number {
  if (largest <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(largest));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= largest) ?? 10;
  return step * power;
}

interface Scale {
  readonly x: (index: number) => number;
  readonly y: (value: number) => number;
  /** Whether the place before is too far away for a line from there. */
  readonly isFar: (index: number) => boolean;
}

function scaleOf(places: readonly number[], top: number, gap: number): Scale {
  const first = places[0] ?? 0;
  const span = (places.at(-1) ?? 0) - first;
  const at = (index: number) => places[index] ?? first;
  return {
    x: (index) => SIDE + (span > 0 ? (at(index) - first) / span : 0) * (WIDTH - 2 * SIDE),
    y: (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM),
    isFar: (index) => index > 0 && at(index) - at(index - 1) > gap,
  };
}

/** The line of a series, in steps where values hold until the next one. A value without a neighbour is a dot. */
function path(points: readonly (number | undefined)[], { x, y, isFar }: Scale, steps: boolean): string {
  let text = '';
  let isDown = false;
  points.forEach((value, index) => {
    if (value === undefined || isFar(index)) isDown = false;
    if (value === undefined) return;
    const [left, height] = [x(index).toFixed(1), y(value).toFixed(1)];
    if (!isDown) text += `M${left} ${height}h0`;
    else text += steps ? `H${left}V${height}` : `L${left} ${height}`;
    isDown = true;
  });
  return text;
}

interface Props {
  title: string;
  /** What the chart shows, in words. */
  summary: string;
  series: readonly Series[];
  /** Where the points are, rising. */
  places: readonly number[];
  /** A place in words. */
  at: (place: number) => string;
  label: (value: number) => string;
  /** A value beside the plot, where there is little room; `label` otherwise. */
  tick?: (value: number) => string;
  /** Between places that are further from each other there is no line. */
  gap?: number;
  steps?: boolean;
}

export function Chart({ title, summary, series, places, at, label, tick = label, gap = Infinity, steps = false }: Props) {
  const [chosen, choose] = useState<number>();
  const last = places.length - 1;
  const values = series.flatMap((one) => one.points).filter((value) => value !== undefined);
  const top = ceiling(Math.max(0, ...values));
  const scale = scaleOf(places, top, gap);
  const shown = chosen !== undefined && chosen <= last ? chosen : last;
  const point = (event: PointerEvent & { currentTarget: SVGSVGElement }) => {
    const box = event.currentTarget.getBoundingClientRect();
    const left = ((event.clientX - box.left) / box.width) * WIDTH;
    const distance = (index: number) => Math.abs(scale.x(index) - left);
    choose(places.reduce((best, _, index) => (distance(index) < distance(best) ? index : best), 0));
  };
  const step = (event: KeyboardEvent) => {
    const steps: Readonly<Record<string, number>> = { ArrowLeft: shown - 1, ArrowRight: shown + 1, Home: 0, End: last };
    const to = steps[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(Math.max(0, Math.min(last, to)));
  };
  return (
    <figure class="chart">
      <figcaption>
        <span>{title}</span>
        <Legend series={series} shown={shown} label={label} />
      </figcaption>
      <div class="plot">
        <div class="ticks" aria-hidden="true">
          {SHARES.map((share) => (
            <span key={share}>{tick(top * share)}</span>
          ))}
        </div>
        <svg
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          preserveAspectRatio="none"
          role="img"
          tabIndex={0}
          aria-label={`${title}. ${summary}`}
          onPointerMove={point}
          onPointerLeave={() => choose(undefined)}
          onKeyDown={step}
          onBlur={() => choose(undefined)}
        >
          {SHARES.map((share) => (
            <line key={share} x1={0} x2={WIDTH} y1={scale.y(top * share)} y2={scale.y(top * share)} class="grid" />
          ))}
          {series.map((one, index) => (
            <path key={one.name} d={path(one.points, scale, steps)} class={`line line${index}`} />
          ))}
          {chosen !== undefined && <line x1={scale.x(shown)} x2={scale.x(shown)} y1={TOP} y2={HEIGHT - BOTTOM} class="cursor" />}
        </svg>
      </div>
      <p class="axis faint" aria-live={chosen === undefined ? 'off' : 'polite'}>
        <span>{last < 0 ? 'no values yet' : at(places[0] ?? 0)}</span>
        {chosen !== undefined && <strong>{at(places[shown] ?? 0)}</strong>}
        {last > 0 && <span>{at(places[last] ?? 0)}</span>}
      </p>
    </figure>
  );
}

function Legend({ series, shown, label }: { series: readonly Series[]; shown: number; label: (value: number) => string }) {
  return (
    <span class="legend">
      {series.map((one, index) => {
        const value = one.points[shown];
        return (
          <span key={one.name} class={`key line${index}`}>
            {one.name} <strong>{value === undefined ? '–' : label(value)}</strong>
          </span>
        );
      })}
    </span>
  );
}
