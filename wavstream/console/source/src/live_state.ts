/** What is live, kept up to date by one stream of events for the page. */

import { ROOT, type Session, ask, tellTime } from "./api";

/** [meter, rms dB, peak dB, pace, frames a second, seconds of audio, last word in whole Unix seconds]. */
export type Meter = [number, number | null, number | null, number | null, number | null, number | null, number | null];

const RETRY_MS = 2_000;
const KEPT = 240; // levels of a track: a minute at four a second

export class LiveState {
  sessions = new Map<string, Session>();
  meters = new Map<number, Meter>();
  levels = new Map<number, number[]>();
  workersLeftOut: unknown[] = [];
  /** "whole": this is all; "lost": the server does not answer, this is what was last heard of it. */
  connection: "begins" | "whole" | "lost" | "full" = "begins";
  version = "";
  wasUpdated = false;
  private source: EventSource | null = null;
  private timer = 0;
  private listeners = new Set<() => void>();
  private frame = 0;

  listen(then: () => void): () => void {
    this.listeners.add(then);
    return () => this.listeners.delete(then);
  }

  open(): void {
    this.close();
    const source = new EventSource(`${ROOT}v1/live`);
    this.source = source;
    const on = (name: string, then: (data: any) => void): void =>
      source.addEventListener(name, (event) => {
        const data = JSON.parse((event as MessageEvent<string>).data);
        tellTime(data.now);
        then(data);
        this.changed();
      });
    on("reset", (data) => {
      this.sessions.clear();
      this.meters.clear();
      this.levels.clear();
      this.workersLeftOut = data.workers_left_out ?? [];
      if (this.version && data.version !== this.version) this.wasUpdated = true;
      this.version ||= data.version;
    });
    on("sessions", (data) => {
      for (const id of data.gone ?? []) this.sessions.delete(id);
      for (const each of data.sessions ?? []) this.sessions.set(each.session_id, each);
      if (this.connection === "lost") this.connection = "whole";
    });
    on("meters", (data) => {
      for (const each of data.legs ?? []) this.meter(each);
      if (this.connection === "lost") this.connection = "whole";
    });
    on("whole", () => {
      this.connection = "whole";
    });
    source.onopen = () => {
      if (this.connection === "lost") this.connection = "whole";
      this.changed();
    };
    source.onerror = () => {
      this.connection = "lost";
      this.changed();
      // The browser tries again by itself, unless the server answered something else than events.
      if (source.readyState === EventSource.CLOSED) void this.again();
    };
  }

  close(): void {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  private async again(): Promise<void> {
    try {
      await ask("v1/sessions?limit=1"); // 401: says so to the page
    } catch {
      // Still away.
    }
    if (this.source) this.timer = window.setTimeout(() => this.source && this.open(), RETRY_MS);
  }

  private meter(row: Meter): void {
    const known = this.meters.get(row[0]);
    // Rows may be shorter than they could be: what is told more seldom stays.
    this.meters.set(row[0], known ? (known.map((old, at) => (row[at] === undefined ? old : row[at])) as Meter) : row);
    const levels = this.levels.get(row[0]) ?? [];
    levels.push(row[1] ?? -100);
    if (levels.length > KEPT) levels.shift();
    this.levels.set(row[0], levels);
  }

  private changed(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      for (const each of this.listeners) each();
    });
  }
}

export const live = new LiveState();
