/** Draws the waveform, with regions, time, minimap and hover, over a player. */

import WaveSurfer from "wavesurfer.js";
import Hover from "wavesurfer.js/plugins/hover";
import Regions from "wavesurfer.js/plugins/regions";
import type { Region } from "./api";
import { whenCalm } from "./calm";
import { Detail } from "./detail";
import type { Player } from "./player";
import { Ruler } from "./ruler";
import type { Waves } from "./waves";
import { clockTime, visible } from "./words";

const HEIGHT_PX = 96;
const LEAST_S = 0.05;
/** Of the closest look: 4 for the finest point that there is. A short recording can be looked at still closer. */
const MOST_PIXELS_PER_S = 200;
const CLOSEST = 4;
const SETTLED_MS = 120;

export class Drawing {
  private readonly surfer: WaveSurfer;
  private readonly regions = Regions.create();
  private readonly detail: Detail;
  private readonly leaving = new AbortController();
  private pixelsPerS = 0;
  private isFine = false;
  private timer = 0;
  private marks: Region[] = [];
  private shown = "";

  constructor(
    box: HTMLElement,
    player: Player,
    private readonly waves: Waves,
    /** How close one looks: from 0, all of it, to 1. */
    private closeness = 0,
    fromS = 0,
  ) {
    this.detail = new Detail(player.id, waves);
    const style = getComputedStyle(document.documentElement);
    const color = (name: string): string => style.getPropertyValue(name).trim();
    const cspNonce = document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? "";
    const split = Array.from({ length: waves.channels }, (_, at) => ({
      waveColor: color(at ? "--wave-right" : "--wave-left"),
      progressColor: color(at ? "--played-right" : "--played-left"),
      height: waves.channels === 1 ? HEIGHT_PX : HEIGHT_PX * 0.8,
    }));
    this.surfer = WaveSurfer.create({
      container: box,
      media: player.audio,
      peaks: waves.peaks,
      duration: waves.durationS,
      splitChannels: split,
      cursorColor: color("--text"),
      cursorWidth: 2,
      interact: true,
      dragToSeek: true,
      maxPeak: 1,
      cspNonce,
      plugins: [
        this.regions,
        Hover.create({ lineColor: color("--accent"), labelBackground: color("--text"), labelColor: color("--ground"), formatTimeCallback: (s) => clockTime(s, 1) }),
      ],
    });
    new Ruler(this.surfer, color("--quiet"));
    this.surfer.on("interaction", (s) => player.seek(s));
    this.surfer.on("ready", () => {
      // It is drawn once: while the file grows there is none. And nobody waits for it.
      if (waves.isFinal) whenCalm(player.audio, this.leaving.signal, () => void this.addMinimap(color, cspNonce));
      if (this.closeness === 0) return;
      this.zoom(this.closeness);
      this.surfer.setScroll(fromS * this.pixelsPerS);
    });
    this.surfer.on("scroll", () => this.look());
  }

  private async addMinimap(color: (name: string) => string, cspNonce: string): Promise<void> {
    const found = await import("wavesurfer.js/plugins/minimap").catch(() => null); // the rest of the page does without
    if (!found || this.leaving.signal.aborted) return;
    const colors = { waveColor: color("--quiet"), progressColor: color("--accent"), overlayColor: color("--overlay") };
    this.surfer.registerPlugin(found.default.create({ ...colors, height: 24, cspNonce, insertPosition: "afterend" }));
  }

  /** Returns one over the same, where this one is and as close, in the colours of now; this one is over. */
  again(box: HTMLElement, player: Player): Drawing {
    const fromS = this.pixelsPerS > 0 ? this.surfer.getScroll() / this.pixelsPerS : 0;
    this.close();
    const made = new Drawing(box, player, this.waves, this.closeness, fromS);
    made.mark(this.marks);
    return made;
  }

  /** Draws what there is now, as fine as this zoom has it. */
  grown(): void {
    if (!this.surfer.getDecodedData()) return; // it is not ready, and takes what there is then
    this.isFine = this.pixelsPerS > 0 && this.detail.ready(this.pixelsPerS);
    const peaks = this.isFine ? this.detail.peaks : this.waves.peaks;
    this.surfer.setOptions({ peaks, duration: this.waves.durationS, minPxPerSec: this.pixelsPerS });
    // It draws the data of before, at the new zoom, and nothing else.
    void this.surfer.getRenderer().render(this.surfer.getDecodedData()!);
    this.look();
  }

  zoom(closeness: number): void {
    this.closeness = closeness;
    const fitting = this.surfer.getWidth() / this.waves.durationS;
    const most = Math.max(MOST_PIXELS_PER_S, CLOSEST * fitting);
    this.pixelsPerS = closeness > 0 ? fitting * (most / fitting) ** closeness : 0;
    const scrolled = this.surfer.getWrapper().parentElement!; // by the keyboard too, where there is more than fits
    if (closeness > 0) Object.assign(scrolled, { tabIndex: 0, role: "group", ariaLabel: "Waveform" });
    else scrolled.removeAttribute("tabindex");
    this.grown();
  }

  /** Asks for the details of what is in sight and beside it, once nothing moves any more. */
  private look(): void {
    clearTimeout(this.timer);
    if (!this.isFine) return;
    this.timer = window.setTimeout(() => {
      const [at, width] = [this.surfer.getScroll() / this.pixelsPerS, this.surfer.getWidth() / this.pixelsPerS];
      this.detail.fetch(at - width, at + 2 * width, this.leaving.signal).then(
        (isNew) => isNew && !this.leaving.signal.aborted && this.surfer.zoom(this.pixelsPerS),
        () => undefined, // the coarse points stay; that the server does not answer is said elsewhere
      );
    }, SETTLED_MS);
  }

  /** Shows these marks, which may be a thousand: those that are there already stay. */
  mark(regions: Region[]): void {
    const shown = JSON.stringify([this.waves.durationS, regions]); // where they are is a part of the length
    if (shown === this.shown) return;
    [this.marks, this.shown] = [regions, shown];
    this.regions.clearRegions();
    const style = getComputedStyle(document.documentElement);
    for (const each of regions) {
      if (each.start_s === null || each.end_s === null) continue;
      const channel = this.waves.channels === 2 && each.channel ? ["left", "right"].indexOf(each.channel) : -1;
      const region = this.regions.addRegion({
        start: each.start_s,
        ...(each.end_s > each.start_s ? { end: Math.max(each.end_s, each.start_s + LEAST_S) } : {}),
        color: style.getPropertyValue(`--${each.kind}`).trim() || style.getPropertyValue("--gap").trim(),
        drag: false,
        resize: false,
        ...(channel >= 0 ? { channelIdx: channel } : {}),
      });
      if (region.element) region.element.title = visible(each.text);
    }
  }

  close(): void {
    clearTimeout(this.timer);
    this.leaving.abort();
    this.surfer.destroy();
  }
}
