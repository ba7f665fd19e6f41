/** How many points of a waveform are asked for. */

/** The finest that the server has. */
export const FINEST_PER_S = 50;

/** Of one that is whole: what finer points tell is where it is silent. */
export const MOST_POINTS = 16_000;

/** Returns as many as the screen is wide: more of them are not seen before one zooms, and then what is in sight is asked for. */
export function coarsePoints(): number {
  return Math.min(MOST_POINTS, Math.max(1_000, Math.ceil(screen.width * devicePixelRatio)));
}
