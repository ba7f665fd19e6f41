/** The live page: every session and leg, how loud it is, and in words why one is silent. */

import type { JSX } from "preact";
import { useEffect, useReducer, useRef, useState } from "preact/hooks";
import { to, useQuery, go } from "./address";
import { type Leg, type LiveRecording, type Session, type Track, Refused, post, serverNow } from "./api";
import { ADVICE } from "./help";
import { Later } from "./later";
import { type Meter, live } from "./live_state";
import { VirtualList } from "./virtual_list";
import { Foreign, STATUS, ago, clockTime, seconds, visible } from "./words";

const QUIETEST_DB = -60;

const chart = () => import("./chart");

export function Live(): JSX.Element {
  const [, draw] = useReducer((n: number) => n + 1, 0);
  const asked = useQuery();
  useEffect(() => {
    document.title = "Live - wavstream";
    const stop = live.listen(() => draw(undefined as never));
    const ticking = setInterval(() => draw(undefined as never), 1_000); // "5 s ago" goes on without news
    return () => {
      stop();
      clearInterval(ticking);
    };
  }, []);
  const words = (asked.get("find") ?? "").toLowerCase();
  const silentOnly = asked.get("silent") === "1";
  const all = [...live.sessions.values()];
  const shown = all
    .filter((each) => !words || [each.session_id, each.from, each.to].some((text) => text?.toLowerCase().includes(words)))
    .filter((each) => !silentOnly || each.legs.some((leg) => leg.silent_because))
    .sort((a, b) => (b.created_at ?? "").localeCompare(a.created_at ?? "") || a.session_id.localeCompare(b.session_id));
  const legs = all.reduce((sum, each) => sum + each.legs.length, 0);
  const silent = all.reduce((sum, each) => sum + each.legs.filter((leg) => leg.silent_because).length, 0);
  const change = (name: string, value: string): void => {
    const params = Object.fromEntries(asked);
    if (value) params[name] = value;
    else delete params[name];
    go(to(params) === "./" ? location.pathname : to(params), { replace: true });
  };
  return (
    <>
      <h1 tabIndex={-1}>Live</h1>
      <p class="sum">
        {live.connection === "begins"
          ? "Asking the server ..."
          : `${all.length} ${all.length === 1 ? "session" : "sessions"}, ${legs} ${legs === 1 ? "leg" : "legs"}, ${silent} with a remark`}
        {live.workersLeftOut.length > 0 && " (a worker of the server is being started again; its sessions are missing)"}
      </p>
      <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        <label>
          Find
          <input
            type="search"
            placeholder="session or party"
            value={asked.get("find") ?? ""}
            onInput={(event) => change("find", event.currentTarget.value)}
          />
        </label>
        <label class="tick">
          <input type="checkbox" checked={silentOnly} onChange={(event) => change("silent", event.currentTarget.checked ? "1" : "")} />
          Only those with a silent leg
        </label>
      </form>
      <Start />
      {live.connection !== "begins" && shown.length === 0 && (
        <p class="empty">
          {all.length ? "No session fits." : "Nothing is live. A session appears here when a stream comes or a recording is started."}
        </p>
      )}
      <VirtualList
        label="Sessions"
        items={shown}
        id={(each) => each.session_id}
        estimate={(each) => 92 + each.legs.reduce((sum, leg) => sum + 64 + (leg.silent_because ? 48 : 0), 0)}
      >
        {(each) => <SessionCard session={each} />}
      </VirtualList>
    </>
  );
}

function Start(): JSX.Element {
  const [id, setId] = useState("");
  const [said, setSaid] = useState("");
  const isBusy = useRef(false);
  const start = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (isBusy.current) return;
    isBusy.current = true;
    try {
      const made = await post<{ id: string }>("v1/recordings", { session_id: id });
      setSaid(`Started: recording ${made.id}.`);
      setId("");
    } catch (problem) {
      setSaid((problem as Error).message);
    } finally {
      isBusy.current = false;
    }
  };
  return (
    <details class="start">
      <summary>Record a session that is not live yet</summary>
      <form class="filters" onSubmit={start}>
        <label>
          Session id
          <input required maxLength={256} value={id} onInput={(event) => setId(event.currentTarget.value)} autocomplete="off" />
        </label>
        <button type="submit">Start recording</button>
      </form>
      <p role="status">{said && visible(said)}</p>
    </details>
  );
}

function SessionCard({ session }: { session: Session }): JSX.Element {
  const [said, setSaid] = useState("");
  const [isOpen, setOpen] = useState(false);
  const name = visible(session.session_id, 60);
  const isBusy = useRef(false);
  const act = async (what: () => Promise<unknown>): Promise<void> => {
    if (isBusy.current) return; // a second click is no second recording
    isBusy.current = true;
    setSaid("");
    try {
      await what();
    } catch (problem) {
      const refused = problem as Refused;
      setSaid(refused.status === 409 ? `${refused.message} Somebody else may have been faster.` : refused.message);
    } finally {
      isBusy.current = false;
    }
  };
  const since = session.created_at ? (serverNow() - Date.parse(session.created_at)) / 1000 : Number.NaN;
  return (
    <article class="card session" aria-label={`Session ${name}`}>
      <header>
        <h2>
          <Foreign text={session.session_id} most={80} />
        </h2>
        <p class="quiet parties">
          <Foreign text={session.from} most={40} />
          {session.from || session.to ? " → " : ""}
          <Foreign text={session.to} most={40} />
          {Number.isFinite(since) && <span> {clockTime(since)}</span>}
        </p>
        <div class="buttons">
          {session.recordings.map((each) => (
            <LiveRecordingButtons key={each.id} recording={each} name={name} act={act} />
          ))}
          <button type="button" onClick={() => act(() => post("v1/recordings", { session_id: session.session_id }))}>
            Record<span class="unseen"> session {name}</span>
          </button>
          <button type="button" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
            Levels<span class="unseen"> of session {name}</span>
          </button>
        </div>
      </header>
      {said && <p role="alert">{visible(said)}</p>}
      {session.legs.map((leg, at) => (
        <LegRow key={`${leg.leg} ${at}`} leg={leg} isOpen={isOpen} />
      ))}
      {session.legs.length === 0 && <p class="quiet">No stream yet.</p>}
    </article>
  );
}

function LiveRecordingButtons(props: {
  recording: LiveRecording;
  name: string;
  act: (what: () => Promise<unknown>) => Promise<void>;
}): JSX.Element {
  const { recording, name, act } = props;
  const ask1 = (what: string) => (): Promise<void> => act(() => post(`v1/recordings/${encodeURIComponent(recording.id)}/${what}`));
  const which = <span class="unseen"> the recording of {name}</span>;
  return (
    <>
      <a class={`state ${recording.status}`} href={to({ recording: recording.id })}>
        {STATUS[recording.status] ?? recording.status}: {recording.format}, {recording.channels}
        <span class="unseen"> recording of {name}</span>
      </a>
      {recording.status === "paused" ? (
        <button type="button" onClick={ask1("resume")}>
          Resume{which}
        </button>
      ) : (
        <button type="button" onClick={ask1("pause")}>
          Pause{which}
        </button>
      )}
      <button type="button" onClick={ask1("stop")}>
        Stop{which}
      </button>
    </>
  );
}

function LegRow({ leg, isOpen }: { leg: Leg; isOpen: boolean }): JSX.Element {
  const reason = leg.silent_because;
  return (
    <section class="leg" aria-label={`Leg ${visible(leg.leg, 40)}`}>
      <p class="facts">
        <strong>
          <Foreign text={leg.leg} most={40} />
        </strong>{" "}
        <span>{leg.state}</span>{" "}
        <span>
          <Foreign text={[leg.dialect, leg.codec, leg.rate ? `${leg.rate / 1000} kHz` : null].filter(Boolean).join(", ")} />
        </span>
      </p>
      {leg.tracks.map((track) => (
        <TrackRow key={track.meter} leg={leg} track={track} isOpen={isOpen} />
      ))}
      {reason && (
        <p class="reason" data-code={reason.code}>
          {visible(reason.text)}{" "}
          {ADVICE[reason.code] ? (
            <a href={`${to({ view: "help" })}#${reason.code}`}>
              What to do<span class="unseen"> about leg {visible(leg.leg, 40)}</span>
            </a>
          ) : (
            <code>docs/{visible(reason.docs)}</code>
          )}
        </p>
      )}
      {leg.suspicions.map((each) => (
        <p class="reason" key={each}>
          {visible(each)}
        </p>
      ))}
    </section>
  );
}

function TrackRow({ leg, track, isOpen }: { leg: Leg; track: Track; isOpen: boolean }): JSX.Element {
  const meter: Meter | undefined = live.meters.get(track.meter);
  const db = meter?.[1] ?? null;
  const peak = meter?.[2] ?? null;
  const pace = meter?.[3] ?? track.pace;
  const word = meter?.[6] ?? null;
  return (
    <div class="track">
      <span class="track-name">{track.track}</span>
      <Level db={db} peak={peak} name={`Level of leg ${visible(leg.leg, 40)}, ${track.track}`} />
      <span class="figures">
        <span class="db">{db === null ? "nothing" : db <= -100 ? "silence" : `${db} dB`}</span>
        <span>{pace === null ? "" : `${pace.toFixed(2)}× real time`}</span>
        <span>{word === null ? "no word yet" : `last word ${ago(serverNow() / 1000 - word)}`}</span>
        <span>{track.gaps ? `${track.gaps} ${track.gaps === 1 ? "gap" : "gaps"}, ${seconds((track.gap_ms ?? 0) / 1000)}` : "no gaps"}</span>
        <span>{track.drift_ppm === null ? "" : `drift ${track.drift_ppm} ppm`}</span>
      </span>
      {isOpen && <Later part={chart} props={{ levels: live.levels.get(track.meter), name: `Level of ${track.track} in the last minute` }} />}
    </div>
  );
}

function Level({ db, peak, name }: { db: number | null; peak: number | null; name: string }): JSX.Element {
  const part = (value: number | null): number => (value === null ? 0 : Math.min(1, Math.max(0, 1 - value / QUIETEST_DB)));
  return (
    <span
      class="level"
      role="meter"
      aria-label={name}
      aria-valuemin={QUIETEST_DB}
      aria-valuemax={0}
      aria-valuenow={Math.max(QUIETEST_DB, db ?? QUIETEST_DB)}
      aria-valuetext={db === null ? "nothing comes in" : `${db} dB`}
    >
      <span class="rms" style={{ transform: `scaleX(${part(db)})` }} />
      <span class="peak" style={{ left: `${part(peak) * 100}%` }} />
    </span>
  );
}

