/** Webhooks that were given up, and how to have them sent again. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { to, useQuery } from "./address";
import { type DeadLetter, type Page, ask, post } from "./api";
import { Foreign, Moment, visible } from "./words";

export function DeadLetters(): JSX.Element {
  const asked = useQuery();
  const cursor = asked.get("cursor");
  const [page, setPage] = useState<Page<DeadLetter> | null>(null);
  const [bodies, setBodies] = useState<Record<string, string>>({});
  const [said, setSaid] = useState("");
  const load = (): Promise<void> =>
    ask<Page<DeadLetter>>(`v1/webhooks/dead-letters?limit=50${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`).then(
      setPage,
      (problem: Error) => setSaid(problem.message),
    );
  useEffect(() => {
    document.title = "Dead letters - wavstream";
    void load();
  }, [cursor]);
  const replay = async (ids?: string[]): Promise<void> => {
    try {
      const { replayed } = await post<{ replayed: number }>("v1/webhooks/dead-letters/replay", ids ? { ids } : {});
      setSaid(`${replayed} ${replayed === 1 ? "webhook is" : "webhooks are"} on the way again.`);
      await load();
    } catch (problem) {
      setSaid((problem as Error).message);
    }
  };
  const show = async (id: string): Promise<void> => {
    try {
      const whole = await ask<{ body: unknown }>(`v1/webhooks/dead-letters/${encodeURIComponent(id)}`);
      setBodies((known) => ({ ...known, [id]: JSON.stringify(whole.body, null, 2) }));
    } catch (problem) {
      setSaid((problem as Error).message);
    }
  };
  return (
    <>
      <h1 tabIndex={-1}>Dead letters</h1>
      <p>Webhooks that were given up after many tries. Mend what answers them, then have them sent again.</p>
      <p role="status">{said && visible(said)}</p>
      {page && page.data.length === 0 && <p class="empty">There is none: every webhook has arrived, or is still tried.</p>}
      {page && page.data.length > 0 && (
        <button type="button" class="main" onClick={() => replay()}>
          Send all again
        </button>
      )}
      {page?.data.map((each) => (
        <article class="card" key={each.id} aria-label={`Webhook ${each.id}`}>
          <h2>
            <Foreign text={each.event} />
          </h2>
          <p>
            Session <Foreign text={each.session_id} most={80} />, given up <Moment at={each.died_at} /> after {each.attempts} tries:{" "}
            <Foreign text={each.error} />
          </p>
          <div class="buttons">
            <button type="button" onClick={() => replay([each.id])}>
              Send again<span class="unseen"> {each.id}</span>
            </button>
            <button type="button" onClick={() => show(each.id)}>
              Show its body<span class="unseen"> {each.id}</span>
            </button>
            {each.recording_id && <a href={to({ recording: each.recording_id })}>The recording</a>}
          </div>
          {bodies[each.id] && <pre tabIndex={0}>{visible(bodies[each.id]!.replace(/\n/g, "\r"), 20_000).replace(/⟨000D⟩/g, "\n")}</pre>}
        </article>
      ))}
      <nav class="pages" aria-label="Pages of the list">
        {cursor && <a href={to({ view: "letters" })}>Newest</a>}
        {page?.next_cursor && <a href={to({ view: "letters", cursor: page.next_cursor })}>Older</a>}
      </nav>
    </>
  );
}
