/** Parts of the page that are fetched when they are wanted first. */

import type { ComponentType, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

export type Part<P> = () => Promise<{ default: ComponentType<P> }>;

/** Shows a part once it is there, and its title until then. It does not come where the server has another version by now, or
 * does not answer. */
export function Later<P extends object>({ part, props, title }: { part: Part<P>; props: P; title?: string }): JSX.Element | null {
  const [Found, setFound] = useState<ComponentType<P> | null>(null);
  const [hasFailed, setFailed] = useState(false);
  useEffect(() => {
    part().then(
      (found) => setFound(() => found.default),
      () => setFailed(true),
    );
  }, [part]);
  if (Found) return <Found {...props} />;
  return (
    <>
      {title && <h1 tabIndex={-1}>{title}</h1>}
      {hasFailed && (
        <p class="banner">
          A part of this page could not be fetched: the server has another version by now, or does not answer. <a href="">Load this page again</a>
        </p>
      )}
    </>
  );
}
