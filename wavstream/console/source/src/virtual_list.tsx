/** A long list of which only what can be seen is in the document. Heights are measured, so rows may wrap as they like. */

import { type ComponentChildren, type JSX } from "preact";
import { useEffect, useLayoutEffect, useReducer, useRef } from "preact/hooks";

const BEYOND_PX = 600;

interface Props<T> {
  label: string;
  items: T[];
  id: (item: T) => string;
  estimate: (item: T) => number;
  children: (item: T) => ComponentChildren;
}

export function VirtualList<T>({ label, items, id, estimate, children }: Props<T>): JSX.Element {
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
    addEventListener("scroll", moved, { passive: true });
    addEventListener("resize", resized);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener("scroll", moved);
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

  const top = list.current ? list.current.getBoundingClientRect().top : 0;
  const from = -top - BEYOND_PX;
  const until = -top + innerHeight + BEYOND_PX;
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
