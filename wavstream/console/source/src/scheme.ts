/** Bright or dark, as who looks has set it; it may change while the page is open. What is drawn on a canvas keeps the colours
 * it was drawn with. */

import { useEffect, useState } from "preact/hooks";

const DARK = matchMedia("(prefers-color-scheme: dark)");

/** Returns whether it is dark, and draws again when that changes. */
export function useDark(): boolean {
  const [isDark, setDark] = useState(DARK.matches);
  useEffect(() => {
    const changed = (): void => setDark(DARK.matches);
    DARK.addEventListener("change", changed);
    return () => DARK.removeEventListener("change", changed);
  }, []);
  return isDark;
}
