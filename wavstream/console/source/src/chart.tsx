/** A small chart of the last minute of a level. */

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { serverNow } from "./api";
import type { Levels } from "./live_state";
import { useDark } from "./scheme";

const HEIGHT_PX = 96;

export default function Chart({ levels, name }: { levels: Levels | undefined; name: string }): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const isDark = useDark();
  useEffect(() => {
    const around = box.current!;
    const style = getComputedStyle(around);
    const made = new uPlot(
      {
        width: around.clientWidth || 300,
        height: HEIGHT_PX,
        legend: { show: false },
        cursor: { show: false },
        scales: { x: { time: false, range: [-60, 0] }, y: { range: [-100, 0] } },
        axes: [
          { stroke: style.color, grid: { show: false }, values: (_, marks) => marks.map((each) => `${each} s`) },
          { stroke: style.color, size: 52, grid: { stroke: style.borderColor, width: 1 }, values: (_, marks) => marks.map((each) => `${each} dB`) },
        ],
        series: [{}, { stroke: style.accentColor === "auto" ? style.color : style.accentColor, width: 1.5, paths: uPlot.paths.stepped!({ align: 1 }) }],
      },
      [[], []],
      around,
    );
    plot.current = made;
    const watcher = new ResizeObserver(() => made.setSize({ width: around.clientWidth, height: HEIGHT_PX }));
    watcher.observe(around);
    return () => {
      watcher.disconnect();
      made.destroy();
    };
  }, [isDark]);
  useEffect(() => {
    if (!levels) return;
    const now = serverNow();
    // The last one is that of now: nothing is told of what stays as it is.
    plot.current?.setData([[...levels.at.map((at) => (at - now) / 1000), 0], [...levels.db, levels.db.at(-1)!]]);
  });
  return <div class="chart" ref={box} role="img" aria-label={name} />;
}
