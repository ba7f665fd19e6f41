/** What is live, kept up to date by one stream of events for the page. */

import { ROOT, type Refused, type Session, ask, serverNow, tellTime } from "./api";

/** [meter, rms dB, peak dB, pace, frames a second, seconds of audio, last word in whole Unix seconds]. */
export type Meter = [number, number | null, number | null, number | null, number | null, number | null, number | null];

/** Levels of a track: when each was told, by the server's time in ms, and in dB. One stays until the next is told. */
export interface Levels {
  at: number[];
  db: number[];
}

const RETRY_MS = 2_000;
const ANSWER_MS = 3_000;
/** Something is told of a leg every 2 s at least: after so long without, the connection is taken for dead. */
const SILENT_MS = 15_000;
const KEPT_MS = 60_000;
const QUIETEST_DB = -100;
/** Who looks at another tab for longer gets no news meanwhile. A browser has six connections for all tabs of a server. */
const UNSEEN_MS = 5_000;

export class LiveState {
  sessions = new Map<string, Session>();
  meters = new Map<number, Meter>();
  levels = new Map<number, Levels>();
  workersLeftOut: unknown[] = [];
  /** "whole": this is all; "lost": the server does not answer, this is what was last heard of it; "full": it answers, and
   * lets no more pages look. */
  connection: "begins" | "whole" | "lost" | "full" = "begins";
  version = "";
  wasUpdated = false;
  private source: EventSource | null = null;
  private timer = 0;
  private unseen = 0;
  private watching = 0;
  private heardAt = 0;
  private listeners = new Set<() => void>();
  private frame = 0;
  private leaving = new AbortController();

  listen(then: () => void): () => void {
    this.listeners.add(then);
    return () => this.listeners.delete(then);
  }

  /** Begins to look, with nothing of what was seen before: that may have been another app's. */
  open(): void {
    this.close();
    this.leaving = new AbortController();
    this.watching = window.setInterval(() => {
      if (this.source && performance.now() - this.heardAt > SILENT_MS && this.hasStreams) void this.missed(this.source, true);
    }, ANSWER_MS);
    document.addEventListener("visibilitychange", () => this.seen(), { signal: this.leaving.signal });
    if (!document.hidden) this.connect();
  }

  private get hasStreams(): boolean {
    return [...this.sessions.values()].some((each) => each.legs.some((leg) => leg.state === "streaming"));
  }

  /** Gives the connection up while nobody sees the page, and takes one when somebody does. */
  private seen(): void {
    clearTimeout(this.unseen);
    if (document.hidden) {
      this.unseen = window.setTimeout(() => {
        this.source?.close();
        this.source = null;
      }, UNSEEN_MS);
    } else if (!this.source || this.source.readyState === EventSource.CLOSED) this.connect();
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
      this.forget();
      this.workersLeftOut = data.workers_left_out ?? [];
      if (this.version && data.version !== this.version) this.wasUpdated = true;
      this.version ||= data.version;
    });
    on("sessions", (data) => {
      for (const id of data.gone ?? []) this.take(id, null);
      for (const each of data.sessions ?? []) this.take(each.session_id, each);
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
    this.leaving.abort();
    clearTimeout(this.timer);
    clearTimeout(this.unseen);
    clearInterval(this.watching);
    this.source?.close();
    this.source = null;
    this.forget();
    this.connection = "begins";
  }

  private forget(): void {
    this.sessions.clear();
    this.meters.clear();
    this.levels.clear();
  }

  /** Finds out why nothing comes, and says so; `isDead`: the connection is there, and nothing comes by it. */
  private async missed(source: EventSource, isDead = false): Promise<void> {
    let answers = true;
    try {
      await ask("v1/sessions?limit=1", { waitMs: ANSWER_MS });
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
    if (isOver || (isDead && answers)) this.timer = window.setTimeout(() => this.source && !document.hidden && this.connect(), isOver ? RETRY_MS : 0);
  }

  /** Puts a session in its place, null: it is over; tracks that are no more take their meters along. */
  private take(id: string, session: Session | null): void {
    const known = tracksOf(this.sessions.get(id));
    if (session) this.sessions.set(id, session);
    else this.sessions.delete(id);
    const there = new Set(tracksOf(session));
    for (const meter of known) {
      if (there.has(meter)) continue;
      this.meters.delete(meter);
      this.levels.delete(meter);
    }
  }

  private meter(row: Meter): void {
    const known = this.meters.get(row[0]);
    // Rows may be shorter than they could be: what is told more seldom stays.
    this.meters.set(row[0], known ? (known.map((old, at) => (row[at] === undefined ? old : row[at])) as Meter) : row);
    let levels = this.levels.get(row[0]);
    if (!levels) this.levels.set(row[0], (levels = { at: [], db: [] }));
    const now = serverNow();
    levels.at.push(now);
    levels.db.push(row[1] ?? QUIETEST_DB);
    while (levels.at.length > 1 && levels.at[1]! < now - KEPT_MS) {
      levels.at.shift();
      levels.db.shift();
    }
  }

  private changed(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      for (const each of this.listeners) each();
    });
  }
}

function tracksOf(session: Session | null | undefined): number[] {
  return session?.legs.flatMap((leg) => leg.tracks.map((track) => track.meter)) ?? [];
}

export const live = new LiveState();
