/** What is live, kept up to date by one stream of events for the page. */

import { ROOT, type Refused, type Session, ask, tellTime } from "./api";

/** [meter, rms dB, peak dB, pace, frames a second, seconds of audio, last word in whole Unix seconds]. */
export type Meter = [number, number | null, number | null, number | null, number | null, number | null, number | null];

const RETRY_MS = 2_000;
const ANSWER_MS = 3_000;
/** Something is told of a leg every 2 s at least: after so long without, the connection is taken for dead. */
const SILENT_MS = 15_000;
const KEPT = 240; // levels of a track: a minute at four a second

export class LiveState {
  sessions = new Map<string, Session>();
  meters = new Map<number, Meter>();
  levels = new Map<number, number[]>();
  workersLeftOut: unknown[] = [];
  /** "whole": this is all; "lost": the server does not answer, this is what was last heard of it; "full": it answers, and
   * lets no more pages look. */
  connection: "begins" | "whole" | "lost" | "full" = "begins";
  version = "";
  wasUpdated = false;
  private source: EventSource | null = null;
  private timer = 0;
  private watching = 0;
  private heardAt = 0;
  private listeners = new Set<() => void>();
  private frame = 0;

  listen(then: () => void): () => void {
    this.listeners.add(then);
    return () => this.listeners.delete(then);
  }

  /** Begins to look, with nothing of what was seen before: that may have been another app's. */
  open(): void {
    this.close();
    this.watching = window.setInterval(() => {
      if (performance.now() - this.heardAt > SILENT_MS && this.hasStreams) void this.missed(this.source!, true);
    }, ANSWER_MS);
    this.connect();
  }

  private get hasStreams(): boolean {
    return [...this.sessions.values()].some((each) => each.legs.some((leg) => leg.state === "streaming"));
  }

  private connect(): void {
    this.source?.close();
    this.heardAt = performance.now();
    const source = new EventSource(`${ROOT}v1/live`);
    this.source = source;
    const on = (name: string, then: (data: any) => void): void =>
      source.addEventListener(name, (event) => {
        const data = JSON.parse((event as MessageEvent<string>).data);
        tellTime(data.now);
        this.heardAt = performance.now();
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
      if (this.connection === "lost" || this.connection === "full") this.connection = "whole";
      this.changed();
    };
    source.onerror = () => void this.missed(source);
  }

  close(): void {
    clearTimeout(this.timer);
    clearInterval(this.watching);
    this.source?.close();
    this.source = null;
    this.sessions.clear();
    this.meters.clear();
    this.levels.clear();
    this.connection = "begins";
  }

  /** Finds out why nothing comes, and says so; `isDead`: the connection is there, and nothing comes by it. */
  private async missed(source: EventSource, isDead = false): Promise<void> {
    let answers = true;
    try {
      await ask("v1/sessions?limit=1", { signal: AbortSignal.timeout(ANSWER_MS) });
    } catch (problem) {
      if ((problem as Refused).status === 401) return; // the page was told that nobody is signed in any more
      answers = false;
    }
    if (source !== this.source) return;
    const isOver = source.readyState === EventSource.CLOSED;
    if (!answers && (isDead || source.readyState !== EventSource.OPEN)) this.connection = "lost";
    else if (isOver) this.connection = "full";
    this.changed();
    // The browser tries again by itself, unless the server answered something else than events.
    clearTimeout(this.timer);
    if (isOver || (isDead && answers)) this.timer = window.setTimeout(() => this.source && this.connect(), isOver ? RETRY_MS : 0);
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
