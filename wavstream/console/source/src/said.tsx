/** What was said in a recording: whether there is a transcript, how far it is, why it failed, and how to ask for one. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type Transcription, ROOT, ask, placeOf, post } from "./api";
import { whenCalm } from "./calm";
import { Later } from "./later";
import type { Player } from "./player";
import { Foreign, visible } from "./words";

const LOOK_MS = 1_500;
const ENDINGS: Record<string, string> = { txt: "Text", srt: "SubRip", vtt: "WebVTT", json: "JSON" };

const transcriptPart = () => import("./transcript");

/** Of a finished recording alone. `transcribes`: whether this server makes transcripts. */
export function Said({ id, player, transcribes }: { id: string; player: Player; transcribes: boolean }): JSX.Element | null {
  const [work, setWork] = useState<Transcription | null>(null);
  const [isKnown, setKnown] = useState(false);
  const [trouble, setTrouble] = useState("");
  const [turn, setTurn] = useState(0);
  const place = placeOf(id);
  useEffect(() => {
    const leaving = new AbortController();
    let timer = 0;
    const look = async (): Promise<void> => {
      let again = true;
      try {
        const found = (await ask<Transcription | undefined>(`${place}/transcription`, { signal: leaving.signal })) ?? null;
        setWork(found);
        setKnown(true);
        setTrouble("");
        again = found?.status === "waiting" || found?.status === "running";
      } catch (problem) {
        if ((problem as Error).name === "AbortError") return;
        setTrouble((problem as Error).message);
      }
      if (again && !leaving.signal.aborted) timer = window.setTimeout(look, LOOK_MS);
    };
    whenCalm(player.audio, leaving.signal, () => void look());
    return () => {
      leaving.abort();
      clearTimeout(timer);
    };
  }, [id, turn]);

  const begin = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const language = String(new FormData(event.currentTarget as HTMLFormElement).get("language") ?? "").trim();
    try {
      setWork(await post<Transcription>(`${place}/transcription`, language ? { language } : {}));
      setTrouble("");
      setTurn((n) => n + 1);
    } catch (problem) {
      setTrouble((problem as Error).message);
    }
  };
  if (!isKnown && !trouble) return null;
  if (isKnown && work === null && !transcribes) return null; // there is none, and nobody here makes one
  const isThere = work?.status === "done";
  const isUnderWay = work?.status === "waiting" || work?.status === "running";
  return (
    <section class="card said-part" aria-labelledby="said">
      <h2 id="said">What was said</h2>
      <p role="status">{work && !isThere && <State work={work} />}</p>
      {work?.status === "failed" && (
        <p class="reason">
          <Foreign text={work.error ?? "Nothing is known of why."} most={2_000} />
        </p>
      )}
      {trouble && <p role="alert">{visible(trouble, 1_000)}</p>}
      {isKnown && !isThere && !isUnderWay && transcribes && (
        <form class="filters" onSubmit={begin}>
          {work === null && <p class="start">There is no transcript of this recording.</p>}
          <label>
            Language (such as en-US; empty: as the server is set)
            <input name="language" maxLength={64} pattern="[A-Za-z0-9\-]+" autocomplete="off" />
          </label>
          <button type="submit" class="main">
            {work ? "Try again" : "Make a transcript"}
          </button>
        </form>
      )}
      {isThere && <Later key={work.done_at ?? ""} part={transcriptPart} props={{ id, player }} />}
      {isThere && (
        <div class="buttons" role="group" aria-label="The transcript as a file">
          {Object.entries(ENDINGS).map(([ending, name]) => (
            <a key={ending} class="button" href={`${ROOT}${place}/transcript${ending === "json" ? "" : `.${ending}`}`} download={`${id}.${ending}`}>
              {name}
            </a>
          ))}
        </div>
      )}
    </section>
  );
}

function State({ work }: { work: Transcription }): JSX.Element {
  if (work.status === "running") return <>It is being transcribed: {work.progress} % of the speech.</>;
  if (work.status === "failed") return <>No transcript could be made.</>;
  if (!work.attempts) return <>It waits to be transcribed.</>;
  return (
    <>
      It waits to be tried again: <Foreign text={work.error} most={1_000} />
    </>
  );
}
