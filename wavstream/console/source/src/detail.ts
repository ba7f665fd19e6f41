/**
 * The waveform as fine as it is looked at.
 *
 * 1. The whole of it has a bounded number of points (`Waves`). Where one zooms in to less than such a point, what is in
 *    sight is asked for, a chunk at a time, down to the finest that the server has: 20 ms.
 * 2. A place whose chunk is not there yet has the coarse points: nothing is empty, and nothing jumps.
 * 3. Of a recording that grows the last chunk gets longer: it is asked for again.
 */

import { type Waveform, ask, placeOf } from "./api";
import { FINEST_PER_S } from "./points";
import type { Waves } from "./waves";

const CHUNK = 4_096; // points
const MOST_VALUES = 1 << 24; // of all channels: 64 MB

export class Detail {
  /** For each channel: smallest and greatest, in turn, of -1 to 1. */
  peaks: Float32Array[] = [];
  private pointSamples = 0;
  private samples = 0;
  private there = new Set<number>();

  constructor(
    private readonly id: string,
    private readonly waves: Waves,
  ) {}

  /** Makes ready for so many pixels a second; returns whether that is finer than the whole is. */
  ready(pixelsPerS: number): boolean {
    const { sampleRate, samples, channels } = this.waves;
    let pointSamples = Math.max(1, Math.floor(sampleRate / FINEST_PER_S));
    while (2 * pointSamples <= sampleRate / pixelsPerS || (samples / pointSamples) * 2 * channels > MOST_VALUES) pointSamples *= 2;
    if (pointSamples >= this.waves.pointSamples) {
      this.pointSamples = 0;
      this.peaks = [];
      return false;
    }
    if (pointSamples !== this.pointSamples || samples !== this.samples) this.begin(pointSamples);
    return true;
  }

  /** Asks for what is missing between two seconds; returns whether something came. */
  async fetch(fromS: number, toS: number, signal: AbortSignal): Promise<boolean> {
    const { pointSamples } = this;
    const rate = this.waves.sampleRate;
    const chunk = CHUNK * pointSamples;
    const last = Math.min(Math.floor((toS * rate) / chunk), this.lastChunk);
    const missing: number[] = [];
    for (let at = Math.max(0, Math.floor((fromS * rate) / chunk)); at <= last; at += 1) if (!this.there.has(at)) missing.push(at);
    if (missing.length === 0) return false;
    const [first, end] = [missing[0]! * chunk, (missing.at(-1)! + 1) * chunk];
    for (const each of missing) this.there.add(each);
    try {
      // Half a sample within, so that no rounding asks for a point more.
      const part = `from=${(first + 0.5) / rate}&to=${(end - 0.5) / rate}&samples_per_pixel=${pointSamples}`;
      const found = await ask<Waveform>(`${placeOf(this.id)}/waveform?${part}`, { signal });
      if (pointSamples !== this.pointSamples) return false; // one has zoomed on meanwhile
      const start = Math.round((found.start_s * rate) / found.samples_per_pixel);
      this.peaks.forEach((fine, channel) => {
        const given = new Float32Array(found.length * 2);
        for (let point = 0; point < found.length; point += 1) {
          const where = 2 * (point * found.channels + channel);
          given[2 * point] = found.data[where]! / 128;
          given[2 * point + 1] = found.data[where + 1]! / 128;
        }
        stretch(fine, first / pointSamples, end / pointSamples, pointSamples, given, start, found.samples_per_pixel);
      });
      return true;
    } catch (problem) {
      if (pointSamples === this.pointSamples) for (const each of missing) this.there.delete(each);
      throw problem;
    }
  }

  private get lastChunk(): number {
    return Math.floor((this.samples - 1) / (CHUNK * this.pointSamples));
  }

  /** Begins with the coarse points (rule 2), and with what is there at this zoom (rule 3). */
  private begin(pointSamples: number): void {
    const { waves } = this;
    const before = pointSamples === this.pointSamples ? this.peaks : [];
    if (before.length) this.there.delete(this.lastChunk);
    else this.there.clear();
    this.pointSamples = pointSamples;
    this.samples = waves.samples;
    const length = Math.ceil(waves.samples / pointSamples);
    this.peaks = waves.peaks.map((coarse, channel) => {
      const fine = new Float32Array(2 * length);
      const kept = before[channel]?.subarray(0, fine.length);
      if (kept) fine.set(kept);
      stretch(fine, (kept?.length ?? 0) / 2, length, pointSamples, coarse, 0, waves.pointSamples);
      return fine;
    });
  }
}

/** Fills points of one zoom from those of another, of which the first is `start` at its zoom. */
function stretch(
  into: Float32Array,
  from: number,
  until: number,
  intoSamples: number,
  given: ArrayLike<number>,
  start: number,
  givenSamples: number,
): void {
  for (let point = from; point < Math.min(until, into.length / 2); point += 1) {
    const at = 2 * (Math.floor((point * intoSamples) / givenSamples) - start);
    if (at < 0 || at + 1 >= given.length) continue;
    into[2 * point] = given[at]!;
    into[2 * point + 1] = given[at + 1]!;
  }
}
