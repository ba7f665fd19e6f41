/** Parts of the page that are fetched when they are wanted first. */

import type { ComponentType, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

export type Part<P> = () => Promise<{ default: ComponentType<P> }>;

/** Shows a part once it is there. It is not where the server has another version by now, or does not answer. */
export function Later<P extends object>({ part, props }: { part: Part<P>; props: P }): JSX.Element | null {
  const [Found, setFound] = useState<ComponentType<P> | null>(null);
  const [hasFailed, setFailed] = useState(false);
  useEffect(() => {
    part().then(
      (found) => setFound(() => found.default),
      () => setFailed(true),
    );
  }, [part]);
  if (hasFailed) {
    return (
      <p class="banner">
        A part of this page could not be fetched: the server has another version by now, or does not answer. <a href="">Load this page again</a>
      </p>
    );
  }
  return Found && <Found {...props} />;
}
