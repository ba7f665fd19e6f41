/** A long list of which only what can be seen is in the document. Heights are measured, so rows may wrap as they like. */

import { type ComponentChildren, type JSX, type RefObject } from "preact";
import { useEffect, useLayoutEffect, useReducer, useRef } from "preact/hooks";

const BEYOND_PX = 600;
const EDGE_PX = 40;
const SETTLE_FRAMES = 4;

interface Props<T> {
  label: string;
  items: T[];
  id: (item: T) => string;
  estimate: (item: T) => number;
  /** What scrolls it; without it: the page. */
  box?: RefObject<HTMLElement | null>;
  /** Scrolls its box so that this one is in sight; another object: do it again. */
  reveal?: { at: number } | null;
  children: (item: T) => ComponentChildren;
}

export function VirtualList<T>({ label, items, id, estimate, box, reveal, children }: Props<T>): JSX.Element {
  const list = useRef<HTMLUListElement>(null);
  const heights = useRef(new Map<string, number>()).current;
  const [, draw] = useReducer((n: number) => n + 1, 0);

  useEffect(() => {
    let frame = 0;
    const moved = (): void => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        draw(undefined as never);
      });
    };
    const resized = (): void => {
      heights.clear();
      moved();
    };
    const scrolls = box?.current ?? window;
    scrolls.addEventListener("scroll", moved, { passive: true });
    addEventListener("resize", resized);
    if (box) moved(); // it has a height from now on
    return () => {
      cancelAnimationFrame(frame);
      scrolls.removeEventListener("scroll", moved);
      removeEventListener("resize", resized);
    };
  }, []);

  useLayoutEffect(() => {
    let changed = false;
    for (const row of list.current?.querySelectorAll<HTMLElement>(":scope > li[data-id]") ?? []) {
      const height = row.offsetHeight;
      if (height && heights.get(row.dataset.id!) !== height) {
        heights.set(row.dataset.id!, height);
        changed = true;
      }
    }
    if (changed) draw(undefined as never);
  });

  useLayoutEffect(() => {
    const around = box?.current;
    if (!reveal || !around) return undefined;
    let y = 0;
    for (const item of items.slice(0, reveal.at)) y += heights.get(id(item)) ?? estimate(item);
    const isInSight = y >= around.scrollTop && y + EDGE_PX < around.scrollTop + around.clientHeight;
    if (!isInSight) around.scrollTop = y - around.clientHeight / 3;
    // What is above was estimated, and is measured once it is drawn.
    let frame = 0;
    let tries = 0;
    const settle = (): void => {
      const row = list.current?.querySelector<HTMLElement>(`:scope > li[data-id="${id(items[reveal.at]!)}"]`);
      const off = row ? row.getBoundingClientRect().top - around.getBoundingClientRect().top : 0;
      if (row && (off < 0 || off + EDGE_PX > around.clientHeight)) around.scrollTop += off - around.clientHeight / 3;
      tries += 1;
      if (tries < SETTLE_FRAMES) frame = requestAnimationFrame(settle);
    };
    frame = requestAnimationFrame(settle);
    return () => cancelAnimationFrame(frame);
  }, [reveal]);

  const sight = box?.current;
  const top = list.current ? list.current.getBoundingClientRect().top - (sight?.getBoundingClientRect().top ?? 0) : 0;
  const from = -top - BEYOND_PX;
  const until = -top + (box ? (sight?.clientHeight ?? 0) : innerHeight) + BEYOND_PX;
  let above = 0;
  let below = 0;
  const shown: { item: T; at: number }[] = [];
  let y = 0;
  items.forEach((item, at) => {
    const height = heights.get(id(item)) ?? estimate(item);
    if (y + height < from) above += height;
    else if (y > until) below += height;
    else shown.push({ item, at });
    y += height;
  });
  return (
    <ul class="virtual" aria-label={label} ref={list} style={{ paddingTop: `${above}px`, paddingBottom: `${below}px` }}>
      {shown.map(({ item, at }) => (
        <li key={id(item)} data-id={id(item)} aria-setsize={items.length} aria-posinset={at + 1}>
          {children(item)}
        </li>
      ))}
    </ul>
  );
}
