/** Says things in words. Texts of peers go through `Foreign`, and only there. */

import type { JSX } from "preact";

// What cannot be seen: controls, what turns the direction of a text around or hides in it (bidi controls, zero widths, fillers,
// variation selectors, tags), line separators, halves of letters, and blanks that are no space.
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u{2800}]|(?! )\p{Zs}/gu;
// Marks above marks grow over what is written there. No language has more of them on a letter.
const MANY_MARKS = /(\p{M}{4})\p{M}+/gu;
const MOST_SHOWN = 300;

/** Returns a peer's text with what cannot be seen shown as its number, and cut to what one can read. */
export function visible(text: string, most = MOST_SHOWN): string {
  const number = (each: string): string => `⟨${each.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  const seen = text
    .replace(HIDDEN, number)
    .replace(/^ +| +$/g, (each) => "␣".repeat(each.length))
    .replace(MANY_MARKS, (all, first: string) => `${first}⟨${[...all].length - 4} marks⟩`);
  const letters = [...seen];
  return letters.length > most ? `${letters.slice(0, most).join("")}… (${letters.length} characters)` : seen;
}

/** Shows a text that a peer chose: as text, isolated from the direction of what is around it. */
export function Foreign({ text, most }: { text: string | null | undefined; most?: number }): JSX.Element | null {
  if (text === null || text === undefined || text === "") return null;
  return <bdi class="foreign">{visible(text, most)}</bdi>;
}

export function seconds(s: number): string {
  return s < 10 ? `${Math.round(s * 100) / 100} s` : s < 120 ? `${Math.round(s * 10) / 10} s` : clockTime(s);
}

/** Returns 1:02:03 or 2:03; with `digits` behind the point. */
export function clockTime(s: number, digits = 0): string {
  const scale = 10 ** digits;
  const whole = Math.max(0, Math.floor(s * scale + 1e-6) / scale);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = (whole % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export function ago(s: number): string {
  if (!Number.isFinite(s)) return "";
  if (s < 2) return "now";
  if (s < 90) return `${Math.round(s)} s ago`;
  if (s < 5400) return `${Math.round(s / 60)} min ago`;
  return `${Math.round(s / 3600)} h ago`;
}

/** Shows a moment of the server in the zone of who looks. A browser's own formatter takes 100 ms to be made: longer than the page. */
export function Moment({ at }: { at: string | null | undefined }): JSX.Element | null {
  const there = new Date(at ?? Number.NaN);
  if (Number.isNaN(there.getTime())) return null;
  const two = (n: number): string => String(n).padStart(2, "0");
  const day = `${there.getFullYear()}-${two(there.getMonth() + 1)}-${two(there.getDate())}`;
  return <time dateTime={at!}>{`${day} ${two(there.getHours())}:${two(there.getMinutes())}:${two(there.getSeconds())}`}</time>;
}

export function bytes(n: number): string {
  if (n < 1e3) return `${n} bytes`;
  if (n < 1e6) return `${(n / 1e3).toFixed(0)} kB`;
  return n < 1e9 ? `${(n / 1e6).toFixed(1)} MB` : `${(n / 1e9).toFixed(2)} GB`;
}

export const STATUS: Record<string, string> = {
  accepted: "waits for its first stream",
  ongoing: "records",
  paused: "paused",
  completed: "is being finished",
  available: "finished",
  absent: "ended without audio",
  failed: "failed",
  expired: "expired",
  deleted: "deleted",
};

export const END: Record<string, string> = {
  stopped: "somebody stopped it",
  hangup: "the call ended",
  max_length: "it reached its greatest length",
  silence: "nobody spoke any more",
  no_input: "nobody spoke at its beginning",
  terminator: "a key was pressed that ends it",
  disconnected: "its streams broke off and did not come back",
  no_stream: "no stream ever came",
  recovered: "the server was started again, and its call was over",
  failed: "it failed",
};
