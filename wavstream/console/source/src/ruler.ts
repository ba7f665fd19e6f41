/** Draws the time below the waveform: only what is in sight. The timeline plugin measures a notch for each second that
 * there is: 14,400 layouts with each step of the zoom of a recording of 4 h. */

import type WaveSurfer from "wavesurfer.js";
import { clockTime } from "./words";

const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200];
const LABEL_PX = 72;

export class Ruler {
  private readonly box = document.createElement("div");

  constructor(
    private readonly surfer: WaveSurfer,
    color: string,
  ) {
    this.box.setAttribute("part", "timeline");
    Object.assign(this.box.style, {
      position: "relative",
      height: "1.15rem",
      overflow: "hidden",
      pointerEvents: "none",
      whiteSpace: "nowrap",
      fontSize: "0.7rem",
      color,
    });
    surfer.getWrapper().append(this.box);
    surfer.on("redraw", () => this.draw());
    surfer.on("scroll", () => this.draw());
  }

  private draw(): void {
    const { surfer } = this;
    const durationS = surfer.getDuration();
    const pixels = surfer.getWrapper().clientWidth / durationS;
    if (!Number.isFinite(pixels) || pixels <= 0) return;
    const stepS = STEPS_S.find((each) => each * pixels >= LABEL_PX) ?? STEPS_S.at(-1)!;
    const until = Math.min(durationS, (surfer.getScroll() + surfer.getWidth()) / pixels);
    const notches: HTMLElement[] = [];
    for (let n = Math.max(0, Math.floor(surfer.getScroll() / pixels / stepS)); n * stepS <= until; n += 1) {
      const notch = document.createElement("div");
      notch.textContent = clockTime(n * stepS, stepS < 1 ? 1 : 0);
      Object.assign(notch.style, {
        position: "absolute",
        left: `${n * stepS * pixels}px`,
        height: "100%",
        paddingLeft: "3px",
        borderLeft: "1px solid currentColor",
      });
      notches.push(notch);
    }
    this.box.replaceChildren(...notches);
  }
}
