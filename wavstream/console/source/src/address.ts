/** What the page shows is in its address: the query says what, the fragment where (`#t=63.2`). */

import { useEffect, useState } from "preact/hooks";

const listeners = new Set<() => void>();

export function query(): URLSearchParams {
  return new URLSearchParams(location.search);
}

/** Returns an address of this page. */
export function to(params: Record<string, string> | [string, string][]): string {
  const text = new URLSearchParams(params).toString();
  return text ? `?${text}` : "./";
}

export function go(address: string, { replace = false } = {}): void {
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  for (const each of listeners) each();
}

/** Returns the query, and draws again when it changes. */
export function useQuery(): URLSearchParams {
  const [, draw] = useState(0);
  useEffect(() => {
    const changed = (): void => draw((n) => n + 1);
    listeners.add(changed);
    addEventListener("popstate", changed);
    return () => {
      listeners.delete(changed);
      removeEventListener("popstate", changed);
    };
  }, []);
  return query();
}

/** Follows links of this page without loading it again. */
export function followLinks(): void {
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.("a");
    const address = link?.getAttribute("href");
    if (!link || !address || link.target || link.hasAttribute("download")) return;
    if (!(address.startsWith("?") || address === "./")) return;
    event.preventDefault();
    go(address === "./" ? location.pathname : address);
    scrollTo(0, 0);
    document.querySelector<HTMLElement>("main h1")?.focus();
  });
}

/** Returns the second that the fragment names, or null. */
export function hashSecond(): number | null {
  const found = /^#t=(\d{1,7}(?:\.\d{1,6})?)$/.exec(location.hash);
  return found ? Number.parseFloat(found[1]!) : null;
}
