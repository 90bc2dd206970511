// A chart of one or more series over time or over a count: lines of SVG, coloured by the style sheet.
import { useState } from 'preact/hooks';

/** A line. `undefined` is a gap. */
export interface Series {
  readonly name: string;
  readonly points: readonly (number | undefined)[];
}

const WIDTH = 600;
const HEIGHT = 160;
const LEFT = 8;
const TOP = 10;
const BOTTOM = 6;

/** A number that is easily read, not below the largest one. */
function ceiling(largest: number): number {
  if (largest <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(largest));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= largest) ?? 10;
  return step * power;
}

/** The line of a series, in steps where values hold until the next one. */
function path(points: readonly (number | undefined)[], x: (at: number) => number, y: (value: number) => number, steps: boolean): string {
  let text = '';
  let isDown = false;
  points.forEach((value, at) => {
    if (value === undefined) {
      isDown = false;
      return;
    }
    const place = `${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    if (!isDown) text += `M${place}`;
    else text += steps ? `H${x(at).toFixed(1)}V${y(value).toFixed(1)}` : `L${place}`;
    isDown = true;
  });
  return text;
}

/** What a chart shows is said in words too: `summary`. */
export function Chart(props: {
  title: string;
  summary: string;
  series: readonly Series[];
  label: (value: number) => string;
  /** What the point at this place is of. */
  at: (index: number) => string;
  steps?: boolean;
}) {
  const [hovered, hover] = useState<number>();
  const count = Math.max(0, ...props.series.map((one) => one.points.length));
  const values = props.series.flatMap((one) => one.points).filter((value) => value !== undefined);
  const top = ceiling(Math.max(0, ...values));
  const x = (at: number) => LEFT + (count < 2 ? 0 : (at / (count - 1)) * (WIDTH - 2 * LEFT));
  const y = (value: number) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  const point = (event: MouseEvent & { currentTarget: SVGSVGElement }) => {
    const box = event.currentTarget.getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width) * WIDTH - LEFT;
    const at = Math.round((share / (WIDTH - 2 * LEFT)) * (count - 1));
    hover(Math.max(0, Math.min(count - 1, at)));
  };
  const shown = hovered !== undefined && hovered < count ? hovered : count - 1;
  return (
    <figure class="chart">
      <figcaption>
        <span>{props.title}</span>
        <span class="legend">
          {props.series.map((one, index) => {
            const value = one.points[shown];
            return (
              <span key={one.name} class={`key line${index}`}>
                {one.name} <strong>{value === undefined ? '–' : props.label(value)}</strong>
              </span>
            );
          })}
        </span>
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${props.title}. ${props.summary}`}
        onMouseMove={point}
        onMouseLeave={() => hover(undefined)}
      >
        {[0, 0.5, 1].map((share) => (
          <line key={share} x1={0} x2={WIDTH} y1={y(top * share)} y2={y(top * share)} class="grid" />
        ))}
        {props.series.map((one, index) => (
          <path key={one.name} d={path(one.points, x, y, props.steps ?? false)} class={`line line${index}`} />
        ))}
        {hovered !== undefined && <line x1={x(shown)} x2={x(shown)} y1={TOP} y2={HEIGHT - BOTTOM} class="cursor" />}
      </svg>
      <p class="axis faint">
        <span>0 to {props.label(top)}</span>
        <span>{count > 0 ? props.at(shown) : 'no values yet'}</span>
      </p>
    </figure>
  );
}
