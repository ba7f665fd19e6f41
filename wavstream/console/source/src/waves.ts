/** The waveform of a recording as the server has it, which grows; nothing is decoded here. */

import { type Waveform, ask } from "./api";

const MOST_POINTS = 16_000;

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
  peaks: number[][] = [];
  private rms: number[] = [];
  /** Samples of each channel in a point of `peaks`. */
  pointSamples = 160;

  constructor(private readonly id: string) {}

  /** Asks for what is new; returns whether there was something. */
  async grow(signal: AbortSignal): Promise<boolean> {
    const path = `v1/recordings/${encodeURIComponent(this.id)}/waveform`;
    if (this.peaks.length === 0 || this.length > 2 * MOST_POINTS) {
      this.take(await ask<Waveform>(`${path}?points=${MOST_POINTS}`, { signal }), true);
      return true;
    }
    const before = this.samples;
    const fromS = (this.length * this.pointSamples) / this.sampleRate;
    const zoom = `samples_per_pixel=${this.pointSamples}`;
    const more = await ask<Waveform>(`${path}?from=${fromS}&${zoom}`, { signal });
    if (more.samples_per_pixel !== this.pointSamples) this.take(await ask<Waveform>(`${path}?points=${MOST_POINTS}`, { signal }), true);
    else this.take(more, false);
    return this.samples !== before || this.isFinal;
  }

  private get length(): number {
    return this.rms.length / this.channels;
  }

  private take(found: Waveform, isAll: boolean): void {
    if (isAll) {
      this.channels = found.channels;
      this.sampleRate = found.sample_rate;
      this.pointSamples = found.samples_per_pixel;
      this.peaks = Array.from({ length: found.channels }, () => []);
      this.rms = [];
    }
    // Of a running one the last point may not be whole yet: it is asked for again, so it is put in its place.
    const at = isAll ? 0 : Math.round((found.start_s * found.sample_rate) / found.samples_per_pixel);
    for (const each of this.peaks) each.length = Math.min(each.length, at * 2);
    this.rms.length = Math.min(this.rms.length, at * this.channels);
    for (let point = 0; point < found.length; point += 1) {
      for (let channel = 0; channel < this.channels; channel += 1) {
        const where = point * this.channels + channel;
        this.peaks[channel]!.push(found.data[where * 2]! / 128, found.data[where * 2 + 1]! / 128);
        this.rms.push(found.rms[where]!);
      }
    }
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
