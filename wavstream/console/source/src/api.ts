/** Asks the server. Every request goes to this origin, and says that it is the console's (see docs/console-api.md). */

export const ROOT = "../";
const OURS = { "X-Wavstream-Console": "1" };
const WAIT_MS = 30_000;

/** Where a recording is, below the root. */
export const placeOf = (id: string): string => `v1/recordings/${encodeURIComponent(id)}`;

/** Where the audio of a recording is. */
export const audioOf = (id: string): string => `${ROOT}${placeOf(id)}/audio.wav`;

/** What the server refused, in its own words, or that it did not answer (status 0). */
export class Refused extends Error {
  constructor(
    readonly status: number,
    text: string,
    readonly retryAfterS: number | null = null,
    readonly state: string | null = null,
  ) {
    super(text);
  }
}

let whenSignedOut = (): void => undefined;

/** Calls this when an answer says that nobody is signed in any more. */
export function onSignedOut(then: () => void): void {
  whenSignedOut = then;
}

export interface Asked extends RequestInit {
  /** How long an answer may take, in ms. */
  waitMs?: number;
}

export async function ask<T>(path: string, { waitMs = WAIT_MS, signal, ...options }: Asked = {}): Promise<T> {
  const tooLate = AbortSignal.timeout(waitMs);
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(ROOT + path, {
      ...options,
      headers: { ...OURS, ...(options.body ? { "Content-Type": "application/json" } : {}) },
      signal: signal ? AbortSignal.any([signal, tooLate]) : tooLate,
      credentials: "same-origin",
      cache: "no-cache",
    });
    text = await answer.text(); // a server that is stopped breaks it off
  } catch (problem) {
    if (problem instanceof DOMException && problem.name === "AbortError") throw problem;
    throw new Refused(0, "The server does not answer. It may be starting again.");
  }
  if (answer.ok) {
    if (answer.status === 204) return undefined as T;
    const found = read<T & { now?: unknown }>(text);
    if (found === null) throw new Refused(502, "Something between here and the server answered in its place.");
    tellTime(found.now);
    return found;
  }
  if (answer.status === 401 && path !== "console/sign-in") whenSignedOut();
  throw refusal(answer, text);
}

export function post<T>(path: string, body?: unknown, options: Asked = {}): Promise<T> {
  return ask<T>(path, { ...options, method: "POST", ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
}

function refusal(answer: Response, said: string): Refused {
  const waitS = Number.parseFloat(answer.headers.get("Retry-After") ?? "");
  const problem = read<Problem>(said); // null: a proxy's page, of which the number says enough
  let text = String(problem?.detail || problem?.title || `The server answered ${answer.status}.`);
  const errors = Array.isArray(problem?.errors) ? problem.errors : [];
  for (const each of errors) if (each.detail) text += ` ${each.pointer ?? ""}: ${each.detail}`;
  return new Refused(answer.status, text, Number.isFinite(waitS) ? waitS : null, problem?.state ?? null);
}

/** Returns the object that a text is in JSON; null: it is none. */
function read<T>(text: string): T | null {
  try {
    const found: unknown = JSON.parse(text);
    return typeof found === "object" ? (found as T) : null;
  } catch {
    return null;
  }
}

interface Problem {
  title?: string;
  detail?: string;
  state?: string;
  errors?: { pointer?: string; detail?: string }[];
}

// ---- The server's time. The browser's clock may be wrong by a day: it is never read; only what passed since is.

let toldMs = Number.NaN;
let toldAt = 0;

/** Takes `now` of an answer. */
export function tellTime(now: unknown): void {
  const ms = typeof now === "string" ? Date.parse(now) : Number.NaN;
  if (Number.isFinite(ms)) [toldMs, toldAt] = [ms, performance.now()];
}

/** Returns the server's time in ms since 1970; NaN: not told yet. */
export function serverNow(): number {
  return toldMs + (performance.now() - toldAt);
}

// ---- What it answers, as far as the page reads it.

export interface Visitor {
  signed_in: boolean;
  needs_key: boolean;
  app_id: string | null;
  key_name: string | null;
  expires_at: string | null;
  /** Whether this server makes transcripts. */
  transcribes: boolean;
  version: string;
}

export interface Track {
  track: string;
  meter: number;
  pace: number | null;
  gaps: number | null;
  gap_ms: number | null;
  drift_ppm: number | null;
}

export interface Reason {
  code: string;
  text: string;
  docs: string;
}

export interface Leg {
  leg: string;
  state: string;
  dialect: string | null;
  codec: string | null;
  rate: number | null;
  clock: string | null;
  joined_at: string | null;
  tracks: Track[];
  silent_because: Reason | null;
  suspicions: string[];
}

export interface LiveRecording {
  id: string;
  status: string;
  format: string;
  channels: string;
  started_at: string | null;
}

export interface Session {
  session_id: string;
  from: string | null;
  to: string | null;
  direction: string | null;
  created_at: string | null;
  legs: Leg[];
  recordings: LiveRecording[];
}

export interface Gap {
  leg: string;
  track: string;
  start_ms: number;
  length_ms: number;
  cause: string;
}

export interface Integrity {
  samples: number;
  lost_ms: number;
  late_frames: number;
  late_ms: number;
  duplicate_frames: number;
  reordered_frames: number;
  clock_restarts: number;
  redundant_frames: number;
  paused_ms: number;
  after_limit_ms: number;
  clipped_samples: number;
  gaps: Gap[];
  gaps_omitted: number;
  pauses: unknown[];
  drift_ppm: Record<string, number>;
  trimmed_ms: { start: number; end: number };
}

export interface LegReceipt {
  leg: string;
  track: string;
  channel: string;
  dialect: string;
  codec: string;
  rate: number;
  joined_ms: number;
  left_ms: number;
  pace: number | null;
  suspicions: string[];
}

export interface Recording {
  id: string;
  session_id: string;
  app_id: string;
  status: string;
  end_reason: string | null;
  error: string | null;
  format: string;
  channels: string;
  sample_rate: number | null;
  duration_ms: number | null;
  size_bytes: number | null;
  audio_sha256: string | null;
  file_name: string | null;
  metadata: Record<string, unknown>;
  from: string | null;
  to: string | null;
  direction: string | null;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  expires_at: string | null;
  hold: { by: string; reason: string; since?: string; placed_at?: string } | null;
  legs?: LegReceipt[];
  integrity?: Integrity | null;
}

export interface Page<T> {
  data: T[];
  next_cursor: string | null;
}

export interface Region {
  kind: string;
  start_s: number | null;
  end_s: number | null;
  length_s?: number;
  leg: string | null;
  track: string | null;
  channel: string | null;
  cause: string | null;
  text: string;
}

export interface Regions {
  duration_s: number;
  is_final: boolean;
  omitted: number;
  regions: Region[];
}

export interface Waveform {
  channels: number;
  sample_rate: number;
  samples_per_pixel: number;
  length: number;
  data: number[];
  rms: number[];
  start_s: number;
  samples: number;
  duration_s: number;
  is_final: boolean;
  status: string;
}

export interface Verification {
  verified: boolean;
  differences: string[];
  audio_sha256: string | null;
  size_bytes: number | null;
  checked_at: string;
}

export interface DeadLetter {
  id: string;
  event: string;
  session_id: string;
  recording_id: string | null;
  attempts: number;
  error: string;
  created_at: string;
  died_at: string;
}

/** The work of transcribing a recording. */
export interface Transcription {
  status: "waiting" | "running" | "done" | "failed";
  progress: number;
  language: string | null;
  engine: string | null;
  attempts: number;
  error: string | null;
  done_at: string | null;
}

export interface Word {
  word: string;
  start_ms: number;
  end_ms: number;
}

export interface Segment {
  channel: number;
  start_ms: number;
  end_ms: number;
  text: string;
  words: Word[];
}

export interface Transcript {
  language: string;
  engine: string;
  timing: "word" | "segment";
  speakers: { channel: number; side: string; legs: string[] }[];
  segments: Segment[];
}

export interface FoundTranscript {
  recording_id: string;
  transcribed_at: string;
  language: string;
  hits: { channel: number; speaker: string; start_ms: number; text: string }[];
}
