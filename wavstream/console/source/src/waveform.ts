/** Draws the waveform, with regions, timeline, minimap and hover, over a player. */

import WaveSurfer from "wavesurfer.js";
import Hover from "wavesurfer.js/plugins/hover";
import Minimap from "wavesurfer.js/plugins/minimap";
import Regions from "wavesurfer.js/plugins/regions";
import Timeline from "wavesurfer.js/plugins/timeline";
import type { Region } from "./api";
import type { Player } from "./player";
import type { Waves } from "./waves";
import { clockTime } from "./words";

const HEIGHT_PX = 96;
const LEAST_S = 0.05;

export class Drawing {
  private readonly surfer: WaveSurfer;
  private readonly regions = Regions.create();

  constructor(
    box: HTMLElement,
    player: Player,
    private readonly waves: Waves,
  ) {
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
        Timeline.create({ height: 18, style: { color: color("--quiet"), fontSize: "11px" }, formatTimeCallback: (s) => clockTime(s), secondaryLabelOpacity: 1 }),
        // It is drawn once: while the file grows there is none.
        ...(waves.isFinal
          ? [Minimap.create({ height: 24, waveColor: color("--quiet"), progressColor: color("--accent"), overlayColor: color("--overlay"), cspNonce, insertPosition: "afterend" })]
          : []),
        Hover.create({ lineColor: color("--accent"), labelBackground: color("--text"), labelColor: color("--ground"), formatTimeCallback: (s) => clockTime(s, 1) }),
      ],
    });
    this.surfer.on("interaction", (s) => player.seek(s));
  }

  grown(): void {
    this.surfer.setOptions({ peaks: this.waves.peaks, duration: this.waves.durationS });
  }

  /** How many pixels a second has; 0: all of it is there. */
  zoom(pixels: number): void {
    this.surfer.zoom(pixels);
  }

  mark(regions: Region[]): void {
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
      if (region.element) region.element.title = each.text;
    }
  }

  close(): void {
    this.surfer.destroy();
  }
}
