/** The frame of the page: who looks, where one is, and whether the server answers. */

import { type JSX, render } from "preact";
import { useEffect, useReducer, useState } from "preact/hooks";
import { followLinks, query, to, useQuery } from "./address";
import { type Recording, type Regions, type Visitor, type Waveform, ask, audioOf, onSignedOut, placeOf, post, tellTime } from "./api";
import { Help } from "./help";
import { Later } from "./later";
import { DeadLetters } from "./letters";
import { Live } from "./live";
import { live } from "./live_state";
import { coarsePoints } from "./points";
import { Recordings } from "./recordings";
import { SignIn } from "./sign_in";
import "./scheme"; // two parts need it: else it is a file of its own
import "./style.css";
import { Foreign } from "./words";

const RETRY_MS = 2_000;
const VIEWS = new Set(["live", "recordings", "recording", "letters", "help"]);

/** Most of the page is what draws and plays: who looks at what is live does not wait for it. */
const recordingPage = () => import("./recording");

/** Returns who looks, as the page was told with itself; null: one has to ask. A browser that comes from a link elsewhere
 * has kept its cookie to itself until now. */
function toldVisitor(): Told | null {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="visitor"]');
  const said = meta?.content;
  meta?.remove(); // What is erased meanwhile does not stay in the page.
  const told = said?.startsWith("{") ? (JSON.parse(said) as Told & { now: string }) : null;
  tellTime(told?.now);
  return told?.signed_in ? told : null;
}

/** Who looks, and the recording of the address as it was when the page was sent. */
type Told = Visitor & { recording?: Recording | null };

/** What the address asks for, while the part that shows it is on its way. What fails is asked for again, and said, there. */
export interface Begun {
  id: string;
  recording: Promise<Recording>;
  audio: HTMLAudioElement;
  /** Of a finished one alone, and as coarse as a screen shows it. */
  waveform: Promise<Waveform> | null;
  regions: Promise<Regions> | null;
  /** It is used once: who comes back later asks for what is there by then. */
  isUsed: boolean;
}

function begin({ recording: known }: Told): Begun | null {
  const id = query().get("recording");
  if (!id) return null;
  recordingPage().catch(() => undefined);
  const place = placeOf(id);
  const audio = document.createElement("audio");
  audio.preload = "metadata";
  const recording = known?.id === id ? Promise.resolve(known) : ask<Recording>(place);
  const begun: Begun = { id, recording, audio, waveform: null, regions: null, isUsed: false };
  const all = (found: Recording): void => {
    if (found.status !== "available") return;
    audio.src = audioOf(id);
    begun.waveform = ask<Waveform>(`${place}/waveform?points=${coarsePoints()}`);
    begun.regions = ask<Regions>(`${place}/regions`);
    for (const each of [begun.waveform, begun.regions]) each.catch(() => undefined);
  };
  if (known?.id === id) all(known);
  else recording.then(all, () => undefined);
  return begun;
}

function Page({ told, begun }: { told: Visitor | null; begun: Begun | null }): JSX.Element {
  const [visitor, setVisitor] = useState<Visitor | null>(told);
  const [isAway, setAway] = useState(false);
  const [hasEnded, setEnded] = useState(false);
  const asked = useQuery();

  const look = async (): Promise<void> => {
    try {
      setVisitor(await ask<Visitor>("console/session"));
      setAway(false);
    } catch {
      setAway(true);
      setTimeout(look, RETRY_MS);
    }
  };
  useEffect(() => {
    onSignedOut(() => {
      setEnded(true);
      void look();
    });
    if (visitor === null) void look();
  }, []);
  const isIn = visitor?.signed_in === true;
  useEffect(() => {
    if (!isIn) return undefined;
    live.open();
    return () => live.close();
  }, [isIn]);

  if (visitor === null) return <Beginning isAway={isAway} />;
  if (!isIn) return <SignIn hasEnded={hasEnded} done={setVisitor} />;
  const id = asked.get("recording");
  const view = id ? "recording" : (asked.get("view") ?? "live");
  const signOut = async (): Promise<void> => {
    try {
      await post("console/sign-out");
    } catch {
      // What it is now is asked for below; that the server does not answer is said elsewhere.
    }
    setEnded(false);
    await look();
  };
  const link = (name: string, address: string, is: string[]): JSX.Element => (
    <a href={address} aria-current={is.includes(view) ? "page" : undefined}>
      {name}
    </a>
  );
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href="./">
          wavstream
        </a>
        <nav aria-label="Pages">
          {link("Live", "./", ["live"])}
          {link("Recordings", to({ view: "recordings" }), ["recordings", "recording"])}
          {link("Dead letters", to({ view: "letters" }), ["letters"])}
        </nav>
        <p class="who">
          <Foreign text={visitor.app_id} most={40} />
          {visitor.needs_key && (
            <button type="button" onClick={signOut}>
              Sign out
            </button>
          )}
        </p>
      </header>
      <Connection />
      <main id="main" tabIndex={-1}>
        {view === "live" && <Live />}
        {view === "recordings" && <Recordings transcribes={visitor.transcribes} />}
        {view === "recording" && <Later key={id} title="Recording" part={recordingPage} props={{ id: id!, begun: begun?.id === id ? begun : null, transcribes: visitor.transcribes }} />}
        {view === "letters" && <DeadLetters />}
        {view === "help" && <Help />}
        {!VIEWS.has(view) && (
          <>
            <h1 tabIndex={-1}>There is no such page</h1>
            <p>
              The address names one that the console does not have. <a href="./">What is live</a>
            </p>
          </>
        )}
      </main>
      <footer class="quiet">
        wavstream {visitor.version} · <a href={to({ view: "help" })}>Why is a leg silent?</a> · <a href="../docs">HTTP API</a>
      </footer>
    </>
  );
}

/** What `index.html` shows before there is a script: nothing moves when it is there. */
function Beginning({ isAway }: { isAway: boolean }): JSX.Element {
  return (
    <>
      <header class="top">
        <span class="brand">wavstream</span>
      </header>
      <main>{isAway && <Away />}</main>
    </>
  );
}

/** Says whether the server answers, and is the one that the page is of. The rest of the page is not drawn again for it. */
function Connection(): JSX.Element {
  const [, draw] = useReducer((n: number) => n + 1, 0);
  useEffect(() => live.listen(() => draw(undefined as never)), []);
  return (
    <div role="status" aria-live="polite">
      {live.connection === "lost" && <Away />}
      {live.connection === "full" && (
        <p class="banner">As many pages look at what is live as may (limits.live_pages, quotas.live_pages). This one tries until one is closed.</p>
      )}
      {live.wasUpdated && (
        <p class="banner">
          The server has a new version. <a href="">Load this page again</a>
        </p>
      )}
    </div>
  );
}

function Away(): JSX.Element {
  return <p class="banner">The server does not answer. It may be starting again; this page tries until it does.</p>;
}

followLinks();
const place = document.getElementById("page")!;
place.replaceChildren();
const told = toldVisitor();
render(<Page told={told} begun={told && begin(told)} />, place);
