/**
 * Plays a recording, also while it grows.
 *
 * 1. The audio comes by ranges from the server, through an <audio> element; nothing is decoded beforehand.
 * 2. A running recording is played from a file of as many samples as there were when it was opened. Where the player comes
 *    to its end, or is sent behind it, the file of now is opened, and it goes on at the same second.
 * 3. The element says the length of the waveform as its own, so that what is drawn over it has one truth.
 * 4. Channels go through four gains (from each to each ear), made when one first listens: a browser lets no page sound before.
 */

import { audioOf } from "./api";
import type { Waves } from "./waves";

const NEAR_END_S = 0.3;
const SKIPPED_S = 0.8;
const LEFT_S = 0.15;

export interface Channels {
  muted: [boolean, boolean];
  solo: 0 | 1 | null;
  isSwapped: boolean;
}

export class Player {
  readonly audio: HTMLAudioElement;
  channels: Channels = { muted: [false, false], solo: null, isSwapped: false };
  private skips = false;
  /** Seconds of the file that is open now; Infinity: it is finished. */
  private openS = 0;
  /** Where it is, also after the element has given its file up. */
  private lastS = 0;
  private wants = false;
  private context: AudioContext | null = null;
  private gains: GainNode[] = [];
  private silences: { start: number; end: number }[] = [];
  private readonly leaving = new AbortController();

  /** `said` is told why nothing can be heard; "": it can. A finished one is opened before its waveform is there, or was:
   * `begun`. */
  constructor(
    readonly id: string,
    private readonly waves: Waves,
    private readonly isFinished: boolean,
    private readonly said: (text: string) => void,
    begun: HTMLAudioElement | null = null,
  ) {
    const audio = (this.audio = begun ?? document.createElement("audio"));
    audio.preload = "metadata";
    Object.defineProperty(audio, "duration", { get: () => waves.durationS, configurable: true }); // rule 3
    const on = (name: string, then: () => void): void => audio.addEventListener(name, then, { signal: this.leaving.signal });
    on("timeupdate", () => this.moved());
    on("loadedmetadata", () => said(""));
    on("ended", () => this.atEnd());
    on("play", () => {
      this.wants = true;
    });
    on("error", () => this.broken());
    if (begun && !begun.error) this.openS = Number.POSITIVE_INFINITY;
    else this.open(0);
  }

  /** Opens the file of now (rule 2). */
  private open(atS: number): void {
    const { audio, waves } = this;
    const rate = audio.playbackRate;
    const isWhole = this.isFinished || waves.isFinal;
    this.openS = isWhole ? Number.POSITIVE_INFINITY : waves.durationS;
    const samples = isWhole ? "" : `?samples=${waves.samples}`;
    audio.src = `${audioOf(this.id)}${samples}`;
    audio.playbackRate = rate;
    audio.preservesPitch = true;
    if (atS > 0) audio.currentTime = atS;
  }

  /** Takes note that the waveform has grown. */
  grown(): void {
    if (this.skips) this.findSilence();
    const { audio } = this;
    if (audio.error && !this.isFinished) return this.goOn(this.lastS); // the server may be there again
    const isAtEnd = audio.ended || audio.currentTime >= this.openS - NEAR_END_S;
    if (isAtEnd && this.hasMore) this.goOn(audio.currentTime);
    else if (audio.ended && this.waves.isFinal) this.wants = false;
  }

  /** Whether the file of now is longer than the open one, by so much that to open it is worth it. */
  private get hasMore(): boolean {
    return this.waves.durationS > this.openS + (this.waves.isFinal ? 0 : NEAR_END_S);
  }

  private goOn(atS: number): void {
    this.open(atS);
    if (this.wants) void this.audio.play().catch(() => undefined);
  }

  private atEnd(): void {
    if (this.hasMore) this.goOn(this.openS);
    else if (this.waves.isFinal) this.wants = false;
  }

  private moved(): void {
    const at = this.audio.currentTime;
    if (!this.audio.error) this.lastS = at;
    if (!this.skips || this.audio.paused) return;
    const quiet = this.silences.find((each) => at >= each.start + LEFT_S && at < each.end - 2 * LEFT_S);
    if (quiet) this.audio.currentTime = quiet.end - LEFT_S;
  }

  private broken(): void {
    const text = this.audio.error?.code === MediaError.MEDIA_ERR_NETWORK ? "The audio broke off." : "The audio cannot be had.";
    if (this.isFinished || this.waves.isFinal) this.pause();
    this.said(`${text} The server may be starting again, or the recording is gone.`);
  }

  async play(): Promise<void> {
    this.wants = true;
    this.connect();
    await this.context?.resume();
    if (this.audio.error) this.open(this.lastS);
    if (this.waves.isFinal && this.audio.currentTime >= this.waves.durationS - 0.05) this.seek(0);
    await this.audio.play().catch(() => undefined);
  }

  pause(): void {
    this.wants = false;
    this.audio.pause();
  }

  get isPlaying(): boolean {
    return this.wants && !(this.audio.paused && this.waves.isFinal);
  }

  seek(s: number): void {
    const at = Math.min(Math.max(0, s), Math.max(0, this.waves.durationS - 0.01));
    if (this.audio.error) this.lastS = at; // it has no file to seek in until it is played
    if (at > this.openS - NEAR_END_S && this.waves.durationS > this.openS) this.goOn(at);
    else this.audio.currentTime = at;
  }

  set speed(rate: number) {
    this.audio.preservesPitch = true;
    this.audio.playbackRate = rate;
    this.audio.defaultPlaybackRate = rate;
  }

  /** Skips silence, or does not. Where it is takes finer points than one sees at first. */
  set skipsSilence(does: boolean) {
    this.skips = does;
    if (!does) return;
    this.findSilence();
    if (this.waves.isCoarse) {
      this.waves.whole(this.leaving.signal).then(
        () => this.findSilence(),
        () => undefined, // what the coarse points tell stays
      );
    }
  }

  private findSilence(): void {
    this.silences = this.waves.silences(SKIPPED_S);
  }

  setChannels(channels: Channels): void {
    this.channels = channels;
    this.mix();
  }

  /** Sends the sound through the gains (rule 4). */
  private connect(): void {
    if (this.context || this.waves.channels !== 2) return;
    const context = new AudioContext();
    this.context = context;
    const source = context.createMediaElementSource(this.audio);
    const apart = context.createChannelSplitter(2);
    const together = context.createChannelMerger(2);
    source.connect(apart);
    for (const from of [0, 1]) {
      for (const ear of [0, 1]) {
        const gain = context.createGain();
        apart.connect(gain, from).connect(together, 0, ear);
        this.gains.push(gain);
      }
    }
    together.connect(context.destination);
    this.mix();
  }

  private mix(): void {
    gainsOf(this.channels).forEach((value, at) => {
      const gain = this.gains[at];
      if (gain) gain.gain.value = value;
    });
  }

  close(): void {
    this.leaving.abort();
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
    void this.context?.close().catch(() => undefined); // it was closed before
  }
}

/** Returns the gains left-left, left-right, right-left, right-right. One alone is heard on both ears. */
export function gainsOf({ muted, solo, isSwapped }: Channels): number[] {
  return [0, 1].flatMap((from) => {
    if (muted[from] || (solo !== null && solo !== from)) return [0, 0];
    if (solo === from) return [1, 1];
    return (from === 1) !== isSwapped ? [0, 1] : [1, 0];
  });
}
