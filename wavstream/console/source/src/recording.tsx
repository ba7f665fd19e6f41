/** One recording: what it is, how it looks, how it sounds, and what may be done to it. */

import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useReducer, useRef, useState } from "preact/hooks";
import { hashSecond, to } from "./address";
import { type Recording, type Refused, type Regions, type Verification, ROOT, ask, placeOf, post } from "./api";
import { Asking } from "./asking";
import { breath } from "./calm";
import { Listening } from "./listening";
import type { Begun } from "./main";
import { Player } from "./player";
import { Receipt } from "./receipt";
import { Said } from "./said";
import { useDark } from "./scheme";
import { Waves } from "./waves";
import { Drawing } from "./waveform";
import { Foreign, STATUS, visible } from "./words";

const LOOK_MS = 1_000;
/** A file of hours is read as fast as its disk, or its store, gives it. */
const LONG_MS = 900_000;
const RUNS = new Set(["accepted", "ongoing", "paused", "completed"]);
const GONE = new Set(["deleted", "expired"]);

/** `begun` is what was asked of the server when the page began; null: nothing was yet. */
export default function RecordingPage({ id, begun: given, transcribes }: { id: string; begun: Begun | null; transcribes: boolean }): JSX.Element {
  const [recording, setRecording] = useState<Recording | null>(null);
  const [marks, setMarks] = useState<Regions | null>(null);
  const [said, setSaid] = useState("");
  const [trouble, setTrouble] = useState("");
  const [unheard, setUnheard] = useState("");
  const [isNone, setUnknown] = useState(false);
  const [asking, setAsking] = useState<"delete" | "hold" | null>(null);
  const [player, setPlayer] = useState<Player | null>(null);
  const [, draw] = useReducer((n: number) => n + 1, 0);
  const box = useRef<HTMLDivElement>(null);
  const drawing = useRef<Drawing | null>(null);
  const isDark = useDark();
  const waves = useRef(new Waves(id)).current;
  const begun = useRef(given && !given.isUsed ? given : null).current;
  const place = placeOf(id);

  // Not one frame is waited for: it is the first thing that one came for.
  useLayoutEffect(() => {
    let first = begun;
    if (begun) begun.isUsed = true;
    const leaving = new AbortController();
    let made: Player | null = null;
    let timer = 0;
    const look = async (): Promise<void> => {
      let again = true;
      try {
        const early = first;
        first = null;
        const found = await (early?.recording ?? ask<Recording>(place, { signal: leaving.signal }));
        if (leaving.signal.aborted) return;
        setRecording(found);
        document.title = `${visible(found.session_id, 40)} - wavstream`;
        if (GONE.has(found.status) || found.status === "absent" || found.status === "failed") again = false;
        if (!GONE.has(found.status)) {
          // Of a finished one all is there to be asked for: nothing waits for the other.
          const isFinished = found.status === "available";
          if (isFinished) made ??= new Player(id, waves, true, setUnheard, early?.audio.src ? early.audio : null);
          const asksRegions = early?.regions ?? ask<Regions>(`${place}/regions`, { signal: leaving.signal });
          asksRegions.catch(() => undefined); // it is waited for below
          let isNew = false;
          if (isFinished) isNew = await waves.open(leaving.signal, early?.waveform ?? null);
          // Before its first second is written, and while its file is being finished, there is no waveform to ask for.
          else if ((await asksRegions).duration_s > 0 && found.status !== "completed") isNew = await waves.grow(leaving.signal);
          if (isFinished && !drawing.current) await breath();
          if (leaving.signal.aborted) return;
          if (!drawing.current && waves.durationS > 0) {
            made ??= new Player(id, waves, false, setUnheard);
            drawing.current = new Drawing(box.current!, made, waves);
            const at = hashSecond();
            if (at !== null) made.seek(at);
            made.grown();
            setPlayer(made);
          } else if (drawing.current && made && isNew) {
            if (waves.isFinal) drawing.current = drawing.current.again(box.current!, made); // the whole of it also has a minimap
            else drawing.current.grown();
            made.grown();
          }
          const regions = await asksRegions;
          setMarks((known) => (JSON.stringify(known) === JSON.stringify(regions) ? known : regions));
          drawing.current?.mark(regions.regions);
          again = again && !(waves.isFinal && regions.is_final && !RUNS.has(found.status));
        }
        setTrouble("");
      } catch (problem) {
        if ((problem as Error).name === "AbortError") return;
        const refused = problem as Refused;
        setTrouble(refused.message);
        setUnknown(refused.status === 404 && refused.retryAfterS === null);
        again = refused.status === 0 || refused.status >= 500 || refused.status === 429 || refused.retryAfterS !== null;
      }
      draw(undefined as never);
      if (again && !leaving.signal.aborted) timer = window.setTimeout(look, LOOK_MS);
    };
    void look();
    return () => {
      leaving.abort();
      clearTimeout(timer);
      drawing.current?.close();
      made?.close();
    };
  }, [id]);

  // What is drawn on a canvas keeps its colours.
  useEffect(() => {
    if (drawing.current && player) drawing.current = drawing.current.again(box.current!, player);
  }, [isDark]);

  useEffect(() => {
    const moved = (): void => {
      const at = hashSecond();
      if (at !== null) player?.seek(at);
    };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, [player]);

  const status = recording?.status ?? "";
  const runs = RUNS.has(status);
  const isDone = status === "available";
  const isGone = GONE.has(status);

  // What one has of it goes with it, whoever erased it: it neither sounds on nor stays in sight.
  useEffect(() => {
    if (!isGone) return;
    drawing.current?.close();
    drawing.current = null;
    player?.close();
    setPlayer(null);
    setMarks(null);
  }, [isGone]);

  const refresh = async (): Promise<void> => setRecording(await ask<Recording>(place));
  const isBusy = useRef(false);
  /** Does something, once however often one clicks, and shows what has become of it: somebody else may have been faster. */
  const act = async (what: () => Promise<string>): Promise<void> => {
    if (isBusy.current) return;
    isBusy.current = true;
    setSaid("");
    try {
      setSaid(await what());
    } catch (problem) {
      setSaid((problem as Error).message);
    } finally {
      isBusy.current = false;
      await refresh().catch(() => undefined);
    }
  };
  const does = (what: string, said: string, options: RequestInit & { waitMs?: number } = {}) => (): Promise<void> =>
    act(async () => {
      await ask(`${place}/${what}`, { method: "POST", ...options });
      return said;
    });
  const erase = async ({ reason }: Record<string, string>): Promise<void> => {
    try {
      await ask(`${place}?reason=${encodeURIComponent(reason!)}`, { method: "DELETE" });
    } catch (problem) {
      if ((problem as Refused).status !== 404) throw problem;
      setSaid("Somebody else has erased it already.");
    }
    setRecording((known) => known && { ...known, status: "deleted" });
    await refresh().catch(() => undefined); // what the server has left of it
  };
  const verify = async (): Promise<string> => {
    setSaid("Reading the file ...");
    const found = await post<Verification>(`${place}/verify`, undefined, { waitMs: LONG_MS });
    return found.verified ? "The file is as it was recorded: hash, header and length fit the receipt." : `The file is not as recorded. ${found.differences.join(" ")}`;
  };

  const isUnknown = isNone && !recording;
  return (
    <>
      <h1 tabIndex={-1}>{recording ? <Foreign text={recording.session_id} most={100} /> : "Recording"}</h1>
      {recording && (
        <p>
          <span class={`state ${status}`}>{STATUS[status] ?? status}</span>{" "}
          {recording.hold && (
            <span>
              held by <Foreign text={recording.hold.by} />: <Foreign text={recording.hold.reason} />
            </span>
          )}
        </p>
      )}
      {trouble && !isGone && <p role="alert">{visible(trouble)}</p>}
      {unheard && !isGone && <p role="alert">{unheard}</p>}
      {isUnknown && (
        <p class="empty">
          There is none of this address: it never was, it is another app's, or what is left of it was cleared away. <a href={to({ view: "recordings" })}>What there is</a>
        </p>
      )}
      {isGone && <p class="empty">It is no longer there: it {status === "deleted" ? "was erased" : "was kept as long as it had to be"}.</p>}
      {status === "absent" && <p class="empty">It ended without audio, so there is no file and nothing to look at.</p>}
      <div class={isGone || !player ? "unshown" : "beside"}>
        <div class="sound">
          <div class="wave" ref={box} />
          {player && <Listening player={player} waves={waves} marks={marks} zoom={(closeness) => drawing.current?.zoom(closeness)} />}
        </div>
        {player && isDone && <Said id={id} player={player} transcribes={transcribes} />}
      </div>
      {recording && !isGone && (
        <div class="buttons" role="group" aria-label="What to do with it">
          {status === "ongoing" && (
            <button type="button" onClick={does("pause", "Paused.")}>
              Pause recording
            </button>
          )}
          {status === "paused" && (
            <button type="button" onClick={does("resume", "It goes on.")}>
              Resume recording
            </button>
          )}
          {runs && (
            <button type="button" onClick={does("stop", "Stopped.", { waitMs: LONG_MS })}>
              Stop recording
            </button>
          )}
          {isDone && (
            <>
              <a class="button" href={`${ROOT}${place}/audio.wav?download=1`} download>
                Download WAV
              </a>
              <a class="button" href={`${ROOT}${place}/audio.mp3?download=1`} download>
                Download MP3
              </a>
              <button type="button" onClick={() => act(verify)}>
                Verify
              </button>
            </>
          )}
          {recording.hold ? (
            <button type="button" onClick={does("hold", "It is not held any more.", { method: "DELETE" })}>
              Release the hold
            </button>
          ) : (
            <button type="button" onClick={() => setAsking("hold")}>
              Hold
            </button>
          )}
          {!runs && (
            <button type="button" class="danger" disabled={recording.hold !== null} onClick={() => setAsking("delete")}>
              Delete
            </button>
          )}
        </div>
      )}
      <p role="status">{said && visible(said, 2_000)}</p>
      {recording && <Receipt recording={recording} />}
      {asking === "delete" && (
        <Asking
          title="Delete this recording?"
          text="Its file is erased at once and cannot be brought back. The reason is kept with who asked."
          verb="Delete"
          fields={[{ name: "reason", label: "Reason" }]}
          act={erase}
          close={() => setAsking(null)}
        />
      )}
      {asking === "hold" && (
        <Asking
          title="Hold this recording?"
          text="It neither expires nor can be deleted until the hold is released."
          verb="Hold"
          fields={[
            { name: "by", label: "Who holds it" },
            { name: "reason", label: "Reason" },
          ]}
          act={async (values) => {
            await post(`${place}/hold`, values);
            await refresh();
          }}
          close={() => setAsking(null)}
        />
      )}
    </>
  );
}

