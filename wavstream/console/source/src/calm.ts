/** In which order a page does things while its audio opens: the element's own steps run on the thread that draws. */

/** Until then what nobody waits for lets the rest of the page go first. */
const CALM_MS = 3_000;

/** Lets what has come meanwhile have its turn: a long task keeps the audio from asking, and from reading the answer. */
export function breath(): Promise<void> {
  return new Promise((done) => setTimeout(done, 0));
}

/** Does it once the audio is open and nothing else is to do. */
export function whenCalm(audio: HTMLAudioElement, leaving: AbortSignal, does: () => void): void {
  const soon = (): void => {
    if (leaving.aborted) return;
    if ("requestIdleCallback" in window) requestIdleCallback(() => does(), { timeout: CALM_MS });
    else setTimeout(does, 0);
  };
  if (audio.readyState >= HTMLMediaElement.HAVE_METADATA || audio.error) return soon();
  const waiting = new AbortController();
  const done = (): void => {
    waiting.abort();
    clearTimeout(timer);
    soon();
  };
  const timer = setTimeout(done, CALM_MS);
  for (const name of ["loadedmetadata", "error"]) audio.addEventListener(name, done, { signal: AbortSignal.any([leaving, waiting.signal]) });
}
