/** The waveform of a recording as the server has it, which grows; nothing is decoded here. */

import { type Waveform, ask, placeOf } from "./api";
import { FINEST_PER_S, MOST_POINTS, coarsePoints } from "./points";

export interface Stretch {
  start: number;
  end: number;
}

export class Waves {
  channels = 1;
  sampleRate = 8000;
  /** Samples of each channel in the file so far. */
  samples = 0;
  durationS = 0;
  isFinal = false;
  /** For each channel: smallest and greatest, in turn, of -1 to 1. */
  peaks: Float32Array[] = [];
  /** Point after point, channel after channel. */
  private rms = new Uint8Array();
  /** Samples of each channel in a point of `peaks`. */
  pointSamples = 160;
  /** Whether `whole` has finer points. */
  isCoarse = false;

  constructor(private readonly id: string) {}

  /** Asks for what is new; returns whether there was something. */
  async grow(signal: AbortSignal): Promise<boolean> {
    const path = `${placeOf(this.id)}/waveform`;
    if (this.peaks.length === 0 || this.length > 2 * MOST_POINTS) {
      await this.whole(signal);
      return true;
    }
    const before = this.samples;
    const fromS = (this.length * this.pointSamples) / this.sampleRate;
    const zoom = `samples_per_pixel=${this.pointSamples}`;
    const more = await ask<Waveform>(`${path}?from=${fromS}&${zoom}`, { signal });
    if (more.samples_per_pixel !== this.pointSamples) await this.whole(signal);
    else this.take(more, false);
    return this.samples !== before || this.isFinal;
  }

  /** Asks for all of it, so finely that silence is found in it. */
  async whole(signal: AbortSignal): Promise<void> {
    this.take(await ask<Waveform>(`${placeOf(this.id)}/waveform?points=${MOST_POINTS}`, { signal }), true);
    this.isCoarse = false;
  }

  /** Asks for one that is finished, or takes what was asked for: as coarse as it is looked at first, see `whole`. */
  async open(signal: AbortSignal, asked: Promise<Waveform> | null): Promise<boolean> {
    if (this.peaks.length) return this.grow(signal);
    this.take(await (asked ?? ask<Waveform>(`${placeOf(this.id)}/waveform?points=${coarsePoints()}`, { signal })), true);
    this.isCoarse = 2 * this.pointSamples > 3 * Math.max(this.sampleRate / FINEST_PER_S, this.samples / MOST_POINTS);
    return true;
  }

  private get length(): number {
    return this.rms.length / this.channels;
  }

  private take(found: Waveform, isAll: boolean): void {
    if (isAll) {
      this.channels = found.channels;
      this.sampleRate = found.sample_rate;
      this.pointSamples = found.samples_per_pixel;
      this.peaks = Array.from({ length: found.channels }, () => new Float32Array());
      this.rms = new Uint8Array();
    }
    const { channels } = this;
    // Of a running one the last point may not be whole yet: it is asked for again, so it is put in its place.
    const at = isAll ? 0 : Math.min(this.length, Math.round((found.start_s * found.sample_rate) / found.samples_per_pixel));
    const rms = new Uint8Array((at + found.length) * channels);
    rms.set(this.rms.subarray(0, at * channels));
    rms.set(found.rms, at * channels);
    this.rms = rms;
    this.peaks = this.peaks.map((before, channel) => {
      const all = new Float32Array((at + found.length) * 2);
      all.set(before.subarray(0, at * 2));
      for (let point = 0, from = 2 * channel, into = 2 * at; point < found.length; point += 1, from += 2 * channels, into += 2) {
        all[into] = found.data[from]! / 128;
        all[into + 1] = found.data[from + 1]! / 128;
      }
      return all;
    });
    this.samples = found.samples;
    this.durationS = found.duration_s;
    this.isFinal = found.is_final;
  }

  /** Returns where nobody is heard for so long, in seconds. */
  silences(longerThanS: number): Stretch[] {
    const found: Stretch[] = [];
    const pointS = this.pointSamples / this.sampleRate;
    let start = -1;
    for (let point = 0; point <= this.length; point += 1) {
      const isSilent = point < this.length && this.isSilent(point);
      if (isSilent && start < 0) start = point;
      if (!isSilent && start >= 0) {
        if ((point - start) * pointS > longerThanS) found.push({ start: start * pointS, end: point * pointS });
        start = -1;
      }
    }
    return found;
  }

  private isSilent(point: number): boolean {
    for (let at = point * this.channels; at < (point + 1) * this.channels; at += 1) if (this.rms[at]! > 1) return false;
    return true;
  }
}
