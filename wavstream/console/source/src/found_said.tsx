/** The app's recordings in which words were said, and where: a hit opens its recording at that second. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { to } from "./address";
import { type FoundTranscript, type Page, ask } from "./api";
import { Foreign, Moment, clockTime, visible } from "./words";

const PAGE = "20";

export default function FoundSaid({ said, cursor }: { said: string; cursor: string }): JSX.Element {
  const [page, setPage] = useState<Page<FoundTranscript> | null>(null);
  const [trouble, setTrouble] = useState("");
  useEffect(() => {
    const leaving = new AbortController();
    setTrouble("");
    const params = new URLSearchParams({ q: said, limit: PAGE, ...(cursor ? { cursor } : {}) });
    ask<Page<FoundTranscript>>(`v1/transcripts?${params}`, { signal: leaving.signal }).then(setPage, (problem: Error) => {
      if (problem.name === "AbortError") return;
      setTrouble(problem.message);
      setPage(null);
    });
    return () => leaving.abort();
  }, [said, cursor]);
  return (
    <section aria-labelledby="found-said">
      <h2 id="found-said">Where it was said</h2>
      {trouble && <p role="alert">{visible(trouble)}</p>}
      {!page && !trouble && <p class="empty">Asking the server ...</p>}
      {page && page.data.length === 0 && <p class="empty">In no transcript are all of these words.</p>}
      {page?.data.map((each) => (
        <article class="card" key={each.recording_id} aria-label={`Recording ${each.recording_id}`}>
          <h3>
            <a href={to({ recording: each.recording_id })}>
              <code>{visible(each.recording_id)}</code>
            </a>
          </h3>
          <p class="quiet">
            Transcribed <Moment at={each.transcribed_at} />, <Foreign text={each.language} most={64} />
          </p>
          <ul class="said">
            {each.hits.map((hit, at) => (
              <li key={at}>
                <a href={`${to({ recording: each.recording_id })}#t=${hit.start_ms / 1000}`}>{clockTime(hit.start_ms / 1000, 1)}</a>{" "}
                <strong>
                  <Foreign text={hit.speaker} most={60} />
                </strong>{" "}
                <Foreign text={hit.text} most={600} />
              </li>
            ))}
          </ul>
        </article>
      ))}
      <nav class="pages" aria-label="Pages of what was found">
        {cursor && <a href={to({ view: "recordings", said })}>Newest</a>}
        {page?.next_cursor && <a href={to({ view: "recordings", said, cursor: page.next_cursor })}>Older</a>}
      </nav>
    </section>
  );
}
